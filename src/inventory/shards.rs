//! What this shard tells the others about what it counts, and what becomes of what they tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Inventory;
use super::elsewhere::ReclaimableElsewhere;
use super::stale::StalePart;
use super::state::RegistryState;
use crate::oci::{Digest, Registry};
use crate::tag::{
    CountsElsewhere, PolicySet, ReclaimableSummary, RegistryCounts, RegistryExtent, RegistrySummary, ShardCounts,
};
use crate::target::{Grouping, Shard};

/// What the other shards were told last.
#[derive(Default)]
pub(super) struct Told {
    /// `None` before they were told anything.
    is_settled: Option<bool>,
    registries: BTreeMap<Registry, RegistrySummary>,
}

impl Inventory {
    /// From now on, takes what other shards count, if there are some, and says what this one does: before the first tag is
    /// restored or read.
    pub fn share_counts(&mut self) {
        self.shares_counts = true;
        if self.tells_others() {
            self.registries.values_mut().for_each(RegistryState::share_counts);
        }
    }

    /// Whether shards tell each other what they count.
    pub(super) fn tells_others(&self) -> bool {
        self.shares_counts && self.is_sharded()
    }

    /// Takes what other shards count; returns whether anything changed.
    pub fn learn_elsewhere(&mut self, news: CountsElsewhere) -> bool {
        let is_any = !news.is_empty();
        for registry in self.others.learn(news) {
            match self.registries.get_mut(&registry) {
                Some(state) => state.stale.mark(StalePart::Sums),
                // Who numbers layers there looks them all up.
                None => self.others.on(&registry).drop_changed(),
            }
        }
        is_any
    }

    /// The shards of which it is not known what they count on some registry that was read here: figures that need that are not
    /// published. `None` before any was read here.
    pub fn unknown_shards(&self) -> Option<BTreeSet<u32>> {
        let known = self.registries.keys().chain(self.targets.registries());
        let mut known = known.filter(|registry| self.have_ended(registry)).peekable();
        known.peek()?;
        let extents = known.flat_map(|registry| self.extents_elsewhere(registry));
        Some(extents.filter(|(_, extent)| *extent == RegistryExtent::Unknown).map(|(number, _)| number).collect())
    }

    /// How much the other shards know of their parts of a registry: what the one that knows least does.
    pub(super) fn extent_elsewhere(&self, registry: &Registry) -> RegistryExtent {
        let extents = self.extents_elsewhere(registry).map(|(_, extent)| extent);
        extents.min().unwrap_or(RegistryExtent::Whole)
    }

    fn extents_elsewhere(&self, registry: &Registry) -> impl Iterator<Item = (u32, RegistryExtent)> {
        let is_named = self.targets.name_registry(registry);
        let selection = if self.is_sharded() { self.selection(registry) } else { 0 };
        self.others.extents(registry, self.targets.shard, (selection, is_named))
    }

    /// What policies are about in the other shards' parts of a registry.
    pub(super) fn reclaimable_elsewhere(&self, registry: &Registry) -> ReclaimableElsewhere {
        let identity = if self.is_sharded() { self.policies.identity(registry, &self.targets) } else { None };
        let mut elsewhere = self.others.reclaimable(registry, self.targets.shard, identity);
        elsewhere.is_known &= identity.is_none() || self.is_listed(registry);
        elsewhere
    }

    /// Whether all that targets select on a registry was looked up since the program or a reload began to select it. Beside what
    /// other shards have by now, what was selected before does not do.
    fn is_listed(&self, registry: &Registry) -> bool {
        self.targets.on(registry).all(|number| {
            let target = self.targets.get(number);
            let has_none = || target.repositories.only_names().is_some() && self.holds_none(number);
            self.ended[number as usize] && (target.names_all() || self.listed[number as usize] || has_none())
        })
    }

    /// What policies are about in this shard's part, if everything there is known.
    fn reclaimable_here(&self, registry: &Registry) -> Option<ReclaimableSummary> {
        let identity = self.policies.identity(registry, &self.targets)?;
        let state = self.registries.get(registry);
        let is_known = state.is_none_or(|state| state.reclaimable.is_known)
            && !self.has_unread_catalog(registry)
            && self.is_listed(registry);
        is_known.then(|| ReclaimableSummary {
            identity,
            about: state.map_or(PolicySet::default(), |state| state.reclaimable.about()),
            is_shown: state.is_some_and(|state| state.view.is_some()),
        })
    }

    /// Tells selections of a registry's images apart: by the targets that have ended a scan, and their groups.
    fn selection(&self, registry: &Registry) -> u64 {
        let mut text = String::new();
        for number in self.targets.on(registry).filter(|&number| self.ended[number as usize]) {
            let target = self.targets.get(number);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}{:?}", target.scan_identity_in(Shard::default()), target.platforms);
            let _ = match &target.grouping {
                None => writeln!(text, "in no group"),
                Some(Grouping::Named(group)) => writeln!(text, "in {group}"),
                Some(Grouping::By(pattern)) => writeln!(text, "by {}", pattern.as_str()),
            };
        }
        Digest::sha256_of(text.as_bytes()).beginning()
    }

    /// As of the last snapshot, what the other shards have yet to be told.
    pub fn own_counts(&mut self) -> Option<ShardCounts> {
        if !self.tells_others() {
            return None;
        }
        let known = self.registries.keys().chain(self.targets.registries());
        let known: BTreeSet<Registry> = known.cloned().collect();
        let summaries: BTreeMap<Registry, RegistrySummary> =
            known.into_iter().map(|registry| (registry.clone(), self.summary(&registry))).collect();
        let mut changed = Vec::new();
        for (registry, &summary) in &summaries {
            let is_news = self.told.registries.get(registry) != Some(&summary);
            let state = self.registries.get_mut(registry);
            let counts = match state {
                Some(state) => state.take_news(summary, is_news),
                None if is_news => {
                    let is_all = summary.extent > RegistryExtent::Unknown;
                    let are_all_blobs = is_all || summary.reclaimable.is_some();
                    Some(RegistryCounts { summary: Some(summary), is_all, are_all_blobs, ..RegistryCounts::default() })
                }
                None => None,
            };
            changed.extend(counts.map(|counts| (registry.clone(), counts)));
        }
        let gone = self.told.registries.keys().filter(|registry| !summaries.contains_key(*registry));
        let nothing = RegistryCounts { is_all: true, are_all_blobs: true, ..RegistryCounts::default() };
        changed.extend(gone.map(|registry| (registry.clone(), nothing.clone())));
        let all_ended = self.ended.iter().all(|ended| *ended);
        let is_settled = all_ended && self.catalogs.iter().all(|catalog| catalog.is_whole());
        let before = std::mem::replace(&mut self.told, Told { is_settled: Some(is_settled), registries: summaries });
        let is_news = !changed.is_empty() || before.is_settled != Some(is_settled);
        is_news.then_some(ShardCounts { is_all: before.is_settled.is_none(), is_settled, registries: changed })
    }

    fn summary(&self, registry: &Registry) -> RegistrySummary {
        let state = self.registries.get(registry);
        let has_sums = state.map_or_else(|| self.have_ended(registry), |state| state.has_sums);
        let has_cut_list =
            state.is_some_and(|state| state.repositories.values().any(|repository| !repository.partial.is_empty()));
        let extent = match () {
            () if !has_sums || self.is_part(registry) => RegistryExtent::Unknown,
            () if has_cut_list => RegistryExtent::PartOfLists,
            () => RegistryExtent::Whole,
        };
        RegistrySummary {
            extent,
            series: state.map_or(0, |state| state.usage.series as u64),
            repositories: state.map_or(0, |state| state.repositories.len() as u64),
            selection: self.selection(registry),
            reclaimable: self.reclaimable_here(registry),
        }
    }
}
