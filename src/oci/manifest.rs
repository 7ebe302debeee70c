//! Manifests and indexes, in OCI's and in Docker's media types.

use super::annotations::Annotations;
use super::descriptor::Descriptor;
use super::media_type::MediaType;

/// The `Accept` of every request for a manifest. Always the same, since registries convert documents to what a client
/// accepts, which changes digests.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws, application/vnd.docker.distribution.manifest.v1+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// One image or artifact: a config and layers (OCI image manifest; Docker image manifest, schema 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The type by which it was parsed.
    pub media_type: MediaType,
    /// Absent in the old artifact manifest only.
    pub config: Option<Descriptor>,
    /// In order, bottom first. May be empty.
    pub layers: Vec<Descriptor>,
    /// Set by artifacts.
    pub artifact_type: String,
    /// Those that this program reads.
    pub annotations: Annotations,
}

/// Several manifests, usually one for each platform (OCI image index; Docker manifest list).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The type by which it was parsed.
    pub media_type: MediaType,
    /// In order. May be empty, and may point at indexes and at manifests that the registry does not have.
    pub manifests: Vec<Descriptor>,
    /// Set by artifacts.
    pub artifact_type: String,
    /// Those that this program reads.
    pub annotations: Annotations,
}
