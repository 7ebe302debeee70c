//! Reconciles the tags with the configuration and with discovery.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Inventory;
use super::catalog::Catalog;
use super::contents::Contents;
use super::reclaimable::Reclaimable;
use super::stale::StalePart;
use super::state::{RegistryState, RepositoryState};
use super::tag_settings::{Targets, selects_the_same};
use super::tag_state::TagState;
use crate::oci::{Registry, Repository, Tag};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent, TagChange};
use crate::target::{Candidate, Target, TargetName};

impl Inventory {
    /// Applies a target's discovery. Tags that no target selects any more are dropped, also from the store. A list that
    /// was read in part adds tags and removes none.
    pub fn select(&mut self, target: &TargetName, discovered: Discovered) -> Vec<TagChange> {
        let Some(number) = self.targets.find(target) else { return Vec::new() };
        let mut forgotten = Vec::new();
        let is_complete = discovered.catalog == ListExtent::Whole;
        self.catalogs[number as usize].note(discovered.catalog);
        self.found[number as usize] |= is_complete;
        if is_complete {
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
            // A tag missing from a list that broke off or was cut may still exist, and still competes for `limit`.
            let tags = if complete { tags } else { self.still_selected(number, &repository, &tags) };
            self.keep_only(number, &repository, &tags.into_iter().collect(), &mut forgotten);
            self.add_repository(number, &repository);
            let candidates = match self.candidates_known(number, &repository) {
                // The newest tag in half a list may be the oldest of all.
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
                self.set_listed(number, &repository);
            }
            self.set_partial(number, &repository, list);
        }
        if self.found[number as usize] && !self.listed[number as usize] {
            // Perhaps not in one scan: on a registry that limits requests other lists fail each time.
            let is_listed = |(_, repository): (_, &RepositoryState)| repository.listed_by.contains(&number);
            let all_are = self.selected_repositories(number).all(is_listed);
            self.listed[number as usize] = all_are;
        }
        forgotten
    }

    /// The known tags of a repository that a target selects, without those that the registry reported as gone.
    fn still_selected(&self, target: u32, name: &Repository, listed: &[Tag]) -> Vec<Tag> {
        let repository = self.registries.get(name.registry()).and_then(|state| state.repositories.get(name));
        let selected = repository.into_iter().flat_map(|repository| repository.selected_by(target));
        let known = selected.filter(|(tag, state)| !state.gone || listed.contains(tag));
        let known: Vec<Tag> = known.map(|(tag, _)| tag.clone()).collect();
        self.targets.get(target).selection.select(&known).tags
    }

    pub(super) fn set_listed(&mut self, target: u32, name: &Repository) {
        let lists = self.targets.get(target).selection.lists();
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        repository.listed_by.insert(target);
        if lists {
            repository.whole.insert(target);
        }
        if !std::mem::replace(&mut repository.listed, true) {
            registry.stale.mark_with(&mut repository.stale, StalePart::View);
        }
    }

    /// Notes whether figures of the whole repository would cover only a part of it. They are withheld where a list was
    /// truncated, and where reading it failed unless this target read it completely before: then the last true figures
    /// stay.
    fn set_partial(&mut self, target: u32, name: &Repository, list: ListExtent) {
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        let has_changed = match list {
            ListExtent::Whole => repository.partial.remove(&target),
            ListExtent::Partial | ListExtent::Unread if repository.whole.contains(&target) => false,
            ListExtent::Cut | ListExtent::Partial | ListExtent::Unread => repository.partial.insert(target),
        };
        if has_changed {
            registry.stale.mark_with(&mut repository.stale, StalePart::View);
        }
    }

    /// Applies a new configuration. Tags that no target selects any more are dropped, also from the store. A target
    /// with the same selection as before continues. For any other target, known tags that it may select are published
    /// until its own discovery ends.
    pub fn reconfigure(&mut self, targets: &[Arc<Target>], keep: Duration) -> Vec<TagChange> {
        self.keep = keep;
        let old = std::mem::replace(&mut self.targets, Targets::new(targets));
        let [old_ended, old_found, old_listed] =
            [&mut self.ended, &mut self.found, &mut self.listed].map(std::mem::take);
        let old_catalogs = std::mem::take(&mut self.catalogs);
        let goes_on: HashMap<u32, u32> = self
            .targets
            .iter()
            .filter_map(|(new, target)| {
                let before = old.find(&target.name)?;
                selects_the_same(old.get(before), target).then_some((before, new))
            })
            .collect();
        let going_on = |numbers: &BTreeSet<u32>| numbers.iter().filter_map(|old| goes_on.get(old).copied()).collect();
        let as_before: HashMap<u32, u32> = goes_on.iter().map(|(&before, &new)| (new, before)).collect();
        let was = |old: &[bool], new| as_before.get(&new).is_some_and(|&before| old[before as usize]);
        self.ended = self.targets.iter().map(|(new, _)| was(&old_ended, new)).collect();
        self.found = self.targets.iter().map(|(new, _)| was(&old_found, new)).collect();
        self.listed = self.targets.iter().map(|(new, _)| was(&old_listed, new)).collect();
        let read_before = |target: &Target| {
            let is_same = |before: &Target| {
                before.repositories == target.repositories && (!target.is_of_source() || before.name == target.name)
            };
            let same = old.iter().filter(|(_, before)| is_same(before));
            same.map(|(before, _)| old_catalogs[before as usize]).find(|catalog| catalog.is_whole())
        };
        let catalogs =
            self.targets.iter().map(|(_, target)| read_before(target).unwrap_or_else(|| Catalog::new(target)));
        self.catalogs = catalogs.collect();

        let mut forgotten = Vec::new();
        for (registry, mut state) in std::mem::take(&mut self.registries) {
            if self.targets.on(&registry).next().is_none() {
                self.forget_all(state, &mut forgotten);
                continue;
            }
            // The repositories are judged anew.
            state.reclaimable = Reclaimable::default();
            for (name, repository) in std::mem::take(&mut state.repositories) {
                state.discount(&repository);
                let including = self.targets.including(&name);
                let number = repository.number;
                let mut next = RepositoryState {
                    number,
                    targets: repository.targets.iter().filter_map(|before| goes_on.get(before).copied()).collect(),
                    listed: repository.listed,
                    // A list that was read completely for another selection contained all tags.
                    whole: if repository.whole.is_subset(&repository.partial) {
                        BTreeSet::new()
                    } else {
                        including.iter().copied().collect()
                    },
                    listed_by: going_on(&repository.listed_by),
                    partial: going_on(&repository.partial),
                    ..RepositoryState::default()
                };
                for (before, candidates) in repository.candidates {
                    if let Some(&new) = goes_on.get(&before).filter(|&&new| self.targets.get(new).newest.is_some()) {
                        next.candidates.insert(new, candidates);
                    }
                }
                for (tag, mut one) in repository.tags {
                    let selects = |&target: &u32| match as_before.get(&target) {
                        Some(before) => one.settings.targets.contains(before),
                        None => self.targets.may_select(target, &tag),
                    };
                    let of_sources = one.settings.targets.iter().filter_map(|before| goes_on.get(before));
                    let of_sources = of_sources.copied().filter(|&new| self.targets.get(new).is_of_source());
                    let mut selecting: Vec<u32> = including.iter().copied().filter(selects).chain(of_sources).collect();
                    if selecting.is_empty() {
                        // A source that is new may see it.
                        let is_new = |target: &u32| !as_before.contains_key(target);
                        selecting.extend(self.targets.sources().iter().copied().filter(is_new));
                    }
                    next.targets.extend(&selecting);
                    if let Some(settings) = self.targets.settings(selecting, &name, &tag) {
                        one.reset_settings(settings);
                        next.tags.insert(tag, one);
                    } else {
                        one.forget(&mut Contents::new(&mut state.layers, &mut self.bases, (number, &name, &tag)));
                        forgotten.push(forget(&name, tag));
                    }
                }
                next.targets.sort_unstable();
                next.targets.dedup();
                if next.targets.is_empty() {
                    self.bases.forget(&name);
                } else {
                    state.repositories.insert(name, next);
                }
            }
            state.stale.mark(StalePart::Sums);
            self.registries.insert(registry, state);
        }
        self.sources = self.sources.renumbered(&self.targets, |new| as_before.get(&new).copied());
        self.policies = self.policies.renewed(&self.targets);
        self.stale.mark(StalePart::View);
        self.add_named();
        self.restore_candidates();
        self.sum_all_scanned();
        forgotten
    }

    /// Drops all tags of a registry.
    fn forget_all(&mut self, mut registry: RegistryState, forgotten: &mut Vec<TagChange>) {
        for (name, repository) in registry.repositories {
            for (tag, mut one) in repository.tags {
                let place = (repository.number, &name, &tag);
                one.forget(&mut Contents::new(&mut registry.layers, &mut self.bases, place));
                forgotten.push(forget(&name, tag));
            }
            self.bases.forget(&name);
        }
    }

    /// Enters all tags of a registry into its sums, if each of its targets has ended a scan.
    pub(super) fn sum_if_scanned(&mut self, registry: &Registry) {
        let have_ended = self.have_ended(registry);
        let Some(state) = self.registries.get_mut(registry).filter(|_| have_ended) else { return };
        state.has_sums = true;
        state.stale.mark(StalePart::Sums);
        for (name, repository) in &mut state.repositories {
            for (tag, one) in &mut repository.tags {
                let mut contents = Contents::new(&mut state.layers, &mut self.bases, (repository.number, name, tag));
                let is_news = !std::mem::replace(&mut one.in_sums, true) | one.narrow(&mut contents);
                if is_news {
                    repository.stale.mark(StalePart::Sums);
                }
            }
        }
    }

    /// The same of every registry.
    pub(super) fn sum_all_scanned(&mut self) {
        let registries: Vec<_> = self.registries.keys().cloned().collect();
        for registry in &registries {
            self.sum_if_scanned(registry);
        }
    }

    pub(super) fn have_ended(&self, registry: &Registry) -> bool {
        self.targets.on(registry).all(|number| self.ended[number as usize])
    }

    /// Adds the tags that are configured by name on repositories that are configured by name: these are selected
    /// whether a list has them or not.
    pub(super) fn add_named(&mut self) {
        let named: Vec<(u32, Repository, Vec<Tag>)> = self
            .targets
            .iter()
            .flat_map(|(number, target)| {
                let names = target.repositories.names().iter();
                names.map(move |name| (number, name.clone(), target.named_tags().to_vec()))
            })
            .collect();
        for (number, repository, tags) in named {
            self.add_repository(number, &repository);
            for tag in tags {
                self.add(number, &repository, &tag);
            }
        }
    }

    /// Notes that a target selects a tag.
    pub(super) fn add(&mut self, target: u32, name: &Repository, tag: &Tag) {
        self.add_repository(target, name);
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        let existing = repository.tags.get_mut(tag);
        if existing.as_ref().is_some_and(|state| state.settings.targets.contains(&target)) {
            return;
        }
        let mut targets = existing.as_ref().map_or_else(Vec::new, |state| state.settings.targets.to_vec());
        targets.push(target);
        let Some(settings) = self.targets.settings(targets, name, tag) else { return };
        let state = match existing {
            Some(state) => {
                state.set_settings(settings);
                state
            }
            None => repository.tags.entry(tag.clone()).or_insert_with(|| TagState::new(settings)),
        };
        state.in_sums |= self.ended[target as usize];
        registry.stale.mark_with(&mut repository.stale, StalePart::Sums);
    }

    /// Notes that a target selects a repository.
    fn add_repository(&mut self, target: u32, name: &Repository) {
        if !self.registries.contains_key(name.registry()) {
            let has_sums = self.have_ended(name.registry());
            self.registries.insert(name.registry().clone(), RegistryState::new(has_sums, self.tells_others()));
        }
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        if !registry.repositories.contains_key(name) {
            let number = self.bases.number(name);
            registry.repositories.insert(name.clone(), RepositoryState { number, ..RepositoryState::default() });
            registry.stale.mark(StalePart::Sums);
        }
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        let Err(position) = repository.targets.binary_search(&target) else { return };
        repository.targets.insert(position, target);
        let has_groups = self.targets.get(target).grouping.is_some();
        registry.stale.mark_with(&mut repository.stale, if has_groups { StalePart::Sums } else { StalePart::View });
        let targets = repository.targets.clone();
        self.compare_labels(name, &targets);
    }

    /// Deselects a target's tags of a repository, except these and those that it names.
    fn keep_only(&mut self, target: u32, name: &Repository, tags: &BTreeSet<Tag>, forgotten: &mut Vec<TagChange>) {
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        let is_lost = |(tag, state): &(&Tag, &TagState)| {
            let is_selected = state.settings.targets.contains(&target);
            is_selected && !tags.contains(*tag) && !self.targets.names(target, name, tag)
        };
        let lost: Vec<Tag> = repository.tags.iter().filter(is_lost).map(|(tag, _)| tag.clone()).collect();
        for tag in &lost {
            let Some(mut state) = repository.tags.remove(tag) else { continue };
            let others = state.settings.targets.iter().copied().filter(|&other| other != target).collect();
            if let Some(settings) = self.targets.settings(others, name, tag) {
                state.settings = settings;
                repository.tags.insert(tag.clone(), state);
            } else {
                state.forget(&mut Contents::new(&mut registry.layers, &mut self.bases, (repository.number, name, tag)));
                forgotten.push(forget(name, tag.clone()));
            }
        }
        let is_named = self.targets.get(target).repositories.names().contains(name);
        let is_left = tags.is_empty() && !is_named;
        if !lost.is_empty() || is_left {
            registry.stale.mark_with(&mut repository.stale, StalePart::Sums);
        }
        if is_left {
            repository.targets.retain(|&other| other != target);
            repository.candidates.remove(&target);
            repository.whole.remove(&target);
            repository.listed_by.remove(&target);
            repository.partial.remove(&target);
            if repository.targets.is_empty()
                && let Some(removed) = registry.repositories.remove(name)
            {
                registry.discount(&removed);
                registry.reclaimable.forget(&removed.judged);
                self.bases.forget(name);
            }
        }
    }

    /// The repositories that a target selects now.
    pub(super) fn repositories_of(&self, target: u32) -> Vec<Repository> {
        self.selected_repositories(target).map(|(name, _)| name.clone()).collect()
    }

    /// A target's candidates for the newest release, if a list was read.
    fn candidates_known(&self, target: u32, repository: &Repository) -> Option<Vec<Tag>> {
        let known =
            self.registries.get(repository.registry())?.repositories.get(repository)?.candidates.get(&target)?;
        Some(known.iter().map(|candidate| candidate.tag.clone()).collect())
    }

    /// Sets a target's candidates for the newest release.
    pub(super) fn set_candidates(&mut self, target: u32, name: &Repository, tags: &[Tag]) {
        if self.targets.get(target).newest.is_none() {
            return;
        }
        let Some(registry) = self.registries.get_mut(name.registry()) else { return };
        let Some(repository) = registry.repositories.get_mut(name) else { return };
        let known = repository.candidates.get(&target);
        if known.is_none_or(|known| !known.iter().map(|one| &one.tag).eq(tags)) {
            repository.candidates.insert(target, tags.iter().map(Candidate::new).collect());
            registry.stale.mark_with(&mut repository.stale, StalePart::View);
        }
    }
}

fn forget(repository: &Repository, tag: Tag) -> TagChange {
    TagChange { repository: repository.clone(), tag, kept: None }
}
