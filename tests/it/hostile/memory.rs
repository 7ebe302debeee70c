//! The biggest documents that are read, of several registries at once: memory stays under the limit that is shipped.

use std::time::Duration;

use image_size_exporter::oci::{Digest, MediaType};
use serde_json::json;

use super::corpus::{Scenario, run_with};
use super::site::{Site, ok};
use crate::support::images::{Blob, OCI_LAYER, Pushed};

/// Documents of 8 MiB keep a program busy that was not optimised.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(30);

/// As many tags as fit into a page of 8 MiB, one of which is selected.
fn page() -> Site {
    let tags: Vec<String> = (0..900_000).map(|number| format!("\"{number}\"")).collect();
    Site::new().fault("GET /v2/acme/app/tags/list", [ok(format!(r#"{{"tags":["v1",{}]}}"#, tags.join(",")))])
}

/// A manifest of just under 8 MiB, under ten tags.
fn manifest() -> Site {
    let layers: Vec<String> = (0..50_000_u32)
        .map(|layer| {
            let digest = Digest::sha256_of(&layer.to_be_bytes());
            format!(r#"{{"mediaType":"{OCI_LAYER}","size":1,"digest":"{digest}"}}"#)
        })
        .collect();
    let text = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    tagged(&Pushed { manifest: Blob::new(MediaType::OCI_MANIFEST, text), blobs: vec![], children: vec![] })
}

/// Ten images whose configs have 3.9 MB each.
fn configs() -> Site {
    let mut site = Site::new();
    for tag in 0..10 {
        let long = "x".repeat(1_300_000);
        let config = json!({
            "author": tag,
            "os": "linux",
            "architecture": "amd64",
            "config": {"Labels": {"a": long}},
            "history": [{"created_by": long}, {"comment": long}],
        });
        let (config, layer) = (Blob::new(MediaType::OCI_CONFIG, config.to_string()), Blob::named("layer", 1000));
        let manifest = json!({"schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()]});
        site.push(
            "acme/app",
            &format!("v{tag}"),
            &Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config], vec![]),
        );
    }
    site
}

fn tagged(pushed: &Pushed) -> Site {
    let mut site = Site::new();
    (0..10).for_each(|tag| site.push("acme/app", &format!("v{tag}"), pushed));
    site
}

#[test]
fn memory_stays_under_the_shipped_limit_while_registries_send_the_biggest_documents() {
    let page = Scenario::new("page", page(), "up, v1 linux/amd64 1000, stored 1000").target("match = ['^v']");
    let manifest = Scenario::new("manifest", manifest(), "up, 10 images, stored 50000");
    let configs = Scenario::new("configs", configs(), "up, 10 images, stored 1000");
    let manifest = manifest.target("match = ['^v']\nuncompressed = 'cheap'");
    run_with(SCRAPE_PATIENCE, vec![page, manifest, configs.target("match = ['^v']")]);
}
