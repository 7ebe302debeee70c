//! Layers after decompression: the engine alone, and the worker that feeds it from a registry.

mod soci;
mod waits;
mod waste;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use image_size_exporter::image::{LayerContent, UncompressedHint, Unpacked};
use image_size_exporter::layer::{Limits, Measure, MeasureError, run};
use image_size_exporter::oci::{Digest, MediaType};
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::store::Store;
use image_size_exporter::tag::{LayerFound, LayerRequest, LayerRequests};
use image_size_exporter::target::Uncompressed;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::images::{Blob, image};
use crate::support::registry::{Reply, TestRegistry};
use crate::support::tar::{gzip, hard_link, tar};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn measured(blob: &[u8], diff_id: Option<&Digest>, piece: usize) -> Result<LayerContent, MeasureError> {
    Measure::new(&Digest::sha256_of(blob), diff_id)?.read(blob.chunks(piece).map(Bytes::copy_from_slice))
}

fn exactly(uncompressed: usize, unpacked: usize) -> LayerContent {
    LayerContent {
        uncompressed_bytes: uncompressed as u64,
        estimated: false,
        unpacked: Unpacked::Bytes(unpacked as u64),
    }
}

#[test]
fn a_broken_layer_gives_an_error_and_no_size() {
    let tar = tar(&[1000, 20]);
    let whole = gzip(&tar);
    let mut checksum = whole.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    let mut length = whole.clone();
    length[at + 4] ^= 1;
    let mut header = whole.clone();
    header[3] = 0xff;
    let mut deflate = whole.clone();
    deflate[10] |= 0b110;
    let bomb = zstd::stream::encode_all(std::io::repeat(0).take(3 << 30), 1).unwrap();
    for (what, blob, expected) in [
        (
            "truncated gzip",
            &whole[..whole.len() - 9],
            "the layer is truncated: its compressed stream ends in the middle",
        ),
        ("a wrong checksum", &checksum, "the layer is broken gzip: a member's checksum or length is wrong"),
        ("a wrong length", &length, "the layer is broken gzip: a member's checksum or length is wrong"),
        ("an impossible deflate block", &deflate, "the layer is broken gzip: its deflate data is broken"),
        (
            "garbage behind the padding",
            &[&whole[..], &[0, 0, 1]].concat(),
            "the layer is broken gzip: something other than a member follows the last one",
        ),
        ("a broken header", &header, "the layer is broken gzip: a member's header is invalid"),
        (
            "garbage behind",
            &[&whole[..], b"x"].concat(),
            "the layer is broken gzip: something other than a member follows the last one",
        ),
        ("a truncated tar", &gzip(&tar[..700]), "the layer is not a tar: it ends in the middle of an entry"),
        ("no tar", &gzip(&[7; 600]), "the layer is not a tar: a header's checksum is wrong"),
        ("xz", b"\xfd7zXZ\0\0\0\0\0\0\0", "the layer is compressed with xz, which is not supported: use gzip or zstd"),
        ("truncated zstd", &bomb[..9], "the layer is truncated: its compressed stream ends in the middle"),
    ] {
        let error = measured(blob, None, 100).unwrap_err();
        assert_eq!(error.to_string(), expected, "{what}");
    }
    assert!(matches!(measured(&bomb, None, 1 << 20), Err(MeasureError::Bomb { .. })));
    let other = Digest::sha256_of(b"other");
    assert!(matches!(measured(&whole, Some(&other), 100), Err(MeasureError::DiffId { .. })));
    let swapped = Measure::new(&other, Some(&Digest::sha256_of(&tar))).unwrap();
    assert!(matches!(swapped.read([whole.into()]), Err(MeasureError::Mismatch { .. })));
}

#[test]
fn a_window_of_more_than_128_mib_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&tar(&[1000])).unwrap();
    let blob = encoder.finish().unwrap();
    assert_eq!(measured(&blob, None, 100), Err(MeasureError::Window));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tar_in_any_members_and_pieces_gives_the_same(
        sizes in proptest::collection::vec(0_usize..3000, 0..12),
        cut in 0.0..1.0_f64,
        piece in 1_usize..5000,
        zeros in 0_usize..20,
    ) {
        let tar = tar(&sizes);
        let unpacked = sizes.iter().sum();
        let expected = Ok(exactly(tar.len(), unpacked));
        let diff_id = Digest::sha256_of(&tar);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
        let (head, tail) = tar.split_at((tar.len() as f64 * cut) as usize);
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
        for blob in [
            tar.clone(),
            gzip(&tar),
            [gzip(head), gzip(&[]), gzip(tail), vec![0; zeros]].concat(),
            [zstd(head), skippable.clone(), zstd(tail), skippable].concat(),
        ] {
            prop_assert_eq!(&measured(&blob, Some(&diff_id), piece), &expected);
            prop_assert_eq!(&measured(&blob, None, piece), &expected);
        }
    }

    #[test]
    fn no_bytes_panic_the_engine(blob: Vec<u8>, magic in 0..4_usize) {
        let magic = [&[][..], &[0x1f, 0x8b, 8, 31], &[0x28, 0xb5, 0x2f, 0xfd], &[0x50, 0x2a, 0x4d, 0x18]][magic];
        let _ = measured(&[magic, &blob].concat(), None, 7);
    }
}

/// A registry with one image of these layers, and a request for each layer.
fn registry_with(layers: &[(&[u8], &str)], mode: Uncompressed) -> (TestRegistry, Vec<LayerRequest>) {
    let registry = TestRegistry::start();
    let blobs: Vec<Blob> = layers.iter().map(|(bytes, media_type)| Blob::new(media_type, *bytes)).collect();
    let pushed = image("linux/amd64", &blobs.iter().collect::<Vec<_>>());
    registry.push("acme/app", "v1", &pushed);
    let work = |blob: &Blob| LayerRequest {
        repository: registry.repository("acme/app"),
        image: pushed.digest().clone(),
        digest: blob.digest.clone(),
        bytes: blob.size,
        diff_id: None,
        media_type: MediaType::new(&blob.media_type),
        hint: None,
        mode,
    };
    let work = blobs.iter().map(work).collect();
    (registry, work)
}

/// The worker's results, in the order of digests, once all requests are done.
async fn found(work: Vec<LayerRequest>, store: &Store, limits: Limits) -> BTreeMap<Digest, LayerContent> {
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    let (work_to, work_from) = mpsc::channel(1);
    let (found_to, mut found_from) = mpsc::channel(16);
    work_to.send(LayerRequests { layers: work, images: Vec::new() }).await.unwrap();
    drop(work_to);
    run(work_from, Arc::new(registries), store.clone(), found_to, limits, CancellationToken::new()).await;
    let mut found = BTreeMap::new();
    while let Some(one) = found_from.recv().await {
        let LayerFound::Content(digest, content) = one else { panic!("{one:?} was not asked for") };
        found.insert(digest, content);
    }
    found
}

#[tokio::test]
async fn each_layer_is_streamed_once_and_tars_are_shared() {
    let tar = tar(&[5000, 7]);
    let (fast, plain) = (gzip(&tar), tar.clone());
    let (registry, mut work) = registry_with(&[(&fast, GZIP), (&plain, GZIP)], Uncompressed::Exact);
    for work in &mut work {
        work.diff_id = Some(Digest::sha256_of(&tar));
    }
    let store = Store::memory();
    let expected: BTreeMap<_, _> = work.iter().map(|work| (work.digest.clone(), exactly(tar.len(), 5007))).collect();
    assert_eq!(found(work.clone(), &store, Limits::default()).await, expected);
    assert_eq!(registry.take_counts(), "get_blob 1");
    assert_eq!(found(work, &store, Limits::default()).await, expected);
    assert_eq!(registry.take_counts(), "");
}

#[tokio::test]
async fn a_broken_stream_is_resumed_where_it_broke() {
    let tar = tar(&[6_000_000]);
    let (registry, work) = registry_with(&[(&tar, GZIP)], Uncompressed::Exact);
    let blob = format!("GET /v2/acme/app/blobs/{}", work[0].digest);
    registry.next(&blob, Reply::CutAfter(4_000_000));
    let found = found(work, &Store::memory(), Limits::default()).await;
    assert_eq!(found.into_values().collect::<Vec<_>>(), [exactly(tar.len(), 6_000_000)]);
    assert_eq!(registry.counts(), "get_blob 1, get_range 1");
}

#[tokio::test]
async fn a_broken_stream_starts_over_where_a_registry_sends_no_parts() {
    let tar = tar(&[6_000_000]);
    let (registry, work) = registry_with(&[(&tar, GZIP)], Uncompressed::Exact);
    let blob = format!("GET /v2/acme/app/blobs/{}", work[0].digest);
    registry.next(&blob, Reply::CutAfter(4_000_000));
    registry.next_bytes(&blob, 200, &[], tar.clone());
    let found = found(work, &Store::memory(), Limits::default()).await;
    assert_eq!(found.into_values().collect::<Vec<_>>(), [exactly(tar.len(), 6_000_000)]);
    assert_eq!(registry.counts(), "get_blob 2, get_range 1");
}

#[tokio::test]
async fn a_broken_layer_is_remembered_and_not_asked_for_again() {
    let tar = tar(&[3000]);
    let broken = &gzip(&tar)[..300];
    let (registry, work) = registry_with(&[(broken, GZIP)], Uncompressed::Exact);
    let store = Store::memory();
    assert_eq!(found(work.clone(), &store, Limits::default()).await, BTreeMap::new());
    assert_eq!(found(work, &store, Limits::default()).await, BTreeMap::new());
    assert_eq!(registry.counts(), "get_blob 1");
}

#[tokio::test]
async fn exact_streams_no_layer_whose_type_says_that_it_is_no_tar() {
    const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    let tar = tar(&[3000]);
    let layers: [(&[u8], &str); 7] = [
        (&tar, GZIP),
        (b"chart", CHART),
        (b"model", "application/vnd.cncf.model.weight.v1.raw"),
        (b"bill", "application/vnd.in-toto+json"),
        (b"sealed", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        (b"bytes", "application/octet-stream"),
        (b"image", "application/octet-stream"),
    ];
    let (registry, mut work) = registry_with(&layers, Uncompressed::Exact);
    // An encrypted layer's config names the tar that it holds.
    work[4].diff_id = Some(Digest::sha256_of(b"a sealed tar"));
    work[6].diff_id = Some(Digest::sha256_of(b"image"));
    let streamed = [&work[0], &work[1], &work[6]].map(|layer| format!("/v2/acme/app/blobs/{}", layer.digest));
    let found = found(work.clone(), &Store::memory(), Limits { concurrency: 1, ..Limits::default() }).await;
    assert_eq!(found.into_values().collect::<Vec<_>>(), [exactly(tar.len(), 3000)]);
    let mut asked: Vec<String> = registry.requests().iter().map(|seen| seen.path().to_owned()).collect();
    asked.sort();
    assert_eq!(asked, BTreeSet::from(streamed).into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wrong_config_neither_hides_a_layer_nor_affects_another() {
    let tar = tar(&[3000]);
    let claimed = Digest::sha256_of(b"another tar");
    let (fast, plain) = (gzip(&tar), tar.clone());
    let (registry, mut work) = registry_with(&[(&fast, GZIP), (&plain, GZIP)], Uncompressed::Exact);
    let mut right = work.remove(0);
    right.diff_id = Some(Digest::sha256_of(&tar));
    let lying = LayerRequest { diff_id: Some(claimed.clone()), ..right.clone() };
    let store = Store::memory();
    let expected = BTreeMap::from([(right.digest.clone(), exactly(tar.len(), 3000))]);
    assert_eq!(found(vec![lying], &store, Limits::default()).await, expected);
    assert_eq!(store.layer(&claimed), None);
    assert_eq!(found(vec![right], &store, Limits::default()).await, expected);
    assert_eq!(registry.take_counts(), "get_blob 1");
}

#[tokio::test]
async fn wrong_content_from_a_registry_does_not_mark_the_layer_as_broken() {
    let tar = tar(&[3000]);
    let (registry, work) = registry_with(&[(&tar, GZIP)], Uncompressed::Exact);
    let store = Store::memory();
    let blob = format!("GET /v2/acme/app/blobs/{}", work[0].digest);
    registry.next(&blob, Reply::Answer(200, vec![], "no tar at all ".repeat(1 << 20)[..tar.len()].to_owned()));
    assert_eq!(found(work.clone(), &store, Limits::default()).await, BTreeMap::new());
    assert_eq!(store.layer(&work[0].digest), None);
    let short = LayerRequest { bytes: work[0].bytes - 1, ..work[0].clone() };
    assert_eq!(found(vec![short], &store, Limits::default()).await, BTreeMap::new());
    let found = found(work, &store, Limits::default()).await;
    assert_eq!(found.into_values().collect::<Vec<_>>(), [exactly(tar.len(), 3000)]);
}

#[tokio::test]
async fn a_layer_that_overlay2_refuses_is_streamed_once_also_over_restarts() {
    let tar = [hard_link("alias", "of/a/lower/layer"), vec![0; 1024]].concat();
    let (registry, work) = registry_with(&[(&gzip(&tar), GZIP)], Uncompressed::Exact);
    let directory = tempfile::tempdir().unwrap();
    let expected = LayerContent { uncompressed_bytes: tar.len() as u64, estimated: false, unpacked: Unpacked::Refused };
    for requests in ["get_blob 1", ""] {
        let (store, _) = Store::open(&directory.path().join("state.redb")).unwrap();
        let found = found(work.clone(), &store, Limits::default()).await;
        assert_eq!(found.into_values().collect::<Vec<_>>(), [expected]);
        assert_eq!(registry.take_counts(), requests);
    }
}

#[tokio::test]
async fn cheap_fetches_eight_bytes_of_gzip_once() {
    let tar = tar(&[3000, 4000]);
    let (registry, work) = registry_with(&[(&gzip(&tar), GZIP)], Uncompressed::Cheap);
    let store = Store::memory();
    for requests in ["get_range 1", ""] {
        let found = found(work.clone(), &store, Limits::default()).await;
        let content = found.into_values().next().unwrap();
        assert_eq!((content.uncompressed_bytes, content.estimated), (tar.len() as u64, true));
        assert_eq!(registry.take_counts(), requests);
    }
}

#[tokio::test]
async fn a_publishers_statement_is_an_estimate_and_applies_to_its_own_blob_only() {
    let tar = tar(&[3000, 4000]);
    let (fast, best) = (gzip(&tar), [gzip(&tar[..512]), gzip(&tar[512..])].concat());
    let (_registry, mut work) = registry_with(&[(&fast, GZIP), (&best, GZIP)], Uncompressed::Cheap);
    for work in &mut work {
        work.diff_id = Some(Digest::sha256_of(&tar));
    }
    let lying = LayerRequest { hint: Some(UncompressedHint::Bytes(1 << 20)), ..work[0].clone() };
    let store = Store::memory();
    let said = found(vec![lying], &store, Limits::default()).await;
    assert_eq!(
        said.into_values().map(|said| (said.uncompressed_bytes, said.estimated)).collect::<Vec<_>>(),
        [(1 << 20, true)]
    );
    assert_ne!(
        found(vec![work[1].clone()], &store, Limits::default()).await[&work[1].digest].uncompressed_bytes,
        1 << 20
    );
    work[0].mode = Uncompressed::Exact;
    assert_eq!(
        found(vec![work[0].clone()], &store, Limits::default()).await[&work[0].digest],
        exactly(tar.len(), 7000)
    );
}

#[tokio::test]
async fn cheap_sends_nothing_to_a_pull_through_cache_and_one_request_to_a_registry_without_ranges() {
    let (one, two) = (gzip(&tar(&[3000])), gzip(&tar(&[4000])));
    let (registry, work) = registry_with(&[(&one, GZIP), (&two, GZIP)], Uncompressed::Cheap);
    let proxy = Limits { pull_through: BTreeSet::from([registry.name()]), ..Limits::default() };
    assert_eq!(found(work.clone(), &Store::memory(), proxy).await, BTreeMap::new());
    assert_eq!(registry.take_counts(), "");
    registry.always("GET /v2/acme/app/blobs/", Reply::Answer(200, vec![], "0".repeat(100_000)));
    let one_at_once = Limits { concurrency: 1, ..Limits::default() };
    assert_eq!(found(work, &Store::memory(), one_at_once).await, BTreeMap::new());
    assert_eq!(registry.take_counts(), "get_range 1");
}
