//! The views of one registry.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::bases;
use super::elsewhere::RegistryElsewhere;
use super::largest_change::CommandsOf;
use super::layer_table::{LayerTable, StoredImage};
use super::newest::newest;
use super::policies::{self, Policies};
use super::running::Sources;
use super::snapshot::{
    ElsewhereView, GroupView, ImageLayers, ImageView, NewestView, RegistryView, RepositoryView, TagView, TagsTogether,
};
use super::state::{RegistryState, RepositoryState};
use super::tag_settings::Targets;
use super::tag_state::TagState;
use super::warning::Warning;
use crate::image::Timestamp;
use crate::image::accounting::SeriesUsage;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::RegistryExtent;
use crate::target::Uncompressed;

/// Updates the sums of a registry, and what policies say of it, before its view is updated.
pub(super) fn refresh_sums(
    name: &Registry,
    registry: &mut RegistryState,
    targets: &Targets,
    (policies, sources, now): (&Policies, &Sources, Timestamp),
    elsewhere: &mut RegistryElsewhere,
) -> Vec<Warning> {
    let tells_others = registry.shared.is_some() && policies.about(name, targets).next().is_some();
    registry.layers.note_documents(tells_others);
    let [layers, documents] = registry.layers.take_renumbered();
    let RegistryElsewhere { layers: layers_elsewhere, blobs } = elsewhere;
    if !tells_others {
        blobs.drop_changed();
    }
    let blobs = tells_others.then_some(blobs);
    policies::judge_all(registry, [&layers, &documents], targets, (policies, sources, now), blobs);
    let other_sums = registry.account(targets, layers, layers_elsewhere);
    policies::note_known(registry);
    if !other_sums {
        return Vec::new();
    }
    let conflicts = registry.take_conflicts().into_iter();
    conflicts.map(|(digest, bytes)| Warning::SizesDisagree { registry: name.clone(), digest, bytes }).collect()
}

/// Updates the view of a registry. Only the views of repositories that changed, or whose sums changed, are rebuilt.
pub(super) fn refresh(
    name: &Registry,
    registry: &mut RegistryState,
    targets: &Targets,
    policies: &Policies,
    commands_of: CommandsOf<'_>,
) {
    let mut repositories = Vec::with_capacity(registry.repositories.len());
    for (name, state) in &mut registry.repositories {
        if state.stale.take_view() {
            let mut view = repository(name, state, targets, &registry.layers);
            view.newest = newest_views(state, targets, &registry.layers, commands_of);
            view.reclaimable =
                policies::repository_views(&state.judged, &registry.reclaimable, policies, registry.extent.reclaimable);
            if registry.extent.is_part {
                withhold_shared(&mut view);
            }
            if registry.extent.has_unread_catalog {
                // People delete images because of this figure.
                for of in &mut view.reclaimable {
                    of.bytes = None;
                }
            }
            state.view = is_published(name, state, targets).then(|| Arc::new(view));
            state.down = down(state);
            state.selected = selected(state);
        }
        repositories.extend(state.view.clone());
    }
    let has_cut_list = registry.extent.elsewhere == RegistryExtent::PartOfLists
        || registry.repositories.values().any(|repository| !repository.partial.is_empty());
    let is_whole = !registry.extent.is_part && !has_cut_list;
    let stored_bytes = (is_whole && registry.usage.series > 0).then_some(registry.usage.stored_bytes);
    let mut reclaimable = policies::views(&registry.reclaimable, policies, registry.extent.reclaimable);
    if registry.extent.has_unread_catalog {
        for of in &mut reclaimable {
            (of.bytes, of.tags) = (None, None);
        }
    }
    let view = RegistryView {
        registry: name.clone(),
        stored_bytes,
        elsewhere: ElsewhereView {
            has_images: !targets.shard.is_only(),
            is_told: registry.extent.is_told_elsewhere,
            is_reclaimable_told: registry.extent.reclaimable.is_told,
        },
        groups: groups(registry),
        reclaimable,
        layers: registry.layers.digests().clone(),
        repositories,
    };
    registry.view = (!view.repositories.is_empty()).then(|| Arc::new(view));
}

/// The groups, without those of which only a part is known: those of tags beside which there may be unread ones, and
/// those whose targets may select more. Unread repositories may be in any group, and share layers with all.
fn groups(registry: &RegistryState) -> Vec<GroupView> {
    // Of which groups another shard knows only a part is not told.
    if registry.extent.is_part || registry.extent.elsewhere == RegistryExtent::PartOfLists {
        return Vec::new();
    }
    let partial = registry.repositories.values().filter(|repository| !repository.partial.is_empty());
    let withheld: HashSet<&Arc<str>> = partial
        .flat_map(|one| one.counted.groups().chain(one.groups.given_by(|target| one.partial.contains(&target))))
        .collect();
    if registry.shared.is_some() {
        if registry.usage.series == 0 || registry.extent.is_told_elsewhere {
            return Vec::new();
        }
        let known = registry.groups_of_all.iter().filter(|view| !withheld.contains(&view.group));
        return known.cloned().collect();
    }
    let known = registry.usage.groups.iter().filter(|(group, _)| !withheld.contains(group));
    let views = known.map(|(group, usage)| GroupView { group: Arc::clone(group), usage: *usage });
    let mut views: Vec<GroupView> = views.collect();
    views.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    views
}

/// Whether a repository is published: under a wildcard, only with a selected tag.
fn is_published(name: &Repository, repository: &RepositoryState, targets: &Targets) -> bool {
    let by_name = |&target: &u32| targets.get(target).repositories.names().contains(name);
    repository.tags.values().any(TagState::is_selected) || repository.targets.iter().any(by_name)
}

/// The targets that select a tag of the repository that is published as down.
fn down(repository: &RepositoryState) -> Vec<u32> {
    let down = repository.tags.values().filter(|state| state.up == Some(false) && state.is_selected());
    let mut targets: Vec<u32> = down.flat_map(|state| state.settings.targets.iter().copied()).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// How many tags each of the repository's targets selects.
fn selected(repository: &RepositoryState) -> Vec<u64> {
    let mut counts = vec![0; repository.targets.len()];
    for state in repository.tags.values().filter(|state| state.is_selected()) {
        for target in &state.settings.targets {
            if let Ok(position) = repository.targets.binary_search(target) {
                counts[position] += 1;
            }
        }
    }
    counts
}

fn repository(
    name: &Repository,
    repository: &RepositoryState,
    targets: &Targets,
    layers: &LayerTable,
) -> RepositoryView {
    let figures = &repository.figures;
    let mut stored_bytes = figures.tags.iter().copied();
    let mut series = figures.series.iter().copied();
    let mut tags = Vec::with_capacity(repository.tags.len());
    for (name, state) in &repository.tags {
        let mut view = tag(name, state, layers, stored_bytes.next().flatten(), &mut series);
        if !repository.partial.is_empty() {
            withhold_shares(&mut view);
        }
        if state.is_selected() && state.settings.images {
            tags.push(view);
        }
    }
    let selected = || repository.tags.values().filter(|state| state.is_selected());
    let count = selected().count() as u64;
    // A partially read list says nothing about the whole repository.
    let lists = repository.targets.iter().any(|&target| targets.get(target).selection.lists());
    let is_known = repository.partial.is_empty() && (repository.listed || !lists);
    let usage = figures.usage.filter(|_| repository.partial.is_empty());
    RepositoryView {
        repository: name.clone(),
        stored_bytes: usage.map(|usage| usage.stored_bytes),
        unique_bytes: usage.map(|usage| usage.unique_bytes),
        proportional_bytes: usage.map(|usage| usage.proportional_bytes),
        metadata_bytes: usage.map(|_| metadata_bytes(repository)),
        tags_selected: is_known.then_some(count),
        tags_unknown: is_known.then(|| selected().filter(|state| state.is_unknown()).count() as u64),
        reclaimable: Vec::new(),
        labels: labels(repository, targets),
        newest: Vec::new(),
        together: TagsTogether::of(&tags),
        tags,
    }
}

/// Withholds what unread repositories of the registry may change.
fn withhold_shared(view: &mut RepositoryView) {
    (view.unique_bytes, view.proportional_bytes) = (None, None);
    view.tags.iter_mut().for_each(withhold_shares);
}

/// Withholds what unread images that share layers with a tag's may change.
fn withhold_shares(view: &mut TagView) {
    for image in &mut view.images {
        (image.unique_bytes, image.proportional_bytes) = (None, None);
    }
}

fn tag(
    name: &Tag,
    state: &TagState,
    layers: &LayerTable,
    stored_bytes: Option<u64>,
    series: &mut impl Iterator<Item = SeriesUsage>,
) -> TagView {
    let stored_bytes = stored_bytes.filter(|_| state.is_complete());
    // A filtered iterator that is collected has room for four, of which most tags have one: a tenth of all memory.
    let mut images: Vec<ImageView> = Vec::with_capacity(state.images().count());
    images.extend(state.images().map(|one| image(one, state, layers, series)));
    images.sort_by(|a, b| a.platform.cmp(&b.platform));
    let known = state.content.as_ref().map(|content| &content.known);
    TagView {
        tag: name.clone(),
        info: known.map(|known| (known.digest.clone(), known.media_type.clone())),
        stored_bytes,
        attestations: known.map(|known| known.attestations),
        up: state.up,
        last_success: state.last_success,
        changed: state.changed,
        images,
        past: state.past.clone(),
    }
}

fn image(
    image: &StoredImage,
    state: &TagState,
    layers: &LayerTable,
    series: &mut impl Iterator<Item = SeriesUsage>,
) -> ImageView {
    let shares = if state.in_sums && image.is_sized { series.next() } else { None };
    let has_content = state.settings.uncompressed != Uncompressed::Off;
    let lists_files = state.settings.uncompressed == Uncompressed::Files;
    let content = if has_content { layers.content(image) } else { None };
    ImageView {
        platform: image.platform.clone(),
        image: image.summary.clone(),
        layers: ImageLayers(Arc::clone(&image.stored)),
        places: image.places.clone(),
        foreign: image.foreign.clone(),
        unique_bytes: shares.map(|shares| shares.unique_bytes),
        proportional_bytes: shares.map(|shares| shares.proportional_bytes),
        uncompressed: content.map(|content| (content.uncompressed_bytes, content.estimated)),
        unpacked_bytes: content.and_then(|content| content.unpacked_bytes),
        wasted_bytes: layers.wasted(image).filter(|_| lists_files).and_then(Result::ok),
        budget_bytes: state.settings.budget_bytes,
        base: bases::view(image),
    }
}

/// Bytes of the distinct configs, manifests and indexes; where documents list different sizes the smallest counts.
fn metadata_bytes(repository: &RepositoryState) -> u64 {
    let mut documents: Vec<(&Digest, u64)> = Vec::new();
    for state in repository.tags.values().filter(|state| state.in_sums) {
        let index = state.content.as_ref().map(|content| (&content.known.digest, content.known.index_bytes));
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

/// The merged labels of all targets that select the repository; on a conflict the first target in the file wins.
fn labels(repository: &RepositoryState, targets: &Targets) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in repository.targets.iter().flat_map(|&target| &targets.get(target).labels) {
        labels.entry(format!("label_{key}")).or_insert_with(|| value.clone());
    }
    labels
}

fn newest_views(
    repository: &RepositoryState,
    targets: &Targets,
    layers: &LayerTable,
    commands_of: CommandsOf<'_>,
) -> Vec<NewestView> {
    let views = repository.candidates.iter().filter(|(target, _)| !repository.partial.contains(target)).flat_map(
        |(target, candidates)| newest(targets.get(*target), candidates, &repository.tags, layers, commands_of),
    );
    let mut views: Vec<NewestView> = views.collect();
    views.sort_by(|a, b| (&a.target, &a.platform).cmp(&(&b.target, &b.platform)));
    views
}
