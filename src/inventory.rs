//! The state of every watched tag: observations change it, snapshots publish it.
//!
//! Not here: when tags are read (`daemon`), how (`scan`), and what is remembered on disk (`store`).

mod base_index;
mod bases;
mod blob_exchange;
mod blobs_elsewhere;
mod by_shard;
mod catalog;
mod chains;
mod content;
mod contents;
mod digest_list;
mod elsewhere;
mod groups;
mod holders;
mod interner;
mod largest_change;
mod layer_table;
mod newest;
mod notified;
mod policies;
mod reclaimable;
mod reconcile;
mod restore;
mod running;
mod shards;
mod shared_blobs;
mod shared_counts;
pub mod snapshot;
mod stale;
mod state;
mod sums;
mod tag_settings;
mod tag_state;
mod views;
mod warning;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::image::{Commands, Timestamp};
use crate::oci::{Digest, Registry, Repository};
use crate::retention::RetentionPolicy;
use crate::tag::{Base, Completeness, Observation, TagChange, TagRequest};
use crate::target::{Target, TargetName, Uncompressed};

use base_index::BaseIndex;
use catalog::Catalog;
use contents::Contents;
use elsewhere::OtherShards;
use policies::Policies;
use reclaimable::{Judged, Reclaimable};
use running::Sources;
use shards::Told;
use stale::{Stale, StalePart};
use state::{RegistryState, RepositoryState};
use tag_settings::Targets;
use tag_state::{Effect, TagState};

pub use base_index::{BaseSource, Lookup};
pub use notified::{Deleted, Pushed};
pub use running::Seen;
pub use snapshot::Snapshot;
pub use warning::Warning;

/// What is known of every tag that a target selects.
pub struct Inventory {
    targets: Targets,
    /// By target: whether its first scan has ended, or restored values replace it.
    ended: Vec<bool>,
    /// By target: whether its catalog was read to its end since the program, or a reload, began to select by it.
    found: Vec<bool>,
    /// By target: whether each of its lists was read to its end at some time.
    listed: Vec<bool>,
    /// By target: how much of its catalog is known.
    catalogs: Vec<Catalog>,
    keep: Duration,
    registries: BTreeMap<Registry, RegistryState>,
    warnings: Vec<Warning>,
    /// The label conflicts that were reported: label, and the two targets.
    warned_labels: HashSet<(String, TargetName, TargetName)>,
    policies: Policies,
    commands: CommandSource,
    bases: BaseIndex,
    /// Bases that were found and are not stored yet, by the manifests of the images that are built on them.
    bases_found: Vec<(Digest, Arc<Base>)>,
    sources: Sources,
    /// What the other shards count.
    others: OtherShards,
    /// Whether exporters can tell each other what they count.
    shares_counts: bool,
    told: Told,
    /// When the last snapshot was taken, as far as policies know.
    now: Timestamp,
    /// Whether the set of registries differs from that in `snapshot`.
    stale: Stale,
    snapshot: Arc<Snapshot>,
}

/// Looks up the commands that made an image's layers, by its config's digest.
pub type CommandSource = Box<dyn Fn(&Digest) -> Option<Commands> + Send + Sync>;

/// How much a target selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Its repository, or those that its wildcard matches, with or without a selected tag.
    pub repositories: u64,
    /// Tags in these.
    pub tags: u64,
}

impl Inventory {
    /// An inventory of the tags that are configured by name, none of them read yet. Content that stays unreadable for
    /// `keep` is dropped.
    pub fn new(targets: &[Arc<Target>], keep: Duration) -> Self {
        let mut inventory = Self {
            targets: Targets::new(targets),
            ended: vec![false; targets.len()],
            found: vec![false; targets.len()],
            listed: vec![false; targets.len()],
            catalogs: targets.iter().map(|target| Catalog::new(target)).collect(),
            keep,
            registries: BTreeMap::new(),
            warnings: Vec::new(),
            warned_labels: HashSet::new(),
            policies: Policies::default(),
            commands: Box::new(|_| None),
            bases: BaseIndex::default(),
            bases_found: Vec::new(),
            sources: Sources::default(),
            others: OtherShards::default(),
            shares_counts: false,
            told: Told::default(),
            now: 0.0,
            stale: Stale::default(),
            snapshot: Arc::default(),
        };
        inventory.sources = Sources::default().renumbered(&inventory.targets, |_| None);
        inventory.add_named();
        inventory
    }

    /// Whether a target's finished scan counts as this complete. It does not while a tag list was truncated, or no list was
    /// read, or, except for [`Completeness::Listed`], while a selected tag is unread. [`Completeness::Catalog`] asks for
    /// the catalog alone.
    pub fn is_scanned(&self, target: &TargetName, completeness: Completeness) -> bool {
        let Some(number) = self.targets.find(target) else { return true };
        if completeness == Completeness::Catalog {
            return self.catalogs[number as usize].is_whole();
        }
        if self.holds_none(number) {
            return true;
        }
        let lists = self.targets.get(number).selection.lists();
        let is_unread = |state: &TagState| match completeness {
            Completeness::Catalog | Completeness::Listed => false,
            Completeness::Settled => state.is_awaited(),
            Completeness::Whole => state.is_unknown(),
        };
        let is_missing = |state: &TagState| state.is_selected() && is_unread(state);
        let is_listed = |repository: &RepositoryState| {
            !lists || repository.whole.contains(&number) && !repository.partial.contains(&number)
        };
        let repositories = || self.selected_repositories(number).map(|(_, repository)| repository);
        repositories().any(is_listed)
            && repositories().all(|repository| {
                repository.selected_by(number).all(|(_, state)| is_listed(repository) && !is_missing(state))
            })
    }

    /// As of the last snapshot: the targets that select a tag whose last reading was incomplete, whichever target read
    /// it.
    pub fn targets_down(&self) -> HashSet<TargetName> {
        let repositories = self.registries.values().flat_map(|registry| registry.repositories.values());
        let down: HashSet<u32> = repositories.flat_map(|repository| repository.down.iter().copied()).collect();
        down.into_iter().map(|target| self.targets.get(target).name.clone()).collect()
    }

    /// As of the last snapshot: what each target selects. A target whose lists were never read to their ends, or of which
    /// one is cut, is left out: it may select more.
    pub fn targets_selected(&self) -> HashMap<TargetName, Selected> {
        let mut counts: Vec<Option<Selected>> = self
            .targets
            .iter()
            .map(|(number, target)| {
                let is_listed = self.listed[number as usize] && self.catalogs[number as usize].is_whole();
                (target.names_all() || is_listed).then(Selected::default)
            })
            .collect();
        for repository in self.registries.values().flat_map(|registry| registry.repositories.values()) {
            for (&target, tags) in repository.targets.iter().zip(&repository.selected) {
                if let Some(selected) = &mut counts[target as usize] {
                    selected.repositories += 1;
                    selected.tags += tags;
                }
            }
            for &target in &repository.partial {
                counts[target as usize] = None;
            }
        }
        let named = self.targets.iter().map(|(_, target)| target.name.clone());
        named.zip(counts).filter_map(|(name, selected)| Some((name, selected?))).collect()
    }

    /// Whether other shards have all repositories of a target.
    fn holds_none(&self, target: u32) -> bool {
        self.is_sharded()
            && self.catalogs[target as usize].is_whole()
            && self.selected_repositories(target).next().is_none()
    }

    /// The repositories that a target selects now. For a target whose repositories are named these are lookups.
    fn selected_repositories(&self, target: u32) -> impl Iterator<Item = (&Repository, &RepositoryState)> {
        let repositories = &self.targets.get(target).repositories;
        let states: Vec<&RegistryState> = match repositories.registry() {
            Some(registry) => self.registries.get(registry).into_iter().collect(),
            None => self.registries.values().collect(),
        };
        let names = repositories.only_names();
        let found = states.into_iter().flat_map(move |state| {
            let named = names.into_iter().flatten().filter_map(|name| state.repositories.get_key_value(name));
            let all = names.is_none().then_some(&state.repositories);
            named.chain(all.into_iter().flatten())
        });
        found.filter(move |(_, state)| state.targets.contains(&target))
    }

    /// Assigns the tags that a target reads in the scan that begins now: those that it owns, except those that the
    /// previous owner is reading.
    pub fn assign(&mut self, target: &TargetName) -> Vec<TagRequest> {
        let Some(number) = self.targets.find(target) else { return Vec::new() };
        let repositories = &self.targets.get(number).repositories;
        let assign = |(name, repository): (&Repository, &mut RepositoryState)| -> Vec<TagRequest> {
            let owned = repository.tags.iter_mut().filter(|(_, state)| state.settings.owner == number);
            let assigned = owned.filter_map(|(tag, state)| state.assign().then_some((tag, state)));
            assigned.map(|(tag, state)| state.request(name, tag)).collect()
        };
        if let Some(names) = repositories.only_names() {
            let mut requests = Vec::new();
            for name in names {
                let state = self.registries.get_mut(name.registry());
                let repository = state.and_then(|state| state.repositories.get_mut(name));
                requests.extend(repository.into_iter().flat_map(|repository| assign((name, repository))));
            }
            return requests;
        }
        let is_on = |registry: &Registry| repositories.registry().is_none_or(|only| only == registry);
        let states = self.registries.iter_mut().filter(|(registry, _)| is_on(registry)).map(|(_, state)| state);
        let all = states.flat_map(|state| &mut state.repositories);
        all.filter(|(_, state)| state.targets.contains(&number)).flat_map(assign).collect()
    }

    /// Applies the outcome of a reading; returns the change for the store. An observation of a tag that no target
    /// selects any more is ignored.
    pub fn record(&mut self, observation: &Observation) -> Option<TagChange> {
        let Observation { repository, tag, at, outcome } = observation;
        let registry = self.registries.get_mut(repository.registry())?;
        let in_repository = registry.repositories.get_mut(repository)?;
        let state = in_repository.tags.get_mut(tag)?;
        let place = (in_repository.number, repository, tag);
        let mut contents = Contents::new(&mut registry.layers, &mut self.bases, place);
        let part = match state.record(*at, outcome, &mut contents) {
            Effect::None => return None,
            Effect::Times => StalePart::View,
            Effect::Content => StalePart::Sums,
        };
        let kept = state.to_record();
        registry.stale.mark_with(&mut in_repository.stale, part);
        Some(TagChange { repository: repository.clone(), tag: tag.clone(), kept })
    }

    /// A target's scan has ended, successfully or not. Once each target of a registry has ended one, the registry's
    /// sums are published. Tags that a reload adds enter the sums at the end of their target's first scan, so that the
    /// sums neither climb step by step nor disappear meanwhile.
    pub fn scan_ended(&mut self, target: &TargetName) {
        let Some(number) = self.targets.find(target) else { return };
        if !std::mem::replace(&mut self.ended[number as usize], true) {
            match self.targets.get(number).repositories.registry().cloned() {
                Some(registry) => self.sum_if_scanned(&registry),
                None => self.sum_all_scanned(),
            }
        }
    }

    /// Drops tags that have been unreadable for longer than `keep`; returns the changes for the store.
    pub fn expire(&mut self, now: Timestamp) -> Vec<TagChange> {
        let deadline = now - self.keep.as_secs_f64();
        let mut forgotten = Vec::new();
        for registry in self.registries.values_mut() {
            for (name, repository) in &mut registry.repositories {
                for (tag, state) in &mut repository.tags {
                    let place = (repository.number, name, tag);
                    let mut contents = Contents::new(&mut registry.layers, &mut self.bases, place);
                    if state.expire(deadline, &mut contents) {
                        registry.stale.mark_with(&mut repository.stale, StalePart::Sums);
                        forgotten.push(TagChange { repository: name.clone(), tag: tag.clone(), kept: None });
                    }
                }
            }
        }
        forgotten
    }

    /// The documents and blobs that the store has to keep: those of known tags, failed children included, which are
    /// tried again; layers only where the store has a record of them.
    pub fn digests_in_use(&self) -> HashSet<Digest> {
        let mut digests = HashSet::new();
        for state in self.registries.values() {
            for tag in state.repositories.values().flat_map(|repository| repository.tags.values()) {
                let Some(content) = &tag.content else { continue };
                digests.insert(content.known.digest.clone());
                digests.extend(content.known.failed.iter().map(|child| child.digest.clone()));
                for image in &content.images {
                    digests.insert(image.summary.digest.clone());
                    digests.extend(image.summary.image_id.clone());
                    let is_schema1 = image.summary.image_id.is_none();
                    if is_schema1 || tag.settings.uncompressed != Uncompressed::Off {
                        for listed in image.stored.iter() {
                            digests.insert(state.layers.digest(listed.layer).clone());
                            digests.extend(state.layers.facts(listed.layer).diff_id.clone());
                        }
                    }
                }
            }
        }
        digests
    }

    /// Sets the policies of which snapshots say what they would free. Without a time nothing is old.
    pub fn set_policies(&mut self, policies: &[Arc<RetentionPolicy>]) {
        self.policies = Policies::new(policies, &self.targets);
        for registry in self.registries.values_mut() {
            registry.reclaimable = Reclaimable::default();
            for repository in registry.repositories.values_mut() {
                repository.judged = Judged::default();
                registry.stale.mark_with(&mut repository.stale, StalePart::View);
            }
        }
    }

    /// Sets where the commands that made layers are looked up, of newest releases alone.
    pub fn set_commands(&mut self, commands: CommandSource) {
        self.commands = commands;
    }

    /// Sets where what is stored about bases is looked up: before the first tag is restored or read.
    pub fn set_bases(&mut self, source: BaseSource) {
        self.bases.source = source;
    }

    /// The bases that were found since the last call, for the store, by the manifests of the images that are built on them.
    pub fn bases_found(&mut self) -> Vec<(Digest, Arc<Base>)> {
        std::mem::take(&mut self.bases_found)
    }

    /// Sets the time of the next snapshot, at which policies judge.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
        if self.policies.is_empty() {
            return;
        }
        for registry in self.registries.values_mut() {
            if registry.repositories.values().any(|repository| repository.judged.is_over(now)) {
                registry.stale.mark(StalePart::View);
            }
        }
    }

    /// The current snapshot; the same `Arc` as last time where nothing changed.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.compare_catalogs();
        self.refresh_bases();
        let mut any = self.stale.take_view();
        for (name, registry) in &mut self.registries {
            if registry.stale.take_view() {
                let judges = (&self.policies, &self.sources, self.now);
                let elsewhere = self.others.on(name);
                self.warnings.extend(views::refresh_sums(name, registry, &self.targets, judges, elsewhere));
                views::refresh(name, registry, &self.targets, &self.policies, &self.commands);
                any = true;
            }
        }
        any |= self.refresh_sources(any);
        if any {
            let views = self.registries.values().filter_map(|state| state.view.clone());
            self.snapshot = Arc::new(Snapshot { registries: views.collect(), sources: self.source_views() });
        }
        Arc::clone(&self.snapshot)
    }

    /// The warnings since the last call.
    pub fn warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}

#[cfg(test)]
mod tests;
