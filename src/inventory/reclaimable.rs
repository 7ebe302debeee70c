//! What the tags of a repository hold that a policy lets go, and which of it nothing else has.
//!
//! What these tags hold is added up once, when their repository is judged (`policies`). Blobs that no other repository has are
//! summed there, since only a change of the repository changes whether they are freed. Those that several have are looked at
//! whenever anything changed: they are few.

use super::layer_table::{LayerTable, StoredImage, TagContent};
use crate::image::Timestamp;
use crate::image::accounting::StoredLayer;

/// What a policy lets go in a repository.
#[derive(Default, PartialEq)]
pub(super) struct RepositoryReclaimable {
    /// Tags that no rule keeps.
    pub(super) tags: u64,
    /// What of these tags' content no other repository has, and no tag that stays.
    own_bytes: u64,
    /// The distinct layers of these tags that other repositories have too, ascending.
    layers: Box<[HeldBlob]>,
    /// Such manifests, configs and indexes, ascending.
    documents: Box<[HeldBlob]>,
    /// Bytes that are freed if only these tags are deleted; `None` where anything on the registry is unknown.
    pub(super) bytes: Option<u64>,
}

/// A blob that tags of a repository hold.
#[derive(Clone, Copy, PartialEq, Eq)]
struct HeldBlob {
    number: u32,
    /// How often they name it.
    uses: u32,
    /// Where manifests disagree, the smallest.
    bytes: u64,
}

/// What a repository's policies say, and until when.
#[derive(Default)]
pub(super) struct Judged {
    /// The number under which the repository holds blobs; 0 before it was first judged.
    pub(super) holder: u32,
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

impl RepositoryReclaimable {
    /// Whether the same goes, whatever it frees.
    pub(super) fn is_same_content(&self, other: &Self) -> bool {
        let content = |of: &Self| (of.tags, of.own_bytes);
        content(self) == content(other) && self.layers == other.layers && self.documents == other.documents
    }
}

/// Which blobs of a registry only one repository has, as of when each repository was last judged.
#[derive(Default)]
pub(super) struct Holders {
    layers: HolderOf,
    documents: HolderOf,
    last: u32,
    /// Repositories that were the only ones to have a blob, and are no longer: they have to be judged again.
    outdated: Vec<u32>,
}

/// By blob, the only repository that has it; 0 where there are several, or none.
#[derive(Default)]
struct HolderOf(Vec<u32>);

/// What a repository holds, those of its blobs apart that others have too.
pub(super) struct Holdings {
    layers: Held,
    documents: Held,
}

/// The distinct blobs of one kind, ascending, and whether other repositories have them too.
struct Held(Vec<(HeldBlob, bool)>);

impl Holders {
    /// A number for a repository that has none.
    pub(super) fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Notes what a repository has: all of its tags' content.
    pub(super) fn note<'a>(
        &mut self,
        holder: u32,
        contents: impl Iterator<Item = &'a TagContent>,
        table: &LayerTable,
    ) -> Holdings {
        let (layers, documents) = held(contents);
        Holdings {
            layers: self.layers.note(holder, layers, table.layer_uses(), &mut self.outdated),
            documents: self.documents.note(holder, documents, table.document_uses(), &mut self.outdated),
        }
    }

    /// The repositories that have to be judged again, since others have something now that only they had.
    pub(super) fn take_outdated(&mut self) -> Vec<u32> {
        let mut outdated = std::mem::take(&mut self.outdated);
        outdated.sort_unstable();
        outdated.dedup();
        outdated
    }
}

impl HolderOf {
    fn note(&mut self, holder: u32, blobs: Vec<HeldBlob>, uses: &[u32], outdated: &mut Vec<u32>) -> Held {
        self.0.resize(uses.len().max(self.0.len()), 0);
        let is_shared = |blob: HeldBlob| {
            let is_shared = blob.uses != uses[blob.number as usize];
            let only = &mut self.0[blob.number as usize];
            let before = std::mem::replace(only, if is_shared { 0 } else { holder });
            if is_shared && before != 0 && before != holder {
                outdated.push(before);
            }
            (blob, is_shared)
        };
        Held(blobs.into_iter().map(is_shared).collect())
    }
}

impl Holdings {
    /// What these tags of the repository hold: all that removing their content from the layer table would release.
    pub(super) fn reclaimable<'a>(&self, gone: impl Iterator<Item = &'a TagContent>) -> RepositoryReclaimable {
        let mut tags = 0;
        let (layers, documents) = held(gone.inspect(|_| tags += 1));
        let (own_layers, layers) = self.layers.split(layers);
        let (own_documents, documents) = self.documents.split(documents);
        RepositoryReclaimable {
            tags,
            own_bytes: own_layers.saturating_add(own_documents),
            layers,
            documents,
            bytes: None,
        }
    }
}

impl Held {
    /// Of blobs that go, the bytes of those that nothing else has, and the blobs that other repositories have too.
    fn split(&self, gone: Vec<HeldBlob>) -> (u64, Box<[HeldBlob]>) {
        let mut own_bytes = 0_u64;
        let mut held = self.0.iter();
        let shared = gone.into_iter().filter(|blob| match held.find(|(held, _)| held.number == blob.number) {
            Some((held, false)) => {
                // Where a tag that stays has it too, it is not freed.
                own_bytes = own_bytes.saturating_add(if held.uses == blob.uses { blob.bytes } else { 0 });
                false
            }
            _ => true,
        });
        let shared = shared.collect();
        (own_bytes, shared)
    }
}

/// The distinct layers, and the distinct documents, of these tags.
fn held<'a>(contents: impl Iterator<Item = &'a TagContent>) -> (Vec<HeldBlob>, Vec<HeldBlob>) {
    let (mut layers, mut documents) = (Vec::new(), Vec::new());
    let blob = |(number, bytes)| HeldBlob { number, uses: 1, bytes };
    for content in contents {
        documents.extend(content.documents().map(blob));
        layers.extend(content.images.iter().flat_map(StoredImage::held_layers).map(blob));
    }
    (distinct(layers), distinct(documents))
}

fn distinct(mut blobs: Vec<HeldBlob>) -> Vec<HeldBlob> {
    blobs.sort_unstable_by_key(|blob| blob.number);
    blobs.dedup_by(|next, first| {
        let is_same = next.number == first.number;
        if is_same {
            first.uses += next.uses;
            first.bytes = first.bytes.min(next.bytes);
        }
        is_same
    });
    blobs
}

/// One policy's blobs on a registry while they are counted.
pub(super) struct Counting<'a> {
    layers: Released<'a>,
    documents: Released<'a>,
    /// What is freed so far.
    pub(super) bytes: u64,
}

/// How often each blob is named by what goes, of those that several repositories have.
struct Released<'a> {
    gone: Vec<u32>,
    /// How often each is named at all.
    uses: &'a [u32],
    /// The blobs of which manifests list different sizes, ascending, with the smallest.
    disagreeing: &'a [StoredLayer],
}

impl<'a> Counting<'a> {
    pub(super) fn new(table: &'a LayerTable, disagreeing: &'a [StoredLayer]) -> Self {
        let of = |uses: &'a [u32], disagreeing| Released { gone: vec![0; uses.len()], uses, disagreeing };
        Self { layers: of(table.layer_uses(), disagreeing), documents: of(table.document_uses(), &[]), bytes: 0 }
    }

    /// Adds what goes in a repository; returns the bytes that are freed by it alone.
    pub(super) fn add(&mut self, of: &RepositoryReclaimable) -> u64 {
        let (layers, with_others) = self.layers.add(&of.layers);
        let (documents, documents_with_others) = self.documents.add(&of.documents);
        let alone = of.own_bytes.saturating_add(layers).saturating_add(documents);
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
            let released = &mut self.gone[blob.number as usize];
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
