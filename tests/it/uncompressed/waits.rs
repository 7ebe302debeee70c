//! Layers that cannot be fetched now, and when they are tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::layer::{Limits, run};
use image_size_exporter::oci::Digest;
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::store::Store;
use image_size_exporter::tag::{LayerFound, LayerRequest, LayerRequests};
use image_size_exporter::target::Uncompressed;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{GZIP, gzip, registry_with, tar};
use crate::support::images::{Blob, image};
use crate::support::registry::Reply;

/// A worker that keeps running.
struct Worker {
    work: mpsc::Sender<LayerRequests>,
    found: mpsc::Receiver<LayerFound>,
}

impl Worker {
    fn start(limits: Limits) -> Self {
        let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
        let (work, work_from) = mpsc::channel(1);
        let (found_to, found) = mpsc::channel(16);
        let stop = CancellationToken::new();
        tokio::spawn(run(work_from, Arc::new(registries), Store::memory(), found_to, limits, stop));
        Self { work, found }
    }

    async fn send(&self, layers: Vec<LayerRequest>) {
        self.work.send(LayerRequests { layers, images: Vec::new() }).await.unwrap();
    }

    /// The digest of the next layer that was measured.
    async fn next(&mut self) -> Digest {
        match self.found.recv().await.unwrap() {
            LayerFound::Content(digest, _) => digest,
            LayerFound::Wasted(..) => panic!("nobody asked for what an image wastes"),
        }
    }

    /// Requests a layer that fails, and then one that does not: its result shows that the worker, which measures one at
    /// a time, has tried the first.
    async fn try_again(&mut self, failing: &LayerRequest, whole: &LayerRequest) {
        self.send(vec![failing.clone(), whole.clone()]).await;
        assert_eq!(self.next().await, whole.digest);
    }
}

/// Only while nothing waits for a socket: a paused clock would let requests time out.
async fn later(minutes: u64) {
    ahead(Duration::from_mins(minutes)).await;
}

async fn ahead(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_layer_of_other_content_than_its_digest_is_streamed_less_and_less_often() {
    let tars: Vec<Vec<u8>> = (0..6).map(|size| tar(&[size])).collect();
    let (registry, work) =
        registry_with(&tars.iter().map(|tar| (&tar[..], GZIP)).collect::<Vec<_>>(), Uncompressed::Exact);
    let [failing, whole @ ..] = &work[..] else { unreachable!("six of them") };
    let other = "not what was asked for".repeat(1000)[..tars[0].len()].to_owned();
    registry.always(&format!("GET /v2/acme/app/blobs/{}", failing.digest), Reply::Answer(200, vec![], other));
    let mut worker = Worker::start(Limits { concurrency: 1, ..Limits::default() });
    for (minutes, whole, requests) in [
        (0, &whole[0], "get_blob 2"),
        (29, &whole[1], "get_blob 1"),
        (1, &whole[2], "get_blob 2"),
        (59, &whole[3], "get_blob 1"),
        (1, &whole[4], "get_blob 2"),
    ] {
        later(minutes).await;
        worker.try_again(failing, whole).await;
        assert_eq!(registry.take_counts(), requests, "{minutes} minutes later");
    }
}

/// A registry fails for longer than the attempts of one stream take.
#[tokio::test]
async fn a_layer_that_a_registry_fails_to_send_is_asked_for_again_after_a_minute() {
    let tars = [tar(&[10]), tar(&[11])];
    let (registry, work) = registry_with(&[(&tars[0], GZIP), (&tars[1], GZIP)], Uncompressed::Exact);
    let blob = format!("GET /v2/acme/app/blobs/{}", work[0].digest);
    registry.always(&blob, Reply::status(503));
    let mut worker = Worker::start(Limits { concurrency: 1, ..Limits::default() });
    worker.send(work.clone()).await;
    // The clock runs fast while the worker waits between its attempts.
    let other = loop {
        match tokio::time::timeout(Duration::from_millis(50), worker.next()).await {
            Ok(found) => break found,
            Err(_) => ahead(Duration::from_secs(2)).await,
        }
    };
    assert_eq!(other, work[1].digest);
    registry.always(&blob, Reply::Usual);
    later(1).await;
    worker.send(work.clone()).await;
    assert_eq!(worker.next().await, work[0].digest);
}

#[tokio::test]
async fn a_large_layer_that_waits_for_the_hours_bytes_is_not_overtaken_by_small_ones() {
    let tars = [tar(&[10]), tar(&[200_000]), tar(&[11])];
    let (registry, work) = registry_with(&[(&tars[0], GZIP), (&tars[1], GZIP), (&tars[2], GZIP)], Uncompressed::Exact);
    let limits = Limits { bytes_per_hour: Some(work[1].bytes), concurrency: 1, ..Limits::default() };
    let mut worker = Worker::start(limits);
    worker.send(work.clone()).await;
    assert_eq!(worker.next().await, work[0].digest);
    for next in &work[1..] {
        later(61).await;
        assert_eq!(worker.next().await, next.digest);
    }
    assert_eq!(registry.counts(), "get_blob 3");
}

#[tokio::test]
async fn a_manifest_that_states_a_wrong_size_does_not_hide_a_layer_from_the_others() {
    let (registry, work) = registry_with(&[(&tar(&[3000]), GZIP)], Uncompressed::Exact);
    let mut worker = Worker::start(Limits { concurrency: 1, ..Limits::default() });
    for wrong in [work[0].bytes - 1, 1] {
        let wrong = LayerRequest { bytes: wrong, ..work[0].clone() };
        worker.send(vec![wrong, work[0].clone()]).await;
        assert_eq!(worker.next().await, work[0].digest);
    }
    assert_eq!(registry.counts(), "get_blob 2");
}

#[tokio::test]
async fn a_layer_beyond_the_hourly_budget_waits_until_it_refills() {
    let tars = [tar(&[3000]), tar(&[3001])];
    let (registry, work) = registry_with(&[(&tars[0], GZIP), (&tars[1], GZIP)], Uncompressed::Exact);
    let mut worker = Worker::start(Limits { bytes_per_hour: Some(work[0].bytes), ..Limits::default() });
    worker.send(work.clone()).await;
    assert_eq!(worker.next().await, work[0].digest);
    assert_eq!(registry.take_counts(), "get_blob 1", "both may be looked at at once");
    later(61).await;
    assert_eq!(worker.next().await, work[1].digest);
}

#[tokio::test]
async fn a_layer_that_cannot_be_fetched_uses_none_of_the_hourly_budget() {
    let tars = [tar(&[3000]), tar(&[3001])];
    let (registry, work) = registry_with(&[(&tars[0], GZIP), (&tars[1], GZIP)], Uncompressed::Exact);
    registry.always(&format!("GET /v2/acme/app/blobs/{}", work[0].digest), Reply::error(404, "BLOB_UNKNOWN"));
    let bytes_per_hour = Some(work[0].bytes.max(work[1].bytes));
    let mut worker = Worker::start(Limits { bytes_per_hour, concurrency: 1, ..Limits::default() });
    worker.try_again(&work[0], &work[1]).await;
}

#[tokio::test]
async fn a_layer_that_cannot_be_verified_is_not_asked_for_twice() {
    let tars: Vec<Vec<u8>> = (0..4).map(|size| tar(&[size])).collect();
    let (registry, work) =
        registry_with(&tars.iter().map(|tar| (&tar[..], GZIP)).collect::<Vec<_>>(), Uncompressed::Exact);
    let tar = tar(&[3000]);
    let whole = gzip(&tar);
    let broken = Blob {
        digest: format!("blake3:{}", "0".repeat(64)).parse().unwrap(),
        ..Blob::new(GZIP, &whole[..whole.len() - 9])
    };
    registry.push("acme/app", "v2", &image("linux/amd64", &[&broken]));
    let hopeless = LayerRequest { digest: broken.digest.clone(), bytes: broken.size, ..work[0].clone() };
    let failing = LayerRequest { diff_id: Some(Digest::sha256_of(&tar)), ..hopeless.clone() };
    let mut worker = Worker::start(Limits { concurrency: 1, ..Limits::default() });
    for (layer, whole, requests) in [
        (&hopeless, &work[0], "get_blob 1"),
        (&failing, &work[1], "get_blob 2"),
        (&failing, &work[2], "get_blob 1"),
        (&hopeless, &work[3], "get_blob 1"),
    ] {
        later(24 * 60).await;
        worker.try_again(layer, whole).await;
        assert_eq!(registry.take_counts(), requests);
    }
}
