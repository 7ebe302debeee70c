//! Pointers to content.

use serde::Deserialize;
use serde::de::Deserializer;

use super::annotations::{Annotations, REFERENCE_TYPE};
use super::digest::Digest;
use super::json::Lenient;
use super::media_type::{MediaType, artifact_type};
use super::platform::PlatformFields;

/// A pointer to content (OCI image specification, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Of the content; empty where the publisher left it out.
    #[serde(default)]
    pub media_type: MediaType,
    /// Of the content.
    pub digest: Digest,
    /// Bytes of the content, by the publisher.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Those that this program reads.
    #[serde(default)]
    pub annotations: Annotations,
    /// The content itself in base64, where the publisher embedded it.
    #[serde(default, deserialize_with = "data")]
    pub data: Option<String>,
    /// The content's artifact type.
    #[serde(default, deserialize_with = "artifact_type")]
    pub artifact_type: String,
    /// The platform of an index entry; empty where it has none or an invalid one.
    #[serde(default, deserialize_with = "usable_platform")]
    pub platform: PlatformFields,
}

impl Descriptor {
    /// Whether an index entry is an attestation rather than an image. BuildKit lists them under `unknown/unknown` with
    /// an annotation; newer ones have an artifact type.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(REFERENCE_TYPE) == Some("attestation-manifest")
            || self.artifact_type == "application/vnd.docker.attestation.manifest.v1+json"
            || self.platform.normal().is_unknown()
    }
}

/// Longer embedded content is ignored and fetched instead. It is embedded to save requests for small content.
const DATA_BYTES_MAX: usize = 64 << 10;

fn data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|data| data.len() <= DATA_BYTES_MAX))
}

/// An invalid platform is ignored: the child's config has one too.
fn usable_platform<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PlatformFields, D::Error> {
    let Lenient(platform) = Lenient::<PlatformFields>::deserialize(deserializer)?;
    Ok(if platform.check().is_ok() { platform } else { PlatformFields::default() })
}

/// Sizes are 64-bit signed integers in the specification. A negative one makes the document invalid.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("size {size} is negative")))
}
