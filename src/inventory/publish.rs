//! What is held of one registry, as it is published.

use std::collections::BTreeMap;

use super::holdings::{HeldImage, Holdings};
use super::life::TagState;
use super::meaning::Targets;
use super::newest::newest;
use super::snapshot::{ImageView, NewestView, RegistryView, RepositoryView, TagView};
use super::{RegistryState, RepositoryState};
use crate::accounting::{RepositoryUsage, Series, SeriesUsage, Usage, account};
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::selection::Repositories;
use crate::target::Uncompressed;

/// Accounts for all that is held of a registry.
pub(super) fn usage(state: &RegistryState) -> Usage {
    let mut series = Vec::new();
    let mut tag = 0;
    for (repository, of) in (0..).zip(state.repositories.values()) {
        for state in of.tags.values() {
            let counted = state.images().filter(|image| image.is_counted);
            series.extend(counted.map(|image| Series { repository, tag, image: image.number, layers: &image.stored }));
            tag += 1;
        }
    }
    account(&series, state.holdings.layers_end())
}

/// What is published of a registry; nothing where no repository of it is watched. Without `usage` no sums are.
pub(super) fn registry(
    registry: &Registry,
    state: &RegistryState,
    targets: &Targets,
    usage: Option<&Usage>,
) -> Option<RegistryView> {
    let mut figures = Figures { usage, tag: 0, series: 0 };
    let mut repositories = Vec::with_capacity(state.repositories.len());
    for (number, (name, of)) in state.repositories.iter().enumerate() {
        let view = repository(name, of, targets, &state.holdings, &mut figures);
        let usage = usage.and_then(|usage| *usage.repositories.get(number)?);
        if is_published(&view, of, targets) {
            repositories.push(with_usage(view, of, usage));
        }
    }
    let any_series = usage.is_some_and(|usage| !usage.series.is_empty());
    let stored_bytes = usage.filter(|_| any_series).map(|usage| usage.stored_bytes);
    let view = RegistryView { registry: registry.clone(), stored_bytes, repositories };
    (!view.repositories.is_empty()).then_some(view)
}

/// A repository under a wildcard without a tag that is meant is none that is watched.
fn is_published(view: &RepositoryView, of: &RepositoryState, targets: &Targets) -> bool {
    let by_name = |&target: &u32| matches!(targets.get(target).repositories, Repositories::One(_));
    view.tags_selected > 0 || of.targets.iter().any(by_name)
}

fn with_usage(mut view: RepositoryView, of: &RepositoryState, usage: Option<RepositoryUsage>) -> RepositoryView {
    if let Some(usage) = usage {
        view.stored_bytes = Some(usage.stored_bytes);
        view.unique_bytes = Some(usage.unique_bytes);
        view.metadata_bytes = Some(metadata_bytes(of));
    }
    view
}

/// The figures of tags and series, handed out in the order in which they were accounted for.
struct Figures<'a> {
    usage: Option<&'a Usage>,
    tag: usize,
    series: usize,
}

impl Figures<'_> {
    fn next_tag(&mut self) -> Option<u64> {
        self.tag += 1;
        *self.usage?.tag_stored_bytes.get(self.tag - 1)?
    }

    fn next_series(&mut self) -> Option<SeriesUsage> {
        self.series += 1;
        self.usage?.series.get(self.series - 1).copied()
    }
}

fn repository(
    name: &Repository,
    of: &RepositoryState,
    targets: &Targets,
    holdings: &Holdings,
    figures: &mut Figures,
) -> RepositoryView {
    let mut tags = Vec::new();
    for (name, state) in &of.tags {
        let view = tag(name, state, holdings, figures);
        if state.is_selected() && state.meaning.images {
            tags.push(view);
        }
    }
    let selected = || of.tags.values().filter(|state| state.is_selected());
    RepositoryView {
        repository: name.clone(),
        stored_bytes: None,
        unique_bytes: None,
        metadata_bytes: None,
        tags_selected: selected().count() as u64,
        tags_unknown: selected().filter(|state| state.is_unknown()).count() as u64,
        labels: labels(of, targets),
        newest: newest_views(of, targets),
        tags,
    }
}

fn tag(name: &Tag, state: &TagState, holdings: &Holdings, figures: &mut Figures) -> TagView {
    let stored_bytes = figures.next_tag().filter(|_| state.is_whole());
    let mut images: Vec<ImageView> = state.images().map(|held| image(held, state, holdings, figures)).collect();
    images.sort_by(|a, b| a.platform.cmp(&b.platform));
    TagView {
        tag: name.clone(),
        info: state.held.as_ref().map(|held| (held.known.digest.clone(), held.known.media_type.clone())),
        stored_bytes,
        attestations: state.held.as_ref().map(|held| held.known.attestations),
        up: state.up,
        last_success: state.last_success,
        changed: state.changed,
        images,
    }
}

fn image(held: &HeldImage, state: &TagState, holdings: &Holdings, figures: &mut Figures) -> ImageView {
    let shares = if held.is_counted { figures.next_series() } else { None };
    let wants_content = state.meaning.uncompressed != Uncompressed::Off;
    let content = if wants_content { holdings.content(held) } else { None };
    ImageView {
        platform: held.platform.clone(),
        image: held.summary.clone(),
        unique_bytes: shares.map(|shares| shares.unique_bytes),
        proportional_bytes: shares.map(|shares| shares.proportional_bytes),
        uncompressed: content.map(|content| (content.uncompressed_bytes, content.estimated)),
        unpacked_bytes: content.and_then(|content| content.unpacked_bytes),
        budget_bytes: state.meaning.budget_bytes,
    }
}

/// Bytes of the distinct configs, manifests and indexes; where documents disagree about one's size the smallest counts.
fn metadata_bytes(of: &RepositoryState) -> u64 {
    let mut documents: Vec<(&Digest, u64)> = Vec::new();
    for state in of.tags.values() {
        let index = state.held.as_ref().map(|held| (&held.known.digest, held.known.index_bytes));
        documents.extend(index.filter(|(_, bytes)| *bytes > 0));
        for image in state.images().map(|image| &image.summary) {
            documents.push((&image.digest, image.manifest_bytes));
            documents.extend(image.image_id.as_ref().map(|config| (config, image.config_bytes)));
        }
    }
    documents.sort_unstable();
    documents.dedup_by(|a, b| a.0 == b.0);
    documents.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// The labels of all targets that mean something of the repository, of which the first in the file wins.
fn labels(of: &RepositoryState, targets: &Targets) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in of.targets.iter().flat_map(|&target| &targets.get(target).labels) {
        labels.entry(format!("label_{key}")).or_insert_with(|| value.clone());
    }
    labels
}

fn newest_views(of: &RepositoryState, targets: &Targets) -> Vec<NewestView> {
    let views =
        of.candidates.iter().flat_map(|(target, candidates)| newest(targets.get(*target), candidates, &of.tags));
    let mut views: Vec<NewestView> = views.collect();
    views.sort_by(|a, b| (&a.target, &a.platform).cmp(&(&b.target, &b.platform)));
    views
}
