//! What was known before the program started, or before a reload: published until scans say more.

use std::sync::Arc;

use super::Inventory;
use crate::image::Image;
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{Completeness, TagChange, TagRecord};
use crate::target::{NewestBy, Repositories, Target, TargetName, Version};

impl Inventory {
    /// Publishes what was known before the program started, if a target means the tag, or may mean it once its lists
    /// are read. Otherwise the store has to forget it. `image_of` has the images by digest.
    pub fn restore(
        &mut self,
        repository: &Repository,
        tag: &Tag,
        kept: &TagRecord,
        image_of: impl Fn(&Digest) -> Option<Arc<Image>>,
    ) -> Option<TagChange> {
        let targets = self.targets.including(repository);
        let may_mean = |&target: &u32| self.targets.may_mean(target, tag);
        let targets: Vec<u32> = targets.into_iter().filter(may_mean).collect();
        if targets.is_empty() {
            return Some(TagChange { repository: repository.clone(), tag: tag.clone(), kept: None });
        }
        for target in targets {
            self.add(target, repository, tag);
        }
        let state = self.registries.get_mut(repository.registry())?;
        state.touch();
        let of = state.repositories.get_mut(repository)?;
        of.touch();
        of.tags.get_mut(tag)?.restore(kept, image_of, &mut state.holdings);
        None
    }

    /// After the last [`restore`](Self::restore): the targets whose next scan can wait, since they have restored values
    /// and each tag that they name has. What a target lists nobody knows before the list is read: `passed` tells
    /// whether a scan of it ever ended so, or was cut short with half of it read. For others that have restored values,
    /// or name nothing that can be read, the sums need not wait, if they were settled.
    pub fn restored(&mut self, passed: impl Fn(&Target, Completeness) -> bool) -> Vec<TargetName> {
        self.restore_candidates();
        let mut held = vec![false; self.ended.len()];
        let mut unread = vec![false; self.ended.len()];
        let mut lost = vec![false; self.ended.len()];
        let tags =
            self.registries.values().flat_map(|state| state.repositories.values()).flat_map(|of| of.tags.values());
        for state in tags {
            let place = match &state.held {
                None => &mut unread,
                Some(held_now) if held_now.is_all && state.was_looked_for() => &mut held,
                // What was not looked for yet, a platform say, or is lost is as if it had never been read.
                Some(_) => &mut lost,
            };
            for &target in &state.meaning.targets {
                place[target as usize] = true;
            }
        }
        let (mut can_wait, mut settled) = (Vec::new(), Vec::new());
        for (number, target) in self.targets.iter() {
            let at = number as usize;
            if lost[at] || !held[at] && !unread[at] {
                continue;
            }
            let lists = target.selection.lists() || matches!(target.repositories, Repositories::Matching(_));
            if !unread[at] && (!lists || passed(target, Completeness::Whole)) {
                can_wait.push((number, target.name.clone()));
            } else if passed(target, Completeness::Settled) {
                settled.push(target.name.clone());
            }
        }
        for (number, name) in &can_wait {
            self.pass_ended(name);
            for repository in self.repositories_of(*number) {
                self.set_listed(&repository);
            }
        }
        for name in &settled {
            self.pass_ended(name);
        }
        can_wait.into_iter().map(|(_, name)| name).collect()
    }

    /// The newest release among what is known, where no list has told yet.
    pub(super) fn restore_candidates(&mut self) {
        let wanting: Vec<u32> =
            self.targets.iter().filter(|(_, target)| target.newest.is_some()).map(|(number, _)| number).collect();
        for number in wanting {
            for name in self.repositories_of(number) {
                let Some(of) = self.registries.get(name.registry()).and_then(|state| state.repositories.get(&name))
                else {
                    continue;
                };
                if of.candidates.contains_key(&number) {
                    continue;
                }
                let tags: Vec<Tag> = of.meant(number).map(|(tag, _)| tag.clone()).collect();
                let candidates = self.targets.get(number).selection.select(&tags).candidates;
                // Pre-releases alone may be all that `limit` left of a list with releases: that list has to say.
                let by_semver = self.targets.get(number).newest == Some(NewestBy::Semver);
                if !candidates.iter().any(|tag| is_release(tag, by_semver)) {
                    continue;
                }
                self.set_candidates(number, &name, &candidates);
            }
        }
    }
}

fn is_release(tag: &Tag, must_be_version: bool) -> bool {
    Version::parse(tag.as_str()).map_or(!must_be_version, |version| !version.is_prerelease())
}
