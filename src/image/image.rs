//! One platform's manifest and config, without the specification's noise.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

use super::config::ConfigFacts;
use super::hint::UncompressedHint;
use super::layer::Layer;
use super::timestamp::{Timestamp, timestamp};
use crate::oci::annotations::CREATED;
use crate::oci::media_type::stored_artifact_type;
use crate::oci::{Descriptor, Digest, Manifest, MediaType, Platform, Schema1};

/// A manifest with more layers is refused: some hundred bytes of memory are used for each. Docker allows 127, and
/// artifacts have a layer for each file.
pub const LAYERS_MAX: usize = 4_096;

/// One platform's manifest, read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// The manifest's digest, computed from its bytes.
    pub digest: Digest,
    /// The config's digest, which Docker calls the image ID; none for schema 1 and old artifacts.
    pub image_id: Option<Digest>,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// The artifact type; empty for a container image.
    #[serde(deserialize_with = "stored_artifact_type")]
    pub artifact_type: Arc<str>,
    /// From the index entry where there is one, else from the config; empty for an artifact.
    pub platform: Platform,
    /// When it was made, by the config, else by an annotation. None if both are silent or name year 1 or the epoch.
    pub created: Option<Timestamp>,
    /// Bytes of the config, 0 where there is none.
    pub config_bytes: u64,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Bottom first; a layer that the manifest lists twice is in here twice. At most [`LAYERS_MAX`].
    #[serde(deserialize_with = "stored_layers")]
    pub layers: Arc<[Layer]>,
}

/// What is published of an image: everything but its layers, of which there may be millions.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest, which Docker calls the image ID.
    pub image_id: Option<Digest>,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// The artifact type; empty for a container image.
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

impl Image {
    /// From a manifest of `manifest_bytes` bytes and, for a container image, its config.
    ///
    /// Layers and `diff_ids` are paired only if their numbers are equal.
    pub fn from_manifest(
        digest: Digest,
        manifest_bytes: u64,
        manifest: &Manifest,
        config: Option<&ConfigFacts>,
    ) -> Self {
        let diff_ids = config.map_or(&[][..], |config| &config.diff_ids);
        let paired = diff_ids.len() == manifest.layers.len();
        let of_manifest = UncompressedHint::from_manifest(&manifest.annotations);
        let layer = |(position, descriptor): (usize, &Descriptor)| Layer {
            digest: descriptor.digest.clone(),
            bytes: Some(descriptor.size),
            foreign: descriptor.media_type.is_foreign(),
            diff_id: diff_ids.get(position).filter(|_| paired).cloned().flatten(),
            media_type: descriptor.media_type.clone(),
            hint: UncompressedHint::from_layer(descriptor).or_else(|| of_manifest.clone()),
        };
        let created = config.and_then(|config| config.created);
        Self {
            digest,
            image_id: manifest.config.as_ref().map(|config| config.digest.clone()),
            media_type: manifest.media_type.clone(),
            artifact_type: artifact_type(manifest).into(),
            platform: config.map_or_else(Platform::none, |config| config.platform.clone()),
            created: created.or_else(|| manifest.annotations.get(CREATED).and_then(timestamp)),
            config_bytes: manifest.config.as_ref().map_or(0, |config| config.size),
            manifest_bytes,
            layers: manifest.layers.iter().enumerate().map(layer).collect(),
        }
    }

    /// From a schema 1 manifest, which lists layers without sizes: `bytes_of` returns those that the registry reported.
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
            platform: manifest.platform.clone(),
            created: timestamp(&manifest.created),
            config_bytes: 0,
            manifest_bytes,
            layers: manifest.layers.iter().map(layer).collect(),
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

    /// The part that is published.
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

    /// Sum of the layers' sizes as the manifest lists them, in bytes; none where one is unknown.
    pub fn compressed_bytes(&self) -> Option<u64> {
        self.layers.iter().try_fold(0_u64, |sum, layer| Some(sum.saturating_add(layer.bytes?)))
    }
}

/// Reads the layers of a stored image. An earlier version stored any number of them.
fn stored_layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Layer]>, D::Error> {
    let layers = Arc::<[Layer]>::deserialize(deserializer)?;
    if layers.len() > LAYERS_MAX { Err(D::Error::custom("too many layers")) } else { Ok(layers) }
}

/// Whether this is a container image's manifest, by its config's type. Any other is an artifact's.
pub fn is_container_image(manifest: &Manifest) -> bool {
    manifest.config.as_ref().is_some_and(|config| config.media_type.is_image_config())
}

/// A manifest's artifact type: its `artifactType`, else its config's media type (OCI image
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
    fn a_soci_index_of_the_manifest_is_the_hint_of_each_layer_without_one() {
        let index = Digest::sha256_of(b"index");
        let bound = manifest(&format!(
            r#"{{"annotations":{{"com.amazon.soci.index-digest":"{index}"}},"layers":[{{"digest":"DIGEST","size":100}},{{"digest":"DIGEST","size":100,"annotations":{{"io.containers.estargz.uncompressed-size":"512"}}}},{{"digest":"DIGEST","size":100,"annotations":{{"ci.umo.uncompressed_blob_size":"513"}}}}]}}"#
        ));
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 50, &bound, None);
        let hints: Vec<_> = image.layers.iter().map(|layer| layer.hint.clone()).collect();
        let said = [512, 513].map(|bytes| Some(UncompressedHint::Bytes(bytes)));
        assert_eq!(hints, [vec![Some(UncompressedHint::Soci(index))], said.to_vec()].concat());
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
    fn diff_ids_are_paired_only_if_their_number_fits() {
        let two = manifest(
            r#"{"config":{"digest":"DIGEST","size":7},"layers":[{"digest":"DIGEST","size":1},{"digest":"DIGEST","size":2}]}"#,
        );
        let mut config = ImageConfig::default();
        config.rootfs.diff_ids = vec![Some(Digest::sha256_of(b"1"))];
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 1, &two, Some(&config.clone().into()));
        assert!(image.layers.iter().all(|layer| layer.diff_id.is_none()));
        config.rootfs.diff_ids.push(Some(Digest::sha256_of(b"2")));
        let image = Image::from_manifest(Digest::sha256_of(b"m"), 1, &two, Some(&config.clone().into()));
        assert_eq!(image.layers[1].diff_id, Some(Digest::sha256_of(b"2")));
    }
}
