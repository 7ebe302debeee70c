//! What was known before the program started, or before a reload: published until scans say more.

use std::sync::Arc;

use super::{Inventory, Kept, TagChange};
use crate::image::Image;
use crate::oci::{Digest, Repository, Tag};
use crate::selection::{Repositories, Version};
use crate::target::{NewestBy, Target, TargetName};

impl Inventory {
    /// Publishes what was known before the program started, if a target means the tag, or may mean it once its lists
    /// are read. Otherwise the store has to forget it. `image_of` has the images by digest.
    pub fn restore(
        &mut self,
        repository: &Repository,
        tag: &Tag,
        kept: &Kept,
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

    /// After the last [`restore`](Self::restore): the targets that count as having ended a pass, since they have
    /// restored values and each tag that they name has. What a target lists nobody knows before the list is read:
    /// `passed` tells whether a scan of it ever ended, or was cut short with half of it read.
    pub fn restored(&mut self, passed: impl Fn(&Target) -> bool) -> Vec<TargetName> {
        self.restore_candidates();
        let mut held = vec![false; self.ended.len()];
        let mut lacking = vec![false; self.ended.len()];
        let tags =
            self.registries.values().flat_map(|state| state.repositories.values()).flat_map(|of| of.tags.values());
        for state in tags {
            // What was not looked for yet, a platform say, or is lost is as if it had never been read.
            let is_all = state.held.as_ref().is_some_and(|held| held.is_all) && state.was_looked_for();
            let place = if is_all { &mut held } else { &mut lacking };
            for &target in &state.meaning.targets {
                place[target as usize] = true;
            }
        }
        let restored = |(number, target): &(u32, &Arc<Target>)| {
            let lists = target.selection.lists() || matches!(target.repositories, Repositories::Matching(_));
            held[*number as usize] && !lacking[*number as usize] && (!lists || passed(target))
        };
        let names: Vec<_> = self.targets.iter().filter(restored).map(|(_, target)| target.name.clone()).collect();
        for name in &names {
            self.pass_ended(name);
            for repository in self.targets.find(name).map(|number| self.repositories_of(number)).unwrap_or_default() {
                self.set_listed(&repository);
            }
        }
        names
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
                let meant = of.tags.iter().filter(|(_, state)| state.meaning.targets.contains(&number));
                let tags: Vec<Tag> = meant.map(|(tag, _)| tag.clone()).collect();
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
