//! The values that are stored by digest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image::{Image, LayerContent, Timestamp};
use crate::oci::media_type::stored_artifact_type;
use crate::oci::{Digest, MediaType, Platform};

/// A parsed document. Immutable, as the content of a digest is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stored {
    /// A manifest and its config, with the config's platform.
    Image(Arc<Image>),
    /// An index.
    Index(Arc<StoredIndex>),
}

/// The stored part of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredIndex {
    /// The index's media type.
    pub media_type: MediaType,
    /// Bytes of the index document.
    pub bytes: u64,
    /// In the index's order.
    pub entries: Vec<IndexEntry>,
}

/// One entry of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The child's.
    pub digest: Digest,
    /// The child's; empty where the index does not say.
    pub media_type: MediaType,
    /// Bytes of the child's manifest, by the index.
    pub bytes: u64,
    /// In normal form; none where the entry has no usable platform.
    pub platform: Option<Platform>,
    /// Whether it is an attestation rather than an image.
    pub attestation: bool,
    /// The child's artifact type; empty where the index does not say.
    #[serde(deserialize_with = "stored_artifact_type")]
    pub artifact_type: Arc<str>,
}

/// Which facts about digests are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum FactsOf {
    /// Manifests and indexes.
    Documents,
    /// Configs, and the blobs of schema 1.
    Blobs,
    /// Layers: what was measured.
    Layers,
}

/// A layer's content, by the blob's digest or by its `diff_id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LayerRecord {
    /// It was measured or estimated.
    Known(LayerContent),
    /// It cannot be measured, and another try would not help.
    Failed {
        /// Why, for people.
        reason: String,
        /// When it failed.
        at: Timestamp,
    },
}
