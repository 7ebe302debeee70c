//! The documents of a registry: manifests and indexes, in OCI's and in Docker's media types.
//!
//! Readers are lenient where the specifications say that they must be (unknown fields, unknown media types, missing
//! types) and refuse what is ambiguous. Nothing here decides what a document *means* for sizes: see `image`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::digest::Digest;
use super::media_type::MediaType;
use super::platform::Platform;

/// What every request for a manifest sends as `Accept`: always the same, since registries convert documents, and
/// their digests, to what a client claims to read.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws, application/vnd.docker.distribution.manifest.v1+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// A pointer to content (OCI image specification, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Of what it points at; empty where a publisher left it out.
    #[serde(default)]
    pub media_type: MediaType,
    /// Of what it points at.
    pub digest: Digest,
    /// Bytes of what it points at, as the publisher says.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Free text by key.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64, where it was small enough to embed.
    #[serde(default)]
    pub data: Option<String>,
    /// What kind of artifact it points at.
    #[serde(default, deserialize_with = "or_default")]
    pub artifact_type: String,
    /// Which platform an index entry is for.
    #[serde(default, deserialize_with = "or_default")]
    pub platform: PlatformFields,
}

/// `platform` of an index entry, and the same fields of a config, before they are brought into normal form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PlatformFields {
    /// `linux`, `windows`, …
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// `v7`, `v8`, …
    #[serde(default, deserialize_with = "or_default")]
    pub variant: String,
    /// The build of Windows.
    #[serde(default, rename = "os.version", deserialize_with = "or_default")]
    pub os_version: String,
}

impl PlatformFields {
    /// The platform in normal form.
    pub fn normal(&self) -> Platform {
        Platform::from_parts(&self.os, &self.architecture, &self.variant, &self.os_version)
    }
}

/// One image or artifact: a config and layers (OCI image manifest; Docker image manifest, schema 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// As the document was understood.
    pub media_type: MediaType,
    /// Absent in the old artifact manifest only.
    pub config: Option<Descriptor>,
    /// In order, bottom first. May be empty.
    pub layers: Vec<Descriptor>,
    /// Set by artifacts.
    pub artifact_type: String,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

/// Manifests, mostly one for each platform (OCI image index; Docker manifest list).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// As the document was understood.
    pub media_type: MediaType,
    /// In order. May be empty, may point at indexes, and at what the registry does not have.
    pub manifests: Vec<Descriptor>,
    /// Set by artifacts.
    pub artifact_type: String,
    /// Free text by key.
    pub annotations: BTreeMap<String, String>,
}

/// Docker image manifest, schema 1: layers without sizes and no config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema1 {
    /// Signed or not.
    pub media_type: MediaType,
    /// Bottom first, as everywhere here (the document has the top first).
    pub layers: Vec<Digest>,
    /// The document's one word about the platform.
    pub architecture: String,
    /// When the top layer was made, RFC 3339; empty where it does not say.
    pub created: String,
}

/// What a registry answers where a manifest was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image or artifact.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
    /// One image, the old way.
    Schema1(Schema1),
}

/// A body is no document that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// Broken JSON, or a field of the wrong shape.
    #[error("not a manifest: {0}")]
    Json(String),
    /// A document that one client reads as an index and another as a manifest.
    #[error("ambiguous: the document has both `manifests` and `layers`")]
    Ambiguous,
    /// A config alone says nothing of an image's size.
    #[error("not a manifest: it has a `config` and no `layers`")]
    NoLayers,
    /// Neither layers nor manifests.
    #[error("not a manifest: neither `layers`, `manifests`, `fsLayers` nor `blobs` in it (content type `{0}`)")]
    Unknown(String),
}

/// What is wrong with JSON, without the text that serde quotes where it wanted something else: that may be as long as the
/// document, and have in it whatever its author was told.
pub(crate) fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quoted =
        text.split_once("string \"").and_then(|(before, rest)| Some((before, rest.rsplit_once("\", expected")?.1)));
    match quoted {
        Some((before, after)) => format!("{before}a string, expected{after}"),
        None => text,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    media_type: MediaType,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "present")]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<Vec<FsLayer>>,
    #[serde(default)]
    signatures: Option<IgnoredAny>,
    #[serde(default)]
    history: Option<Vec<HistoryV1>>,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    artifact_type: String,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryV1 {
    #[serde(default)]
    v1_compatibility: String,
}

impl Document {
    /// Reads a body. The `Content-Type` counts where it says anything of use, then the document's own
    /// `mediaType`, then its structure: registries answer `text/plain`, `application/json` or nothing.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, InvalidDocument> {
        let raw: Raw = serde_json::from_slice(body).map_err(|error| InvalidDocument::Json(json_problem(&error)))?;
        if raw.manifests.as_ref().is_some_and(|m| !m.is_empty()) && raw.layers.as_ref().is_some_and(|l| !l.is_empty()) {
            return Err(InvalidDocument::Ambiguous);
        }
        let said = [MediaType::new(content_type), raw.media_type.clone()].into_iter().find(MediaType::is_manifest);
        match said.as_ref().map(MediaType::as_str) {
            Some(MediaType::OCI_INDEX | MediaType::DOCKER_LIST)
                if raw.layers.as_ref().is_none_or(Vec::is_empty) && raw.manifests.is_some() =>
            {
                return Ok(raw.into_index(said));
            }
            Some(MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST)
                if raw.manifests.as_ref().is_none_or(Vec::is_empty) && raw.layers.is_some() =>
            {
                return Ok(raw.into_manifest(said));
            }
            _ => {}
        }
        match &raw {
            Raw { fs_layers: Some(_), .. } => Ok(raw.into_schema1()),
            // The list that has something in it says what the document is.
            Raw { manifests: Some(manifests), layers, .. }
                if !manifests.is_empty() || layers.as_ref().is_none_or(Vec::is_empty) =>
            {
                Ok(raw.into_index(said.filter(MediaType::is_index)))
            }
            Raw { layers: Some(_), .. } => Ok(raw.into_manifest(said.filter(|t| !t.is_index()))),
            Raw { blobs: Some(_), .. } => Ok(raw.into_artifact()),
            Raw { config: Some(_), .. } => Err(InvalidDocument::NoLayers),
            _ => Err(InvalidDocument::Unknown(content_type.to_owned())),
        }
    }

    /// The media type as the document was understood.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
            Self::Schema1(manifest) => &manifest.media_type,
        }
    }
}

impl Raw {
    fn into_index(self, said: Option<MediaType>) -> Document {
        Document::Index(Index {
            media_type: said.unwrap_or_else(|| MediaType::new(MediaType::OCI_INDEX)),
            manifests: self.manifests.unwrap_or_default(),
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }

    fn into_manifest(self, said: Option<MediaType>) -> Document {
        Document::Manifest(Box::new(Manifest {
            media_type: said.unwrap_or_else(|| MediaType::new(MediaType::OCI_MANIFEST)),
            config: self.config,
            layers: self.layers.unwrap_or_default(),
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        }))
    }

    fn into_artifact(self) -> Document {
        Document::Manifest(Box::new(Manifest {
            media_type: MediaType::new(MediaType::OCI_ARTIFACT),
            config: None,
            layers: self.blobs.unwrap_or_default(),
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        }))
    }

    fn into_schema1(self) -> Document {
        let media_type = if self.signatures.is_some() { MediaType::SCHEMA1_SIGNED } else { MediaType::SCHEMA1 };
        let top = self.history.iter().flatten().next();
        Document::Schema1(Schema1 {
            media_type: MediaType::new(media_type),
            layers: self.fs_layers.into_iter().flatten().rev().map(|layer| layer.blob_sum).collect(),
            architecture: self.architecture,
            created: top.and_then(|history| created_v1(&history.v1_compatibility)).unwrap_or_default(),
        })
    }
}

fn created_v1(compatibility: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct V1 {
        created: String,
    }
    serde_json::from_str::<V1>(compatibility).ok().map(|v1| v1.created)
}

/// `null` where a value belongs is read as nothing: Go writes it for empty slices and maps.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that is `null` is there, and empty.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Some(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default()))
}

/// Sizes are 64-bit signed integers in the specification. A negative one is a broken document.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("size {size} is negative")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn kind(content_type: &str, body: &str) -> String {
        match Document::parse(content_type, body.replace("DIGEST", DIGEST).as_bytes()) {
            Ok(Document::Manifest(m)) => format!("manifest {} layers, {}", m.layers.len(), m.media_type),
            Ok(Document::Index(i)) => format!("index {} entries, {}", i.manifests.len(), i.media_type),
            Ok(Document::Schema1(s)) => format!("schema 1 {} layers, {}", s.layers.len(), s.media_type),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_documents_kind_comes_from_its_content_type_then_its_own_type_then_its_structure() {
        let manifest = r#"{"schemaVersion":2,"config":{"digest":"DIGEST","size":2},"layers":[{"mediaType":"x","digest":"DIGEST","size":3}]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"DIGEST","size":3}]}"#;
        for (content_type, body, expected) in [
            (MediaType::OCI_MANIFEST, manifest, "manifest 1 layers, application/vnd.oci.image.manifest.v1+json"),
            (
                "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
                manifest,
                "manifest 1 layers, application/vnd.docker.distribution.manifest.v2+json",
            ),
            ("", manifest, "manifest 1 layers, application/vnd.oci.image.manifest.v1+json"),
            ("text/plain", index, "index 1 entries, application/vnd.oci.image.index.v1+json"),
            (
                "application/json",
                r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#,
                "index 0 entries, application/vnd.docker.distribution.manifest.list.v2+json",
            ),
            (
                MediaType::OCI_INDEX,
                r#"{"schemaVersion":2,"manifests":null}"#,
                "index 0 entries, application/vnd.oci.image.index.v1+json",
            ),
            (MediaType::OCI_INDEX, manifest, "manifest 1 layers, application/vnd.oci.image.manifest.v1+json"),
            (
                MediaType::OCI_MANIFEST,
                r#"{"config":{"digest":"DIGEST","size":2},"layers":null}"#,
                "manifest 0 layers, application/vnd.oci.image.manifest.v1+json",
            ),
            (
                "",
                r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"DIGEST"},{"blobSum":"DIGEST"}],"signatures":[{}]}"#,
                "schema 1 2 layers, application/vnd.docker.distribution.manifest.v1+prettyjws",
            ),
            (
                "",
                r#"{"schemaVersion":1,"fsLayers":[]}"#,
                "schema 1 0 layers, application/vnd.docker.distribution.manifest.v1+json",
            ),
            (
                "",
                r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[{"mediaType":"x","digest":"DIGEST","size":3}]}"#,
                "manifest 1 layers, application/vnd.oci.artifact.manifest.v1+json",
            ),
            (
                "",
                r#"{"layers":[{"digest":"DIGEST","size":1}],"manifests":[{"digest":"DIGEST","size":1}]}"#,
                "error: ambiguous: the document has both `manifests` and `layers`",
            ),
            (
                "",
                r#"{"layers":[{"digest":"DIGEST","size":1}],"manifests":[]}"#,
                "manifest 1 layers, application/vnd.oci.image.manifest.v1+json",
            ),
            (
                MediaType::OCI_MANIFEST,
                r#"{"layers":[{"digest":"DIGEST","size":1}],"manifests":[]}"#,
                "manifest 1 layers, application/vnd.oci.image.manifest.v1+json",
            ),
            (
                MediaType::OCI_INDEX,
                r#"{"layers":[],"manifests":[{"digest":"DIGEST","size":1}]}"#,
                "index 1 entries, application/vnd.oci.image.index.v1+json",
            ),
            (
                "text/html",
                "{}",
                "error: not a manifest: neither `layers`, `manifests`, `fsLayers` nor `blobs` in it (content type `text/html`)",
            ),
            (
                MediaType::OCI_MANIFEST,
                r#"{"config":{"digest":"DIGEST","size":2}}"#,
                "error: not a manifest: it has a `config` and no `layers`",
            ),
            ("", "<html>", "error: not a manifest: expected value at line 1 column 1"),
            (
                "",
                r#"{"layers":"Authorization: \"sesame\", expected"}"#,
                "error: not a manifest: invalid type: a string, expected a sequence at line 1 column 47",
            ),
            (
                "",
                r#"{"layers":[{"digest":"DIGEST","size":-1}]}"#,
                "error: not a manifest: size -1 is negative at line 1 column 105",
            ),
        ] {
            assert_eq!(kind(content_type, body), expected, "{content_type} {body}");
        }
    }

    #[test]
    fn schema_1_layers_are_turned_bottom_first() {
        let other = DIGEST.replace("e3b0", "e3b1");
        let body = format!(
            r#"{{"fsLayers":[{{"blobSum":"{other}"}},{{"blobSum":"{DIGEST}"}}],"architecture":"amd64","history":[{{"v1Compatibility":"{{\"created\":\"2015-01-01T00:00:00Z\"}}"}}]}}"#
        );
        let Ok(Document::Schema1(manifest)) = Document::parse("", body.as_bytes()) else { panic!("no schema 1") };
        assert_eq!(manifest.layers, [DIGEST.parse().unwrap(), other.parse().unwrap()]);
        assert_eq!((manifest.architecture.as_str(), manifest.created.as_str()), ("amd64", "2015-01-01T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn no_body_panics_the_parser(body: Vec<u8>, content_type: String) {
            let _ = Document::parse(&content_type, &body);
        }
    }
}
