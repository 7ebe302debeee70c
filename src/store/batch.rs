//! What is to be remembered and is not written yet. Its maps are the writer's queue: what comes twice is written once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{LayerRecord, Stored};
use crate::image::{ConfigFacts, Timestamp};
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{TagChange, TagRecord};

/// At most so many things by digest wait for the writer. Only a file that cannot be written makes so many wait; what
/// is past them is forgotten, which costs a request after the next restart and nothing else.
pub(super) const WAITING_MAX: usize = 50_000;

/// What is to be remembered, the latest of everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) documents: HashMap<Digest, Stored>,
    pub(super) configs: HashMap<Digest, Arc<ConfigFacts>>,
    pub(super) blobs: HashMap<Digest, u64>,
    pub(super) layers: HashMap<Digest, LayerRecord>,
    /// None: the tag is to be forgotten. As many as there are watched tags at most, hence no limit of its own.
    pub(super) tags: HashMap<(Repository, Tag), Option<TagRecord>>,
    /// When what was scanned whole. Two for each target at most.
    pub(super) passes: HashMap<Digest, Timestamp>,
    /// The older passes to be remembered still; all where there is no such set.
    pub(super) passes_left: Option<HashSet<Digest>>,
    pub(super) sweep: Option<Sweep>,
}

/// A request to remove what has not been in use for a while.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    pub(super) in_use: HashSet<Digest>,
    pub(super) now: Timestamp,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.configs.is_empty()
            && self.blobs.is_empty()
            && self.layers.is_empty()
            && self.tags.is_empty()
            && self.passes.is_empty()
            && self.passes_left.is_none()
            && self.sweep.is_none()
    }

    pub(super) fn change(&mut self, change: TagChange) {
        self.tags.insert((change.repository, change.tag), change.kept);
    }

    /// Forgets every pass but those under these keys, here and in whatever is older.
    pub(super) fn keep_passes(&mut self, keys: &HashSet<Digest>) {
        self.passes.retain(|key, _| keys.contains(key));
        match &mut self.passes_left {
            Some(left) => left.retain(|key| keys.contains(key)),
            None => self.passes_left = Some(keys.clone()),
        }
    }

    /// Whether what the key stands for was scanned whole, as far as this batch knows or has it forgotten.
    pub(super) fn has_passed(&self, key: &Digest) -> Option<bool> {
        let is_forgotten = || self.passes_left.as_ref().is_some_and(|left| !left.contains(key));
        if self.passes.contains_key(key) { Some(true) } else { is_forgotten().then_some(false) }
    }

    /// Takes back a batch that could not be written: what came since is newer and stays.
    pub(super) fn put_back(&mut self, mut older: Self) {
        if let Some(left) = &self.passes_left {
            older.keep_passes(left);
        }
        put_back(&mut self.documents, older.documents, WAITING_MAX);
        put_back(&mut self.configs, older.configs, WAITING_MAX);
        put_back(&mut self.blobs, older.blobs, WAITING_MAX);
        put_back(&mut self.layers, older.layers, WAITING_MAX);
        put_back(&mut self.tags, older.tags, usize::MAX);
        put_back(&mut self.passes, older.passes, usize::MAX);
        self.passes_left = older.passes_left;
        self.sweep = self.sweep.take().or(older.sweep);
    }
}

fn put_back<K: std::hash::Hash + Eq, V>(newer: &mut HashMap<K, V>, older: HashMap<K, V>, max: usize) {
    for (key, value) in older {
        if newer.len() >= max {
            return;
        }
        if let Entry::Vacant(vacant) = newer.entry(key) {
            vacant.insert(value);
        }
    }
}
