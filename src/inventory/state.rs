//! The state of one registry and of one repository, with the values cached for publication.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::Extent;
use super::elsewhere::LayersElsewhere;
use super::groups::RepositoryGroups;
use super::layer_table::LayerTable;
use super::reclaimable::{Judged, Reclaimable};
use super::shared_counts::SharedCounts;
use super::snapshot::{GroupView, RegistryView, RepositoryView};
use super::stale::{Stale, StalePart};
use super::sums::{Collected, CountedImages, FigureRange, Figures, collect_series};
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::image::accounting::{Census, Usage, account};
use crate::oci::{Repository, Tag};
use crate::target::Candidate;

/// The state of one registry.
#[derive(Default)]
pub(super) struct RegistryState {
    pub(super) repositories: BTreeMap<Repository, RepositoryState>,
    pub(super) layers: LayerTable,
    /// Whether each of its targets has ended a scan. Only then are there sums, over the tags with
    /// [`TagState::in_sums`].
    pub(super) has_sums: bool,
    /// How much of it is known.
    pub(super) extent: Extent,
    pub(super) stale: Stale,
    /// The sums; empty before there are any.
    pub(super) usage: Usage,
    /// The groups in these sums, by number.
    pub(super) groups: Vec<Arc<str>>,
    /// Where shards tell each other what they count.
    pub(super) shared: Option<SharedCounts>,
    /// With other shards, what is stored for groups in all of them.
    pub(super) groups_of_all: Vec<GroupView>,
    /// What the policies let go.
    pub(super) reclaimable: Reclaimable,
    /// The published view, if there is one.
    pub(super) view: Option<Arc<RegistryView>>,
}

/// The state of one repository.
#[derive(Default)]
pub(super) struct RepositoryState {
    /// Its number in the index of bases.
    pub(super) number: u32,
    /// The targets that select it, ascending.
    pub(super) targets: Vec<u32>,
    /// By target with `newest`: the tags among which the newest release is picked, newest first.
    pub(super) candidates: BTreeMap<u32, Vec<Candidate>>,
    pub(super) tags: BTreeMap<Tag, TagState>,
    /// Whether a target's tag list was ever read completely, or none was needed.
    pub(super) listed: bool,
    /// The targets whose tag list was read completely at some time.
    pub(super) whole: BTreeSet<u32>,
    /// The targets that know only a part of its tag list, so that figures of the whole repository are withheld.
    pub(super) partial: BTreeSet<u32>,
    pub(super) stale: Stale,
    /// The range of its figures in its registry's `usage`.
    pub(super) range: Option<FigureRange>,
    /// The groups that its targets give it, as of when its images were counted.
    pub(super) groups: RepositoryGroups,
    /// What policies say of it.
    pub(super) judged: Judged,
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
    /// From now on, tells other shards what it counts, and counts what they say.
    pub(super) fn share_counts(&mut self) {
        self.layers.note_renumbered();
        self.shared.get_or_insert_default();
    }

    /// Computes the sums if they are stale; returns whether it did. The views of repositories whose figures changed
    /// become stale.
    pub(super) fn account(&mut self, targets: &Targets, elsewhere: &mut LayersElsewhere) -> bool {
        if let Some(shared) = &mut self.shared {
            shared.renumber(&mut self.layers, elsewhere);
        }
        if !self.has_sums || !self.stale.take_sums() {
            return false;
        }
        for (name, repository) in &mut self.repositories {
            if repository.stale.take_sums() {
                repository.groups = RepositoryGroups::new(name, &repository.targets, targets);
                repository.counted = CountedImages::new(repository.tags.values(), &repository.groups);
            }
        }
        let counted = self.repositories.values().map(|repository| &repository.counted);
        let Collected { ranges, series, tags, groups } = collect_series(counted, self.usage.series.len());
        let mut census = Census::new(&series, self.layers.layers_end());
        if let Some(shared) = &mut self.shared {
            shared.note_groups(&series, &groups, &self.layers);
            shared.exchange(&mut census, &self.layers, elsewhere);
            let is_told = !series.is_empty() && !self.extent.is_told_elsewhere && targets.has_groups;
            self.groups_of_all = if is_told { shared.sum_groups(&self.layers, elsewhere) } else { Vec::new() };
        }
        let mut usage = account(&series, census, &groups.sets);
        self.groups = groups.names;
        usage.repositories.resize(self.repositories.len(), None);
        usage.tag_stored_bytes.resize(tags, None);
        for (repository, range) in self.repositories.values_mut().zip(ranges) {
            if Figures::at(repository.range.as_ref(), &self.usage) != Figures::at(Some(&range), &usage) {
                repository.stale.mark(StalePart::View);
            }
            repository.range = Some(range);
        }
        self.usage = usage;
        true
    }
}

impl RepositoryState {
    /// The tags that a target selects.
    pub(super) fn selected_by(&self, target: u32) -> impl Iterator<Item = (&Tag, &TagState)> {
        self.tags.iter().filter(move |(_, state)| state.settings.targets.contains(&target))
    }
}
