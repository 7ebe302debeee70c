//! What a notification of a registry asks to be read: only what a target selects.

use super::Inventory;
use super::state::RepositoryState;
use super::tag_state::TagState;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent, TagChange, TagRequest};
use crate::target::{Repositories, TargetName};

/// What follows from a notification.
#[derive(Debug, Default)]
pub struct Notified {
    /// The tags to read now.
    pub requests: Vec<TagRequest>,
    /// The targets whose wildcard includes the repository, new to them, whose tags they list: the list has to be read first,
    /// since figures of a part of a repository are not published.
    pub lists: Vec<TargetName>,
    /// Tags that the new one displaced under a `limit`, for the store.
    pub changes: Vec<TagChange>,
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

impl Inventory {
    /// The repositories that an event may mean: the one on the event's registry if a target is on that registry; otherwise
    /// those of this name on all registries that targets are on, since a registry may call itself by another host than the
    /// configuration.
    pub fn named_repositories(&self, registry: Option<&Registry>, name: &str) -> Vec<Repository> {
        let known = registry.filter(|registry| !self.targets.on(registry).is_empty());
        let registries: Vec<&Registry> = match known {
            Some(registry) => vec![registry],
            None => self.targets.registries().collect(),
        };
        let all = registries.into_iter().filter_map(|registry| Repository::new(registry.clone(), name).ok());
        all.filter(|repository| !self.targets.including(repository).is_empty()).collect()
    }

    /// Whether a target selects this repository now.
    pub fn is_watched(&self, repository: &Repository) -> bool {
        self.repository(repository).is_some()
    }

    /// A tag was pushed. A target that would select it from its list selects it now.
    pub fn pushed(&mut self, name: &Repository, tag: &Tag) -> Notified {
        let mut notified = Notified::default();
        let mut added: Vec<Tag> = Vec::new();
        for number in self.targets.including(name) {
            let target = std::sync::Arc::clone(self.targets.get(number));
            let known = |repository: &RepositoryState| {
                repository.tags.get(tag).is_some_and(|state| state.policy.targets.contains(&number))
            };
            if self.repository(name).is_some_and(known) || !self.targets.may_select(number, tag) {
                continue;
            }
            let is_listed = |repository: &RepositoryState| {
                repository.whole.contains(&number) || repository.partial.contains(&number)
            };
            let is_wild = matches!(target.repositories, Repositories::Matching(_));
            if target.selection.lists() && is_wild && !self.repository(name).is_some_and(is_listed) {
                notified.lists.push(target.name.clone());
                continue;
            }
            let selected = target.selection.select(std::slice::from_ref(tag));
            let is_new = |tag: &&Tag| self.repository(name).is_none_or(|known| !known.tags.contains_key(*tag));
            added.extend(selected.tags.iter().filter(is_new).cloned());
            // Without a list, the tags configured by name are all of them.
            let list = if target.selection.lists() { ListExtent::Partial } else { ListExtent::Whole };
            let found = DiscoveredRepository {
                repository: name.clone(),
                tags: selected.tags,
                candidates: selected.candidates,
                list,
            };
            let found = Discovered { repositories: vec![found], complete: false };
            notified.changes.extend(self.select(&target.name, found));
        }
        if !added.contains(tag) {
            added.push(tag.clone());
        }
        notified.requests = self.requests(name, |candidate, _| added.contains(candidate));
        notified
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

    fn repository(&self, name: &Repository) -> Option<&RepositoryState> {
        self.registries.get(name.registry())?.repositories.get(name)
    }

    fn requests(&self, name: &Repository, wanted: impl Fn(&Tag, &TagState) -> bool) -> Vec<TagRequest> {
        let tags = self.repository(name).into_iter().flat_map(|repository| &repository.tags);
        tags.filter(|(tag, state)| wanted(tag, state)).map(|(tag, state)| state.request(name, tag)).collect()
    }
}
