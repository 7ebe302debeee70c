//! What this process has in memory of the database: what it read or wrote lately, and what it uses.

use std::collections::{HashMap, HashSet};

use crate::oci::{Digest, Repository, Tag};
use crate::store::batch::Batch;
use crate::store::counts::Counts;
use crate::tag::TagRecord;

/// A tag and its record.
pub(super) type RestoredTag = (Repository, Tag, TagRecord);

/// Facts in two generations: each sweep makes the young ones old. Old ones leave once nothing uses them; documents and
/// configs then in any case, since they are loaded before they are needed again.
#[derive(Default)]
pub(super) struct Known {
    young: Batch,
    old: Batch,
    /// What the database has of the shard's tags, to write all of it again where another exporter has changed it. Names and
    /// records are shared with the inventory.
    tags: HashMap<(Repository, Tag), TagRecord>,
    /// The same of what the shard counts.
    counts: Counts,
}

impl Known {
    pub(super) fn find<T>(&self, in_batch: impl Fn(&Batch) -> Option<T>) -> Option<T> {
        in_batch(&self.young).or_else(|| in_batch(&self.old))
    }

    /// Takes what a start has restored.
    pub(super) fn restored(&mut self, tags: &[RestoredTag], batch: Batch) {
        self.tags = tags.iter().cloned().map(|(repository, tag, record)| ((repository, tag), record)).collect();
        self.take(batch);
    }

    /// What the database has of the shard's counts, as far as memory knows.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether the database has a tag of the shard, as far as memory knows.
    pub(super) fn has_tags(&self) -> bool {
        !self.tags.is_empty()
    }

    /// The tags and scans, with the facts that are still known if `with_facts`.
    pub(super) fn all(&self, with_facts: bool) -> Batch {
        let mut facts = Batch::default();
        if with_facts {
            facts = self.old.clone();
            absorb(&mut facts, self.young.clone());
        }
        let tags = self.tags.iter().map(|(key, record)| (key.clone(), Some(record.clone()))).collect();
        Batch { tags, scans: self.young.scans.clone(), ..facts }
    }

    /// Takes what was read or written.
    pub(super) fn take(&mut self, mut batch: Batch) {
        for (key, record) in batch.tags.drain() {
            match record {
                Some(record) => drop(self.tags.insert(key, record)),
                None => drop(self.tags.remove(&key)),
            }
        }
        self.counts.apply(std::mem::take(&mut batch.counts));
        if let Some(retained) = &batch.scans_retained {
            self.young.scans.retain(|key, _| retained.contains(key));
        }
        absorb(&mut self.young, batch);
    }

    /// Lets go of what is not used.
    pub(super) fn sweep(&mut self, in_use: &HashSet<Digest>) {
        let Batch { documents, configs, commands, blobs, layers, listings, wasted, base_names, bases, .. } =
            &mut self.old;
        documents.clear();
        configs.clear();
        commands.retain(|digest, _| in_use.contains(digest));
        blobs.retain(|digest, _| in_use.contains(digest));
        layers.retain(|digest, _| in_use.contains(digest));
        listings.retain(|digest, _| in_use.contains(digest));
        wasted.retain(|digest, _| in_use.contains(digest));
        base_names.retain(|digest, _| in_use.contains(digest));
        bases.retain(|digest, _| in_use.contains(digest));
        let mut young = std::mem::take(&mut self.young);
        self.young.scans = std::mem::take(&mut young.scans);
        absorb(&mut self.old, young);
    }
}

/// Adds facts and scans, of which those of `newer` count.
fn absorb(all: &mut Batch, newer: Batch) {
    all.documents.extend(newer.documents);
    all.configs.extend(newer.configs);
    all.commands.extend(newer.commands);
    all.blobs.extend(newer.blobs);
    all.layers.extend(newer.layers);
    all.listings.extend(newer.listings);
    all.wasted.extend(newer.wasted);
    all.base_names.extend(newer.base_names);
    all.bases.extend(newer.bases);
    all.scans.extend(newer.scans);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stay_until_two_sweeps_found_them_unused_and_scans_until_they_are_forgotten() {
        let [used, unused, scan] = [b"used", b"idle", b"scan"].map(|text| Digest::sha256_of(text));
        let mut known = Known::default();
        let blobs = [(used.clone(), 1), (unused.clone(), 2)].into();
        known.take(Batch { blobs, scans: [(scan.clone(), 1.5)].into(), ..Batch::default() });
        let in_use = HashSet::from([used.clone()]);
        let blob = |known: &Known, digest: &Digest| known.find(|batch| batch.blobs.get(digest).copied());
        for left in [Some(2), None, None] {
            known.sweep(&in_use);
            assert_eq!((blob(&known, &used), blob(&known, &unused)), (Some(1), left));
            assert_eq!(known.find(|batch| batch.has_scanned(&scan)), Some(true));
        }
        known.take(Batch { scans_retained: Some(HashSet::new()), ..Batch::default() });
        assert_eq!(known.find(|batch| batch.has_scanned(&scan)), None);
    }
}
