//! In which repositories a manifest is known to exist. Its content may come from another repository.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};

use crate::oci::{Digest, Repository};

/// Repositories by manifest.
#[derive(Debug, Default)]
pub(super) struct Locations(Mutex<HashMap<Digest, Vec<Repository>>>);

impl Locations {
    pub(super) fn insert(&self, repository: &Repository, digest: &Digest) {
        let mut locations = self.0.lock();
        // Nearly all are in one repository.
        let repositories = locations.entry(digest.clone()).or_insert_with(|| Vec::with_capacity(1));
        if !repositories.contains(repository) {
            repositories.push(repository.clone());
        }
    }

    pub(super) fn contains(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.lock().get(digest).is_some_and(|repositories| repositories.contains(repository))
    }

    pub(super) fn retain(&self, digests: &HashSet<Digest>) {
        self.0.lock().retain(|digest, _| digests.contains(digest));
    }
}
