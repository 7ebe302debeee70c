//! A layer as a manifest lists it, and its content.

use super::hint::UncompressedHint;
use crate::oci::{Digest, MediaType};

/// One layer as a manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Of the compressed blob.
    pub digest: Digest,
    /// Compressed bytes; `None` if a schema 1 manifest, which lists no sizes, has it and the registry did not report
    /// one.
    pub bytes: Option<u64>,
    /// Distributed elsewhere, not stored in the registry.
    pub foreign: bool,
    /// Of the layer's tar, if a verified config lists as many diff_ids as there are layers.
    pub diff_id: Option<Digest>,
    /// By the manifest.
    pub media_type: MediaType,
    /// What annotations say of its uncompressed size.
    #[serde(default)]
    pub hint: Option<UncompressedHint>,
}

/// A layer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerContent {
    /// Bytes of the layer's tar.
    pub uncompressed_bytes: u64,
    /// Whether that is an estimate, for example from a gzip trailer.
    pub estimated: bool,
    /// Its files.
    pub unpacked: Unpacked,
}

/// A layer's files, as overlay2 unpacks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unpacked {
    /// Unknown: the layer was not streamed.
    Unknown,
    /// It was streamed: bytes of its files, as `docker image inspect` counts.
    Bytes(u64),
    /// It was streamed, and overlay2 cannot unpack it by itself: there is no such size.
    Refused,
}

impl Unpacked {
    /// Bytes of the files, where they are known.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unknown | Self::Refused => None,
        }
    }

    /// Whether the layer was streamed: nothing more can be found out.
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }
}
