//! Media types.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};

/// A media type, without parameters, in lower case. Not an enum: registries hold types that no specification lists.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MediaType(Arc<str>);

/// The text is not a media type (RFC 6838, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a media type: expected at most 127 characters, a slash and at most 127 more, of letters, digits and `!#$&-^_.+`"
)]
pub struct InvalidMediaType;

/// The most characters of a type and of a subtype.
const NAME_CHARACTERS_MAX: usize = 127;

/// Whether a text is a media type without parameters, or empty. Some publishers write a type without a subtype.
fn is_media_type(text: &str) -> bool {
    let name = |name: &str| {
        name.len() <= NAME_CHARACTERS_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let (kind, subtype) = text.split_once('/').unwrap_or((text, ""));
    name(kind) && name(subtype)
}

impl MediaType {
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image config.
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// Docker image manifest, schema 1, signed.
    pub const SCHEMA1_SIGNED: &'static str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker image manifest, schema 1, unsigned.
    pub const SCHEMA1: &'static str = "application/vnd.docker.distribution.manifest.v1+json";
    /// OCI artifact manifest, which was never released but exists on registries.
    pub const OCI_ARTIFACT: &'static str = "application/vnd.oci.artifact.manifest.v1+json";

    /// From a `Content-Type`: without parameters, in lower case; empty if it is not a media type.
    pub fn new(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    /// From a document: without parameters, in lower case.
    pub fn parse(text: &str) -> Result<Self, InvalidMediaType> {
        let text = text.split(';').next().unwrap_or("").trim();
        if is_media_type(text) { Ok(Self(text.to_ascii_lowercase().into())) } else { Err(InvalidMediaType) }
    }

    /// The type's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is an OCI index or a Docker manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Whether this is a manifest of any kind or an index.
    pub fn is_manifest(&self) -> bool {
        matches!(
            self.as_str(),
            Self::OCI_INDEX
                | Self::OCI_MANIFEST
                | Self::DOCKER_LIST
                | Self::DOCKER_MANIFEST
                | Self::SCHEMA1
                | Self::SCHEMA1_SIGNED
                | Self::OCI_ARTIFACT
        )
    }

    /// Whether this is the config of a container image, rather than that of some artifact.
    pub fn is_image_config(&self) -> bool {
        matches!(self.as_str(), Self::OCI_CONFIG | Self::DOCKER_CONFIG)
    }

    /// Whether a layer of this type is a tar, compressed or not; `None` where the type tells nothing. Schema 1 has no types,
    /// and all its layers are tars. What is encrypted is no tar to one without the key.
    pub fn says_tar(&self) -> Option<bool> {
        let has = |is: fn(&str) -> bool| self.0.split(|c: char| !c.is_ascii_alphanumeric()).any(is);
        match self.as_str() {
            "" => Some(true),
            "application/octet-stream" | "application/gzip" | "application/x-gzip" | "application/zstd" => None,
            _ => Some(has(|word| word.ends_with("tar") || word == "tgz") && !has(|word| word == "encrypted")),
        }
    }

    /// Whether a layer of this type is distributed elsewhere and not stored in the registry (OCI: non-distributable,
    /// Docker: foreign).
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        thread_local! {
            /// The layers of a manifest, of which there may be tens of thousands, share the text of their type.
            static LAST: RefCell<MediaType> = RefCell::default();
        }
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        LAST.with_borrow_mut(|last| {
            if last.as_str() != text {
                *last = Self::parse(&text).map_err(D::Error::custom)?;
            }
            Ok(last.clone())
        })
    }
}

/// Reads the artifact type of a document. `null` is an empty one.
pub(super) fn artifact_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if is_media_type(&text) { Ok(text) } else { Err(D::Error::custom(InvalidMediaType)) }
}

/// Reads the artifact type of a stored record. Earlier versions stored texts of any length.
pub fn stored_artifact_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_media_type(&text) { Ok(text.into()) } else { Err(D::Error::custom(InvalidMediaType)) }
}

impl serde::Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As an option, which is how it is read back: publishers write `null`. In JSON it is the same text.
        serializer.serialize_some(&*self.0)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_and_a_subtype_have_at_most_127_characters_each() {
        let (most, more) = ("a".repeat(127), "a".repeat(128));
        for (text, fits) in [
            (String::new(), true),
            ("application/vnd.oci.image.layer.v1.tar+gzip".to_owned(), true),
            ("Text/Plain; charset=utf-8".to_owned(), true),
            ("x".to_owned(), true),
            (format!("{most}/{most}"), true),
            (format!("{more}/a"), false),
            (format!("a/{more}"), false),
            ("a/b/c".to_owned(), false),
            ("a/\u{202e}b".to_owned(), false),
            ("a b/c".to_owned(), false),
        ] {
            assert_eq!(MediaType::parse(&text).is_ok(), fits, "{text}");
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<MediaType>(&json).is_ok(), fits, "{text}");
        }
        assert_eq!(MediaType::new("a b/c"), MediaType::default());
    }

    #[test]
    fn a_layers_type_says_whether_it_is_a_tar() {
        for (media_type, expected) in [
            ("", Some(true)),
            ("application/vnd.oci.image.layer.v1.tar", Some(true)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(true)),
            ("application/vnd.docker.container.image.rootfs.diff+x-gtar", Some(true)),
            ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", Some(true)),
            ("application/vnd.oci.image.layer.v1.tar+zstd+encrypted", Some(false)),
            ("application/vnd.in-toto+json", Some(false)),
            ("application/vnd.dev.cosign.simplesigning.v1+json", Some(false)),
            ("application/vnd.oci.empty.v1+json", Some(false)),
            ("application/vnd.cncf.model.weight.v1.raw", Some(false)),
            ("text/plain", Some(false)),
            ("application/octet-stream", None),
        ] {
            assert_eq!(MediaType::new(media_type).says_tar(), expected, "{media_type}");
        }
    }

    #[test]
    fn foreign_layers_are_recognized_by_their_type() {
        for (media_type, foreign) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
        ] {
            assert_eq!(MediaType::new(media_type).is_foreign(), foreign);
        }
    }
}
