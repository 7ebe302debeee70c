//! The requests of a scan, by the registry's own count.

use crate::harness::exporter::Exporter;
use crate::harness::push::{OCI_INDEX, Pusher};
use crate::harness::registry::Registry;
use serde_json::json;

/// Requests since this was made, by handler and method.
struct Count<'a> {
    registry: &'a Registry,
    before: [u64; 4],
}

impl<'a> Count<'a> {
    fn from_now(registry: &'a Registry) -> Self {
        Self { registry, before: Self::all(registry) }
    }

    /// HEADs of manifests, GETs of manifests, GETs of blobs, tag lists.
    fn requests(&self) -> [u64; 4] {
        let now = Self::all(self.registry);
        std::array::from_fn(|nth| now[nth] - self.before[nth])
    }

    fn all(registry: &Registry) -> [u64; 4] {
        [("manifest", "head"), ("manifest", "get"), ("blob", "get"), ("tags", "get")]
            .map(|(handler, method)| registry.requests(handler, method))
    }
}

#[test]
fn a_tag_costs_its_documents_once_and_one_head_afterwards() {
    let registry = Registry::start();
    let app = Pusher { address: registry.address(), repository: "acme/app" };
    let base = app.layer(1_000);
    for tag in ["one", "two", "three"] {
        app.image(Some(tag), "amd64", &[base.clone(), app.layer(500)]);
    }
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut entry = app.image(None, architecture, &[base.clone(), app.layer(600)]);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    app.manifest(Some("multi"), OCI_INDEX, &index);

    // So rarely that only the first scan, and those after a restart, run.
    let config = format!(
        "[scan]\ninterval = \"1h\"\n[state]\npath = \"state.redb\"\n[[targets]]\nrepository = \"{}/acme/app\"\n\
         tags = [\"one\", \"two\", \"three\", \"multi\"]\n",
        registry.address()
    );
    let count = Count::from_now(&registry);
    let mut exporter = Exporter::start(&config);
    exporter.wait_for("the first scan", |scrape| {
        scrape.value("container_image_registry_stored_size_bytes", &[])?;
        (scrape.value("image_size_exporter_target_up", &[]) == Some(1.0)).then_some(())
    });
    // Three manifests, an index and its two; a config for each image.
    assert_eq!(count.requests(), [0, 6, 5, 0], "heads, manifests, blobs, lists");

    // Restored from the state file, then scanned at its scheduled time in a shorter interval.
    exporter.program().terminate();
    exporter.configure(&config.replace("1h", "3s"));
    let count = Count::from_now(&registry);
    exporter.restart();
    exporter.wait_for("the next scan", |scrape| {
        let ended = scrape.value("image_size_exporter_target_last_scan_timestamp_seconds", &[])?;
        let requests =
            scrape.value("image_size_exporter_registry_requests_total", &[("operation", "head_manifest")])?;
        (ended > 0.0 && requests >= 4.0).then_some(())
    });
    exporter.program().kill();
    let [heads, manifests, blobs, lists] = count.requests();
    assert!(heads.is_multiple_of(4) && heads > 0, "one HEAD for each of four tags, but {heads}");
    assert_eq!([manifests, blobs, lists], [0, 0, 0], "manifests, blobs, lists");
}
