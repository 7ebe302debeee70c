//! Media types: those of the specifications' documents, and any other.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};

/// A media type, without parameters, in lower case. Open: registries hold types that no specification lists.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MediaType(Arc<str>);

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

    /// From a `Content-Type` or a descriptor: parameters and case are dropped.
    pub fn new(text: &str) -> Self {
        Self(text.split(';').next().unwrap_or("").trim().to_ascii_lowercase().into())
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

    /// Whether a layer of this type is distributed elsewhere and not stored in the registry (OCI: non-distributable,
    /// Docker: foreign).
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default().into())
    }
}

impl serde::Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An option, since that is what is read back: publishers write null. In JSON it is the same text.
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
    fn foreign_layers_are_told_by_their_type() {
        for (media_type, foreign) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
        ] {
            assert_eq!(MediaType::new(media_type).is_foreign(), foreign);
        }
    }
}
