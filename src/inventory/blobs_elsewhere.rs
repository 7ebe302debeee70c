//! Which blobs of a registry the tags of other shards have, and by which policies these go, as they last said.

use std::collections::{HashMap, HashSet};

use super::by_shard::ByShard;
use crate::oci::Digest;
use crate::tag::{BlobName, GoneBy};

/// The blobs of one registry that other shards have.
#[derive(Default)]
pub(super) struct BlobsElsewhere {
    pub(super) layers: OfKind,
    pub(super) documents: OfKind,
}

/// Layers, or documents.
#[derive(Default)]
pub(super) struct OfKind {
    by_digest: HashMap<Digest, ByShard<GoneBy>>,
    /// Of those that go in each shard that has them.
    pub(super) freed: FreedBytes,
    /// Those that changed since they were last taken.
    changed: HashSet<Digest>,
}

impl BlobsElsewhere {
    /// Takes what a shard says of a blob: `None` where it no longer has it.
    pub(super) fn set(&mut self, shard: u32, name: BlobName, gone: Option<GoneBy>) {
        match name {
            BlobName::Layer(digest) => self.layers.set(shard, digest, gone),
            BlobName::Document(digest) => self.documents.set(shard, digest, gone),
        }
    }

    /// Leaves it to who numbers blobs there to look them up.
    pub(super) fn drop_changed(&mut self) {
        self.layers.take_changed();
        self.documents.take_changed();
    }

    /// Forgets all that a shard has; returns whether there was anything.
    pub(super) fn forget(&mut self, shard: u32) -> bool {
        self.layers.forget(shard) | self.documents.forget(shard)
    }
}

impl OfKind {
    /// By which policies a blob goes in each shard that has it; `None` where none has it.
    pub(super) fn get(&self, digest: &Digest) -> Option<GoneBy> {
        self.by_digest.get(digest).and_then(together)
    }

    /// The blobs that changed since the last call.
    pub(super) fn take_changed(&mut self) -> HashSet<Digest> {
        std::mem::take(&mut self.changed)
    }

    fn set(&mut self, shard: u32, digest: Digest, gone: Option<GoneBy>) {
        let all = self.by_digest.remove(&digest);
        let before = all.as_ref().and_then(together);
        let all = ByShard::with(all, shard, gone);
        let now = all.as_ref().and_then(together);
        if before != now {
            self.freed.replace(before, now);
            self.changed.insert(digest.clone());
        }
        if let Some(all) = all {
            self.by_digest.insert(digest, all);
        }
    }

    fn forget(&mut self, shard: u32) -> bool {
        let gone = ByShard::named_by(shard, &self.by_digest);
        let is_any = !gone.is_empty();
        for digest in gone {
            self.set(shard, digest, None);
        }
        is_any
    }
}

/// By which policies the blob goes in all of them.
fn together(all: &ByShard<GoneBy>) -> Option<GoneBy> {
    all.iter().copied().reduce(GoneBy::and)
}

/// By policy, the bytes of blobs that go by it; wide, so that what was added can be taken away again.
#[derive(Default)]
pub(super) struct FreedBytes(Vec<u128>);

impl FreedBytes {
    /// One blob goes by other policies than before.
    pub(super) fn replace(&mut self, before: Option<GoneBy>, now: Option<GoneBy>) {
        if let Some(gone) = now {
            for policy in gone.policies.iter() {
                if self.0.len() <= policy {
                    self.0.resize(policy + 1, 0);
                }
                self.0[policy] += u128::from(gone.bytes);
            }
        }
        if let Some(gone) = before {
            gone.policies.iter().for_each(|policy| self.0[policy] -= u128::from(gone.bytes));
        }
    }

    /// Of one policy.
    pub(super) fn of(&self, policy: usize) -> u128 {
        self.0.get(policy).copied().unwrap_or_default()
    }
}
