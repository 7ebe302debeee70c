//! `uncompressed = "files"`: the bytes that images waste, from layers that are streamed once in their lives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::config::Config;
use image_size_exporter::inventory::Inventory;
use image_size_exporter::layer::{Limits, run};
use image_size_exporter::oci::Digest;
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::scan;
use image_size_exporter::store::Store;
use image_size_exporter::tag::Observation;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::images::image_of_tars;
use crate::support::registry::TestRegistry;
use crate::support::tar::{Tar, archive, hard_link, sparse_file};

fn file(path: &str, bytes: usize) -> (String, Vec<u8>) {
    (path.to_owned(), vec![7; bytes])
}

fn config(registry: &TestRegistry, mode: &str) -> Config {
    let text = format!(
        "[registries.\"{0}\"]\nplain_http = true\n[[targets]]\nrepository = \"{0}/acme/app\"\n\
         tags = [\"v1\", \"v2\", \"linked\"]\nuncompressed = \"{mode}\"\n",
        registry.name()
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap()
}

/// By tag, the wasted bytes once everything is read: scans, then what the layer worker answers.
async fn wasted(config: &Config, store: &Store) -> BTreeMap<String, Option<u64>> {
    let registries = Arc::new(Registries::new(BTreeMap::new(), Settings::default()).unwrap());
    let mut inventory = Inventory::new(&config.targets, Duration::from_hours(1));
    for target in &config.targets {
        for request in inventory.assign(&target.name) {
            let client = registries.client(request.repository.registry());
            let outcome = scan::read_tag(&client, store, &request).await.outcome;
            inventory.record(&Observation { repository: request.repository, tag: request.tag, at: 1.0, outcome });
        }
    }
    let (work, wanted) = mpsc::channel(1);
    let (found, mut results) = mpsc::channel(64);
    work.send(inventory.content_requests()).await.unwrap();
    drop(work);
    run(wanted, registries, store.clone(), found, Limits::default(), CancellationToken::new()).await;
    while let Some(one) = results.recv().await {
        inventory.learn([one]);
    }
    assert_eq!(inventory.image_requests(), [], "each image has a figure, or is known to have none");
    let snapshot = inventory.snapshot();
    let tags = snapshot.registries.iter().flat_map(|registry| &registry.repositories).flat_map(|one| &one.tags);
    tags.map(|tag| (tag.tag.to_string(), tag.images[0].wasted_bytes)).collect()
}

/// Reopened, as after a restart.
fn open(path: &Path) -> Store {
    Store::open(path).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn waste_is_counted_once_and_remembered_across_restarts() {
    let registry = TestRegistry::start();
    let base = Tar::new(&archive(&[file("usr/lib/cache", 2000), file("etc/a", 100), file("etc/b", 7)]));
    let first = Tar::new(&archive(&[file("usr/lib/.wh.cache", 0), file("etc/a", 100)]));
    let second = Tar::new(&archive(&[file("etc/.wh..wh..opq", 0), file("etc/c", 30)]));
    let linked = Tar::new(&[hard_link("alias", "etc/a"), vec![0; 1024]].concat());
    registry.push("acme/app", "v1", &image_of_tars(&[&base, &first]));
    registry.push("acme/app", "v2", &image_of_tars(&[&base, &first, &second]));
    registry.push("acme/app", "linked", &image_of_tars(&[&base, &linked]));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let expected = BTreeMap::from([
        ("v1".to_owned(), Some(2100)),
        // The second copy of `etc/a` and `etc/b` are hidden by the opaque directory.
        ("v2".to_owned(), Some(2207)),
        ("linked".to_owned(), None),
    ]);

    let without = wasted(&config(&registry, "exact"), &open(&path)).await;
    assert!(without.values().all(Option::is_none));
    assert!(registry.take_counts().starts_with("get_blob 7,"), "three configs, four layers");
    // Layers that were streamed for their sizes are streamed once more, for their files.
    let asked = config(&registry, "files");
    assert_eq!(wasted(&asked, &open(&path)).await, expected);
    assert!(registry.take_counts().starts_with("get_blob 4,"), "four layers");
    assert_eq!(wasted(&asked, &open(&path)).await, expected);
    assert!(!registry.take_counts().contains("get_blob"));
}

/// The blob is right: who else has it gets a figure.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_config_does_not_spoil_what_is_known_of_its_blobs() {
    let registry = TestRegistry::start();
    let base = Tar::new(&archive(&[file("a", 100), file("b", 7)]));
    let above = Tar::new(&archive(&[file("a", 30)]));
    let misnamed = Tar { diff_id: Digest::sha256_of(b"another tar"), gzip: base.gzip.clone() };
    for tag in ["v1", "v2", "linked"] {
        registry.push("acme/app", tag, &image_of_tars(&[&misnamed, &above]));
    }
    let (asked, store) = (config(&registry, "files"), Store::memory());
    wasted(&asked, &store).await;
    registry.push("acme/app", "v1", &image_of_tars(&[&base, &above]));
    assert_eq!(wasted(&asked, &store).await["v1"], Some(100));
}

/// Sizes of sparse files are whatever a header says: no sum of them may end the process, or be a figure.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_no_number_holds_give_no_figure() {
    let registry = TestRegistry::start();
    let names = |names: &[&str]| {
        let sparse: Vec<u8> = names.iter().flat_map(|name| sparse_file(name, i64::MAX)).collect();
        Tar::new(&[sparse, vec![0; 1024]].concat())
    };
    let (base, above) = (names(&["a", "b", "c"]), names(&["a", "b", "c", "d"]));
    for tag in ["v1", "v2"] {
        registry.push("acme/app", tag, &image_of_tars(&[&base, &above]));
    }
    registry.push("acme/app", "linked", &image_of_tars(&[&names(&["a"]), &names(&["b"])]));
    let store = Store::memory();
    for _ in 0..2 {
        let expected = [("linked", Some(0)), ("v1", None), ("v2", None)];
        let expected = expected.map(|(tag, bytes)| (tag.to_owned(), bytes));
        assert_eq!(wasted(&config(&registry, "files"), &store).await, BTreeMap::from(expected));
    }
}
