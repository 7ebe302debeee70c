//! What a source costs: time to sort its containers by image, to take its first answer, and to take one in which a
//! container has changed, up to the rendered exposition; and resident memory. For 10,000 containers of 2,000 images on
//! 200 nodes, and for 100,000 of 20,000, the most that one source may have.
//!
//! Prints a table: `cargo bench --bench running`. Each size has a process of its own, so that memory is its own too.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "fixtures/process.rs"]
mod process;
#[path = "fixtures/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image_size_exporter::image::{Image, Layer};
use image_size_exporter::inventory::Inventory;
use image_size_exporter::metrics::Rendered;
use image_size_exporter::oci::{Digest, MediaType, PlatformFilter};
use image_size_exporter::sources::{Container, Rules, Workload};
use image_size_exporter::tag::{Observation, Outcome, Reading};
use image_size_exporter::target::{Detail, Repositories, Selection, Shard, Target, TargetName, Uncompressed};

use process::kib;
use table::table;

/// Containers.
const SIZES: [u32; 2] = [10_000, 100_000];
const CONTAINERS_OF_AN_IMAGE: u32 = 5;
const NODES: u32 = 200;
const ROUNDS: u32 = 9;

fn main() {
    let heading = || {
        format!(
            "{:>10}  {:>8}  {:>7}  {:>15}  {:>22}  {:>22}  {:>16}  {:>12}",
            "containers",
            "images",
            "sort ms",
            "first answer ms",
            "changed → snapshot ms",
            "one new → snapshot ms",
            "rendering all ms",
            "resident MiB"
        )
    };
    table(heading, &SIZES, row);
}

fn row(containers: u32) -> String {
    let images = containers / CONTAINERS_OF_AN_IMAGE;
    let name = TargetName("cluster".into());
    let mut inventory = Inventory::new(&[Arc::new(target(&name))], Duration::from_hours(168));
    let mut seen: Vec<Container> = (0..containers).map(|number| container(number, images)).collect();
    let rules = Rules::default();
    let (sort, sorted) = timed(|| rules.sort(&seen));
    let (first, requests) = timed(|| inventory.seen(&name, sorted.running.clone()).requests);
    assert_eq!(requests.len(), images as usize);
    for (number, request) in (0..).zip(requests) {
        let outcome = Outcome::Read(Arc::new(reading(number)));
        let (repository, tag) = (request.repository, request.tag);
        inventory.record(&Observation { repository, tag, at: 1.0, outcome });
    }
    inventory.scan_ended(&name);
    drop(inventory.snapshot());
    let change = |inventory: &mut Inventory, seen: &[Container]| {
        let requests = inventory.seen(&name, rules.sort(seen).running).requests.len();
        drop(inventory.snapshot());
        requests
    };
    let mut changed = Duration::MAX;
    for round in 0..ROUNDS {
        seen[round as usize].node = Some(format!("other-{round}").into());
        changed = changed.min(timed(|| change(&mut inventory, &seen)).0);
    }
    let mut new = Duration::MAX;
    for round in 0..ROUNDS {
        seen[round as usize].image = format!("registry.example.com/new/app-{round}:v1").into();
        let (took, requests) = timed(|| change(&mut inventory, &seen));
        // The largest source may have no further image.
        assert!(requests == 1 || images >= 20_000);
        new = new.min(took);
    }
    let snapshot = inventory.snapshot();
    let (render, rendered) = timed(|| Rendered::render(&snapshot, &BTreeSet::new()));
    drop(rendered);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "{containers:>10}  {images:>8}  {:>7.1}  {:>15.1}  {:>22.2}  {:>22.2}  {:>16.1}  {:>12.1}",
        millis(sort),
        millis(first),
        millis(changed),
        millis(new),
        millis(render),
        kib("VmRSS") as f64 / 1024.0
    )
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn container(number: u32, images: u32) -> Container {
    let image = number % images;
    let workload = Workload {
        namespace: format!("team-{}", image % 40).into(),
        kind: "Deployment".into(),
        name: format!("app-{image}").into(),
    };
    Container {
        image: format!("registry.example.com/team-{}/app-{image}:v1.{}.0", image % 40, image % 7).into(),
        digest: Some(digest(image)),
        node: Some(format!("node-{}", number % NODES).into()),
        workload: Some(Arc::new(workload)),
        name: Some("app".into()),
    }
}

fn digest(number: u32) -> Digest {
    Digest::sha256_of(&number.to_le_bytes())
}

fn reading(number: u32) -> Reading {
    let layers = (0..6).map(|layer| Layer {
        digest: Digest::sha256_of(format!("{number} {layer}").as_bytes()),
        bytes: Some(10_000_000),
        media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
        diff_id: None,
        foreign: false,
        hint: None,
    });
    let image = Image {
        digest: digest(number),
        platform: "linux/amd64".parse().expect("a platform"),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        image_id: Some(digest(number + 1)),
        created: Some(1.7e9),
        config_bytes: 1500,
        manifest_bytes: 1000,
        layers: layers.collect(),
    };
    Reading {
        digest: digest(number),
        header: None,
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        index_bytes: 0,
        images: vec![Arc::new(image)],
        attestations: 0,
        failed: Vec::new(),
        platforms: PlatformFilter::all(),
    }
}

fn target(name: &TargetName) -> Target {
    Target {
        name: name.clone(),
        repositories: Repositories::Running(Shard::default()),
        selection: Selection::default(),
        newest: None,
        platforms: PlatformFilter::all(),
        interval: Duration::from_mins(5),
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: None,
        labels: BTreeMap::new(),
        grouping: None,
        tags_max: 10_000,
    }
}
