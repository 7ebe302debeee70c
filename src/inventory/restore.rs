//! Restores what was known before a restart or reload: it is published until scans replace it.

use std::sync::Arc;

use super::Inventory;
use super::contents::Contents;
use super::stale::StalePart;
use crate::image::{Image, Timestamp};
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{Completeness, ListExtent, TagChange, TagRecord};
use crate::target::{Candidate, NewestBy, Target, TargetName};

impl Inventory {
    /// Restores a tag's stored record, if a target selects the tag or may select it once its lists are read. Otherwise
    /// it is dropped from the store. `image_of` returns images by digest.
    pub fn restore(
        &mut self,
        repository: &Repository,
        tag: &Tag,
        record: &TagRecord,
        image_of: impl Fn(&Digest) -> Option<Arc<Image>>,
    ) -> Option<TagChange> {
        let targets = self.targets.may_claim(repository, tag);
        if targets.is_empty() {
            return Some(TagChange { repository: repository.clone(), tag: tag.clone(), kept: None });
        }
        for target in targets {
            self.add(target, repository, tag);
        }
        let registry = self.registries.get_mut(repository.registry())?;
        let in_repository = registry.repositories.get_mut(repository)?;
        let place = (in_repository.number, repository, tag);
        let mut contents = Contents::new(&mut registry.layers, &mut self.bases, place);
        in_repository.tags.get_mut(tag)?.restore(record, image_of, &mut contents);
        registry.stale.mark_with(&mut in_repository.stale, StalePart::Sums);
        None
    }

    /// After the last [`restore`](Self::restore): the targets whose first scan can wait for its scheduled time, since
    /// every tag that they select has restored values. Which tags a target lists is unknown before the list is read:
    /// `is_scanned` returns whether a scan of it ever ended this complete. The registry's sums do not wait for the
    /// first scan of a target whose last one was settled. A catalog that was never read to its end is asked for at once. Figures of a whole repository, the newest release among them,
    /// need a target whose lists were read completely: they stay if its next list breaks off.
    ///
    /// In one of several shards the first scan of a target whose values are old does not wait: a shard that was removed months
    /// ago may come back with its state file.
    pub fn restored(&mut self, is_scanned: impl Fn(&Target, Completeness) -> bool) -> Vec<TargetName> {
        self.restore_catalogs(&is_scanned);
        self.restore_lists(&is_scanned);
        self.restore_candidates();
        let mut known = vec![false; self.ended.len()];
        let mut unread = vec![false; self.ended.len()];
        let mut lost = vec![false; self.ended.len()];
        let mut confirmed = vec![Timestamp::NEG_INFINITY; self.ended.len()];
        let repositories = self.registries.values().flat_map(|registry| registry.repositories.values());
        for state in repositories.flat_map(|repository| repository.tags.values()) {
            let flags = match &state.content {
                None => &mut unread,
                Some(content) if content.is_all && state.covers_selection() => &mut known,
                // An image that the store has lost, or a platform that was not selected then, was never read.
                Some(_) => &mut lost,
            };
            let last = state.content.as_ref().map_or(Timestamp::NEG_INFINITY, |content| content.confirmed);
            for &target in &state.settings.targets {
                flags[target as usize] = true;
                confirmed[target as usize] = last.max(confirmed[target as usize]);
            }
        }
        let (mut whole, mut settled) = (Vec::new(), Vec::new());
        for (number, target) in self.targets.iter() {
            let at = number as usize;
            let is_elsewhere = !known[at] && !unread[at] && self.holds_none(number);
            if lost[at] || !known[at] && !unread[at] && !is_elsewhere {
                continue;
            }
            if is_elsewhere && target.repositories.only_names().is_some() {
                settled.push(target.name.clone());
            } else if !unread[at] && (target.names_all() || is_scanned(target, Completeness::Whole)) {
                whole.push((number, target.name.clone()));
            } else if is_scanned(target, Completeness::Settled) {
                settled.push(target.name.clone());
            }
        }
        for (number, name) in &whole {
            self.scan_ended(name);
            self.listed[*number as usize] = true;
            for repository in self.repositories_of(*number) {
                self.set_listed(*number, &repository);
            }
        }
        for name in &settled {
            self.scan_ended(name);
        }
        whole.retain(|(number, _)| {
            let (at, interval) = (*number as usize, self.targets.get(*number).interval);
            let is_old = confirmed[at].is_finite() && self.now - confirmed[at] > 2.0 * interval.as_secs_f64();
            self.catalogs[at].is_whole() && (!self.is_sharded() || !is_old)
        });
        whole.into_iter().map(|(_, name)| name).collect()
    }

    /// Notes which targets' catalogs were read to their ends before the program started.
    fn restore_catalogs(&mut self, is_scanned: impl Fn(&Target, Completeness) -> bool) {
        for (catalog, (_, target)) in self.catalogs.iter_mut().zip(self.targets.iter()) {
            if is_scanned(target, Completeness::Catalog) {
                catalog.note(ListExtent::Whole);
            }
        }
    }

    /// Notes which targets' lists were read completely before the program started. Of others a part is known.
    fn restore_lists(&mut self, is_scanned: impl Fn(&Target, Completeness) -> bool) {
        let is_listed = |target: &Target| Completeness::LISTED.iter().any(|&complete| is_scanned(target, complete));
        let listing = self.targets.iter().filter(|(_, target)| target.selection.lists());
        let listing: Vec<(u32, bool)> = listing.map(|(number, target)| (number, is_listed(target))).collect();
        for (number, is_listed) in listing {
            for name in self.repositories_of(number) {
                let Some(registry) = self.registries.get_mut(name.registry()) else { continue };
                let Some(repository) = registry.repositories.get_mut(&name) else { continue };
                if is_listed {
                    repository.whole.insert(number);
                } else if repository.selected_by(number).any(|(_, state)| state.content.is_some()) {
                    repository.partial.insert(number);
                }
                registry.stale.mark_with(&mut repository.stale, StalePart::View);
            }
        }
    }

    /// Takes the known tags as candidates for the newest release where the list was read completely before, and not again
    /// yet.
    pub(super) fn restore_candidates(&mut self) {
        let with_newest: Vec<(u32, NewestBy)> =
            self.targets.iter().filter_map(|(number, target)| Some((number, target.newest?))).collect();
        for (number, by) in with_newest {
            for name in self.repositories_of(number) {
                let registry = self.registries.get(name.registry());
                let Some(repository) = registry.and_then(|registry| registry.repositories.get(&name)) else { continue };
                // Of a part of a list, the newest may be an old one.
                if repository.candidates.contains_key(&number) || !repository.whole.contains(&number) {
                    continue;
                }
                let tags: Vec<Tag> = repository.selected_by(number).map(|(tag, _)| tag.clone()).collect();
                let candidates = self.targets.get(number).selection.select(&tags).candidates;
                // `limit` may have left only pre-releases of a list with releases: that list has to be read first.
                if !candidates.iter().any(|tag| Candidate::new(tag).is_release(by)) {
                    continue;
                }
                self.set_candidates(number, &name, &candidates);
            }
        }
    }
}
