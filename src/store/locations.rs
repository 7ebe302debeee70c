//! Which repositories are known to have a manifest: what is known of it by its digest may come from another one.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

use crate::oci::{Digest, Repository};

/// By manifest, the repositories in which it was seen.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<Digest, Vec<Repository>>>);

impl Places {
    pub(super) fn insert(&self, repository: &Repository, digest: &Digest) {
        let mut places = self.0.lock();
        let seen = places.entry(digest.clone()).or_default();
        if !seen.contains(repository) {
            seen.push(repository.clone());
        }
    }

    pub(super) fn contains(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.lock().get(digest).is_some_and(|seen| seen.contains(repository))
    }

    pub(super) fn keep_only(&self, digests: &HashSet<Digest>) {
        self.0.lock().retain(|digest, _| digests.contains(digest));
    }
}
