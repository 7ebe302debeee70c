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
    layers: Released<'a>,
    documents: Released<'a>,
    /// What is freed so far.
    pub(super) bytes: u64,
}

/// How often each blob is named by what goes, of those that several repositories have, or something that stays.
struct Released<'a> {
    so_far: Vec<u32>,
    /// How often each is named at all.
    uses: &'a [u32],
    /// The blobs of which manifests list different sizes, ascending, with the smallest.
    disagreeing: &'a [StoredLayer],
}

impl<'a> Counting<'a> {
    pub(super) fn new(table: &'a LayerTable, disagreeing: &'a [StoredLayer]) -> Self {
        let of = |uses: &'a [u32], disagreeing| Released { so_far: vec![0; uses.len()], uses, disagreeing };
        Self { layers: of(table.layer_uses(), disagreeing), documents: of(table.document_uses(), &[]), bytes: 0 }
    }

    /// Adds what goes in a repository; returns the bytes that are freed by it alone.
    pub(super) fn add(&mut self, of: &RepositoryReclaimable) -> u64 {
        let (layers, with_others) = self.layers.add(&of.layers);
        let (documents, documents_with_others) = self.documents.add(&of.documents);
        let alone = layers.saturating_add(documents);
        for bytes in [alone, with_others, documents_with_others] {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        alone
    }
}

impl Released<'_> {
    /// Bytes of the blobs that only these tags have, and of those that these were the last to have.
    fn add(&mut self, blobs: &[HeldBlob]) -> (u64, u64) {
        let (mut alone, mut with_others) = (0_u64, 0_u64);
        for blob in blobs {
            let uses = self.uses[blob.number as usize];
            if blob.uses == uses {
                alone = alone.saturating_add(self.bytes(blob));
                continue;
            }
            let released = &mut self.so_far[blob.number as usize];
            *released += blob.uses;
            if *released == uses {
                with_others = with_others.saturating_add(self.bytes(blob));
            }
        }
        (alone, with_others)
    }

    fn bytes(&self, blob: &HeldBlob) -> u64 {
        if self.disagreeing.is_empty() {
            return blob.bytes;
        }
        let smallest = self.disagreeing.binary_search_by_key(&blob.number, |odd| odd.layer);
        smallest.map_or(blob.bytes, |at| self.disagreeing[at].bytes.min(blob.bytes))
    }
}
