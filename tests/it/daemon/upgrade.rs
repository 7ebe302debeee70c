//! State files of earlier versions.

use std::sync::Arc;

use image_size_exporter::store::Store;
use image_size_exporter::tag::{TagChange, TagRecord};

use super::*;

/// Earlier versions kept only the first of several images for one platform.
#[tokio::test]
async fn images_that_an_earlier_version_left_out_are_read_after_the_upgrade() {
    let registry = TestRegistry::start();
    let images = [100, 90].map(|bytes| image("linux/amd64", &[&Blob::named(&bytes.to_string(), bytes)]));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &images[0]), ("linux/amd64", &images[1])]));
    let toml = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).replace("100ms", "1h")
        + "[state]\npath = 'state.redb'\n";
    let both = |metrics: &Metrics| metrics.all(COMPRESSED, &[]).len() == 2;
    let daemon = Daemon::start(&toml).await;
    daemon.until("both are published", both).await;
    let directory = daemon.stop().await;

    let (store, _) = Store::open(&directory.path().join("state.redb")).unwrap();
    let [(repository, tag, record)] = store.tags().try_into().unwrap();
    let mut known = (*record.known).clone();
    known.images.truncate(1);
    let earlier = TagRecord { known: Arc::new(known), ..record };
    store.keep(vec![TagChange { repository, tag, kept: Some(earlier) }]);
    store.flush().await;
    drop(store);

    let daemon = Daemon::start_in(directory, &toml.replace("1h", "100ms")).await;
    let metrics = daemon.until("both are published again", both).await;
    assert_eq!(metrics.all(COMPRESSED, &[]).into_values().collect::<Vec<_>>(), [100.0, 90.0]);
    daemon.stop().await;
}
