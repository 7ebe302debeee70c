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

/// Ten manifests of just under 8 MiB, with far more layers than an image has.
fn manifests() -> Site {
    let mut site = Site::new();
    for tag in 0..10 {
        let pushed = of_layers(tag, 50_000);
        site.push("acme/app", &format!("v{tag}"), &pushed);
    }
    site
}

/// As many layers as are read, in each image that an index lists.
fn index() -> Site {
    let platform = |number: u32| format!("linux/amd64/v{number}");
    let images: Vec<(String, Pushed)> = (0..10).map(|number| (platform(number), of_layers(number, 4_096))).collect();
    let images: Vec<(&str, &Pushed)> = images.iter().map(|(platform, image)| (platform.as_str(), image)).collect();
    let mut site = Site::new();
    site.push("acme/app", "v1", &crate::support::images::index(&images));
    site
}

fn of_layers(image: u32, count: u32) -> Pushed {
    let layers: Vec<String> = (0..count)
        .map(|layer| {
            let digest = Digest::sha256_of(&(image * count + layer).to_be_bytes());
            format!(r#"{{"mediaType":"{OCI_LAYER}","size":1,"digest":"{digest}"}}"#)
        })
        .collect();
    let text = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
    Pushed { manifest: Blob::new(MediaType::OCI_MANIFEST, text), blobs: vec![], children: vec![] }
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

#[test]
fn memory_stays_under_the_shipped_limit_while_registries_send_the_biggest_documents() {
    let page = Scenario::new("page", page(), "up, v1 linux/amd64 1000, stored 1000").target("match = ['^v']");
    let manifests =
        Scenario::new("manifests", manifests(), "down, 10 down, get_manifest limit").target("match = ['^v']");
    let read = ["", "/v0", "/v2", "/v3"].map(|variant| format!("v1 linux/amd64{variant} 4096")).join(", ");
    let expected = format!("down, {read}, stored 16384, v1 down, get_manifest limit");
    let index = Scenario::new("index", index(), &expected);
    let configs = Scenario::new("configs", configs(), "up, 10 images, stored 1000");
    let index = index.target("match = ['^v']\nuncompressed = 'cheap'");
    run_with(SCRAPE_PATIENCE, vec![page, manifests, index, configs.target("match = ['^v']")]);
}
