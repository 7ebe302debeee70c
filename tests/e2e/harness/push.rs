//! Pushes over plain HTTP, for documents that no tool makes.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::http;

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string");
        text
    })
}

/// Pushes to one repository of a registry that wants no credentials.
pub struct Pusher<'a> {
    pub address: &'a str,
    pub repository: &'a str,
}

impl Pusher<'_> {
    /// Pushes a blob; gives its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let location = http::request(self.address, "POST", &path, &[], &[]).expect("an upload starts").expect(&[202]);
        let location = &location.headers["location"];
        let path = location.find("/v2/").map(|start| &location[start..]).expect("a location of the API");
        let path = format!("{path}{}digest={digest}", if path.contains('?') { '&' } else { '?' });
        let headers = [("Content-Type", "application/octet-stream")];
        http::request(self.address, "PUT", &path, &headers, bytes).expect("an upload ends").expect(&[201]);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest or index under a tag or its digest; gives its descriptor.
    pub fn manifest(&self, reference: Option<&str>, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string();
        let digest = digest(bytes.as_bytes());
        self.put(reference.unwrap_or(&digest), media_type, bytes.as_bytes());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Puts the bytes of a manifest under a tag or digest.
    pub fn put(&self, reference: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{}/manifests/{reference}", self.repository);
        let headers = [("Content-Type", media_type)];
        http::request(self.address, "PUT", &path, &headers, bytes).expect("a manifest is put").expect(&[201]);
    }

    /// Deletes what has this digest, and every tag that points at it.
    pub fn delete(&self, digest: &str) {
        let path = format!("/v2/{}/manifests/{digest}", self.repository);
        http::request(self.address, "DELETE", &path, &[], &[]).expect("a manifest is deleted").expect(&[202]);
    }

    /// Pushes an image of layers of noise of these sizes; gives its manifest's descriptor.
    pub fn image(&self, tag: Option<&str>, architecture: &str, layers: &[Value]) -> Value {
        self.image_of("2024-05-06T07:08:09Z", tag, architecture, layers)
    }

    /// The same, made at a date.
    pub fn image_of(&self, created: &str, tag: Option<&str>, architecture: &str, layers: &[Value]) -> Value {
        let history: Vec<Value> =
            (0..layers.len()).map(|layer| json!({"created_by": format!("RUN step {layer}")})).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {},
            "history": history,
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| l["digest"].clone()).collect::<Vec<_>>()},
        });
        let config = self.blob(OCI_CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        self.manifest(tag, OCI_MANIFEST, &manifest)
    }

    /// Pushes a layer of noise, for tests that do not read it; returns its descriptor.
    pub fn layer(&self, bytes: usize) -> Value {
        self.blob(OCI_LAYER, &super::noise(bytes))
    }
}

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
