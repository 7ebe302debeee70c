//! What the lane of uncompressed sizes has to find out.

use crate::image::UncompressedHint;
use crate::oci::{Digest, MediaType, Repository};
use crate::target::Uncompressed;

/// A layer whose size after decompression a target wants and nobody knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWork {
    /// One of the repositories that have it.
    pub repository: Repository,
    /// Of the compressed blob.
    pub digest: Digest,
    /// Compressed bytes, as the manifest says.
    pub bytes: u64,
    /// Of the layer's tar, where a verified config says so.
    pub diff_id: Option<Digest>,
    /// As the manifest says.
    pub media_type: MediaType,
    /// What annotations say of its size after decompression.
    pub hint: Option<UncompressedHint>,
    /// The most exact that any target wants: never [`Uncompressed::Off`].
    pub mode: Uncompressed,
}
