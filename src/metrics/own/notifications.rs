//! What was counted of registries' notifications. Absent without an endpoint for them.

use std::collections::BTreeMap;

use crate::image::Timestamp;
use crate::notify::{Failure, Kind};
use crate::oci::Repository;

/// The most repositories whose pulls are counted.
const REPOSITORIES_MAX: usize = 100_000;

/// Counts by kind, in the order of [`Kind::ALL`], and by repository.
#[derive(Debug, Default)]
pub(crate) struct NotificationCounts {
    /// Refused ones included.
    pub(crate) received: [u64; Kind::ALL.len()],
    /// By reason, in the order of [`Failure::ALL`].
    pub(crate) failures: [[u64; Failure::ALL.len()]; Kind::ALL.len()],
    /// When the last one was accepted.
    pub(crate) last: [Option<Timestamp>; Kind::ALL.len()],
    /// Of selected repositories that had one.
    pub(crate) pulls: BTreeMap<Repository, PullCounts>,
}

/// What was pulled of a repository.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PullCounts {
    /// Images and artifacts.
    pub(crate) images: u64,
    /// Of manifests and blobs.
    pub(crate) bytes: u64,
}

impl NotificationCounts {
    pub(crate) fn notified(&mut self, kind: Kind, failure: Option<Failure>, now: Timestamp) {
        self.received[kind as usize] += 1;
        match failure {
            Some(failure) => self.failures[kind as usize][failure as usize] += 1,
            None => self.last[kind as usize] = Some(now),
        }
    }

    pub(crate) fn pulled(&mut self, repository: &Repository, images: u64, bytes: u64) {
        if self.pulls.len() >= REPOSITORIES_MAX && !self.pulls.contains_key(repository) {
            return;
        }
        let counts = self.pulls.entry(repository.clone()).or_default();
        counts.images = counts.images.saturating_add(images);
        counts.bytes = counts.bytes.saturating_add(bytes);
    }
}
