//! Why a layer could not be measured.

use std::io;
use std::sync::Arc;

use super::hasher::Mismatch;
use super::tar::TarError;
use super::unpack::{self, TooManyPaths};
use crate::files::Listing;
use crate::image::LayerContent;
use crate::oci::Digest;

/// Why a layer could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The compressed stream ends too early.
    #[error("the layer is truncated: its compressed stream ends in the middle")]
    Truncated,
    /// Broken gzip.
    #[error("the layer is broken gzip: {0}")]
    Gzip(&'static str),
    /// Broken zstd.
    #[error("the layer is broken zstd: {0}")]
    Zstd(String),
    /// A zstd frame that asks for too much memory.
    #[error("a zstd frame of the layer needs a window of more than 128 MiB: compress it with a smaller one")]
    Window,
    /// An unsupported compression.
    #[error("the layer is compressed with {0}, which is not supported: use gzip or zstd")]
    Compression(&'static str),
    /// The decompressed bytes are not a tar.
    #[error("the layer is not a tar: {0}")]
    Tar(String),
    /// Too many paths to keep track of.
    #[error("the layer has more than {max} paths", max = unpack::PATHS_MAX)]
    TooManyPaths,
    /// The tar is far longer than the blob.
    #[error("the layer is a decompression bomb: {compressed_bytes} bytes of it are already {tar_bytes} bytes of tar")]
    Bomb {
        /// Compressed bytes read so far.
        compressed_bytes: u64,
        /// Bytes of tar that they hold.
        tar_bytes: u64,
    },
    /// The registry sent another blob than the one that was asked for. This takes precedence over all other errors.
    #[error("the layer's content does not match: expected {expected}, found {found}")]
    Mismatch {
        /// The blob's digest, or the `diff_id` where the blob's digest cannot be verified.
        expected: Digest,
        /// The digest of the bytes that came.
        found: Digest,
    },
    /// The blob is the one that was asked for, but its tar is not the one that the config names.
    #[error("the layer's tar does not match its config: expected {expected}, found {found}")]
    DiffId {
        /// The config's `diff_id`.
        expected: Digest,
        /// The digest of the tar.
        found: Digest,
        /// The blob's sizes, which are correct nevertheless.
        content: LayerContent,
        /// Its files, where they were listed.
        files: Option<Arc<Listing>>,
    },
    /// The digest's algorithm is not supported.
    #[error("the layer's content cannot be verified against {0}: only sha256 and sha512 are supported")]
    Unverifiable(Digest),
}

impl MeasureError {
    /// Whether the blob with the requested digest is itself broken, so that every registry's copy gives the same error.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Mismatch { .. } | Self::DiffId { .. } | Self::Unverifiable(_))
    }
}

impl From<Mismatch> for MeasureError {
    fn from(Mismatch { expected, found }: Mismatch) -> Self {
        Self::Mismatch { expected, found }
    }
}

impl From<TooManyPaths> for MeasureError {
    fn from(_: TooManyPaths) -> Self {
        Self::TooManyPaths
    }
}

impl From<TarError> for MeasureError {
    fn from(error: TarError) -> Self {
        Self::Tar(error.to_string())
    }
}

/// Decompression reports its errors as an [`io::Error`] around a [`MeasureError`].
impl From<MeasureError> for io::Error {
    fn from(error: MeasureError) -> Self {
        Self::other(error)
    }
}

impl From<io::Error> for MeasureError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or(Self::Truncated)
    }
}
