//! What registries' notifications ask of the state loop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::StateLoop;
use crate::daemon::messages::NotifiedReads;
use crate::inventory::Deleted;
use crate::notify::{Change, ChangeTarget, Pulled};
use crate::oci::{Repository, Tag};
use crate::tag::{Discovered, Observation, Outcome, TagChange, TagRequest};
use crate::target::Target;

/// A scan's reading of one tag that takes longer is not expected.
const OVERLAP_MAX: Duration = Duration::from_mins(5);

/// The tags that were read because of a notification, and found.
#[derive(Default)]
pub(super) struct Looks {
    at: HashMap<(Repository, Tag), Instant>,
    /// When it was freed of old ones.
    tidied: Option<Instant>,
}

impl StateLoop {
    /// What a change asks to be read: nothing where no target selects it.
    pub(super) fn notified(&mut self, change: &Change) -> NotifiedReads {
        let mut reads = NotifiedReads::default();
        for repository in self.inventory.named_repositories(change.registry.as_ref(), &change.repository) {
            let deleted = match &change.target {
                ChangeTarget::Pushed(tag) => {
                    let pushed = self.inventory.pushed(&repository, tag);
                    reads.requests.extend(pushed.request);
                    let listing = pushed.lists.iter().filter_map(|name| self.workers.target(name));
                    reads.lists.extend(listing.map(|target| (target, repository.clone())));
                    continue;
                }
                ChangeTarget::Deleted(tag) => Deleted::Tag(tag),
                ChangeTarget::DeletedDigest(digest) => Deleted::Digest(digest),
                ChangeTarget::DeletedRepository => Deleted::Repository,
            };
            reads.requests.extend(self.inventory.deleted(&repository, deleted));
        }
        reads
    }

    /// Counts pulls of selected repositories.
    pub(super) fn pulled(&self, pulls: Vec<Pulled>) {
        for Pulled { registry, repository, images, bytes } in pulls {
            let named = self.inventory.named_repositories(registry.as_ref(), &repository);
            for repository in named.iter().filter(|repository| self.inventory.is_watched(repository)) {
                self.handles.telemetry.pulled(repository, images, bytes);
            }
        }
    }

    /// Notes that a tag was read because of a notification.
    pub(super) fn note_look(&mut self, observation: &Observation) {
        let now = Instant::now();
        if self.looks.tidied.is_none_or(|tidied| now.duration_since(tidied) > OVERLAP_MAX) {
            self.looks.tidied = Some(now);
            self.looks.at.retain(|_, at| now.duration_since(*at) < OVERLAP_MAX);
        }
        let key = (observation.repository.clone(), observation.tag.clone());
        if matches!(observation.outcome, Outcome::Gone) {
            self.looks.at.remove(&key);
        } else {
            self.looks.at.insert(key, now);
        }
    }

    /// A scan that began to read the tag before a notification may end with what the tag was then: it is looked at once
    /// more.
    pub(super) fn look_again(&mut self, observation: &Observation) {
        let is_news = matches!(observation.outcome, Outcome::Read(_) | Outcome::Gone);
        let key = (observation.repository.clone(), observation.tag.clone());
        if is_news && let Some(at) = self.looks.at.remove(&key) {
            self.again(key, at);
        }
    }

    /// A scan that began to read its lists before a notification does not find what the notification added: tags that it
    /// removed are looked at once more.
    pub(super) fn look_for_lost(&mut self, target: &Target) {
        let is_lost = |(repository, tag): &(Repository, Tag)| {
            target.repositories.include(repository) && !self.inventory.knows(repository, tag)
        };
        let lost: Vec<_> = self.looks.at.extract_if(|key, _| is_lost(key)).collect();
        for (key, at) in lost {
            self.again(key, at);
        }
    }

    fn again(&self, (repository, tag): (Repository, Tag), looked_at: Instant) {
        if looked_at.elapsed() < OVERLAP_MAX {
            self.handles.notifications.queue.again(Change {
                registry: Some(repository.registry().clone()),
                repository: repository.name().into(),
                target: ChangeTarget::Pushed(tag),
            });
        }
    }

    /// Takes the tag list of a repository that was new to a target; returns the tags to read.
    pub(super) fn listed(
        &mut self,
        target: &Arc<Target>,
        found: Discovered,
        change: &Change,
        changes: &mut Vec<TagChange>,
    ) -> Vec<TagRequest> {
        let names: Vec<_> = found.repositories.iter().map(|one| one.repository.clone()).collect();
        changes.extend(self.inventory.select(&target.name, found));
        let mut requests: Vec<_> = names.iter().flat_map(|name| self.inventory.unread(name)).collect();
        // Some registries list a new tag late.
        let pushed = self.notified(change).requests;
        let is_unread =
            |one: &TagRequest| requests.iter().any(|two| (&two.repository, &two.tag) == (&one.repository, &one.tag));
        let others: Vec<_> = pushed.into_iter().filter(|one| !is_unread(one)).collect();
        requests.extend(others);
        // Even if these are never read, a restart must not take a part of a list for all of it.
        self.forget_untrue_scans(target);
        requests
    }
}
