//! The first page: what is watched, what is big, what grew, what fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use super::releases::Release;
use super::running::{RunningRow, SourceRow, running};
use super::top::Top;
use super::tops::{TaggedImage, Tops};
use super::treemap::{Tile, tiles};
use super::world::World;
use crate::image::Timestamp;
use crate::inventory::snapshot::{RegistryView, RepositoryView, TagView, TagsTogether};
use crate::metrics::own::{BUILD, ScanFailures, TargetState};

/// Registries, groups, sources, policies.
const LIST_MAX: usize = 50;

/// Targets are a person's own list.
const TARGETS_MAX: usize = 500;

#[derive(Serialize)]
pub(super) struct Overview<'a> {
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) shard: ShardRow,
    pub(super) totals: Totals,
    /// Why the last reload failed.
    pub(super) failed_reload: Option<FailedReload<'a>>,
    pub(super) registries: Vec<RegistryRow<'a>>,
    pub(super) groups: Vec<GroupRow<'a>>,
    pub(super) reclaimable: Vec<ReclaimableRow>,
    pub(super) biggest: Vec<ImageRow>,
    pub(super) newest: Vec<Release>,
    pub(super) growing: Vec<Release>,
    pub(super) budgets: Vec<ImageRow>,
    pub(super) running: Vec<RunningRow>,
    pub(super) unreadable: Vec<UnreadableRow>,
    pub(super) targets: Vec<TargetRow<'a>>,
    pub(super) sources: Vec<SourceRow<'a>>,
    #[serde(skip)]
    pub(super) most_reclaimable: MostReclaimable,
    #[serde(skip)]
    pub(super) tiles: Vec<Tile>,
}

/// Which of several exporters this is.
#[derive(Serialize)]
pub(super) struct ShardRow {
    /// Counted from 0.
    pub(super) number: u32,
    pub(super) total: u32,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) registries: u64,
    pub(super) repositories: u64,
    /// Selected tags, as far as lists were read.
    pub(super) tags: u64,
    pub(super) images: u64,
    /// Samples of images on `/metrics`.
    pub(super) series: u64,
    /// Sum of the registries' stored bytes; null until all of them are known, and in one of several shards.
    pub(super) stored_bytes: Option<u64>,
    /// Images beyond their budget.
    pub(super) over_budget: u64,
    /// Tags whose last reading failed.
    pub(super) unreadable_tags: u64,
}

#[derive(Serialize)]
pub(super) struct FailedReload<'a> {
    pub(super) at: Timestamp,
    pub(super) error: &'a str,
}

#[derive(Serialize)]
pub(super) struct RegistryRow<'a> {
    pub(super) registry: &'a str,
    pub(super) stored_bytes: Option<u64>,
    pub(super) repositories: u64,
    pub(super) images: u64,
}

#[derive(Serialize)]
pub(super) struct GroupRow<'a> {
    pub(super) registry: &'a str,
    pub(super) group: &'a str,
    pub(super) stored_bytes: u64,
    pub(super) unique_bytes: u64,
    pub(super) proportional_bytes: f64,
}

/// What the policy that would free most of all registries together would free of them.
pub(super) enum MostReclaimable {
    NoPolicy,
    /// That of a policy on one of the registries is not known, or this is one of several shards.
    Unknown,
    Bytes(Arc<str>, u64),
}

/// What a policy would free of a registry or repository.
#[derive(Serialize)]
pub(super) struct ReclaimableRow {
    pub(super) policy: String,
    /// A registry, or a repository.
    pub(super) place: String,
    pub(super) bytes: Option<u64>,
    pub(super) tags: Option<u64>,
    #[serde(skip)]
    pub(super) link: Option<String>,
}

/// One platform's image under a tag.
#[derive(Serialize)]
pub(super) struct ImageRow {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) platform: String,
    pub(super) compressed_bytes: u64,
    pub(super) unique_bytes: Option<u64>,
    pub(super) budget_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) link: String,
}

#[derive(Serialize)]
pub(super) struct UnreadableRow {
    pub(super) image: String,
    pub(super) last_success: Option<Timestamp>,
    /// As in the log, where it is kept.
    pub(super) message: Option<String>,
    #[serde(skip)]
    pub(super) link: String,
}

#[derive(Serialize)]
pub(super) struct TargetRow<'a> {
    pub(super) target: &'a str,
    /// `None` before its first scan ended.
    pub(super) up: Option<bool>,
    pub(super) last_scan: Option<Timestamp>,
    pub(super) last_scan_seconds: Option<f64>,
    pub(super) interval_seconds: f64,
    pub(super) repositories: Option<u64>,
    pub(super) tags: Option<u64>,
    pub(super) remarks: &'a [String],
    pub(super) last_failures: Option<FailuresRow<'a>>,
}

/// The last scan of a target that had failures.
#[derive(Serialize)]
pub(super) struct FailuresRow<'a> {
    pub(super) at: Timestamp,
    pub(super) count: u64,
    pub(super) messages: Vec<&'a str>,
}

/// Messages of one target.
const MESSAGES_MAX: usize = 3;

impl<'a> Overview<'a> {
    pub(super) fn new(world: &World<'a>) -> Self {
        let registries = &world.snapshot.registries;
        let mut totals = Totals {
            series: world.series,
            registries: registries.len() as u64,
            stored_bytes: stored_bytes(world),
            ..Totals::default()
        };
        let mut tops = Tops::new();
        let mut rows = Vec::new();
        for registry in registries {
            let before = totals.images;
            for repository in &registry.repositories {
                totals.add(repository);
                tops.add_repository(repository);
                tops.add_tags(repository);
            }
            rows.push(RegistryRow {
                registry: registry.registry.as_str(),
                stored_bytes: registry.stored_bytes,
                repositories: registry.repositories.len() as u64,
                images: totals.images - before,
            });
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.stored_bytes));
        rows.truncate(LIST_MAX);
        let unreadable = tops.unreadable.iter().map(|(view, tag)| unreadable(world, view, tag)).collect();
        let failed = world.reload.and_then(|reload| Some((reload.at, reload.error.as_deref()?)));
        Self {
            version: BUILD.version,
            revision: BUILD.revision,
            shard: ShardRow { number: world.shard.number(), total: world.shard.total() },
            failed_reload: failed.map(|(at, error)| FailedReload { at, error }),
            registries: rows,
            groups: groups(registries),
            reclaimable: reclaimable(registries, &tops),
            biggest: tops.biggest.iter().map(ImageRow::new).collect(),
            budgets: tops.budgets.iter().map(ImageRow::new).collect(),
            newest: tops.newest.iter().map(|(view, place)| Release::new(view, &view.newest[*place])).collect(),
            growing: tops.growing.iter().map(|(view, place)| Release::new(view, &view.newest[*place])).collect(),
            unreadable,
            targets: world.targets.iter().take(TARGETS_MAX).map(TargetRow::new).collect(),
            sources: world.sources.iter().take(LIST_MAX).map(SourceRow::new).collect(),
            running: running(world.snapshot),
            most_reclaimable: most_reclaimable(world),
            tiles: tiles(registries),
            totals,
        }
    }
}

impl Totals {
    fn add(&mut self, view: &RepositoryView) {
        let TagsTogether { images, unreadable, over_budget, .. } = view.together;
        self.repositories += 1;
        self.tags += view.tags_selected.unwrap_or(view.tags.len() as u64);
        self.images += images;
        self.unreadable_tags += unreadable;
        self.over_budget += over_budget;
    }
}

impl ImageRow {
    fn new((view, tag, image): &TaggedImage) -> Self {
        let name = ImageName::new(&view.repository, &tag.tag);
        let platform = image.platform.as_str();
        Self {
            repository: name.repository.clone(),
            tag: name.tag.clone(),
            platform: platform.to_owned(),
            compressed_bytes: image.image.compressed_bytes.unwrap_or_default(),
            unique_bytes: image.unique_bytes,
            budget_bytes: image.budget_bytes,
            link: Address::of(Place::Image(name)).on(Some(platform)).link(),
        }
    }
}

impl<'a> TargetRow<'a> {
    fn new(state: &'a TargetState) -> Self {
        Self {
            target: &state.name.0,
            up: state.last.map(|end| end.up),
            last_scan: state.last.map(|end| end.at),
            last_scan_seconds: state.last.map(|end| end.duration.as_secs_f64()),
            interval_seconds: state.interval.as_secs_f64(),
            repositories: state.selected.map(|selected| selected.repositories),
            tags: state.selected.map(|selected| selected.tags),
            remarks: &state.trouble.remarks,
            last_failures: state.trouble.failures.as_deref().map(FailuresRow::new),
        }
    }

    /// Whether its lists were read and nothing in them is selected.
    pub(super) fn selects_nothing(&self) -> bool {
        self.tags == Some(0)
    }
}

impl<'a> FailuresRow<'a> {
    fn new(failures: &'a ScanFailures) -> Self {
        let mut messages: Vec<&str> = Vec::new();
        for failure in &failures.first {
            if messages.len() < MESSAGES_MAX && !messages.contains(&failure.message.as_str()) {
                messages.push(&failure.message);
            }
        }
        Self { at: failures.at, count: failures.count, messages }
    }
}

fn unreadable(world: &World, view: &RepositoryView, tag: &TagView) -> UnreadableRow {
    let name = ImageName::new(&view.repository, &tag.tag);
    UnreadableRow {
        image: name.to_string(),
        last_success: tag.last_success,
        message: world.failure(&view.repository, &tag.tag).map(|failure| failure.message.clone()),
        link: Address::of(Place::Image(name)).link(),
    }
}

fn groups(registries: &[Arc<RegistryView>]) -> Vec<GroupRow<'_>> {
    let mut top = Top::new(LIST_MAX);
    for registry in registries {
        for view in &registry.groups {
            let usage = &view.usage;
            let row = GroupRow {
                registry: registry.registry.as_str(),
                group: &view.group,
                stored_bytes: usage.stored_bytes,
                unique_bytes: usage.unique_bytes,
                proportional_bytes: usage.proportional_bytes,
            };
            top.add(usage.stored_bytes, row);
        }
    }
    top.into_vec()
}

/// One of several shards may have nothing of a registry: that is not nothing.
fn stored_bytes(world: &World) -> Option<u64> {
    let mut registries = world.snapshot.registries.iter();
    let sum = registries.try_fold(0, |sum: u64, view| Some(sum.saturating_add(view.stored_bytes?)));
    sum.filter(|_| world.shard.is_only())
}

fn most_reclaimable(world: &World) -> MostReclaimable {
    if !world.shard.is_only() {
        return MostReclaimable::Unknown;
    }
    let registries = &world.snapshot.registries;
    let mut policies: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
    for of in registries.iter().flat_map(|view| &view.reclaimable) {
        let Some(bytes) = of.bytes else { return MostReclaimable::Unknown };
        let sum = policies.entry(&of.policy).or_default();
        *sum = sum.saturating_add(bytes);
    }
    let most = policies.into_iter().max_by_key(|(_, bytes)| *bytes);
    most.map_or(MostReclaimable::NoPolicy, |(policy, bytes)| MostReclaimable::Bytes(Arc::clone(policy), bytes))
}

/// What each policy would free of each registry, then of the repositories of which it would free most.
fn reclaimable(registries: &[Arc<RegistryView>], tops: &Tops) -> Vec<ReclaimableRow> {
    let of_registries = registries.iter().flat_map(|view| view.reclaimable.iter().map(move |of| (view, of)));
    let mut rows: Vec<ReclaimableRow> = of_registries
        .map(|(view, of)| ReclaimableRow {
            policy: of.policy.to_string(),
            place: view.registry.to_string(),
            bytes: of.bytes,
            tags: of.tags,
            link: None,
        })
        .take(LIST_MAX)
        .collect();
    rows.extend(tops.reclaimable.iter().map(|(view, place)| {
        let (of, place) = (&view.reclaimable[*place], view.repository.to_string());
        ReclaimableRow {
            policy: of.policy.to_string(),
            bytes: of.bytes,
            tags: of.tags,
            link: Some(Address::of(Place::Repository(place.clone())).link()),
            place,
        }
    }));
    rows
}
