//! What a scan learnt of an image, without the specification's noise.

use std::sync::Arc;

use crate::oci::{Digest, MediaType, Platform};

/// Seconds since the Unix epoch, as Prometheus counts time.
pub type Timestamp = f64;

/// One platform's manifest, read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// The manifest's digest: by its bytes, not by what a header said.
    pub digest: Digest,
    /// The config's digest, which Docker calls the image ID; none for schema 1 and old artifacts.
    pub image_id: Option<Digest>,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// What kind of artifact this is; empty for a container image.
    pub artifact_type: Arc<str>,
    /// From the index entry where there is one, else from the config; empty for an artifact.
    pub platform: Platform,
    /// When it was made: from the config, else from an annotation. None where neither says, or says year 1 or the epoch.
    pub created: Option<Timestamp>,
    /// Bytes of the config, 0 where there is none.
    pub config_bytes: u64,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Bottom first; a layer that the manifest lists twice stands here twice.
    pub layers: Arc<[Layer]>,
}

/// One layer as a manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Layer {
    /// Of the compressed blob.
    pub digest: Digest,
    /// Compressed bytes; none where a schema 1 manifest did not say and the registry could not be asked.
    pub bytes: Option<u64>,
    /// Distributed elsewhere, not stored in the registry.
    pub foreign: bool,
    /// Of the layer's tar, where a verified config of as many diff_ids as there are layers says so.
    pub diff_id: Option<Digest>,
    /// As the manifest says.
    pub media_type: MediaType,
}

impl Image {
    /// Sum of the layers' sizes as the manifest lists them, in bytes; none where one is unknown.
    pub fn compressed_bytes(&self) -> Option<u64> {
        self.layers.iter().try_fold(0_u64, |sum, layer| Some(sum.saturating_add(layer.bytes?)))
    }
}

/// What a layer is after decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerContent {
    /// Bytes of the layer's tar.
    pub uncompressed_bytes: u64,
    /// Whether that is an estimate, from a gzip trailer say, rather than exact.
    pub estimated: bool,
    /// Bytes of its files as overlay2 unpacks them, as `docker image inspect` counts; only where the layer was streamed.
    pub unpacked_bytes: Option<u64>,
}
