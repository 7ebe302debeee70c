//! The daemon: what it publishes while registries change, fail and recover, and while its configuration changes.

mod agree;
mod failures;
mod flags;
mod notifications;
mod panics;
mod process;
mod proxy;
mod reclaimable;
mod reload;
mod secrecy;
mod selection;
mod series;
mod sums;
mod upgrade;

use crate::support::daemon::{Daemon, LAST_SCAN, Metrics, config};
use crate::support::images::*;
use crate::support::registry::{Reply, TestRegistry};

const COMPRESSED: &str = "container_image_compressed_size_bytes";
const UP: &str = "container_image_tag_up";
const TARGET_UP: &str = "image_size_exporter_target_up";
const LAST_SUCCESS: &str = "container_image_tag_last_success_timestamp_seconds";

fn image_of(bytes: u64) -> Pushed {
    image("linux/amd64", &[&Blob::named("layer", bytes)])
}

/// A registry with `acme/app:v1` of 100 bytes.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image_of(100));
    registry
}
