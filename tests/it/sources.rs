//! Sources: what runs is watched without being typed, over the whole daemon.

mod commands;
mod engine;
mod file;
mod http;
mod prometheus;

use crate::support::daemon::{Daemon, LAST_SCAN, Metrics};
use crate::support::files::Files;
use crate::support::images::{Blob, Pushed, image};
use crate::support::registry::TestRegistry;

const COMPRESSED: &str = "container_image_compressed_size_bytes";
const TAG_UP: &str = "container_image_tag_up";
const CONTAINERS: &str = "container_image_running_containers";
const NODES: &str = "container_image_running_nodes";
const OUTDATED: &str = "container_image_running_outdated_containers";
const INFO: &str = "container_image_running_info";
const UP: &str = "image_size_exporter_source_up";
const IMAGES: &str = "image_size_exporter_source_images";
const SKIPPED: &str = "image_size_exporter_source_skipped_containers";
const LAST_SUCCESS: &str = "image_size_exporter_source_last_success_timestamp_seconds";

fn image_of(bytes: u64) -> Pushed {
    image("linux/amd64", &[&Blob::named("layer", bytes)])
}

/// A registry with `acme/app:v1` of 100 bytes and `acme/web:v1` of 200.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image_of(100));
    registry.push("acme/web", "v1", &image_of(200));
    registry
}

/// One source named `s`, whose images are scanned once an hour: whatever is read sooner is read because of the source.
fn toml(keys: &str) -> String {
    format!("[scan]\ninterval = '1h'\n[state]\npath = 'state.redb'\n[[sources]]\nname = 's'\n{keys}\n")
}

/// Whether exactly these tags are published, each with its size.
fn has_sizes(metrics: &Metrics, expected: &[(&str, &str, u64)]) -> bool {
    let expected = expected
        .iter()
        .map(|(repository, tag, bytes)| ((format!("acme/{repository}"), (*tag).to_owned()), *bytes as f64));
    let sizes = metrics.all(COMPRESSED, &[]);
    let sizes = sizes.iter().map(|(labels, bytes)| ((labels["repository"].clone(), labels["tag"].clone()), *bytes));
    sizes.collect::<std::collections::BTreeMap<_, _>>() == expected.collect()
}
