//! Layers whose own bytes are not conclusive, and SOCI indexes.

use std::collections::BTreeMap;

use image_size_exporter::image::{LayerContent, UncompressedHint, Unpacked};
use image_size_exporter::layer::Limits;
use image_size_exporter::oci::{Digest, MediaType};
use image_size_exporter::store::Store;
use image_size_exporter::tag::LayerRequest;
use image_size_exporter::target::Uncompressed;
use serde_json::{Value, json};

use super::{GZIP, found, registry_with, tar};
use crate::support::images::{Blob, Pushed};
use crate::support::registry::{Reply, TestRegistry};

const V1: &str = "application/vnd.amazon.soci.index.v1+json";
const ZTOC: &str = "application/octet-stream";

/// 10 MiB of gzip whose last member is empty, as eStargz has it: its trailer says nothing.
fn silent(tar: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut blob = Vec::new();
    for part in [tar, &[]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut blob, flate2::Compression::none());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    blob
}

/// A ztoc of realistic length: its root table in front, and filler.
fn ztoc(layer_bytes: u64, tar_bytes: usize) -> Blob {
    let mut ztoc = vec![7; 200_000];
    let table = [
        &[
            0x18, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x24, 0, 0x20, 0, 0x1c, 0, 0x10, 0, 0x08, 0, 0x18, 0, 0x04, 0, 0x10, 0,
            0, 0,
        ][..],
        &[0x2c, 0, 0, 0],
        &(tar_bytes as u64).to_le_bytes(),
        &layer_bytes.to_le_bytes(),
    ]
    .concat();
    ztoc[..table.len()].copy_from_slice(&table);
    Blob::new(ZTOC, ztoc)
}

/// An index that has a ztoc for each of the layers, and refers to the image of the first.
fn index(layers: &[(&LayerRequest, usize)]) -> Pushed {
    let config = Blob::new(V1, "{}");
    let ztocs: Vec<Blob> = layers.iter().map(|(layer, tar_bytes)| ztoc(layer.bytes, *tar_bytes)).collect();
    let described = |(ztoc, (layer, _)): (&Blob, &(&LayerRequest, usize))| {
        let mut descriptor = ztoc.descriptor();
        descriptor["annotations"] = json!({"com.amazon.soci.image-layer-digest": layer.digest.to_string()});
        descriptor
    };
    let descriptors: Vec<Value> = ztocs.iter().zip(layers).map(described).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config.descriptor(), "layers": descriptors,
        "artifactType": V1, "subject": subject(&layers[0].0.image),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, [ztocs, vec![config]].concat(), vec![])
}

/// A signature of an image.
fn signature(image: &Digest) -> Pushed {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": Blob::named("signature", 10).descriptor(),
        "layers": [], "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json", "subject": subject(image),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![], vec![])
}

fn subject(image: &Digest) -> Value {
    json!({"mediaType": MediaType::OCI_MANIFEST, "digest": image.to_string(), "size": 500})
}

/// An image's referrers: a signature and an index.
fn referrers(index: &Pushed) -> Pushed {
    let mut signature = Blob::named("signature", 10).of_type(MediaType::OCI_MANIFEST).descriptor();
    signature["artifactType"] = "application/vnd.dev.cosign.artifact.sig.v1+json".into();
    let mut soci = index.manifest.descriptor();
    soci["artifactType"] = V1.into();
    let list = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [signature, soci]});
    Pushed::from_json(MediaType::OCI_INDEX, &list, vec![], vec![])
}

/// An image of two layers with inconclusive trailers, and the bytes of their tars.
fn two_layers() -> (TestRegistry, Vec<LayerRequest>, [usize; 2]) {
    let tars = [tar(&[11 << 20]), tar(&[12 << 20])];
    let blobs = tars.each_ref().map(|tar| silent(tar));
    let (registry, work) = registry_with(&[(&blobs[0], GZIP), (&blobs[1], GZIP)], Uncompressed::Cheap);
    (registry, work, tars.map(|tar| tar.len()))
}

fn estimates(work: &[LayerRequest], bytes: [usize; 2]) -> BTreeMap<Digest, LayerContent> {
    let estimate =
        |bytes: usize| LayerContent { uncompressed_bytes: bytes as u64, estimated: true, unpacked: Unpacked::Unknown };
    work.iter().zip(bytes).map(|(work, bytes)| (work.digest.clone(), estimate(bytes))).collect()
}

fn fallback_tag(image: &Digest) -> String {
    image.to_string().replace(':', "-")
}

#[tokio::test]
async fn referrers_are_listed_once_and_only_the_first_bytes_of_ztocs_are_fetched() {
    let (registry, work, bytes) = two_layers();
    let index = index(&[(&work[0], bytes[0]), (&work[1], bytes[1])]);
    registry.store("acme/app", &signature(&work[0].image));
    registry.store("acme/app", &index);
    let path =
        format!("/v2/acme/app/referrers/{}?artifactType=application%2Fvnd.amazon.soci.index.v1%2Bjson", work[0].image);
    let store = Store::memory();
    for requests in ["get_manifest 1, get_range 4, other 1", ""] {
        assert_eq!(found(work.clone(), &store, Limits::default()).await, estimates(&work, bytes));
        assert_eq!(registry.counts(), requests);
        let asked = registry.requests().iter().filter(|seen| seen.uri == path).count();
        assert_eq!(asked, usize::from(!requests.is_empty()));
        let is_of_a_ztoc = |range: &str| range == "bytes=0-255";
        let heads = registry.requests().iter().filter(|seen| is_of_a_ztoc(seen.header("range"))).count();
        assert_eq!(heads, if requests.is_empty() { 0 } else { 2 });
        registry.take_counts();
    }
}

#[tokio::test]
async fn without_the_referrers_api_the_fallback_tag_is_read_and_the_api_not_tried_again() {
    let (registry, mut work, bytes) = two_layers();
    work[1].image = Digest::sha256_of(b"another image");
    registry.missing("/v2/acme/app/referrers/");
    for (work, bytes) in work.iter().zip(bytes) {
        let index = index(&[(work, bytes)]);
        registry.store("acme/app", &index);
        registry.push("acme/app", &fallback_tag(&work.image), &referrers(&index));
    }
    let one_at_once = Limits { concurrency: 1, ..Limits::default() };
    assert_eq!(found(work.clone(), &Store::memory(), one_at_once).await, estimates(&work, bytes));
    assert_eq!(registry.counts(), "get_manifest 4, get_range 4, other 1");
}

#[tokio::test]
async fn an_image_without_an_index_is_remembered_as_one() {
    let (registry, work, _) = two_layers();
    registry.missing("/v2/acme/app/referrers/");
    registry.missing(&format!("/v2/acme/app/manifests/{}", fallback_tag(&work[0].image)));
    let store = Store::memory();
    for requests in ["get_manifest 1, get_range 2, other 1", ""] {
        assert_eq!(found(work.clone(), &store, Limits::default()).await, BTreeMap::new());
        assert_eq!(registry.take_counts(), requests);
    }
}

#[tokio::test]
async fn an_index_in_the_manifest_is_fetched_without_listing_referrers() {
    let (registry, mut work, bytes) = two_layers();
    let index = index(&[(&work[0], bytes[0]), (&work[1], bytes[1])]);
    registry.store("acme/app", &index);
    for work in &mut work {
        work.hint = Some(UncompressedHint::Soci(index.digest().clone()));
    }
    assert_eq!(found(work.clone(), &Store::memory(), Limits::default()).await, estimates(&work, bytes));
    assert_eq!(registry.counts(), "get_manifest 1, get_range 4");
}

#[tokio::test]
async fn an_index_with_a_wrong_digest_and_a_refusal_are_ignored() {
    let (registry, mut work, bytes) = two_layers();
    let index = index(&[(&work[0], bytes[0])]);
    registry.store("acme/app", &index);
    registry.always(&format!("GET /v2/acme/app/manifests/{}", index.digest()), Reply::Corrupt);
    work[0].hint = Some(UncompressedHint::Soci(index.digest().clone()));
    registry.always("GET /v2/acme/app/referrers/", Reply::error(401, "UNAUTHORIZED"));
    registry.always(&format!("GET /v2/acme/app/manifests/{}", fallback_tag(&work[1].image)), Reply::status(403));
    let store = Store::memory();
    for requests in ["get_manifest 2, get_range 2, other 1", ""] {
        assert_eq!(found(work.clone(), &store, Limits::default()).await, BTreeMap::new());
        assert_eq!(registry.take_counts(), requests);
    }
}

#[tokio::test]
async fn a_small_layer_has_no_ztoc_and_none_is_looked_for() {
    let small = silent(&tar(&[3000]));
    let (registry, work) = registry_with(&[(&small, GZIP)], Uncompressed::Cheap);
    assert_eq!(found(work, &Store::memory(), Limits::default()).await, BTreeMap::new());
    assert_eq!(registry.counts(), "get_range 1");
}
