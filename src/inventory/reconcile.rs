//! Which tags are meant: by the configuration, by what discovery found, and by neither any more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::newest::Candidate;
use super::policy::Targets;
use super::tag_state::{TagState, Turn};
use super::{Inventory, RegistryState, RepositoryState};
use crate::oci::{Registry, Repository, Tag};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent, TagChange, Warning};
use crate::target::{Repositories, Target, TargetName};

impl Inventory {
    /// Takes what a target means now. What no target means any more is gone, and the store has to forget it. A list
    /// that was read in part adds and removes nothing.
    pub fn select(&mut self, target: &TargetName, discovered: Discovered) -> Vec<TagChange> {
        let Some(number) = self.targets.find(target) else { return Vec::new() };
        let mut forgotten = Vec::new();
        if discovered.complete {
            let found: HashSet<&Repository> = discovered.repositories.iter().map(|one| &one.repository).collect();
            for lost in self.repositories_of(number).into_iter().filter(|name| !found.contains(name)) {
                self.keep_only(number, &lost, &BTreeSet::new(), &mut forgotten);
            }
        }
        for DiscoveredRepository { repository, tags, candidates, list } in discovered.repositories {
            let complete = list == ListExtent::Whole;
            if !self.targets.get(number).repositories.include(&repository) {
                continue;
            }
            for tag in &tags {
                self.add(number, &repository, tag);
            }
            // What a list that broke off, or is longer than is read, lacks is not gone: it competes for `limit` still.
            let tags = if complete { tags } else { self.still_meant(number, &repository, &tags) };
            self.keep_only(number, &repository, &tags.into_iter().collect(), &mut forgotten);
            self.add_repository(number, &repository);
            let candidates = match self.candidates_known(number, &repository) {
                // The newest of half a list may be the oldest of all.
                None if !complete => None,
                Some(known) if !complete => {
                    let all: Vec<Tag> = candidates.into_iter().chain(known).collect();
                    Some(self.targets.get(number).selection.select(&all).candidates)
                }
                _ => Some(candidates),
            };
            if let Some(candidates) = candidates {
                self.set_candidates(number, &repository, &candidates);
            }
            if complete {
                self.set_listed(&repository);
            }
            self.set_partial(number, &repository, list);
        }
        forgotten
    }

    /// What a target means of what is known of a repository, less what the registry said is gone.
    fn still_meant(&self, target: u32, repository: &Repository, listed: &[Tag]) -> Vec<Tag> {
        let of = self.registries.get(repository.registry()).and_then(|state| state.repositories.get(repository));
        let meant = of.into_iter().flat_map(|of| of.meant(target));
        let known = meant.filter(|(tag, state)| !state.gone || listed.contains(tag));
        let known: Vec<Tag> = known.map(|(tag, _)| tag.clone()).collect();
        self.targets.get(target).selection.select(&known).tags
    }

    pub(super) fn set_listed(&mut self, repository: &Repository) {
        let Some(state) = self.registries.get_mut(repository.registry()) else { return };
        let Some(of) = state.repositories.get_mut(repository).filter(|of| !of.listed) else { return };
        of.listed = true;
        of.view = None;
        state.is_fresh = false;
    }

    /// Notes whether figures of the whole repository would be figures of a part of it. They are withheld where a list is
    /// cut, and where it broke off unless it was read whole before: then the last true figures stay.
    fn set_partial(&mut self, target: u32, repository: &Repository, list: ListExtent) {
        let Some(registry) = self.registries.get_mut(repository.registry()) else { return };
        let Some(state) = registry.repositories.get_mut(repository) else { return };
        let has_changed = match list {
            ListExtent::Whole => state.partial.remove(&target),
            ListExtent::Partial if state.listed => false,
            ListExtent::Cut | ListExtent::Partial => state.partial.insert(target),
            ListExtent::Unread => false,
        };
        if has_changed {
            state.view = None;
            registry.is_fresh = false;
        }
    }

    /// Takes a new configuration. What no target means any more is gone at the next snapshot, and the store has to
    /// forget it. A target that means what it meant goes on as it was; of any other, what is known is published as far
    /// as it may mean it, until its own discovery says more.
    pub fn reconfigure(&mut self, targets: &[Arc<Target>], keep: Duration) -> Vec<TagChange> {
        self.keep = keep;
        let old = std::mem::replace(&mut self.targets, Targets::new(targets));
        let old_ended = std::mem::take(&mut self.ended);
        let goes_on: HashMap<u32, u32> = self
            .targets
            .iter()
            .filter_map(|(new, target)| {
                let before = old.find(&target.name)?;
                means_the_same(old.get(before), target).then_some((before, new))
            })
            .collect();
        let as_before: HashMap<u32, u32> = goes_on.iter().map(|(&before, &new)| (new, before)).collect();
        let ended = |(new, _)| as_before.get(&new).is_some_and(|&before| old_ended[before as usize]);
        self.ended = self.targets.iter().map(ended).collect();

        let mut forgotten = Vec::new();
        for (registry, mut state) in std::mem::take(&mut self.registries) {
            if self.targets.on(&registry).is_empty() {
                let repositories = state.repositories.into_iter();
                forgotten
                    .extend(repositories.flat_map(|(name, of)| of.tags.into_keys().map(move |tag| forget(&name, tag))));
                continue;
            }
            for (name, of) in std::mem::take(&mut state.repositories) {
                let including = self.targets.including(&name);
                let mut next = RepositoryState {
                    targets: of.targets.iter().filter_map(|before| goes_on.get(before).copied()).collect(),
                    listed: of.listed,
                    partial: of.partial.iter().filter_map(|before| goes_on.get(before).copied()).collect(),
                    ..RepositoryState::default()
                };
                for (before, candidates) in of.candidates {
                    if let Some(&new) = goes_on.get(&before).filter(|&&new| self.targets.get(new).newest.is_some()) {
                        next.candidates.insert(new, candidates);
                    }
                }
                for (tag, mut one) in of.tags {
                    let means = |&target: &u32| match as_before.get(&target) {
                        Some(before) => one.meaning.targets.contains(before),
                        None => self.targets.may_mean(target, &tag),
                    };
                    let meant: Vec<u32> = including.iter().copied().filter(means).collect();
                    next.targets.extend(&meant);
                    if let Some(meaning) = self.targets.meaning(meant, &name, &tag) {
                        one.meaning = meaning;
                        one.turn = Turn::Open;
                        next.tags.insert(tag, one);
                    } else {
                        one.forget(&mut state.holdings);
                        forgotten.push(forget(&name, tag));
                    }
                }
                next.targets.sort_unstable();
                next.targets.dedup();
                if !next.targets.is_empty() {
                    state.repositories.insert(name, next);
                }
            }
            state.touch();
            self.registries.insert(registry, state);
        }
        self.snapshot = None;
        self.add_named();
        self.restore_candidates();
        let registries: Vec<_> = self.registries.keys().cloned().collect();
        for registry in &registries {
            self.settle(registry);
        }
        forgotten
    }

    /// If each target of a registry has ended a pass, all of its tags take part in its sums.
    pub(super) fn settle(&mut self, registry: &Registry) {
        let have_ended = self.have_ended(registry);
        let Some(state) = self.registries.get_mut(registry).filter(|_| have_ended) else { return };
        state.has_sums = true;
        for of in state.repositories.values_mut() {
            for tag in of.tags.values_mut().filter(|tag| !tag.in_sums) {
                tag.in_sums = true;
                (of.counted, of.view) = (None, None);
            }
        }
        state.touch();
    }

    fn have_ended(&self, registry: &Registry) -> bool {
        self.targets.on(registry).iter().all(|&number| self.ended[number as usize])
    }

    /// Adds what targets name of repositories that they name: it is meant whatever any list says.
    pub(super) fn add_named(&mut self) {
        let named: Vec<(u32, Repository, Vec<Tag>)> = self
            .targets
            .iter()
            .filter_map(|(number, target)| match &target.repositories {
                Repositories::One(one) => Some((number, one.clone(), target.named_tags().to_vec())),
                Repositories::Matching(_) => None,
            })
            .collect();
        for (number, repository, tags) in named {
            self.add_repository(number, &repository);
            for tag in tags {
                self.add(number, &repository, &tag);
            }
        }
    }

    /// Notes that a target means a tag.
    pub(super) fn add(&mut self, target: u32, repository: &Repository, tag: &Tag) {
        self.add_repository(target, repository);
        let Some(registry) = self.registries.get_mut(repository.registry()) else { return };
        let Some(of) = registry.repositories.get_mut(repository) else { return };
        let existing = of.tags.get_mut(tag);
        if existing.as_ref().is_some_and(|state| state.meaning.targets.contains(&target)) {
            return;
        }
        let mut targets = existing.as_ref().map_or_else(Vec::new, |state| state.meaning.targets.to_vec());
        targets.push(target);
        let Some(meaning) = self.targets.meaning(targets, repository, tag) else { return };
        let state = match existing {
            Some(state) => {
                state.mean(meaning);
                state
            }
            None => of.tags.entry(tag.clone()).or_insert_with(|| TagState::new(meaning)),
        };
        state.in_sums |= self.ended[target as usize];
        of.touch();
        registry.touch();
    }

    /// Notes that a target means something of a repository.
    fn add_repository(&mut self, target: u32, repository: &Repository) {
        if !self.registries.contains_key(repository.registry()) {
            let has_sums = self.have_ended(repository.registry());
            self.registries
                .insert(repository.registry().clone(), RegistryState { has_sums, ..RegistryState::default() });
        }
        let Some(registry) = self.registries.get_mut(repository.registry()) else { return };
        if !registry.repositories.contains_key(repository) {
            registry.repositories.insert(repository.clone(), RepositoryState::default());
        }
        let Some(of) = registry.repositories.get_mut(repository) else { return };
        let Err(place) = of.targets.binary_search(&target) else { return };
        of.targets.insert(place, target);
        of.view = None;
        registry.is_fresh = false;
        let targets = of.targets.clone();
        self.compare_labels(repository, &targets);
    }

    /// A target means only these tags of a repository, and those that it names.
    fn keep_only(
        &mut self,
        target: u32,
        repository: &Repository,
        tags: &BTreeSet<Tag>,
        forgotten: &mut Vec<TagChange>,
    ) {
        let Some(registry) = self.registries.get_mut(repository.registry()) else { return };
        let Some(of) = registry.repositories.get_mut(repository) else { return };
        let is_lost = |(tag, state): &(&Tag, &TagState)| {
            let is_meant = state.meaning.targets.contains(&target);
            is_meant && !tags.contains(*tag) && !self.targets.names(target, repository, tag)
        };
        let lost: Vec<Tag> = of.tags.iter().filter(is_lost).map(|(tag, _)| tag.clone()).collect();
        for tag in &lost {
            let Some(mut state) = of.tags.remove(tag) else { continue };
            let others = state.meaning.targets.iter().copied().filter(|&other| other != target).collect();
            if let Some(meaning) = self.targets.meaning(others, repository, tag) {
                state.meaning = meaning;
                of.tags.insert(tag.clone(), state);
            } else {
                state.forget(&mut registry.holdings);
                forgotten.push(forget(repository, tag.clone()));
            }
        }
        let is_named = matches!(self.targets.get(target).repositories, Repositories::One(_));
        let is_left = tags.is_empty() && !is_named;
        if !lost.is_empty() || is_left {
            of.touch();
            registry.is_accounted = false;
            registry.is_fresh = false;
        }
        if is_left {
            of.targets.retain(|&other| other != target);
            of.candidates.remove(&target);
            of.partial.remove(&target);
            if of.targets.is_empty() {
                registry.repositories.remove(repository);
            }
        }
    }

    /// The repositories of which a target means something now.
    pub(super) fn repositories_of(&self, target: u32) -> Vec<Repository> {
        self.repositories_meant(target).map(|(name, _)| name.clone()).collect()
    }

    /// What a target's newest release is picked among, as far as any list told.
    fn candidates_known(&self, target: u32, repository: &Repository) -> Option<Vec<Tag>> {
        let known =
            self.registries.get(repository.registry())?.repositories.get(repository)?.candidates.get(&target)?;
        Some(known.iter().map(|candidate| candidate.tag.clone()).collect())
    }

    /// Takes what a target's newest release is picked among.
    pub(super) fn set_candidates(&mut self, target: u32, repository: &Repository, tags: &[Tag]) {
        if self.targets.get(target).newest.is_none() {
            return;
        }
        let Some(registry) = self.registries.get_mut(repository.registry()) else { return };
        let Some(of) = registry.repositories.get_mut(repository) else { return };
        let known = of.candidates.get(&target);
        if known.is_none_or(|known| !known.iter().map(|one| &one.tag).eq(tags)) {
            of.candidates.insert(target, tags.iter().map(Candidate::of).collect());
            of.view = None;
            registry.is_fresh = false;
        }
    }

    fn compare_labels(&mut self, repository: &Repository, targets: &[u32]) {
        for (place, &ignored) in targets.iter().enumerate() {
            let ignored = self.targets.get(ignored);
            for (label, value) in &ignored.labels {
                let first = targets[..place]
                    .iter()
                    .map(|&first| self.targets.get(first))
                    .find_map(|first| Some((first, first.labels.get(label)?)));
                let Some((counts, _)) = first.filter(|(_, first)| *first != value) else { continue };
                if self.warned_labels.insert((label.clone(), counts.name.clone(), ignored.name.clone())) {
                    self.warnings.push(Warning::LabelsDisagree {
                        repository: repository.clone(),
                        label: label.clone(),
                        counts: counts.name.clone(),
                        ignored: ignored.name.clone(),
                    });
                }
            }
        }
    }
}

/// Whether what was discovered for one target holds for the other.
fn means_the_same(a: &Target, b: &Target) -> bool {
    a.repositories == b.repositories && a.selection == b.selection && a.tags_max == b.tags_max
}

fn forget(repository: &Repository, tag: Tag) -> TagChange {
    TagChange { repository: repository.clone(), tag, kept: None }
}
