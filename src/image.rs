//! What a scan learnt of an image, without the specification's noise.

pub mod accounting;

mod config;
mod hint;

use std::sync::Arc;

use crate::oci::manifest::{Manifest, Schema1};
use crate::oci::{Digest, MediaType, Platform};

pub use config::ConfigFacts;
pub use hint::{Span, UncompressedHint};

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

/// What is published of an image: all but its layers, of which there are millions.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest, which Docker calls the image ID.
    pub image_id: Option<Digest>,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// What kind of artifact this is; empty for a container image.
    pub artifact_type: Arc<str>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Bytes of the config, 0 where there is none.
    pub config_bytes: u64,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// How many layers the manifest lists.
    pub layers: u64,
    /// Sum of the layers' sizes as the manifest lists them, in bytes; none where one is unknown.
    pub compressed_bytes: Option<u64>,
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
    /// What annotations say of its size after decompression.
    #[serde(default)]
    pub hint: Option<UncompressedHint>,
}

/// Annotation of a manifest: when the image was made (OCI image specification, "Pre-Defined Annotation Keys").
const CREATED: &str = "org.opencontainers.image.created";

impl Image {
    /// From a manifest of `manifest_bytes` bytes and, for a container image, its config.
    ///
    /// Layers and `diff_ids` are paired only where there are as many of one as of the other.
    pub fn from_manifest(
        digest: Digest,
        manifest_bytes: u64,
        manifest: &Manifest,
        config: Option<&ConfigFacts>,
    ) -> Self {
        let diff_ids = config.map_or(&[][..], |config| &config.diff_ids);
        let paired = diff_ids.len() == manifest.layers.len();
        let of_manifest = UncompressedHint::of_manifest(&manifest.annotations);
        let layer = |(position, descriptor): (usize, &crate::oci::Descriptor)| Layer {
            digest: descriptor.digest.clone(),
            bytes: Some(descriptor.size),
            foreign: descriptor.media_type.is_foreign(),
            diff_id: diff_ids.get(position).filter(|_| paired).cloned(),
            media_type: descriptor.media_type.clone(),
            hint: UncompressedHint::of(descriptor).or_else(|| of_manifest.clone()),
        };
        let created = config.and_then(|config| config.created);
        Self {
            digest,
            image_id: manifest.config.as_ref().map(|config| config.digest.clone()),
            media_type: manifest.media_type.clone(),
            artifact_type: artifact_type(manifest).into(),
            platform: config.map_or_else(Platform::none, |config| config.platform.clone()),
            created: created.or_else(|| manifest.annotations.get(CREATED).and_then(|text| timestamp(text))),
            config_bytes: manifest.config.as_ref().map_or(0, |config| config.size),
            manifest_bytes,
            layers: manifest.layers.iter().enumerate().map(layer).collect(),
        }
    }

    /// From a schema 1 manifest, which names layers without sizes: `bytes_of` knows what the registry answered.
    pub fn from_schema1(
        digest: Digest,
        manifest_bytes: u64,
        manifest: &Schema1,
        bytes_of: impl Fn(&Digest) -> Option<u64>,
    ) -> Self {
        let layer = |digest: &Digest| Layer {
            digest: digest.clone(),
            bytes: bytes_of(digest),
            foreign: false,
            diff_id: None,
            media_type: MediaType::default(),
            hint: None,
        };
        Self {
            digest,
            image_id: None,
            media_type: manifest.media_type.clone(),
            artifact_type: "".into(),
            platform: Platform::from_parts(
                if manifest.architecture.is_empty() { "" } else { "linux" },
                &manifest.architecture,
                "",
                "",
            ),
            created: timestamp(&manifest.created),
            config_bytes: 0,
            manifest_bytes,
            layers: manifest.layers.iter().map(layer).collect(),
        }
    }

    /// What is published of it.
    pub fn summary(&self) -> ImageSummary {
        ImageSummary {
            digest: self.digest.clone(),
            image_id: self.image_id.clone(),
            media_type: self.media_type.clone(),
            artifact_type: self.artifact_type.clone(),
            created: self.created,
            config_bytes: self.config_bytes,
            manifest_bytes: self.manifest_bytes,
            layers: self.layers.len() as u64,
            compressed_bytes: self.compressed_bytes(),
        }
    }

    /// How its layers are compressed, in the word of their media types: `zstd` if one is, `tar` if none is, else `gzip`,
    /// the usual one.
    pub fn compression(&self) -> &'static str {
        let ends = |end: &str| self.layers.iter().any(|layer| layer.media_type.as_str().ends_with(end));
        if ends("+zstd") || ends(".zstd") {
            "zstd"
        } else if ends(".tar") && !ends("gzip") {
            "tar"
        } else {
            "gzip"
        }
    }

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
    /// Its files.
    pub unpacked: Unpacked,
}

/// A layer's files, as overlay2 unpacks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unpacked {
    /// Nobody knows: the layer was not streamed.
    Unknown,
    /// It was streamed: bytes of its files, as `docker image inspect` counts.
    Bytes(u64),
    /// It was streamed, and overlay2 cannot unpack it by itself: there is no such size, and none to wait for.
    Refused,
}

impl Unpacked {
    /// Bytes of the files, where there is such a size and somebody knows it.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unknown | Self::Refused => None,
        }
    }

    /// Whether the layer was streamed, so that no more can be known of it.
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }
}

/// Whether this manifest is a container image's, whose config says more: any other is an artifact.
pub fn is_container_image(manifest: &Manifest) -> bool {
    manifest.config.as_ref().is_some_and(|config| config.media_type.is_image_config())
}

/// What kind of artifact a manifest is: its `artifactType`, else its config's media type (OCI image
/// specification, "Guidelines for Artifact Usage"); empty for a container image.
fn artifact_type(manifest: &Manifest) -> String {
    if !manifest.artifact_type.is_empty() {
        return manifest.artifact_type.clone();
    }
    match &manifest.config {
        Some(config) if !config.media_type.is_image_config() => config.media_type.as_str().to_owned(),
        _ => String::new(),
    }
}

/// An RFC 3339 date and time. Builders that do not want to say write year 1 or the epoch.
fn timestamp(text: &str) -> Option<Timestamp> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    let seconds = timestamp.as_millisecond() as f64 / 1000.0;
    (seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Document, ImageConfig};

    fn manifest(body: &str) -> Manifest {
        let body = body.replace("DIGEST", &Digest::sha256_of(b"x").to_string());
        match Document::parse("", body.as_bytes()).unwrap() {
            Document::Manifest(manifest) => *manifest,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeated_layer_counts_twice_in_compressed() {
        let manifest = manifest(
            r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":7},"layers":[{"digest":"DIGEST","size":100},{"digest":"DIGEST","size":100}]}"#,
        );
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 50, &manifest, Some(&ImageConfig::default().into()));
        assert_eq!(image.compressed_bytes(), Some(200));
        assert_eq!((image.config_bytes, image.manifest_bytes, &*image.artifact_type), (7, 50, ""));
    }

    #[test]
    fn a_soci_index_of_the_manifest_may_tell_of_each_layer_that_says_nothing_itself() {
        let index = Digest::sha256_of(b"index");
        let bound = manifest(&format!(
            r#"{{"annotations":{{"com.amazon.soci.index-digest":"{index}"}},"layers":[{{"digest":"DIGEST","size":100}},{{"digest":"DIGEST","size":100,"annotations":{{"io.containers.estargz.uncompressed-size":"512"}}}}]}}"#
        ));
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 50, &bound, None);
        let hints: Vec<_> = image.layers.iter().map(|layer| layer.hint.clone()).collect();
        assert_eq!(hints, [Some(UncompressedHint::Soci(index)), Some(UncompressedHint::Bytes(512))]);
    }

    #[test]
    fn year_one_and_the_epoch_mean_that_nobody_knows() {
        for (text, expected) in [
            ("2024-01-02T03:04:05Z", Some(1_704_164_645.0)),
            ("2024-01-02T03:04:05.500+01:00", Some(1_704_161_045.5)),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
    }

    #[test]
    fn an_artifacts_type_is_its_own_or_its_configs() {
        let helm = manifest(
            r#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"DIGEST","size":7},"layers":[]}"#,
        );
        assert!(!is_container_image(&helm));
        assert_eq!(artifact_type(&helm), "application/vnd.cncf.helm.config.v1+json");
        let typed = manifest(
            r#"{"artifactType":"text/x","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"DIGEST","size":2},"layers":[]}"#,
        );
        assert_eq!(artifact_type(&typed), "text/x");
    }

    #[test]
    fn diff_ids_are_paired_only_where_their_number_fits() {
        let two = manifest(
            r#"{"config":{"digest":"DIGEST","size":7},"layers":[{"digest":"DIGEST","size":1},{"digest":"DIGEST","size":2}]}"#,
        );
        let mut config = ImageConfig::default();
        config.rootfs.diff_ids = vec![Digest::sha256_of(b"1")];
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 1, &two, Some(&config.clone().into()));
        assert!(image.layers.iter().all(|layer| layer.diff_id.is_none()));
        config.rootfs.diff_ids.push(Digest::sha256_of(b"2"));
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 1, &two, Some(&config.clone().into()));
        assert_eq!(image.layers[1].diff_id, Some(Digest::sha256_of(b"2")));
    }
}
