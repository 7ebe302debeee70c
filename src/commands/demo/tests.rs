use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::memory_registry::StoredBlob;
use crate::oci::manifest::Manifest;
use crate::oci::{Digest, Document, ImageConfig};

fn registry_at_start() -> (Mutex<Contents>, Releases) {
    let contents = Mutex::default();
    let releases = Releases::begin(&contents);
    (contents, releases)
}

fn manifest_of(contents: &Contents, repository: &str, reference: &str) -> Document {
    let manifest = contents.manifest(repository, reference).expect("it was pushed");
    assert_eq!(Digest::sha256_of(&manifest.body), manifest.digest);
    Document::parse(&manifest.media_type, &manifest.body).expect("a valid document")
}

/// The images of a tag, attestations left out.
fn images_of(contents: &Contents, repository: &str, tag: &str) -> Vec<Manifest> {
    match manifest_of(contents, repository, tag) {
        Document::Manifest(manifest) => vec![*manifest],
        Document::Index(index) => index
            .manifests
            .iter()
            .filter(|entry| entry.annotations.get("vnd.docker.reference.type").is_none())
            .map(|entry| match manifest_of(contents, repository, &entry.digest.to_string()) {
                Document::Manifest(manifest) => *manifest,
                other => panic!("no manifest: {other:?}"),
            })
            .collect(),
        other @ Document::Schema1(_) => panic!("no image: {other:?}"),
    }
}

#[test]
fn everything_in_the_registry_is_what_its_digest_says() {
    let (contents, _) = registry_at_start();
    let contents = contents.into_inner();
    let mut layers = BTreeMap::new();
    for repository in contents.repositories() {
        for tag in contents.tags(repository).unwrap() {
            for manifest in images_of(&contents, repository, tag) {
                let config = manifest.config.expect("a config");
                let Some(StoredBlob::Kept(body)) = contents.blob(repository, &config.digest) else {
                    panic!("no config")
                };
                assert_eq!(config.digest.verifies(body), Some(true));
                let diff_ids = if config.media_type.is_image_config() {
                    let config = ImageConfig::parse(body).unwrap();
                    assert_eq!(config.rootfs.diff_ids.len(), manifest.layers.len());
                    config.rootfs.diff_ids
                } else {
                    Vec::new()
                };
                for (position, layer) in manifest.layers.into_iter().enumerate() {
                    let blob = contents.blob(repository, &layer.digest).expect("a layer").clone();
                    layers.insert(layer.digest, (layer.size, blob, diff_ids.get(position).cloned().flatten()));
                }
            }
        }
    }
    // Some of the real ones: all of them take a while.
    for (digest, (size, blob, diff_id)) in layers.into_iter().filter(|(_, (size, ..))| *size < 7_000_000).take(6) {
        match blob {
            StoredBlob::Kept(bytes) => assert_eq!((digest.verifies(&bytes), bytes.len() as u64), (Some(true), size)),
            StoredBlob::Made { make, .. } => {
                let mut bytes = Vec::new();
                make(&mut |piece| {
                    bytes.extend(piece);
                    true
                });
                assert_eq!((digest.verifies(&bytes), bytes.len() as u64), (Some(true), size));
                let mut tar = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut tar).unwrap();
                assert_eq!(Some(Digest::sha256_of(&tar)), diff_id);
                assert!(tar.len() as u64 > size * 19 / 10, "it unpacks to about twice its size");
            }
        }
    }
}

#[test]
fn images_share_their_base_with_each_other_and_with_another_repository() {
    let (contents, _) = registry_at_start();
    let contents = contents.into_inner();
    let base: BTreeSet<_> = layers(&contents, "base/runtime", "3");
    assert!(base.is_subset(&layers(&contents, "shop/web", "latest")));
    assert!(!base.is_disjoint(&layers(&contents, "shop/api", "latest")));
    assert!(layers(&contents, "shop/web", "v1.0.0") != layers(&contents, "shop/web", "v1.1.0"));
    let Document::Index(index) = manifest_of(&contents, "shop/web", "latest") else { panic!("no index") };
    assert_eq!(index.manifests.len(), 4, "two platforms, and an attestation for each");
}

fn layers(contents: &Contents, repository: &str, tag: &str) -> BTreeSet<Digest> {
    images_of(contents, repository, tag).into_iter().flat_map(|image| image.layers).map(|layer| layer.digest).collect()
}

#[test]
fn within_two_minutes_a_release_is_too_big_and_stays_the_newest_for_a_while() {
    let (contents, mut releases) = registry_at_start();
    let size = |repository: &str, tag: &str| -> u64 {
        images_of(&contents.lock(), repository, tag)[0].layers.iter().map(|layer| layer.size).sum()
    };
    let mut ticks_too_big = 0;
    for _ in 0..24 {
        let released = releases.release(&contents);
        let (repository, tag) = released.split_once(':').unwrap();
        let media_type =
            |reference: &str| manifest_of(&contents.lock(), repository, reference).media_type().as_str().to_owned();
        assert_eq!(media_type(tag), media_type("latest"));
        let sizes = ["shop/web", "shop/api", "shop/worker"].map(|repository| {
            let bytes = size(repository, "latest");
            // As the configuration of the demo has it.
            assert_eq!(bytes > 80_000_000, bytes > 70_000_000, "{repository} is neither ordinary nor too big");
            bytes
        });
        if sizes.iter().any(|&bytes| bytes > 80_000_000) {
            ticks_too_big += 1;
        }
        if let Some(bigger) = Some(size(repository, tag)).filter(|&bytes| bytes > 80_000_000) {
            let ordinary = size(repository, "v1.0.0");
            let ratio = bigger as f64 / ordinary as f64;
            assert!((1.35..1.5).contains(&ratio), "{released} is {ratio} times an ordinary release");
        }
    }
    assert!((6..24).contains(&ticks_too_big), "too big for {ticks_too_big} of 24 ticks");
}

#[test]
fn releases_grow_a_little_and_some_are_smaller() {
    let (contents, _) = registry_at_start();
    let contents = contents.into_inner();
    let size = |nth: u64| images_of(&contents, "shop/web", &format!("v1.{nth}.0"))[0].layers[2].size;
    let steps: Vec<f64> = (1..8).map(|nth| size(nth) as f64 / size(nth - 1) as f64 - 1.0).collect();
    assert!(steps.iter().all(|step| (-0.05..0.1).contains(step)), "{steps:?}");
    let smaller = steps.iter().filter(|step| **step < 0.0).count();
    assert!((1..=3).contains(&smaller), "{steps:?}");
}

#[test]
fn the_last_twenty_releases_are_kept() {
    let (contents, mut releases) = registry_at_start();
    for _ in 0..50 {
        releases.release(&contents);
    }
    let contents = contents.into_inner();
    let kept: Vec<&str> = contents.tags("shop/api").unwrap().collect();
    assert_eq!(kept.len(), 21, "twenty releases and latest: {kept:?}");
    assert!(!kept.contains(&"v1.0.0"));
}
