//! Pointers to content.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Deserializer;

use super::digest::Digest;
use super::json::or_default;
use super::media_type::MediaType;
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
    /// Free text by key.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, where the publisher embedded it.
    #[serde(default)]
    pub data: Option<String>,
    /// The content's artifact type.
    #[serde(default, deserialize_with = "or_default")]
    pub artifact_type: String,
    /// The platform of an index entry.
    #[serde(default, deserialize_with = "or_default")]
    pub platform: PlatformFields,
}

/// Sizes are 64-bit signed integers in the specification. A negative one makes the document invalid.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("size {size} is negative")))
}
