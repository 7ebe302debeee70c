//! What sizes need of an image's config.

use super::{Timestamp, timestamp};
use crate::oci::{Digest, ImageConfig, Platform};

/// What sizes need of an image's config (OCI image specification, "Image Configuration"). Several manifests may name
/// one config: the same image, compressed in several ways.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ConfigFacts {
    /// In normal form.
    pub platform: Platform,
    /// When the image was made; none where it does not say, or says year 1 or the epoch.
    pub created: Option<Timestamp>,
    /// The layers' uncompressed digests, bottom first.
    pub diff_ids: Vec<Digest>,
}

impl From<ImageConfig> for ConfigFacts {
    fn from(config: ImageConfig) -> Self {
        Self {
            platform: config.platform.normal(),
            created: timestamp(&config.created),
            diff_ids: config.rootfs.diff_ids,
        }
    }
}
