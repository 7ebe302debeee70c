//! The writer's queue. Maps, so that only the latest value of a key is written.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::counts::Counts;
use super::stored::{LayerRecord, Stored};
use crate::files::{Skeleton, Unknowable};
use crate::image::{Commands, ConfigFacts, Timestamp};
use crate::oci::{Digest, Repository, Tag};
use crate::tag::{Base, BaseNames, TagChange, TagRecord};

/// The most entries of each kind that wait for the writer. Only a file that cannot be written makes so many wait.
/// Entries beyond the limit are dropped, which costs one request each after the next restart.
pub(super) const WAITING_MAX: usize = 50_000;

/// The same for listings of layers, which are big: a dropped one makes a layer be streamed again.
pub(super) const LISTINGS_WAITING_MAX: usize = 256;

/// Changes to be written: the latest value of each key.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) documents: HashMap<Digest, Stored>,
    pub(super) configs: HashMap<Digest, Arc<ConfigFacts>>,
    /// Of layers, by their config's digest.
    pub(super) commands: HashMap<Digest, Commands>,
    pub(super) blobs: HashMap<Digest, u64>,
    pub(super) layers: HashMap<Digest, LayerRecord>,
    pub(super) listings: HashMap<Digest, Result<Arc<Skeleton>, Unknowable>>,
    pub(super) wasted: HashMap<Digest, Result<u64, Unknowable>>,
    /// What annotations of manifests and indexes say.
    pub(super) base_names: HashMap<Digest, Arc<BaseNames>>,
    /// What was found, by the manifests of the images that are built on it. At most one entry for each watched image, and
    /// many at once when a file of an earlier version is read: hence no limit of its own.
    pub(super) bases: HashMap<Digest, Arc<Base>>,
    /// `None` deletes the record. At most one entry for each watched tag, hence no limit of its own.
    pub(super) tags: HashMap<(Repository, Tag), Option<TagRecord>>,
    /// When a scan completed, by the caller's key. At most two for each target.
    pub(super) scans: HashMap<Digest, Timestamp>,
    /// The older scans that stay; `None`: all of them.
    pub(super) scans_retained: Option<HashSet<Digest>>,
    pub(super) sweep: Option<Sweep>,
    /// What this shard counts, for the others.
    pub(super) counts: Counts,
    /// Claims on digests that this process gives up, once what it fetched is written. Others end by themselves.
    pub(super) claims_done: Vec<ClaimKey>,
}

/// A registry, a digest on it, and a number for what is fetched.
pub(super) type ClaimKey = (Arc<str>, Digest, i16);

/// A request to remove what has been unused for too long.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    pub(super) in_use: HashSet<Digest>,
    pub(super) now: Timestamp,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.configs.is_empty()
            && self.commands.is_empty()
            && self.blobs.is_empty()
            && self.layers.is_empty()
            && self.listings.is_empty()
            && self.wasted.is_empty()
            && self.base_names.is_empty()
            && self.bases.is_empty()
            && self.tags.is_empty()
            && self.scans.is_empty()
            && self.scans_retained.is_none()
            && self.sweep.is_none()
            && self.counts.is_empty()
            && self.claims_done.is_empty()
    }

    pub(super) fn change(&mut self, change: TagChange) {
        self.tags.insert((change.repository, change.tag), change.kept);
    }

    /// Forgets every scan but those under these keys, in this batch and in older ones.
    pub(super) fn retain_scans(&mut self, keys: &HashSet<Digest>) {
        self.scans.retain(|key, _| keys.contains(key));
        match &mut self.scans_retained {
            Some(retained) => retained.retain(|key| keys.contains(key)),
            None => self.scans_retained = Some(keys.clone()),
        }
    }

    /// Whether the key's scan completed; none if this batch neither remembers nor forgets it.
    pub(super) fn has_scanned(&self, key: &Digest) -> Option<bool> {
        let is_forgotten = || self.scans_retained.as_ref().is_some_and(|retained| !retained.contains(key));
        if self.scans.contains_key(key) { Some(true) } else { is_forgotten().then_some(false) }
    }

    /// Merges a batch that could not be written. Values that were added since are newer and win.
    pub(super) fn put_back(&mut self, mut older: Self) {
        if let Some(retained) = &self.scans_retained {
            older.retain_scans(retained);
        }
        put_back(&mut self.documents, older.documents, WAITING_MAX);
        put_back(&mut self.configs, older.configs, WAITING_MAX);
        put_back(&mut self.commands, older.commands, WAITING_MAX);
        put_back(&mut self.blobs, older.blobs, WAITING_MAX);
        put_back(&mut self.layers, older.layers, WAITING_MAX);
        put_back(&mut self.listings, older.listings, LISTINGS_WAITING_MAX);
        put_back(&mut self.wasted, older.wasted, WAITING_MAX);
        put_back(&mut self.base_names, older.base_names, WAITING_MAX);
        put_back(&mut self.bases, older.bases, usize::MAX);
        put_back(&mut self.tags, older.tags, usize::MAX);
        put_back(&mut self.scans, older.scans, usize::MAX);
        self.scans_retained = older.scans_retained;
        self.sweep = self.sweep.take().or(older.sweep);
        let mut counts = older.counts;
        counts.then(std::mem::take(&mut self.counts));
        self.counts = counts;
        self.claims_done.extend(older.claims_done);
        self.claims_done.truncate(WAITING_MAX);
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
