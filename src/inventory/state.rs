//! What is known of one registry and of one repository, and the values cached for publication.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::layer_table::LayerTable;
use super::snapshot::{RegistryView, RepositoryView};
use super::stale::{Part, Stale};
use super::sums::{CountedImages, Figures, Place, place_all};
use super::tag_state::TagState;
use crate::image::accounting::{Usage, account};
use crate::oci::{Repository, Tag};
use crate::target::Candidate;

/// What is known of one registry.
#[derive(Default)]
pub(super) struct RegistryState {
    pub(super) repositories: BTreeMap<Repository, RepositoryState>,
    pub(super) layers: LayerTable,
    /// Whether each of its targets has ended a scan at some time. Only then are there sums, over the tags with
    /// [`TagState::in_sums`].
    pub(super) has_sums: bool,
    pub(super) stale: Stale,
    /// The sums; empty before there are any.
    pub(super) usage: Usage,
    /// What is published, if anything is.
    pub(super) view: Option<Arc<RegistryView>>,
}

/// What is known of one repository.
#[derive(Default)]
pub(super) struct RepositoryState {
    /// The targets that select it, ascending.
    pub(super) targets: Vec<u32>,
    /// By target with `newest`: the tags among which the newest release is picked, newest first.
    pub(super) candidates: BTreeMap<u32, Vec<Candidate>>,
    pub(super) tags: BTreeMap<Tag, TagState>,
    /// Whether a target's tag list was ever read to its end, or none was needed.
    pub(super) listed: bool,
    /// The targets whose tag list was read to its end at some time.
    pub(super) whole: BTreeSet<u32>,
    /// The targets that know only a part of its tag list, so that figures of the whole repository are withheld.
    pub(super) partial: BTreeSet<u32>,
    pub(super) stale: Stale,
    /// Where its figures stand in its registry's `usage`.
    pub(super) place: Option<Place>,
    /// Its images that enter sums.
    pub(super) counted: CountedImages,
    /// What is published of it.
    pub(super) view: Option<Arc<RepositoryView>>,
    /// With that view: the targets of tags that are down.
    pub(super) down: Vec<u32>,
    /// With that view: how many of its tags each of `targets` selects, in their order.
    pub(super) selected: Vec<u64>,
}

impl RegistryState {
    /// Computes the sums, where there are any and something changed; whether it did. Repositories whose figures changed
    /// have a stale view afterwards.
    pub(super) fn account(&mut self) -> bool {
        if !self.has_sums || !self.stale.take_sums() {
            return false;
        }
        for repository in self.repositories.values_mut() {
            if repository.stale.take_sums() {
                repository.counted = CountedImages::of(repository.tags.values());
            }
        }
        let counted = self.repositories.values().map(|repository| &repository.counted);
        let (places, series, tags) = place_all(counted, self.usage.series.len());
        let mut usage = account(&series, self.layers.layers_end());
        usage.repositories.resize(self.repositories.len(), None);
        usage.tag_stored_bytes.resize(tags, None);
        for (repository, place) in self.repositories.values_mut().zip(places) {
            if Figures::at(repository.place.as_ref(), &self.usage) != Figures::at(Some(&place), &usage) {
                repository.stale.mark(Part::View);
            }
            repository.place = Some(place);
        }
        self.usage = usage;
        true
    }
}

impl RepositoryState {
    /// The tags that a target selects.
    pub(super) fn selected_by(&self, target: u32) -> impl Iterator<Item = (&Tag, &TagState)> {
        self.tags.iter().filter(move |(_, state)| state.policy.targets.contains(&target))
    }
}
