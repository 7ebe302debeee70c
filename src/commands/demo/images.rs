//! Sample images out of layers: configs, manifests, indexes with attestations, as BuildKit pushes them.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::layers::SampleLayer;
use crate::memory_registry::{Contents, StoredBlob};
use crate::oci::{Digest, MediaType};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Pushes to one repository.
#[derive(Clone, Copy)]
pub(super) struct Pusher<'a> {
    /// Locked for each blob, manifest and tag, and never while a layer is made.
    pub(super) contents: &'a Mutex<Contents>,
    pub(super) repository: &'a str,
}

/// A manifest, as an index lists it.
pub(super) struct PushedManifest {
    pub(super) digest: Digest,
    bytes: usize,
}

impl Pusher<'_> {
    /// Points a tag at a manifest.
    pub(super) fn tag(&self, tag: &str, digest: &Digest) {
        self.contents.lock().tag(self.repository, tag, digest.clone());
    }

    /// Deletes a tag.
    pub(super) fn untag(&self, tag: &str) {
        self.contents.lock().untag(self.repository, tag);
    }

    /// Pushes one platform's image. With each layer comes the command for the config's history.
    pub(super) fn image(&self, architecture: &str, created: &str, layers: &[(&SampleLayer, &str)]) -> PushedManifest {
        let history: Vec<Value> =
            layers.iter().map(|(_, command)| json!({"created": created, "created_by": command})).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {"Entrypoint": ["/opt/run"]},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|(layer, _)| &layer.diff_id).collect::<Vec<_>>()},
            "history": history,
        });
        let config = self.small_blob(MediaType::OCI_CONFIG, config.to_string());
        for (layer, _) in layers {
            let recipe = layer.recipe;
            let make = Arc::new(move |take: &mut dyn FnMut(Bytes) -> bool| recipe.transfer(take));
            let blob = StoredBlob::Made { size: layer.bytes, make };
            self.contents.lock().put_blob_as(self.repository, layer.digest.clone(), blob);
        }
        let layers: Vec<Value> = layers
            .iter()
            .map(|(layer, _)| json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.bytes}))
            .collect();
        self.manifest(&config, &layers, &json!({}))
    }

    /// Pushes an index of the images of several architectures, each with an attestation about it; returns its digest.
    pub(super) fn index(&self, images: &[(&str, PushedManifest)]) -> Digest {
        let mut entries = Vec::new();
        for (architecture, image) in images {
            entries.push(entry(image, &json!({"architecture": architecture, "os": "linux"}), &json!({})));
        }
        for (_, image) in images {
            let statement =
                json!({"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": image.digest}]});
            let config = json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}});
            let config = self.small_blob(MediaType::OCI_CONFIG, config.to_string());
            let statement = self.small_blob("application/vnd.in-toto+json", statement.to_string());
            let attestation = self.manifest(&config, &[statement], &json!({}));
            let about = json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image.digest,
            });
            entries.push(entry(&attestation, &json!({"architecture": "unknown", "os": "unknown"}), &about));
        }
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
        self.contents.lock().put_manifest(self.repository, MediaType::OCI_INDEX, index.to_string())
    }

    /// Pushes a Helm chart, which is no image; returns its digest.
    pub(super) fn chart(&self, version: &str, created: &str) -> Digest {
        let about = json!({"name": "shop", "version": version, "apiVersion": "v2"});
        let config = self.small_blob("application/vnd.cncf.helm.config.v1+json", about.to_string());
        let content = format!("{version} {}", "values and templates ".repeat(200));
        let chart = self.small_blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", content);
        self.manifest(&config, &[chart], &json!({"org.opencontainers.image.created": created})).digest
    }

    fn manifest(&self, config: &Value, layers: &[Value], annotations: &Value) -> PushedManifest {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": annotations,
        });
        let body = manifest.to_string();
        let bytes = body.len();
        let digest = self.contents.lock().put_manifest(self.repository, MediaType::OCI_MANIFEST, body);
        PushedManifest { digest, bytes }
    }

    /// Pushes a blob that is kept in memory; returns its descriptor.
    fn small_blob(&self, media_type: &str, body: String) -> Value {
        let bytes = body.len();
        let digest = self.contents.lock().put_blob(self.repository, body);
        json!({"mediaType": media_type, "digest": digest, "size": bytes})
    }
}

fn entry(manifest: &PushedManifest, platform: &Value, annotations: &Value) -> Value {
    json!({
        "mediaType": MediaType::OCI_MANIFEST,
        "digest": manifest.digest,
        "size": manifest.bytes,
        "platform": platform,
        "annotations": annotations,
    })
}
