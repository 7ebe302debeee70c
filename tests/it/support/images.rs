//! Images, indexes and artifacts, the same bytes each time.
//!
//! Everything that can be pushed is a [`Pushed`]: a manifest, the blobs that it names, and the manifests below it.
//!
//! ```ignore
//! let base = Blob::named("base", 100);             // a layer of 100 bytes that nobody may download
//! let v1 = image("linux/amd64", &[&base, &Blob::named("x", 10)]);
//! let both = index(&[("linux/amd64", &v1), ("linux/arm64", &image("linux/arm64", &[&base]))]);
//! registry.push("acme/app", "v1", &both);
//! ```

use image_size_exporter::oci::{Digest, MediaType};
use serde_json::{Value, json};

use super::tar::Tar;

pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Content that a registry stores by digest.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// `None` for layers of which only the size matters: the registry has them and fails the test if they are fetched.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// What one push brings.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) manifest: Blob,
    pub(crate) blobs: Vec<Blob>,
    /// Manifests that an index names. One that is named and not here makes the index sparse.
    pub(crate) children: Vec<Pushed>,
}

impl Blob {
    /// Content that can be fetched.
    pub(crate) fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let digest = Digest::sha256_of(&bytes);
        Self { media_type: media_type.to_owned(), digest, size: bytes.len() as u64, bytes: Some(bytes) }
    }

    /// A layer of which only the size matters. Equal names and sizes are equal layers.
    pub(crate) fn named(name: &str, size: u64) -> Self {
        let digest = Digest::sha256_of(format!("{name} {size}").as_bytes());
        Self { media_type: OCI_LAYER.to_owned(), digest, size, bytes: None }
    }

    /// The same content under another media type.
    pub(crate) fn of_type(self, media_type: &str) -> Self {
        Self { media_type: media_type.to_owned(), ..self }
    }

    /// The descriptor that a manifest has of it.
    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size})
    }
}

impl Pushed {
    /// A manifest of the given JSON.
    pub(crate) fn from_json(media_type: &str, manifest: &Value, blobs: Vec<Blob>, children: Vec<Pushed>) -> Self {
        Self { manifest: Blob::new(media_type, manifest.to_string()), blobs, children }
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.manifest.digest
    }
}

/// An OCI image for a platform, with a config that says when it was made (2024-01-01) and names its layers.
pub(crate) fn image(platform: &str, layers: &[&Blob]) -> Pushed {
    let config = config(platform, layers);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": layers.iter().map(|layer| layer.descriptor()).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, with(config, layers), vec![])
}

/// An image of these layers that can be read, made at a date.
pub(crate) fn dated(platform: &str, created: &str, layers: &[&Blob]) -> Pushed {
    let text = String::from_utf8(config(platform, layers).bytes.unwrap().clone()).unwrap();
    let config = Blob::new(MediaType::OCI_CONFIG, text.replace("2024-01-01T00:00:00Z", created));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config.descriptor(),
        "layers": layers.iter().map(|layer| layer.descriptor()).collect::<Vec<_>>(),
    });
    let blobs = std::iter::once(config).chain(layers.iter().map(|layer| (*layer).clone())).collect();
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, blobs, vec![])
}

/// An OCI image whose config tells the truth about its layers.
pub(crate) fn image_of_tars(tars: &[&Tar]) -> Pushed {
    let diff_ids: Vec<String> = tars.iter().map(|tar| tar.diff_id.to_string()).collect();
    let config = json!({
        "created": "2024-01-01T00:00:00Z",
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Blob::new(MediaType::OCI_CONFIG, config.to_string());
    let layers: Vec<&Blob> = tars.iter().map(|tar| &tar.gzip).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": layers.iter().map(|layer| layer.descriptor()).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, with(config, &layers), vec![])
}

/// The same in Docker's media types.
pub(crate) fn docker_image(platform: &str, layers: &[&Blob]) -> Pushed {
    let config = config(platform, layers).of_type(MediaType::DOCKER_CONFIG);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DOCKER_MANIFEST,
        "config": config.descriptor(),
        "layers": layers.iter().map(|layer| layer.descriptor()).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::DOCKER_MANIFEST, &manifest, with(config, layers), vec![])
}

/// The config of [`image`].
pub(crate) fn config(platform: &str, layers: &[&Blob]) -> Blob {
    let mut parts = platform.split('/');
    let mut config = json!({
        "created": "2024-01-01T00:00:00Z",
        "os": parts.next().unwrap_or_default(),
        "architecture": parts.next().unwrap_or_default(),
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| Digest::sha256_of(layer.digest.to_string().as_bytes()).to_string()).collect::<Vec<_>>(),
        },
        "history": layers.iter().map(|layer| json!({"created_by": format!("COPY {} bytes", layer.size)})).collect::<Vec<_>>(),
    });
    if let Some(variant) = parts.next() {
        config["variant"] = variant.into();
    }
    Blob::new(MediaType::OCI_CONFIG, config.to_string())
}

/// An OCI index of manifests for platforms, `os/architecture[/variant]`; an empty platform leaves the field out.
pub(crate) fn index(entries: &[(&str, &Pushed)]) -> Pushed {
    index_of_type(MediaType::OCI_INDEX, entries)
}

/// The same in Docker's media type.
pub(crate) fn docker_list(entries: &[(&str, &Pushed)]) -> Pushed {
    index_of_type(MediaType::DOCKER_LIST, entries)
}

fn index_of_type(media_type: &str, entries: &[(&str, &Pushed)]) -> Pushed {
    let descriptors: Vec<Value> = entries.iter().map(|(platform, child)| entry(platform, child)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
    let children = entries.iter().map(|(_, child)| (*child).clone()).collect();
    Pushed::from_json(media_type, &manifest, vec![], children)
}

/// An index entry.
pub(crate) fn entry(platform: &str, child: &Pushed) -> Value {
    let mut descriptor = child.manifest.descriptor();
    let mut parts = platform.split('/').filter(|part| !part.is_empty());
    if let Some(os) = parts.next() {
        descriptor["platform"] = json!({"os": os, "architecture": parts.next().unwrap_or_default()});
        if let Some(variant) = parts.next() {
            descriptor["platform"]["variant"] = variant.into();
        }
    }
    descriptor
}

/// An index as BuildKit makes it: each image followed by its attestation, which nobody may fetch.
pub(crate) fn index_with_attestations(entries: &[(&str, &Pushed)]) -> Pushed {
    let mut descriptors = Vec::new();
    for (platform, child) in entries {
        descriptors.push(entry(platform, child));
        let statement = Blob::named("in-toto", 500).of_type(MediaType::OCI_MANIFEST);
        let mut attestation = statement.descriptor();
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        attestation["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": child.digest().to_string(),
        });
        descriptors.push(attestation);
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": descriptors});
    let children = entries.iter().map(|(_, child)| (*child).clone()).collect();
    Pushed::from_json(MediaType::OCI_INDEX, &manifest, vec![], children)
}

/// An artifact as `oras` and `helm` push them: the empty config, embedded, and blobs.
pub(crate) fn artifact(artifact_type: &str, layers: &[&Blob]) -> Pushed {
    let mut config = Blob::new("application/vnd.oci.empty.v1+json", "{}").descriptor();
    config["data"] = "e30=".into();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config,
        "layers": layers.iter().map(|layer| layer.descriptor()).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, layers.iter().map(|l| (*l).clone()).collect(), vec![])
}

/// A Docker schema 1 manifest, unsigned: layers without sizes, the top one first.
pub(crate) fn schema1(layers: &[&Blob]) -> Pushed {
    let manifest = json!({
        "schemaVersion": 1,
        "architecture": "amd64",
        "fsLayers": layers.iter().rev().map(|layer| json!({"blobSum": layer.digest.to_string()})).collect::<Vec<_>>(),
        "history": layers.iter().map(|_| json!({"v1Compatibility": "{\"created\":\"2015-01-01T00:00:00Z\"}"})).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::SCHEMA1, &manifest, layers.iter().map(|l| (*l).clone()).collect(), vec![])
}

fn with(config: Blob, layers: &[&Blob]) -> Vec<Blob> {
    layers.iter().map(|layer| (*layer).clone()).chain([config]).collect()
}
