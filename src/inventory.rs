//! What is known of every watched tag: the one place that observations change, and that snapshots come from.
//!
//! Not here: when anything is read (`scheduler`), how (`scan`, `discovery`), and what is remembered on disk (`store`).

mod interner;
mod layer_table;
mod newest;
mod policy;
mod reconcile;
mod restore;
pub mod snapshot;
mod sums;
mod tag_state;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::image::accounting::Usage;
use crate::image::{LayerContent, Timestamp};
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::target::{Repositories, Target, TargetName, Uncompressed};

use layer_table::LayerTable;
use newest::Candidate;
use policy::Targets;
use snapshot::{RegistryView, RepositoryView};
use sums::{Counted, Place};
use tag_state::{Effect, TagState};

pub use crate::tag::{
    Child, Completeness, Discovered, DiscoveredRepository, Known, LayerRequest, Observation, Outcome, Reading,
    TagChange, TagRecord, TagRequest, Warning,
};
pub use snapshot::Snapshot;

/// What is known of every tag that some target means.
pub struct Inventory {
    targets: Targets,
    /// By target: whether its first pass has ended, restored values included.
    ended: Vec<bool>,
    keep: Duration,
    registries: BTreeMap<Registry, RegistryState>,
    warnings: Vec<Warning>,
    /// The disagreements about labels that somebody heard of: label, and the two targets.
    warned_labels: HashSet<(String, TargetName, TargetName)>,
    snapshot: Option<Arc<Snapshot>>,
}

/// What is known of one registry.
#[derive(Default)]
struct RegistryState {
    repositories: BTreeMap<Repository, RepositoryState>,
    holdings: LayerTable,
    /// Whether each of its targets had ended a pass at some time: then there are sums, of the tags that take part.
    has_sums: bool,
    /// The figures, as they were last accounted for; empty where none are published.
    usage: Usage,
    /// Whether they are of what is held now.
    is_accounted: bool,
    /// What is published, if anything is.
    view: Option<Arc<RegistryView>>,
    /// Whether `view` is what would be published now.
    is_fresh: bool,
}

/// What is known of one repository.
#[derive(Default)]
struct RepositoryState {
    /// The targets that mean something of it, ascending.
    targets: Vec<u32>,
    /// By target that wants the newest release: what it is picked among, newest first.
    candidates: BTreeMap<u32, Vec<Candidate>>,
    tags: BTreeMap<Tag, TagState>,
    /// Whether some target's list was ever read to its end, or none was needed.
    listed: bool,
    /// The targets that know a part of its tag list only, so that figures of the whole repository are withheld.
    partial: BTreeSet<u32>,
    /// Where its figures stand in its registry's `usage`.
    place: Option<Place>,
    /// What of it takes part in sums; none where any of that changed since it was last accounted for.
    counted: Option<Counted>,
    /// What is published of it; none where anything of it, or its figures, changed since.
    view: Option<Arc<RepositoryView>>,
}

impl Inventory {
    /// Knows the tags that are configured by name, and nothing of them. What stays unreadable for `keep` is dropped.
    pub fn new(targets: &[Arc<Target>], keep: Duration) -> Self {
        let mut inventory = Self {
            targets: Targets::new(targets),
            ended: vec![false; targets.len()],
            keep,
            registries: BTreeMap::new(),
            warnings: Vec::new(),
            warned_labels: HashSet::new(),
            snapshot: None,
        };
        inventory.add_named();
        inventory
    }

    /// Whether a target's scan, that has ended, was such a pass: not where it means tags of which nothing is known, not
    /// even that they do not exist, nor where it knows some from a list of which nobody saw the end, or none since not
    /// one list was read.
    pub fn passed(&self, target: &TargetName, pass: Completeness) -> bool {
        let Some(number) = self.targets.find(target) else { return true };
        let lists = self.targets.get(number).selection.lists();
        let is_unknown = |state: &TagState| match pass {
            Completeness::Settled => state.is_awaited(),
            Completeness::Whole => state.is_unknown(),
        };
        let lacks = |state: &TagState| state.is_selected() && is_unknown(state);
        let repositories = || self.repositories_meant(number).map(|(_, of)| of);
        repositories().any(|of| !lists || of.listed)
            && !repositories().any(|of| of.meant(number).any(|(_, state)| lists && !of.listed || lacks(state)))
    }

    /// Whether all that other targets read of what this one means was read, as far as they tried.
    pub fn others_are_up(&self, target: &TargetName) -> bool {
        let Some(number) = self.targets.find(target) else { return true };
        let meant = self.repositories_meant(number).flat_map(|(_, of)| of.meant(number));
        let mut others =
            meant.map(|(_, state)| state).filter(|state| state.meaning.owner != number && state.is_selected());
        others.all(|state| state.up != Some(false))
    }

    /// The repositories of which a target means something now: for one of a thousand, the others need no look.
    fn repositories_meant(&self, target: u32) -> impl Iterator<Item = (&Repository, &RepositoryState)> {
        let repositories = &self.targets.get(target).repositories;
        let registry = self.registries.get(repositories.registry());
        let (one, many) = match repositories {
            Repositories::One(name) => (registry.and_then(|state| state.repositories.get_key_value(name)), None),
            Repositories::Matching(_) => (None, registry.map(|state| &state.repositories)),
        };
        one.into_iter().chain(many.into_iter().flatten()).filter(move |(_, of)| of.targets.contains(&target))
    }

    /// What a target's scan has to read, now that it begins: the tags that it owns, but for those that the target from
    /// which it just took them over reads.
    pub fn to_read(&mut self, target: &TargetName) -> Vec<TagRequest> {
        let Some(number) = self.targets.find(target) else { return Vec::new() };
        let repositories = &self.targets.get(number).repositories;
        let Some(state) = self.registries.get_mut(repositories.registry()) else { return Vec::new() };
        let one = |(name, of): (&Repository, &mut RepositoryState)| -> Vec<TagRequest> {
            let owned = of.tags.iter_mut().filter(|(_, state)| state.meaning.owner == number);
            let given = owned.filter_map(|(tag, state)| state.give().then_some((tag, state)));
            let to_read = |(tag, state): (&Tag, &mut TagState)| TagRequest {
                repository: name.clone(),
                tag: tag.clone(),
                known: state.held.as_ref().map(|held| Arc::clone(&held.known)),
                lacking: state.is_lacking(),
                platforms: state.meaning.platforms.clone(),
            };
            given.map(to_read).collect()
        };
        match repositories {
            Repositories::One(name) => state.repositories.get_mut(name).map_or_else(Vec::new, |of| one((name, of))),
            Repositories::Matching(_) => {
                let meant = state.repositories.iter_mut().filter(|(_, of)| of.targets.contains(&number));
                meant.flat_map(one).collect()
            }
        }
    }

    /// Takes what a reading found, or did not; what the store has to remember of it. A tag that no target means any
    /// more changes nothing.
    pub fn record(&mut self, observation: &Observation) -> Option<TagChange> {
        let Observation { repository, tag, at, outcome } = observation;
        let registry = self.registries.get_mut(repository.registry())?;
        let of = registry.repositories.get_mut(repository)?;
        let state = of.tags.get_mut(tag)?;
        let effect = state.record(*at, outcome, &mut registry.holdings);
        if effect == Effect::None {
            return None;
        }
        let kept = state.kept();
        of.view = None;
        registry.is_fresh = false;
        if effect == Effect::TagContent {
            of.touch();
            registry.touch();
        }
        Some(TagChange { repository: repository.clone(), tag: tag.clone(), kept })
    }

    /// A target's scan has ended, however: once each target of a registry has ended one, its sums are published. What
    /// a reload added takes part in them then, and not before: they neither climb nor vanish meanwhile.
    pub fn pass_ended(&mut self, target: &TargetName) {
        let Some(number) = self.targets.find(target) else { return };
        if !std::mem::replace(&mut self.ended[number as usize], true) {
            let registry = self.targets.get(number).repositories.registry().clone();
            self.settle(&registry);
        }
    }

    /// Learns what layers are after decompression, in every image that has them; whether any of it was news.
    pub fn learn_layers(&mut self, layers: impl IntoIterator<Item = (Digest, LayerContent)>) -> bool {
        let mut touched = HashSet::new();
        for (digest, content) in layers {
            for (registry, state) in &mut self.registries {
                if state.holdings.learn(&digest, content) {
                    touched.insert(registry.clone());
                }
            }
        }
        for registry in &touched {
            if let Some(state) = self.registries.get_mut(registry) {
                // No sum knows of it.
                state.is_fresh = false;
                state.repositories.values_mut().for_each(|of| of.view = None);
            }
        }
        !touched.is_empty()
    }

    /// The layers that a target wants to know more of, each digest once for each registry that has it, as exactly as any
    /// target on that registry wants it: one registry may not give what another does, nor be asked for what another is.
    pub fn uncompressed_work(&self) -> Vec<LayerRequest> {
        let mut work: HashMap<(&Registry, &Digest), LayerRequest> = HashMap::new();
        for (registry, state) in &self.registries {
            for (repository, tag) in
                state.repositories.iter().flat_map(|(name, of)| of.tags.values().map(move |tag| (name, tag)))
            {
                let mode = tag.meaning.uncompressed;
                if mode == Uncompressed::Off {
                    continue;
                }
                let whole = tag.images().filter(|image| image.may_have_content());
                for (image, listed) in whole.flat_map(|image| image.stored.iter().map(move |listed| (image, listed))) {
                    let digest = state.holdings.digest(listed.layer);
                    let facts = state.holdings.facts(listed.layer);
                    if facts.content.is_some_and(|content| mode == Uncompressed::Cheap || content.unpacked.is_known()) {
                        continue;
                    }
                    let wanted = work.entry((registry, digest)).or_insert_with(|| LayerRequest {
                        repository: repository.clone(),
                        image: image.summary.digest.clone(),
                        digest: digest.clone(),
                        bytes: listed.bytes,
                        diff_id: facts.diff_id.clone(),
                        media_type: facts.media_type.clone(),
                        hint: facts.hint.as_deref().cloned(),
                        mode,
                    });
                    wanted.mode = mode.max(wanted.mode);
                }
            }
        }
        let mut work: Vec<LayerRequest> = work.into_values().collect();
        work.sort_by(|a, b| (&a.repository, &a.digest).cmp(&(&b.repository, &b.digest)));
        work
    }

    /// Drops what has been unreadable for longer than `keep`; what the store has to forget.
    pub fn expire(&mut self, now: Timestamp) -> Vec<TagChange> {
        let deadline = now - self.keep.as_secs_f64();
        let mut forgotten = Vec::new();
        for state in self.registries.values_mut() {
            let before = forgotten.len();
            for (repository, of) in &mut state.repositories {
                for (tag, one) in &mut of.tags {
                    if one.expire(deadline, &mut state.holdings) {
                        (of.counted, of.view) = (None, None);
                        forgotten.push(TagChange { repository: repository.clone(), tag: tag.clone(), kept: None });
                    }
                }
            }
            if forgotten.len() > before {
                state.touch();
            }
        }
        forgotten
    }

    /// The documents and blobs that the store has to keep: all that is held, children that may be tried again
    /// included; layers only where something is remembered of them.
    pub fn digests_in_use(&self) -> HashSet<Digest> {
        let mut digests = HashSet::new();
        for state in self.registries.values() {
            for tag in state.repositories.values().flat_map(|of| of.tags.values()) {
                let Some(held) = &tag.held else { continue };
                digests.insert(held.known.digest.clone());
                digests.extend(held.known.failed.iter().map(|child| child.digest.clone()));
                for image in &held.images {
                    digests.insert(image.summary.digest.clone());
                    digests.extend(image.summary.image_id.clone());
                    let is_schema1 = image.summary.image_id.is_none();
                    if is_schema1 || tag.meaning.uncompressed != Uncompressed::Off {
                        for listed in &image.stored {
                            digests.insert(state.holdings.digest(listed.layer).clone());
                            digests.extend(state.holdings.facts(listed.layer).diff_id.clone());
                        }
                    }
                }
            }
        }
        digests
    }

    /// Everything that is published now; the same as last time where nothing changed.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(snapshot) = &self.snapshot
            && self.registries.values().all(|state| state.is_fresh)
        {
            return Arc::clone(snapshot);
        }
        for (name, state) in &mut self.registries {
            if !state.is_fresh {
                views::refresh(name, state, &self.targets, &mut self.warnings);
            }
        }
        let views = self.registries.values().filter_map(|state| state.view.clone());
        let snapshot = Arc::new(Snapshot { registries: views.collect() });
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// What somebody should hear of since this was last asked.
    pub fn warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}

impl RegistryState {
    /// Notes that what is held, or meant, changed.
    fn touch(&mut self) {
        self.is_accounted = false;
        self.is_fresh = false;
    }
}

impl RepositoryState {
    /// The tags that a target means.
    fn meant(&self, target: u32) -> impl Iterator<Item = (&Tag, &TagState)> {
        self.tags.iter().filter(move |(_, state)| state.meaning.targets.contains(&target))
    }

    /// Notes that anything of it may have changed, what takes part in sums too.
    fn touch(&mut self) {
        self.counted = None;
        self.view = None;
    }
}

#[cfg(test)]
mod tests;
