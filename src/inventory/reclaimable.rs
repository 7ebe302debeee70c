//! What the tags of a repository hold that a policy lets go, and which of it nothing else has.
//!
//! A blob is freed if they are all who have it. What only one repository has is summed where that is judged (`policies`). Of
//! what several have, each policy counts how often it is named by what goes, and looks again at what changed.

use std::collections::HashMap;

use super::holders::{Held, HeldBlob, Holders, HoldersByBlob, blobs};
use super::layer_table::{LayerTable, TagContent};
use crate::image::Timestamp;

/// What a policy lets go in a repository.
#[derive(Default, PartialEq)]
pub(super) struct RepositoryReclaimable {
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// Bytes that are freed if only these tags are deleted: of blobs that nothing else has.
    pub(super) own_bytes: u64,
    /// The distinct layers of these tags that other repositories have too, ascending.
    layers: Box<[HeldBlob]>,
    /// Such manifests, configs and indexes, ascending.
    documents: Box<[HeldBlob]>,
}

/// What a repository's policies say, and until when.
#[derive(Default)]
pub(super) struct Judged {
    /// The repository's number among the holders of blobs; 0 before it was first judged.
    pub(super) holder: u32,
    /// What it has.
    pub(super) held: Held,
    /// By policy; none where the policy is about no tag of the repository.
    pub(super) by_policy: Vec<Option<RepositoryReclaimable>>,
    /// Whether all of its tags were read, and its lists.
    pub(super) is_known: bool,
    /// From when until when the verdicts hold.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Judged {
    /// Whether time alone changes a verdict.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now < self.from || self.until <= now
    }

    /// Whether a policy is about any tag of it.
    pub(super) fn is_about_tags(&self) -> bool {
        self.by_policy.iter().any(Option::is_some)
    }
}

impl RepositoryReclaimable {
    /// What these tags of a repository hold: all that removing their content from the layer table would release.
    pub(super) fn new<'a>(gone: impl Iterator<Item = &'a TagContent>, table: &LayerTable, holders: &Holders) -> Self {
        let mut tags = 0;
        let (layers, documents) = blobs(gone.inspect(|_| tags += 1));
        let (own_layers, layers) = split(layers, table.layer_uses(), holders.layers());
        let (own_documents, documents) = split(documents, table.document_uses(), holders.documents());
        Self { tags, own_bytes: own_layers.saturating_add(own_documents), layers, documents }
    }
}

/// The bytes of blobs that nothing else has, and the blobs that other repositories have too.
fn split(gone: Vec<HeldBlob>, uses: &[u32], holders: &HoldersByBlob) -> (u64, Box<[HeldBlob]>) {
    let mut own_bytes = 0_u64;
    let shared = gone.into_iter().filter(|blob| {
        let is_own = holders.is_ones_own(blob.number);
        if is_own && blob.uses == uses[blob.number as usize] {
            own_bytes = own_bytes.saturating_add(blob.bytes);
        }
        !is_own
    });
    let shared = shared.collect();
    (own_bytes, shared)
}

/// What the policies let go on a registry, kept up to date.
#[derive(Default)]
pub(super) struct Reclaimable {
    pub(super) holders: Holders,
    /// By policy.
    pub(super) tallies: Vec<Tally>,
    /// Judged repositories of which something is unknown.
    pub(super) unknown: usize,
    /// Whether everything on the registry is known: only then are there bytes.
    pub(super) is_known: bool,
}

impl Reclaimable {
    /// A repository is no longer watched, or is judged anew from the beginning.
    pub(super) fn forget(&mut self, judged: &Judged) {
        self.replace(judged, &Judged::default());
        self.holders.replace(judged.holder, &judged.held, &Held::default());
    }

    /// Takes what a repository's policies said out, and what they say now in.
    pub(super) fn replace(&mut self, before: &Judged, now: &Judged) {
        for (tally, of) in self.tallies.iter_mut().zip(&before.by_policy) {
            if let Some(of) = of {
                tally.subtract(of);
            }
        }
        for (tally, of) in self.tallies.iter_mut().zip(&now.by_policy) {
            if let Some(of) = of {
                tally.add(of);
            }
        }
        self.unknown -= usize::from(before.holder != 0 && !before.is_known);
        self.unknown += usize::from(now.holder != 0 && !now.is_known);
    }
}

/// What one policy lets go on a registry.
#[derive(Default)]
pub(super) struct Tally {
    /// The repositories that it is about.
    pub(super) repositories: usize,
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// What only one repository has; wide, so that what was added can be taken away again.
    own_bytes: u128,
    layers: SharedBlobs,
    documents: SharedBlobs,
}

impl Tally {
    /// Adds what goes in a repository.
    pub(super) fn add(&mut self, of: &RepositoryReclaimable) {
        self.repositories += 1;
        self.tags += of.tags;
        self.own_bytes += u128::from(of.own_bytes);
        self.layers.add(&of.layers);
        self.documents.add(&of.documents);
    }

    /// Takes away what was added.
    pub(super) fn subtract(&mut self, of: &RepositoryReclaimable) {
        self.repositories -= 1;
        self.tags -= of.tags;
        self.own_bytes -= u128::from(of.own_bytes);
        self.layers.subtract(&of.layers);
        self.documents.subtract(&of.documents);
    }

    /// Takes into account what changed.
    pub(super) fn settle(&mut self, table: &LayerTable, holders: &Holders) {
        self.layers.settle(table.layer_uses(), holders.layers().changed());
        self.documents.settle(table.document_uses(), holders.documents().changed());
    }

    /// Bytes that are freed, as of when it was settled.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.own_bytes + self.layers.freed_bytes + self.documents.freed_bytes;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// The blobs that go and that several repositories have.
#[derive(Default)]
struct SharedBlobs {
    blobs: HashMap<u32, SharedBlob>,
    /// Bytes of those that nothing else has.
    freed_bytes: u128,
    /// Those that were added or taken away since they were last settled.
    changed: Vec<u32>,
}

#[derive(Default)]
struct SharedBlob {
    /// How often it is named by what goes.
    gone: u32,
    /// Its bytes by what goes, and in how many repositories: more than one entry where manifests disagree.
    sizes: Vec<(u64, u32)>,
    /// Its part in `freed_bytes`.
    freed_bytes: u64,
}

impl SharedBlobs {
    fn add(&mut self, of: &[HeldBlob]) {
        for held in of {
            let blob = self.blobs.entry(held.number).or_default();
            blob.gone += held.uses;
            match blob.sizes.iter_mut().find(|(bytes, _)| *bytes == held.bytes) {
                Some((_, repositories)) => *repositories += 1,
                None => blob.sizes.push((held.bytes, 1)),
            }
            self.changed.push(held.number);
        }
    }

    fn subtract(&mut self, of: &[HeldBlob]) {
        for held in of {
            let Some(blob) = self.blobs.get_mut(&held.number) else { continue };
            blob.gone -= held.uses;
            blob.sizes
                .iter_mut()
                .filter(|(bytes, _)| *bytes == held.bytes)
                .for_each(|(_, repositories)| *repositories -= 1);
            blob.sizes.retain(|(_, repositories)| *repositories > 0);
            if blob.gone == 0 {
                self.freed_bytes -= u128::from(blob.freed_bytes);
                self.blobs.remove(&held.number);
            }
            self.changed.push(held.number);
        }
    }

    fn settle(&mut self, uses: &[u32], changed: &[u32]) {
        for number in changed.iter().copied().chain(std::mem::take(&mut self.changed)) {
            let Some(blob) = self.blobs.get_mut(&number) else { continue };
            let is_freed = blob.gone == uses[number as usize];
            let smallest = blob.sizes.iter().map(|(bytes, _)| *bytes).min().unwrap_or_default();
            self.freed_bytes -= u128::from(blob.freed_bytes);
            blob.freed_bytes = if is_freed { smallest } else { 0 };
            self.freed_bytes += u128::from(blob.freed_bytes);
        }
    }
}
