//! How much of a registry is known: of a wildcard's catalog, and of what other shards have. Repositories that were never read
//! here may share layers with those that were.

use super::Inventory;
use super::elsewhere::ReclaimableElsewhere;
use super::stale::StalePart;
use crate::oci::Registry;
use crate::tag::{ListExtent, RegistryExtent};
use crate::target::Target;

/// How much of one target's catalog is known.
#[derive(Clone, Copy)]
pub(super) struct Catalog {
    /// It was read to its end at some time, or none is needed. Of what runs: its source has answered.
    whole: bool,
    /// It has more repositories than are read.
    cut: bool,
}

impl Catalog {
    pub(super) fn new(target: &Target) -> Self {
        Self { whole: target.repositories.only_names().is_some(), cut: false }
    }

    /// Notes how much of it was read. What was known of a whole one stays true enough while reading it fails.
    pub(super) fn note(&mut self, extent: ListExtent) {
        match extent {
            ListExtent::Whole => *self = Self { whole: true, cut: false },
            ListExtent::Cut => self.cut = true,
            ListExtent::Partial | ListExtent::Unread => {}
        }
    }

    pub(super) fn is_whole(self) -> bool {
        self.whole && !self.cut
    }
}

/// How much of a registry is known, here and in other shards.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Whether repositories of it may be unknown that would share layers with those that are known.
    pub(super) is_part: bool,
    /// A target's catalog was never read to its end.
    pub(super) has_unread_catalog: bool,
    /// How much the other shards know of their parts.
    pub(super) elsewhere: RegistryExtent,
    /// Another shard says what is stored on it.
    pub(super) is_told_elsewhere: bool,
    /// What policies are about in other shards; not known either while this one has yet to look up something.
    pub(super) reclaimable: ReclaimableElsewhere,
}

impl Inventory {
    /// Notes for each registry whether a part of it may be unknown, before views are made.
    pub(super) fn compare_catalogs(&mut self) {
        let shard = self.targets.shard;
        let extent = |registry: &Registry| {
            let elsewhere = self.extent_elsewhere(registry);
            Extent {
                is_part: elsewhere == RegistryExtent::Unknown || self.is_part(registry),
                has_unread_catalog: self.has_unread_catalog(registry),
                elsewhere,
                is_told_elsewhere: self.others.has_earlier(registry, shard),
                reclaimable: self.reclaimable_elsewhere(registry),
            }
        };
        let extents: Vec<Extent> = self.registries.keys().map(extent).collect();
        for (registry, extent) in self.registries.values_mut().zip(extents) {
            let before = std::mem::replace(&mut registry.extent, extent);
            if before.is_told_elsewhere != extent.is_told_elsewhere {
                // It sums up groups, or no longer does.
                registry.stale.mark(StalePart::Sums);
            }
            if before == extent {
                continue;
            }
            registry.stale.mark(StalePart::View);
            let only_of_policies = before == Extent { reclaimable: before.reclaimable, ..extent };
            let is_withheld = before.reclaimable.is_known != extent.reclaimable.is_known;
            for repository in registry.repositories.values_mut() {
                if !only_of_policies || is_withheld && repository.judged.is_about_tags() {
                    repository.stale.mark(StalePart::View);
                }
            }
        }
    }

    /// Whether other exporters have some of the repositories that are selected. Figures that compare images across
    /// repositories need what they count, or are not published.
    pub(super) fn is_sharded(&self) -> bool {
        !self.targets.shard.is_only()
    }

    /// Whether a target's catalog was never read to its end, even if none of its repositories is known.
    pub(super) fn has_unread_catalog(&self, registry: &Registry) -> bool {
        self.targets.on(registry).any(|number| !self.catalogs[number as usize].is_whole())
    }

    /// Whether a target selects some repositories of a registry, and more may be in its catalog: of a shard, also one of which
    /// others may have the repositories. A target that a reload added takes no figures away before its first scan ends.
    pub(super) fn is_part(&self, registry: &Registry) -> bool {
        self.targets.on(registry).any(|number| {
            self.ended[number as usize]
                && !self.catalogs[number as usize].is_whole()
                && (self.is_sharded() || self.selected_repositories(number).next().is_some())
        })
    }
}
