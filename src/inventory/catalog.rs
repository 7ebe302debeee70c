//! How much of a registry is known: of a wildcard's catalog, and of what other shards have. Repositories that were never read
//! here may share layers with those that were.

use super::Inventory;
use super::stale::StalePart;
use crate::oci::Registry;
use crate::tag::ListExtent;
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

impl Inventory {
    /// Notes for each registry whether a part of it may be unknown, before views are made.
    pub(super) fn compare_catalogs(&mut self) {
        let parts: Vec<(bool, bool)> = self
            .registries
            .keys()
            .map(|registry| (self.is_part(registry), self.has_unread_catalog(registry)))
            .collect();
        for (registry, (is_part, is_unread)) in self.registries.values_mut().zip(parts) {
            let was = (registry.is_part, registry.has_unread_catalog);
            (registry.is_part, registry.has_unread_catalog) = (is_part, is_unread);
            if was != (is_part, is_unread) {
                for repository in registry.repositories.values_mut() {
                    registry.stale.mark_with(&mut repository.stale, StalePart::View);
                }
            }
        }
    }

    /// Whether all images that are selected are selected here. Figures that compare images across repositories are published
    /// only then: this is the one place that says so.
    pub(super) fn has_all_shards(&self) -> bool {
        !self.targets.is_sharded
    }

    /// Whether a target's catalog was never read to its end, even if none of its repositories is known.
    fn has_unread_catalog(&self, registry: &Registry) -> bool {
        !self.has_all_shards() || self.targets.on(registry).any(|number| !self.catalogs[number as usize].is_whole())
    }

    /// Whether a target selects some repositories of a registry, and more may be in its catalog, or are in other shards. A
    /// target that a reload added takes no figures away before its first scan ends.
    fn is_part(&self, registry: &Registry) -> bool {
        !self.has_all_shards()
            || self.targets.on(registry).any(|number| {
                self.ended[number as usize]
                    && !self.catalogs[number as usize].is_whole()
                    && self.selected_repositories(number).next().is_some()
            })
    }
}
