//! What the tags of a repository hold that a policy lets go, and which of it nothing else has.
//!
//! What these tags hold is added up once, when their repository is judged (`policies`). A blob is freed if they are all who
//! have it. Who has it is counted where layers and documents are numbered, so that the tags that stay are not looked at.

use super::layer_table::{LayerTable, StoredImage};
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::image::accounting::StoredLayer;

/// What a policy lets go in a repository.
#[derive(Default, PartialEq)]
pub(super) struct RepositoryReclaimable {
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// The distinct layers of these tags, ascending.
    pub(super) layers: Box<[HeldBlob]>,
    /// Their distinct manifests, configs and indexes, ascending.
    pub(super) documents: Box<[HeldBlob]>,
    /// Bytes that are freed if only these tags are deleted; `None` where anything on the registry is unknown.
    pub(super) bytes: Option<u64>,
}

/// A blob that tags of a repository hold which go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldBlob {
    number: u32,
    /// How often they name it.
    uses: u32,
    /// Where manifests disagree, the smallest.
    bytes: u64,
}

/// What a repository's policies say, and until when.
#[derive(Default)]
pub(super) struct Judged {
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
}

/// What these tags hold: all that removing their content from the layer table would release.
pub(super) fn held<'a>(gone: impl Iterator<Item = &'a TagState>) -> RepositoryReclaimable {
    let (mut layers, mut documents, mut tags) = (Vec::new(), Vec::new(), 0);
    let blob = |(number, bytes)| HeldBlob { number, uses: 1, bytes };
    for content in gone.filter_map(|state| state.content.as_ref()) {
        tags += 1;
        documents.extend(content.documents().map(blob));
        layers.extend(content.images.iter().flat_map(StoredImage::held_layers).map(blob));
    }
    RepositoryReclaimable { tags, layers: distinct(layers), documents: distinct(documents), bytes: None }
}

fn distinct(mut blobs: Vec<HeldBlob>) -> Box<[HeldBlob]> {
    blobs.sort_unstable_by_key(|blob| blob.number);
    blobs.dedup_by(|next, first| {
        let is_same = next.number == first.number;
        if is_same {
            first.uses += next.uses;
            first.bytes = first.bytes.min(next.bytes);
        }
        is_same
    });
    blobs.into()
}

/// One policy's blobs on a registry while they are counted.
pub(super) struct Counting<'a> {
    table: &'a LayerTable,
    /// The layers of which manifests list different sizes, ascending, with the smallest.
    disagreeing: &'a [StoredLayer],
    /// How often each layer and each document is named by what goes, of those that several repositories have, or something
    /// that stays.
    layers: Vec<u32>,
    documents: Vec<u32>,
    /// What is freed so far.
    pub(super) bytes: u64,
}

impl<'a> Counting<'a> {
    pub(super) fn new(table: &'a LayerTable, disagreeing: &'a [StoredLayer]) -> Self {
        let (layers, documents) = (vec![0; table.layers_end()], vec![0; table.documents_end()]);
        Self { table, disagreeing, layers, documents, bytes: 0 }
    }

    /// Adds what goes in a repository; returns the bytes that are freed by it alone.
    pub(super) fn add(&mut self, of: &RepositoryReclaimable) -> u64 {
        let mut alone = 0_u64;
        for blob in &of.layers {
            let smallest = self.disagreeing.binary_search_by_key(&blob.number, |odd| odd.layer);
            let bytes = smallest.map_or(blob.bytes, |at| self.disagreeing[at].bytes.min(blob.bytes));
            let uses = self.table.layer_uses(blob.number);
            if blob.uses == uses {
                alone = alone.saturating_add(bytes);
            } else if release(&mut self.layers, blob, uses) {
                self.bytes = self.bytes.saturating_add(bytes);
            }
        }
        for blob in &of.documents {
            let uses = self.table.document_uses(blob.number);
            if blob.uses == uses {
                alone = alone.saturating_add(blob.bytes);
            } else if release(&mut self.documents, blob, uses) {
                self.bytes = self.bytes.saturating_add(blob.bytes);
            }
        }
        self.bytes = self.bytes.saturating_add(alone);
        alone
    }
}

/// Whether these were the last of a blob's uses.
fn release(released: &mut [u32], blob: &HeldBlob, uses: u32) -> bool {
    let count = &mut released[blob.number as usize];
    *count += blob.uses;
    *count == uses
}
