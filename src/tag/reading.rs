//! What a scan learnt of a tag, failures included.

use std::sync::Arc;

use crate::image::{Image, Timestamp};
use crate::oci::{Digest, MediaType, Platform, Reason, Repository, Tag};

/// What one reading of one tag gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Where the tag stands.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// When the reading ended.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of reading a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It points at what it pointed at, and nothing of that is missing.
    Unchanged,
    /// It was read, perhaps not all of it: see [`Reading::failed`].
    Read(Arc<Reading>),
    /// Nothing of it could be read.
    Failed(Reason),
    /// The registry says, by its API, that there is no such tag.
    Gone,
}

/// What a tag points at, as far as it could be read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Reading {
    /// What the tag points at: by the bytes of the document, the index's if it is one.
    pub digest: Digest,
    /// The text of the registry's digest header, which says next time whether anything changed. Kept beside the
    /// digest since some registries' headers are wrong; none where the registry sends no such header.
    pub header: Option<Arc<str>>,
    /// Of the document that the tag points at.
    pub media_type: MediaType,
    /// Bytes of the index, 0 where the tag points at a manifest: it is part of the repository's metadata.
    pub index_bytes: u64,
    /// The images of the selected platforms that could be read, in the index's order. No two have the same platform.
    pub images: Vec<Arc<Image>>,
    /// How many attestation manifests the index has.
    pub attestations: u32,
    /// The children of the index that could not be read, of the selected platforms.
    pub failed: Vec<Child>,
    /// The platforms that this reading looked for, as [`TagRequest::platforms`](super::TagRequest) asked; all when empty.
    pub platforms: Vec<Platform>,
}

/// A child of an index that could not be read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Child {
    /// Its manifest.
    pub digest: Digest,
    /// As the index says.
    pub platform: Platform,
    /// Why it could not be read. [`Reason::NotFound`]: the index is sparse, which is no failure.
    pub reason: Reason,
}

/// What a tag points at, its images by digest: a [`Reading`] without what the store has by digest anyway.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Known {
    /// What the tag points at, see [`Reading::digest`].
    pub digest: Digest,
    /// The text of the registry's digest header, see [`Reading::header`].
    pub header: Option<Arc<str>>,
    /// Of the document that the tag points at.
    pub media_type: MediaType,
    /// Bytes of the index, 0 where the tag points at a manifest.
    pub index_bytes: u64,
    /// The images that could be read: platform under this tag, and manifest. No two have the same platform.
    pub images: Vec<(Platform, Digest)>,
    /// How many attestation manifests the index has.
    pub attestations: u32,
    /// The children of the index that could not be read.
    pub failed: Vec<Child>,
    /// The platforms that were looked for; all when empty.
    pub platforms: Vec<Platform>,
}

impl Known {
    /// Of a reading: the first of colliding platforms counts.
    pub fn of(reading: &Reading) -> Self {
        let mut images: Vec<(Platform, Digest)> = Vec::with_capacity(reading.images.len());
        for image in &reading.images {
            if images.iter().all(|(platform, _)| *platform != image.platform) {
                images.push((image.platform.clone(), image.digest.clone()));
            }
        }
        Self {
            digest: reading.digest.clone(),
            header: reading.header.clone(),
            media_type: reading.media_type.clone(),
            index_bytes: reading.index_bytes,
            images,
            attestations: reading.attestations,
            failed: reading.failed.clone(),
            platforms: reading.platforms.clone(),
        }
    }

    /// The reading again, with its images as `image_of` has them. An image that is lost is a child that failed and
    /// is worth trying again.
    pub fn reading(&self, image_of: impl Fn(&Digest) -> Option<Arc<Image>>) -> Reading {
        let mut images = Vec::with_capacity(self.images.len());
        let mut failed = self.failed.clone();
        for (platform, digest) in &self.images {
            match image_of(digest) {
                Some(image) if image.platform == *platform => images.push(image),
                Some(image) => images.push(Arc::new(Image { platform: platform.clone(), ..(*image).clone() })),
                None => {
                    failed.push(Child { digest: digest.clone(), platform: platform.clone(), reason: Reason::Network });
                }
            }
        }
        Reading {
            digest: self.digest.clone(),
            header: self.header.clone(),
            media_type: self.media_type.clone(),
            index_bytes: self.index_bytes,
            images,
            attestations: self.attestations,
            failed,
            platforms: self.platforms.clone(),
        }
    }
}

/// The last that is known of a tag: what survives a restart, small, since it is written after every reading. Its
/// images stand in the store by digest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TagRecord {
    /// What it pointed at.
    pub known: Arc<Known>,
    /// Whether the last reading read all that it meant.
    pub up: bool,
    /// When a reading last found what is kept, complete or not: what stays unreadable after it is dropped some day.
    pub confirmed: Timestamp,
    /// When a reading last read all that it meant.
    pub last_success: Option<Timestamp>,
    /// When this exporter saw the digest change.
    pub changed: Option<Timestamp>,
}

/// What the store has to remember, or forget, of a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagChange {
    /// Where the tag stands.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// What is known of it now; none: forget it.
    pub kept: Option<TagRecord>,
}
