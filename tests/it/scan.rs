//! The requests and results of reading a tag, counted at the registry: each row of the table of requests, exactly.

use std::sync::Arc;

use image_size_exporter::config::{Config, Environment};
use image_size_exporter::inventory::{Inventory, Snapshot};
use image_size_exporter::oci::{Digest, MediaType, PlatformFilter, Reason};
use image_size_exporter::registry::Client;
use image_size_exporter::scan;
use image_size_exporter::store::Store;
use image_size_exporter::tag::{Observation, Outcome, Reading, TagRequest};
use image_size_exporter::target::Target;
use serde_json::json;

use crate::support::images::*;
use crate::support::registry::{Reply, TestRegistry, tag};

mod collisions;
mod configs;
mod hostile;
mod indexes;
mod metered;
mod odd;

/// A target on a registry, scanned when a test says so.
struct Watcher {
    registry: TestRegistry,
    client: Arc<Client>,
    store: Store,
    target: Arc<Target>,
    inventory: Inventory,
    seconds: f64,
}

/// The requests and results of one scan.
struct Scanned {
    /// Requests by kind, as [`TestRegistry::counts`] has them.
    cost: String,
    /// In the order of the tags' names.
    outcomes: Vec<Outcome>,
}

impl Watcher {
    /// Watches `acme/app` with these lines of a target.
    fn new(target: &str) -> Self {
        Self::with(TestRegistry::start(), target, TestRegistry::client)
    }

    fn with(registry: TestRegistry, target: &str, client: impl Fn(&TestRegistry) -> Arc<Client>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let toml = format!("[[targets]]\nname = \"app\"\nrepository = \"{}/acme/app\"\n{target}\n", registry.name());
        std::fs::write(&path, toml).unwrap();
        let config = Config::load_with(&path, &Environment::new()).unwrap();
        let client = client(&registry);
        let inventory = Inventory::new(&config.targets, config.scan.keep);
        let target = Arc::clone(&config.targets[0]);
        Self { registry, client, store: Store::memory(), target, inventory, seconds: 0.0 }
    }

    fn push(&self, tag: &str, pushed: &Pushed) {
        self.registry.push("acme/app", tag, pushed);
    }

    /// Reads each tag of the target once, one after the other.
    async fn scan(&mut self) -> Scanned {
        self.registry.take_counts();
        self.seconds += 1.0;
        let mut outcomes = Vec::new();
        for wanted in self.inventory.assign(&self.target.name) {
            let outcome = scan::read_tag(&self.client, &self.store, &wanted).await.outcome;
            let (repository, tag) = (wanted.repository, wanted.tag);
            self.inventory.record(&Observation { repository, tag, at: self.seconds, outcome: outcome.clone() });
            outcomes.push(outcome);
        }
        self.inventory.scan_ended(&self.target.name);
        Scanned { cost: self.registry.take_counts(), outcomes }
    }

    async fn cost(&mut self) -> String {
        self.scan().await.cost
    }

    /// `tag platform compressed`, as published.
    fn sizes(&mut self) -> Vec<String> {
        sizes(&self.inventory.snapshot())
    }

    /// `tag_up` of each tag.
    fn up(&mut self) -> Vec<Option<bool>> {
        let snapshot = self.inventory.snapshot();
        let tags = snapshot.registries.iter().flat_map(|one| &one.repositories).flat_map(|one| &one.tags);
        tags.map(|tag| tag.up).collect()
    }
}

impl Scanned {
    fn reading(&self) -> &Reading {
        match self.outcomes.as_slice() {
            [Outcome::Read(reading)] => reading,
            other => panic!("{other:?}"),
        }
    }
}

fn sizes(snapshot: &Snapshot) -> Vec<String> {
    let mut sizes = Vec::new();
    for tag in snapshot.registries.iter().flat_map(|one| &one.repositories).flat_map(|one| &one.tags) {
        for view in &tag.images {
            let bytes = view.image.compressed_bytes.map_or("unknown".to_owned(), |bytes| bytes.to_string());
            sizes.push(format!("{} {} {bytes}", tag.tag, view.platform));
        }
    }
    sizes
}

fn layer(name: &str) -> Blob {
    Blob::named(name, 1000)
}

fn one(name: &str) -> Pushed {
    image("linux/amd64", &[&layer(name)])
}

#[tokio::test]
async fn a_new_image_costs_its_manifest_and_its_config_and_then_a_head_each_time() {
    for pushed in [one("a"), docker_image("linux/amd64", &[&layer("a")])] {
        let mut watcher = Watcher::new("tags = ['v1']");
        watcher.push("v1", &pushed);
        assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1");
        for _ in 0..3 {
            let scanned = watcher.scan().await;
            assert_eq!(scanned.cost, "head_manifest 1");
            assert_eq!(scanned.outcomes, [Outcome::Unchanged]);
        }
        assert_eq!(watcher.sizes(), ["v1 linux/amd64 1000"]);
    }
}

#[tokio::test]
async fn a_changed_tag_costs_a_head_and_what_was_never_seen() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &one("a"));
    watcher.cost().await;
    watcher.push("v1", &one("b"));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 1");
    watcher.push("v1", &one("a"));
    assert_eq!(watcher.cost().await, "head_manifest 1", "both documents were seen before");
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn a_config_that_was_seen_is_not_fetched_for_another_manifest() {
    let (gzip, zstd) = (layer("a"), Blob::named("a, packed better", 800));
    let config = config("linux/amd64", &[&gzip]);
    let of = |layer: &Blob| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config.clone(), layer.clone()], vec![])
    };
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &of(&gzip));
    watcher.cost().await;
    watcher.push("v1", &of(&zstd));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_manifest 1, head_manifest 1");
    let image = &scanned.reading().images[0];
    assert_eq!(image.platform.as_str(), "linux/amd64");
    assert_eq!(image.created, Some(1_704_067_200.0));
    assert_eq!(image.layers[0].diff_id, Some(Digest::sha256_of(gzip.digest.to_string().as_bytes())));
}

#[tokio::test]
async fn one_digest_under_two_tags_is_one_config() {
    let mut watcher = Watcher::new("tags = ['latest', 'v1']");
    let image = one("a");
    watcher.push("v1", &image);
    watcher.push("latest", &image);
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
    assert_eq!(watcher.cost().await, "head_manifest 2");
}

#[tokio::test]
async fn what_several_tags_share_is_fetched_once_even_at_the_same_time() {
    let mut watcher = Watcher::new("tags = ['latest', 'v1', 'v1.0']");
    let (amd64, arm64) = (one("a"), image("linux/arm64", &[&layer("a")]));
    let index = index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]);
    for name in ["latest", "v1", "v1.0"] {
        watcher.push(name, &index);
    }
    let wanted = watcher.inventory.assign(&watcher.target.name);
    let (client, store) = (&watcher.client, &watcher.store);
    let read = futures_util::future::join_all(wanted.iter().map(|wanted| scan::read_tag(client, store, wanted))).await;
    assert!(read.iter().all(|read| matches!(&read.outcome, Outcome::Read(reading) if reading.images.len() == 2)));
    assert_eq!(watcher.registry.take_counts(), "get_blob 2, get_manifest 5", "three for the tags, one per platform");
}

#[tokio::test]
async fn a_document_is_remembered_for_another_repository_and_target() {
    let watcher = Watcher::new("tags = ['v1']");
    let image = one("a");
    watcher.push("v1", &image);
    let mut first = watcher;
    first.cost().await;
    first.registry.push("acme/copy", "v1", &image);
    let wanted = TagRequest::unknown(first.registry.repository("acme/copy"), tag("v1"), PlatformFilter::all());
    let read = scan::read_tag(&first.client, &first.store, &wanted).await;
    assert!(matches!(read.outcome, Outcome::Read(_)));
    assert_eq!(first.registry.take_counts(), "get_manifest 1");
}

#[tokio::test]
async fn an_artifact_costs_its_manifest_alone() {
    let mut watcher = Watcher::new("tags = ['chart']\nplatforms = ['linux/arm64']");
    watcher.push("chart", &artifact("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &[&layer("chart")]));
    assert_eq!(watcher.cost().await, "get_manifest 1");
    assert_eq!(watcher.cost().await, "head_manifest 1");
    assert_eq!(watcher.sizes(), ["chart  1000"], "whatever platforms are selected");
}

#[tokio::test]
async fn a_named_tag_that_is_not_there_costs_one_get_and_then_a_head_each_time() {
    let mut watcher = Watcher::new("tags = ['v1', 'v2', 'v3', 'v4', 'v5', 'v6']");
    watcher.push("v1", &one("a"));
    watcher.push("v2", &one("a"));
    watcher.registry.missing("/v2/acme/app/manifests/v");
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 6");
    // Whether HEAD works is shown by the tags that exist, which are asked for first.
    for _ in 0..3 {
        let scanned = watcher.scan().await;
        assert_eq!(scanned.cost, "head_manifest 6");
        assert_eq!(scanned.outcomes[2..], [Outcome::Gone, Outcome::Gone, Outcome::Gone, Outcome::Gone]);
    }
    watcher.push("v3", &one("a"));
    assert_eq!(watcher.cost().await, "head_manifest 6", "its manifest is known");
    watcher.push("v4", &one("b"));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 6");
    assert_eq!(
        watcher.sizes(),
        ["v1 linux/amd64 1000", "v2 linux/amd64 1000", "v3 linux/amd64 1000", "v4 linux/amd64 1000"]
    );
}

#[tokio::test]
async fn a_head_that_never_worked_is_not_believed_about_a_tag_that_is_not_there() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.registry.missing("/v2/acme/app/");
    watcher.registry.always("HEAD *", Reply::status(404));
    assert_eq!(watcher.cost().await, "get_manifest 1");
    assert_eq!(watcher.cost().await, "get_manifest 1");
    watcher.push("v1", &one("a"));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 1000"]);
}

#[tokio::test]
async fn a_tag_is_gone_only_if_the_registry_itself_says_so() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &one("a"));
    watcher.cost().await;
    watcher.registry.next("HEAD /v2/", Reply::status(404));
    watcher.registry.next("GET /v2/", Reply::status(404));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.outcomes, [Outcome::Failed(Reason::Server)], "some proxy's 404");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 1000"]);
    watcher.registry.untag("acme/app", "v1");
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_manifest 1, head_manifest 1", "a HEAD has no body: a GET confirms");
    assert_eq!(scanned.outcomes, [Outcome::Gone]);
    assert!(watcher.sizes().is_empty());
    assert_eq!(watcher.up(), [Some(false)]);
}

#[tokio::test]
async fn only_failures_are_retried() {
    let mut watcher = Watcher::new("tags = ['v1']");
    let (amd64, arm64) = (one("a"), image("linux/arm64", &[&layer("b")]));
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let child = format!("GET /v2/acme/app/manifests/{}", arm64.digest());
    watcher.registry.next(&child, Reply::error(403, "DENIED"));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.reading().failed[0].reason, Reason::Denied);
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 1000".to_owned()], vec![Some(false)]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 1");
    assert_eq!(watcher.up(), [Some(true)]);
    assert_eq!(watcher.cost().await, "head_manifest 1");
}
