//! What a notification of a registry asks to be read: only what a target selects. A tag that is new is selected once a
//! reading has found it, so that an event that is not true changes nothing.

use std::collections::BTreeSet;

use super::Inventory;
use super::state::RepositoryState;
use super::tag_state::TagState;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent, Observation, Outcome, TagChange, TagRequest};
use crate::target::{Repositories, TargetName};

/// What a push asks to be read.
#[derive(Debug, Default)]
pub struct Pushed {
    /// The tag, if a target selects it.
    pub request: Option<TagRequest>,
    /// The targets whose wildcard includes the repository, new to them, whose tags they list: the list has to be read first,
    /// since figures of a part of a repository are not published.
    pub lists: Vec<TargetName>,
}

/// Which known tags were deleted.
#[derive(Clone, Copy, Debug)]
pub enum Deleted<'a> {
    /// This one.
    Tag(&'a Tag),
    /// Those that point at this digest.
    Digest(&'a Digest),
    /// All of the repository.
    Repository,
}

/// Whether a target selects a tag that was pushed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    No,
    Yes,
    /// It may, once it knows the repository's list.
    ListFirst,
}

impl Inventory {
    /// The repositories that an event may mean: the one on the event's registry if a target is on that registry; otherwise
    /// those of this name on all registries that targets are on, since a registry may call itself by another host than the
    /// configuration.
    pub fn named_repositories(&self, registry: Option<&Registry>, name: &str) -> Vec<Repository> {
        let registries: BTreeSet<&Registry> = self.targets.registries().chain(self.registries.keys()).collect();
        let registries = match registry.filter(|registry| registries.contains(registry)) {
            Some(registry) => [registry].into(),
            None => registries,
        };
        let all = registries.into_iter().filter_map(|registry| Repository::new(registry.clone(), name).ok());
        let is_watched = |name: &Repository| self.is_watched(name) || !self.targets.including(name).is_empty();
        all.filter(is_watched).collect()
    }

    /// Whether a target selects this repository now.
    pub fn is_watched(&self, repository: &Repository) -> bool {
        self.repository(repository).is_some()
    }

    /// Whether a target selects this tag now.
    pub fn knows(&self, repository: &Repository, tag: &Tag) -> bool {
        self.repository(repository).is_some_and(|repository| repository.tags.contains_key(tag))
    }

    /// A tag was pushed.
    pub fn pushed(&mut self, name: &Repository, tag: &Tag) -> Pushed {
        let verdicts: Vec<(u32, Verdict)> =
            self.targets.including(name).into_iter().map(|number| (number, self.judge(number, name, tag))).collect();
        let by = |wanted| verdicts.iter().filter(move |(_, verdict)| *verdict == wanted).map(|(number, _)| *number);
        let lists = by(Verdict::ListFirst).map(|number| self.targets.get(number).name.clone()).collect();
        let selecting: Vec<u32> = by(Verdict::Yes).collect();
        let known = self.repository(name).and_then(|repository| repository.tags.get(tag));
        let request = match known.map(|state| state.request(name, tag)) {
            Some(request) => Some(request),
            None => self
                .targets
                .settings(selecting, name, tag)
                .map(|settings| TagRequest::unknown(name.clone(), tag.clone(), settings.platforms.clone())),
        };
        Pushed { request, lists }
    }

    /// Applies the outcome of a reading because of a notification; returns the changes for the store. Every target that would
    /// select the tag from its list selects it from now on, if it exists.
    pub fn record_notified(&mut self, observation: &Observation) -> Vec<TagChange> {
        let Observation { repository: name, tag, outcome, .. } = observation;
        let mut changes = Vec::new();
        if matches!(outcome, Outcome::Read(_) | Outcome::Unchanged) {
            for number in self.targets.including(name) {
                if !self.is_selected_by(number, name, tag) && self.judge(number, name, tag) == Verdict::Yes {
                    changes.extend(self.add_pushed(number, name, tag));
                }
            }
        }
        changes.extend(self.record(observation));
        changes
    }

    fn is_selected_by(&self, target: u32, name: &Repository, tag: &Tag) -> bool {
        let state = self.repository(name).and_then(|repository| repository.tags.get(tag));
        state.is_some_and(|state| state.settings.targets.contains(&target))
    }

    fn judge(&self, number: u32, name: &Repository, tag: &Tag) -> Verdict {
        let target = self.targets.get(number);
        if self.is_selected_by(number, name, tag) {
            return Verdict::Yes;
        }
        if !self.targets.may_select(number, tag) {
            return Verdict::No;
        }
        let Some(listing) = &target.selection.listing else { return Verdict::Yes };
        let repository = self.repository(name);
        let is_wild = !target.is_of_source() && !target.repositories.names().contains(name);
        let is_listed = |known: &RepositoryState| known.whole.contains(&number) || known.partial.contains(&number);
        if is_wild && !repository.is_some_and(is_listed) {
            return Verdict::ListFirst;
        }
        let tags = || repository.into_iter().flat_map(|known| known.selected_by(number));
        let is_selected = if listing.limit.is_none() {
            tags().count() < target.tags_max
        } else {
            let others = tags().filter(|(_, state)| !state.gone).map(|(tag, _)| tag);
            let all: Vec<Tag> = others.chain([tag]).cloned().collect();
            target.selection.select(&all).tags.contains(tag)
        };
        if is_selected { Verdict::Yes } else { Verdict::No }
    }

    /// Has a target select a tag, as if its list had it.
    fn add_pushed(&mut self, number: u32, name: &Repository, tag: &Tag) -> Vec<TagChange> {
        let target = std::sync::Arc::clone(self.targets.get(number));
        // Without a list, the tags configured by name are all of them.
        let (list, others) = if target.selection.lists() {
            (ListExtent::Partial, Vec::new())
        } else {
            let known = self.repository(name).into_iter().flat_map(|repository| repository.selected_by(number));
            (ListExtent::Whole, known.map(|(tag, _)| tag.clone()).collect())
        };
        let all: Vec<Tag> = others.into_iter().chain([tag.clone()]).collect();
        let selected = target.selection.select(&all);
        let found = DiscoveredRepository {
            repository: name.clone(),
            tags: selected.tags,
            candidates: selected.candidates,
            list,
        };
        self.select(&target.name, Discovered { repositories: vec![found], catalog: ListExtent::Unread })
    }

    /// Tags were deleted, which a read has to confirm. Those that are not known are not read.
    pub fn deleted(&self, name: &Repository, deleted: Deleted<'_>) -> Vec<TagRequest> {
        self.requests(name, |tag, state| match deleted {
            Deleted::Tag(deleted) => tag == deleted,
            Deleted::Digest(digest) => state.content.as_ref().is_some_and(|content| content.known.digest == *digest),
            Deleted::Repository => state.is_selected(),
        })
    }

    /// Requests for the tags of a repository that no reading was ever tried of.
    pub fn unread(&self, name: &Repository) -> Vec<TagRequest> {
        self.requests(name, |_, state| state.up.is_none())
    }

    pub(super) fn repository(&self, name: &Repository) -> Option<&RepositoryState> {
        self.registries.get(name.registry())?.repositories.get(name)
    }

    fn requests(&self, name: &Repository, wanted: impl Fn(&Tag, &TagState) -> bool) -> Vec<TagRequest> {
        let tags = self.repository(name).into_iter().flat_map(|repository| &repository.tags);
        tags.filter(|(tag, state)| wanted(tag, state)).map(|(tag, state)| state.request(name, tag)).collect()
    }
}
