//! What registries' notifications ask of the state loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::StateLoop;
use crate::daemon::messages::NotifiedReads;
use crate::inventory::Deleted;
use crate::notify::{Change, ChangeTarget, Pulled};
use crate::tag::{Completeness, Discovered, Observation, Outcome, TagChange, TagRequest};
use crate::target::Target;

/// A scan's reading of one tag that takes longer is not expected.
const OVERLAP_MAX: Duration = Duration::from_mins(5);

impl StateLoop {
    /// What a change asks to be read: nothing where no target selects it.
    pub(super) fn notified(&mut self, change: &Change, changes: &mut Vec<TagChange>) -> NotifiedReads {
        let mut reads = NotifiedReads::default();
        for repository in self.inventory.named_repositories(change.registry.as_ref(), &change.repository) {
            let deleted = match &change.target {
                ChangeTarget::Pushed(tag) => {
                    let notified = self.inventory.pushed(&repository, tag);
                    changes.extend(notified.changes);
                    reads.requests.extend(notified.requests);
                    let listing = notified.lists.iter().filter_map(|name| self.workers.target(name));
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
        self.looks.retain(|_, at| now.duration_since(*at) < OVERLAP_MAX);
        self.looks.insert((observation.repository.clone(), observation.tag.clone()), now);
    }

    /// A scan that began to read the tag before a notification may end with what the tag was then: it is looked at once
    /// more.
    pub(super) fn look_again(&mut self, observation: &Observation) {
        let is_news = matches!(observation.outcome, Outcome::Read(_) | Outcome::Gone);
        let Observation { repository, tag, .. } = observation;
        if is_news && self.looks.remove(&(repository.clone(), tag.clone())).is_some() {
            self.handles.notifications.queue.again(Change {
                registry: Some(repository.registry().clone()),
                repository: repository.name().into(),
                target: ChangeTarget::Pushed(tag.clone()),
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
        // Some registries list a new tag late.
        let mut requests = self.notified(change, changes).requests;
        requests.retain(|request| !names.contains(&request.repository));
        requests.extend(names.iter().flat_map(|name| self.inventory.unread(name)));
        // Even if these are never read, a restart must not take a part of a list for all of it.
        if !self.inventory.is_scanned(&target.name, Completeness::Listed) {
            self.forget_scans(target);
        }
        requests
    }
}
