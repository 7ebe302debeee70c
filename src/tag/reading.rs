//! The outcome of reading a tag, failures included.

use std::collections::HashSet;
use std::sync::Arc;

use crate::image::{Image, Timestamp};
use crate::oci::{Digest, MediaType, Platform, PlatformFilter, Reason, Repository, Tag};

/// The result of reading one tag once.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The tag's repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// When the reading ended.
    pub at: Timestamp,
    /// What it found.
    pub outcome: Outcome,
}

/// What reading a tag found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The tag points at the same content as before, and nothing of that is missing.
    Unchanged,
    /// It was read, perhaps in part: see [`Reading::failed`].
    Read(Arc<Reading>),
    /// It could not be read.
    Failed(Reason),
    /// The registry reports, by its API, that the tag does not exist.
    Gone,
}

/// What a tag points at, as far as it could be read.
///
/// The images are whole, as a scan reads them, or named by platform and digest, as the inventory and the store keep
/// them: see [`Known`].
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Reading<I = Arc<Image>> {
    /// Digest of the document that the tag points at, computed from its bytes: the index's, if it is an index.
    pub digest: Digest,
    /// The registry's digest header, verbatim: the next HEAD is compared with it. Kept beside the digest because some
    /// registries send a wrong one; none where the registry sends none.
    pub header: Option<Arc<str>>,
    /// Media type of the document that the tag points at.
    pub media_type: MediaType,
    /// Bytes of the index, nested ones included; 0 where the tag points at a manifest.
    pub index_bytes: u64,
    /// The images of the selected platforms that could be read, in the index's order, each with a distinct platform.
    pub images: Vec<I>,
    /// Number of attestation manifests in the index.
    pub attestations: u32,
    /// The children of selected platforms that could not be read.
    pub failed: Vec<Child>,
    /// The platforms of the request: [`TagRequest::platforms`](super::TagRequest).
    pub platforms: PlatformFilter,
}

/// A reading whose images are named by their platform under this tag and their manifest's digest.
pub type Known = Reading<(Platform, Digest)>;

/// A child of an index that could not be read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Child {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its platform according to the index.
    pub platform: Platform,
    /// Why it could not be read. [`Reason::NotFound`] means that the index is sparse, which is no failure.
    pub reason: Reason,
}

impl<I> Reading<I> {
    /// The same reading with these images.
    fn with_images<J>(&self, images: Vec<J>) -> Reading<J> {
        Reading {
            digest: self.digest.clone(),
            header: self.header.clone(),
            media_type: self.media_type.clone(),
            index_bytes: self.index_bytes,
            images,
            attestations: self.attestations,
            failed: self.failed.clone(),
            platforms: self.platforms.clone(),
        }
    }
}

impl Reading {
    /// The reading with its images by name.
    pub fn known(&self) -> Known {
        self.with_images(self.images.iter().map(|image| (image.platform.clone(), image.digest.clone())).collect())
    }
}

impl Known {
    /// The reading with its images from `image_of`. An image that the store has lost becomes a failed child, so that
    /// it is read again. Of the images that a damaged record lists for one platform, the first stays: the platform
    /// tells the tag's series apart.
    pub fn reading(&self, image_of: impl Fn(&Digest) -> Option<Arc<Image>>) -> Reading {
        let mut reading = self.with_images(Vec::with_capacity(self.images.len()));
        let mut seen = HashSet::new();
        for (platform, digest) in &self.images {
            if !seen.insert(platform) {
                continue;
            }
            match image_of(digest) {
                Some(image) if image.platform == *platform => reading.images.push(image),
                Some(image) => {
                    reading.images.push(Arc::new(Image { platform: platform.clone(), ..(*image).clone() }));
                }
                None => reading.failed.push(Child {
                    digest: digest.clone(),
                    platform: platform.clone(),
                    reason: Reason::Network,
                }),
            }
        }
        reading
    }
}
