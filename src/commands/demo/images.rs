//! Sample images out of layers: configs, manifests, indexes with attestations, as BuildKit pushes them.

use serde_json::{Value, json};

use super::layers::Layer;
use super::shelf::{Blob, Shelf};
use crate::oci::{Digest, MediaType};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A manifest, as an index lists it.
pub(super) struct Pushed {
    pub(super) digest: String,
    bytes: usize,
}

/// Pushes one platform's image; `commands` are the layers' own, for whoever asks where bytes come from.
pub(super) fn push_image(shelf: &Shelf, architecture: &str, created: &str, layers: &[(&Layer, &str)]) -> Pushed {
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
    let config = push_small(shelf, MediaType::OCI_CONFIG, config.to_string());
    for (layer, _) in layers {
        shelf.keep_blob(&layer.digest, Blob::Layer { bytes: layer.bytes, recipe: layer.recipe });
    }
    let layers: Vec<Value> = layers
        .iter()
        .map(|(layer, _)| json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.bytes}))
        .collect();
    push_manifest(shelf, &config, &layers, &json!({}))
}

/// Pushes an index of the images of several architectures, each with an attestation about it; gives its digest.
pub(super) fn push_index(shelf: &Shelf, images: &[(&str, Pushed)]) -> String {
    let mut entries = Vec::new();
    for (architecture, image) in images {
        entries.push(entry(image, &json!({"architecture": architecture, "os": "linux"}), &json!({})));
    }
    for (_, image) in images {
        let statement = json!({"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": image.digest}]});
        let config = json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = push_small(shelf, MediaType::OCI_CONFIG, config.to_string());
        let statement = push_small(shelf, "application/vnd.in-toto+json", statement.to_string());
        let attestation = push_manifest(shelf, &config, &[statement], &json!({}));
        let about = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest,
        });
        entries.push(entry(&attestation, &json!({"architecture": "unknown", "os": "unknown"}), &about));
    }
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    shelf.keep_manifest(MediaType::OCI_INDEX, index.to_string().into_bytes())
}

/// Pushes a Helm chart, which is no image; gives its digest.
pub(super) fn push_chart(shelf: &Shelf, version: &str, created: &str) -> String {
    let about = json!({"name": "shop", "version": version, "apiVersion": "v2"});
    let config = push_small(shelf, "application/vnd.cncf.helm.config.v1+json", about.to_string());
    let content = format!("{version} {}", "values and templates ".repeat(200));
    let chart = push_small(shelf, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", content);
    push_manifest(shelf, &config, &[chart], &json!({"org.opencontainers.image.created": created})).digest
}

fn push_manifest(shelf: &Shelf, config: &Value, layers: &[Value], annotations: &Value) -> Pushed {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config,
        "layers": layers,
        "annotations": annotations,
    });
    let body = manifest.to_string().into_bytes();
    let bytes = body.len();
    Pushed { digest: shelf.keep_manifest(MediaType::OCI_MANIFEST, body), bytes }
}

fn push_small(shelf: &Shelf, media_type: &str, body: String) -> Value {
    let digest = Digest::sha256_of(body.as_bytes()).to_string();
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": body.len()});
    shelf.keep_blob(&digest, Blob::TagRecord(body.into()));
    descriptor
}

fn entry(manifest: &Pushed, platform: &Value, annotations: &Value) -> Value {
    json!({
        "mediaType": MediaType::OCI_MANIFEST,
        "digest": manifest.digest,
        "size": manifest.bytes,
        "platform": platform,
        "annotations": annotations,
    })
}
