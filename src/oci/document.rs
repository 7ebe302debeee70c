//! The documents that a registry returns for a manifest request, parsed.
//!
//! Readers are lenient where the specifications say that they must be (unknown fields, unknown media types, missing
//! types) and refuse what is ambiguous. What a document means for sizes is decided in `image`, not here.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::annotations::Annotations;
use super::descriptor::Descriptor;
use super::digest::Digest;
use super::json::{self, first, or_default, present};
use super::manifest::{Index, Manifest};
use super::media_type::{MediaType, artifact_type};
use super::platform::{InvalidPlatformPart, PlatformFields};
use super::schema1::Schema1;
use super::text::{beginning, is_unprintable};

/// A document that a registry returns for a manifest request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image or artifact.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
    /// One image, in the format of Docker before 1.10.
    Schema1(Schema1),
}

/// Why a body is not a document that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// Broken JSON, or a field of the wrong shape.
    #[error("not a manifest: {0}")]
    Json(String),
    /// One client would read it as an index and another as a manifest.
    #[error("ambiguous: the document has both `manifests` and `layers`")]
    Ambiguous,
    /// A config alone, without any sizes.
    #[error("not a manifest: it has a `config` and no `layers`")]
    NoLayers,
    /// The sizes of its layers add up to more than a 64-bit signed number holds, which OCI's `size` is.
    #[error("invalid manifest: its layers have more than 2^63-1 bytes together")]
    TooLarge,
    /// The platform of a schema 1 manifest.
    #[error("invalid manifest: {0}")]
    Platform(#[from] InvalidPlatformPart),
    /// Neither layers nor manifests.
    #[error("not a manifest: neither `layers`, `manifests`, `fsLayers` nor `blobs` in it (content type `{0}`)")]
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
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
    #[serde(default, rename = "history", deserialize_with = "first")]
    top_history: Option<HistoryV1>,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "artifact_type")]
    artifact_type: String,
    #[serde(default)]
    annotations: Annotations,
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
    /// Reads a body. The `Content-Type` decides if it names a manifest's type, then the document's own `mediaType`, then
    /// its structure: registries answer `text/plain`, `application/json` or nothing.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, InvalidDocument> {
        let raw: RawDocument = json::parse(body).map_err(InvalidDocument::Json)?;
        if raw.manifests.as_ref().is_some_and(|m| !m.is_empty()) && raw.layers.as_ref().is_some_and(|l| !l.is_empty()) {
            return Err(InvalidDocument::Ambiguous);
        }
        let stated = [MediaType::new(content_type), raw.media_type.clone()].into_iter().find(MediaType::is_manifest);
        match stated.as_ref().map(MediaType::as_str) {
            Some(MediaType::OCI_INDEX | MediaType::DOCKER_LIST)
                if raw.layers.as_ref().is_none_or(Vec::is_empty) && raw.manifests.is_some() =>
            {
                return Ok(raw.into_index(stated));
            }
            Some(MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST)
                if raw.manifests.as_ref().is_none_or(Vec::is_empty) && raw.layers.is_some() =>
            {
                return raw.into_manifest(stated);
            }
            _ => {}
        }
        match &raw {
            RawDocument { fs_layers: Some(_), .. } => raw.into_schema1(),
            // The list that has entries determines the kind.
            RawDocument { manifests: Some(manifests), layers, .. }
                if !manifests.is_empty() || layers.as_ref().is_none_or(Vec::is_empty) =>
            {
                Ok(raw.into_index(stated.filter(MediaType::is_index)))
            }
            RawDocument { layers: Some(_), .. } => raw.into_manifest(stated.filter(|t| !t.is_index())),
            RawDocument { blobs: Some(_), .. } => raw.into_artifact(),
            RawDocument { config: Some(_), .. } => Err(InvalidDocument::NoLayers),
            _ => Err(InvalidDocument::Unknown(printable(content_type))),
        }
    }

    /// The media type by which the document was parsed.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
            Self::Schema1(manifest) => &manifest.media_type,
        }
    }
}

/// The layers of a manifest, unless their sizes cannot be added: the sum would be a wrong size of the image.
fn addable(layers: Vec<Descriptor>) -> Result<Vec<Descriptor>, InvalidDocument> {
    let sum = layers.iter().try_fold(0_i64, |sum, layer| sum.checked_add_unsigned(layer.size));
    sum.map(|_| layers).ok_or(InvalidDocument::TooLarge)
}

impl RawDocument {
    fn into_index(self, stated: Option<MediaType>) -> Document {
        Document::Index(Index {
            media_type: stated.unwrap_or_else(|| MediaType::new(MediaType::OCI_INDEX)),
            manifests: self.manifests.unwrap_or_default(),
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }

    fn into_manifest(self, stated: Option<MediaType>) -> Result<Document, InvalidDocument> {
        Ok(Document::Manifest(Box::new(Manifest {
            media_type: stated.unwrap_or_else(|| MediaType::new(MediaType::OCI_MANIFEST)),
            config: self.config,
            layers: addable(self.layers.unwrap_or_default())?,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })))
    }

    fn into_artifact(self) -> Result<Document, InvalidDocument> {
        Ok(Document::Manifest(Box::new(Manifest {
            media_type: MediaType::new(MediaType::OCI_ARTIFACT),
            config: None,
            layers: addable(self.blobs.unwrap_or_default())?,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })))
    }

    fn into_schema1(self) -> Result<Document, InvalidDocument> {
        let media_type = if self.signatures.is_some() { MediaType::SCHEMA1_SIGNED } else { MediaType::SCHEMA1 };
        // The document names no operating system: schema 1 is older than images of any other.
        let os = if self.architecture.is_empty() { "" } else { "linux" };
        let platform =
            PlatformFields { os: os.into(), architecture: self.architecture.into(), ..PlatformFields::default() };
        platform.check()?;
        Ok(Document::Schema1(Schema1 {
            media_type: MediaType::new(media_type),
            layers: self.fs_layers.into_iter().flatten().rev().map(|layer| layer.blob_sum).collect(),
            platform: platform.normal(),
            created: self.top_history.and_then(|top| created_v1(&top.v1_compatibility)).unwrap_or_default(),
        }))
    }
}

/// A header's text for a message: its beginning, without control characters.
fn printable(text: &str) -> String {
    beginning(text, 100).chars().filter(|c| !is_unprintable(*c)).collect()
}

fn created_v1(compatibility: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct V1 {
        created: String,
    }
    serde_json::from_str::<V1>(compatibility).ok().map(|v1| v1.created)
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
        assert_eq!((manifest.platform.as_str(), manifest.created.as_str()), ("linux/amd64", "2015-01-01T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn no_body_panics_the_parser(body: Vec<u8>, content_type: String) {
            let _ = Document::parse(&content_type, &body);
        }
    }
}
