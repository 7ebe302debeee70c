//! What is held of one registry, as it is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layer_table::{LayerTable, StoredImage};
use super::newest::newest;
use super::policy::Targets;
use super::snapshot::{ImageView, NewestView, RegistryView, RepositoryView, TagView};
use super::sums::Figures;
use super::tag_state::TagState;
use super::{RegistryState, RepositoryState};
use crate::image::accounting::SeriesUsage;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::Warning;
use crate::target::{Repositories, Uncompressed};

/// Makes what is published of a registry follow from what is held. Only repositories of which anything changed, or
/// whose sums did, are made anew.
pub(super) fn refresh(name: &Registry, state: &mut RegistryState, targets: &Targets, warnings: &mut Vec<Warning>) {
    if !state.has_sums {
        state.unaccount();
    } else if !state.is_accounted {
        state.account();
        for (digest, bytes) in state.holdings.unheard(&state.usage.disagreeing) {
            warnings.push(Warning::SizesDisagree { registry: name.clone(), digest, bytes });
        }
    }
    let mut repositories = Vec::with_capacity(state.repositories.len());
    for (name, of) in &mut state.repositories {
        if of.view.is_none() {
            let figures = Figures::at(of.place.as_ref(), &state.usage);
            of.view = Some(Arc::new(repository(name, of, figures, targets, &state.holdings)));
        }
        repositories.extend(of.view.clone().filter(|_| is_published(of, targets)));
    }
    let stored_bytes = (!state.usage.series.is_empty()).then_some(state.usage.stored_bytes);
    let view = RegistryView { registry: name.clone(), stored_bytes, repositories };
    state.view = (!view.repositories.is_empty()).then(|| Arc::new(view));
    state.is_fresh = true;
}

/// A repository under a wildcard without a tag that is meant is none that is watched.
fn is_published(of: &RepositoryState, targets: &Targets) -> bool {
    let by_name = |&target: &u32| matches!(targets.get(target).repositories, Repositories::One(_));
    of.tags.values().any(TagState::is_selected) || of.targets.iter().any(by_name)
}

fn repository(
    name: &Repository,
    of: &RepositoryState,
    figures: Figures<'_>,
    targets: &Targets,
    holdings: &LayerTable,
) -> RepositoryView {
    let mut stored_bytes = figures.tags.iter().copied();
    let mut series = figures.series.iter().copied();
    let mut tags = Vec::with_capacity(of.tags.len());
    for (name, state) in &of.tags {
        let view = tag(name, state, holdings, stored_bytes.next().flatten(), &mut series);
        if state.is_selected() && state.meaning.images {
            tags.push(view);
        }
    }
    let selected = || of.tags.values().filter(|state| state.is_selected());
    let count = selected().count() as u64;
    // A list that was not read to its end says nothing of the whole repository.
    let is_known =
        of.partial.is_empty() && (of.listed || !of.targets.iter().any(|&target| targets.get(target).selection.lists()));
    let usage = figures.usage.filter(|_| of.partial.is_empty());
    RepositoryView {
        repository: name.clone(),
        stored_bytes: usage.map(|usage| usage.stored_bytes),
        unique_bytes: usage.map(|usage| usage.unique_bytes),
        metadata_bytes: usage.map(|_| metadata_bytes(of)),
        tags_selected: is_known.then_some(count),
        tags_unknown: is_known.then(|| selected().filter(|state| state.is_unknown()).count() as u64),
        labels: labels(of, targets),
        newest: newest_views(of, targets),
        tags,
    }
}

fn tag(
    name: &Tag,
    state: &TagState,
    holdings: &LayerTable,
    stored_bytes: Option<u64>,
    series: &mut impl Iterator<Item = SeriesUsage>,
) -> TagView {
    let stored_bytes = stored_bytes.filter(|_| state.is_whole());
    let mut images: Vec<ImageView> = state.images().map(|held| image(held, state, holdings, series)).collect();
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

fn image(
    held: &StoredImage,
    state: &TagState,
    holdings: &LayerTable,
    series: &mut impl Iterator<Item = SeriesUsage>,
) -> ImageView {
    let shares = if state.in_sums && held.is_counted { series.next() } else { None };
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
    for state in of.tags.values().filter(|state| state.in_sums) {
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
    let views = of
        .candidates
        .iter()
        .filter(|(target, _)| !of.partial.contains(target))
        .flat_map(|(target, candidates)| newest(targets.get(*target), candidates, &of.tags));
    let mut views: Vec<NewestView> = views.collect();
    views.sort_by(|a, b| (&a.target, &a.platform).cmp(&(&b.target, &b.platform)));
    views
}
