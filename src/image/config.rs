//! The facts of an image's config that are remembered.

use super::timestamp::{Timestamp, timestamp};
use crate::oci::{Digest, ImageConfig, Platform};

/// The facts of an image's config that are remembered (OCI image specification, "Image Configuration"). Several manifests
/// may name one config: the same image in several compressions.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ConfigFacts {
    /// In normal form.
    pub platform: Platform,
    /// When the image was made; none if the config is silent or names year 1 or the epoch.
    pub created: Option<Timestamp>,
    /// The layers' uncompressed digests, bottom first; `None` where the config has no digest.
    #[serde(with = "crate::oci::digest::optional")]
    pub diff_ids: Vec<Option<Digest>>,
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
