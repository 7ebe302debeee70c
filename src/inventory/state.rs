//! The state of one registry and of one repository, with the values cached for publication.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::catalog::Extent;
use super::elsewhere::LayersElsewhere;
use super::groups::{GroupNumbers, RepositoryGroups};
use super::interner::Renumbered;
use super::layer_table::LayerTable;
use super::reclaimable::{Judged, Reclaimable};
use super::shared_counts::{SharedCounts, mark};
use super::snapshot::{GroupView, RegistryView, RepositoryView};
use super::stale::{Stale, StalePart};
use super::sums::CountedImages;
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::image::accounting::{Accounting, Census, Figures, GroupUsage, Series};
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{RegistryCounts, RegistrySummary};
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
    /// What is counted of its layers, of the images that enter sums.
    pub(super) census: Census,
    /// The sums; empty before there are any.
    pub(super) usage: RegistryUsage,
    /// Where shards tell each other what they count.
    pub(super) shared: Option<SharedCounts>,
    /// With other shards, what is stored for groups in all of them.
    pub(super) groups_of_all: Vec<GroupView>,
    /// What the policies let go.
    pub(super) reclaimable: Reclaimable,
    /// The published view, if there is one.
    pub(super) view: Option<Arc<RegistryView>>,
}

/// The sums of one registry.
#[derive(Default)]
pub(super) struct RegistryUsage {
    /// The number of images, each counted once a tag.
    pub(super) series: usize,
    /// Bytes that the registry stores for them.
    pub(super) stored_bytes: u64,
    /// What is stored for each group with an image.
    pub(super) groups: Vec<(Arc<str>, GroupUsage)>,
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
    /// Those of them that have read it themselves, and not only one like them before a reload.
    pub(super) listed_by: BTreeSet<u32>,
    /// The targets that know only a part of its tag list, so that figures of the whole repository are withheld.
    pub(super) partial: BTreeSet<u32>,
    pub(super) stale: Stale,
    /// Its sums; empty before there are any.
    pub(super) figures: Figures,
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
    /// Without a repository. `tells_others`: as after [`Self::share_counts`].
    pub(super) fn new(has_sums: bool, tells_others: bool) -> Self {
        let mut state = Self { has_sums, ..Self::default() };
        if tells_others {
            state.share_counts();
        }
        state
    }

    /// From now on, tells other shards what it counts, and counts what they say.
    pub(super) fn share_counts(&mut self) {
        self.layers.note_layers();
        self.shared.get_or_insert_default();
    }

    /// Before a repository is removed, or its images are to be counted anew: counts none of them.
    pub(super) fn discount(&mut self, repository: &RepositoryState) {
        self.census.replace(repository.number, repository.counted.layers(), std::iter::empty());
    }

    /// Computes the sums if they are stale; returns whether it did. The views of repositories whose figures changed
    /// become stale. `renumbered`: layers, since the last call.
    pub(super) fn account(
        &mut self,
        targets: &Targets,
        renumbered: Renumbered,
        elsewhere: &mut LayersElsewhere,
    ) -> bool {
        if let Some(shared) = &mut self.shared {
            shared.renumber(renumbered, &self.layers, &mut self.census, elsewhere);
        }
        if !self.has_sums || !self.stale.take_sums() {
            return false;
        }
        self.usage.series = 0;
        for (name, repository) in &mut self.repositories {
            if repository.stale.take_sums() {
                repository.groups = RepositoryGroups::new(name, &repository.targets, targets);
                let counted = CountedImages::new(repository.tags.values(), &repository.groups);
                self.census.replace(repository.number, repository.counted.layers(), counted.series(&[]));
                repository.counted = counted;
            }
            self.usage.series += repository.counted.len();
        }
        let changed = match &mut self.shared {
            Some(shared) => {
                shared.note_groups(self.repositories.values().map(|repository| &repository.counted), &self.layers);
                let changed = shared.exchange(&mut self.census, &self.layers, elsewhere);
                let is_told = self.usage.series > 0 && !self.extent.is_told_elsewhere && targets.has_groups;
                self.groups_of_all = if is_told { shared.sum_groups(&self.layers, elsewhere) } else { Vec::new() };
                changed
            }
            None => self.census.settle(|image| mark(self.layers.document_digest(image))).repositories,
        };
        self.usage.stored_bytes = self.census.stored_bytes(if self.shared.is_some() { elsewhere.bytes } else { 0 });
        self.account_for(&changed);
        true
    }

    /// Makes the figures of these repositories anew; with groups, which any change may concern, those of all. What shards have
    /// in groups is summed up from what they tell each other.
    fn account_for(&mut self, changed: &HashSet<u32>) {
        let has_groups = self.shared.is_none()
            && self.repositories.values().any(|repository| repository.counted.groups().next().is_some());
        let mut accounting = Accounting::new(&self.census, has_groups);
        let mut numbers = GroupNumbers::new();
        for repository in self.repositories.values_mut() {
            if !has_groups && !changed.contains(&repository.number) {
                continue;
            }
            let RepositoryState { number, counted, figures, stale, .. } = repository;
            let counted: &CountedImages = counted;
            let sets: Vec<u32> = counted.sets().iter().map(|set| numbers.number(set)).collect();
            let series: Vec<Series> = counted.series(&sets).collect();
            let now = accounting.repository(*number, counted.tags(), &series);
            if *figures != now {
                *figures = now;
                stale.mark(StalePart::View);
            }
        }
        let usage = accounting.groups(&numbers.sets);
        let groups = numbers.names.into_iter().zip(usage).filter_map(|(group, usage)| Some((group, usage?)));
        self.usage.groups = groups.collect();
    }

    /// What other shards are to be told; `is_news`: whether that is so of the summary.
    pub(super) fn take_news(&mut self, summary: RegistrySummary, is_news: bool) -> Option<RegistryCounts> {
        let shared = self.shared.as_mut()?;
        let is_any = is_news || shared.is_news(&summary, &self.reclaimable);
        is_any.then(|| shared.take(summary, self.has_sums, &self.layers, &mut self.reclaimable))
    }

    /// The layers whose sizes differ between manifests, with the smallest size.
    pub(super) fn take_conflicts(&mut self) -> Vec<(Digest, u64)> {
        self.layers.take_conflicts(self.census.disagreeing())
    }
}

impl RepositoryState {
    /// The tags that a target selects.
    pub(super) fn selected_by(&self, target: u32) -> impl Iterator<Item = (&Tag, &TagState)> {
        self.tags.iter().filter(move |(_, state)| state.settings.targets.contains(&target))
    }
}
