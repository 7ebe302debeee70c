//! After any operations the store returns what a map would, before and after the file is opened again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::batch::Batch;
use super::*;
use crate::image::{ConfigFacts, Image, Layer, LayerContent, Span, UncompressedHint, Unpacked};
use crate::oci::{Digest, MediaType, Platform, Reason, Repository, Tag};
use crate::tag::{Base, BaseName, BaseNames, Child, Known, TagChange, TagRecord};

fn digest(number: u8) -> Digest {
    Digest::from_sha256([number; 32])
}

fn image(number: u8) -> Arc<Image> {
    let layer = |of: u8| Layer {
        digest: digest(of),
        bytes: (of != 7).then(|| u64::from(of) << 33),
        foreign: of.is_multiple_of(5),
        diff_id: of.is_multiple_of(2).then(|| digest(of.wrapping_add(1))),
        media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
        hint: of.is_multiple_of(3).then(|| UncompressedHint::Bytes(u64::from(of))),
    };
    Arc::new(Image {
        digest: digest(number),
        image_id: Some(digest(number.wrapping_add(100))),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: if number == 3 { "application/x" } else { "" }.into(),
        platform: "linux/amd64".parse().unwrap(),
        created: (number != 4).then_some(1_700_000_000.25),
        config_bytes: 1_234,
        manifest_bytes: 567,
        layers: (0..number % 9).map(layer).collect(),
    })
}

fn kept(number: u8, images: &[(u8, bool)]) -> TagRecord {
    let platform = |arm: bool| if arm { "linux/arm64" } else { "linux/amd64" }.parse().unwrap();
    let failed = Child { digest: digest(9), platform: Platform::none(), reason: Reason::Server };
    TagRecord {
        known: Arc::new(Known {
            digest: digest(number),
            header: number.is_multiple_of(2).then(|| "sha256:as-the-registry-said".into()),
            media_type: MediaType::new(MediaType::OCI_INDEX),
            index_bytes: 99,
            images: images.iter().map(|(number, arm)| (platform(*arm), digest(*number))).collect(),
            attestations: 2,
            failed: if number.is_multiple_of(3) { vec![failed] } else { Vec::new() },
            platforms: vec![platform(true); usize::from(number % 3)].into(),
        }),
        up: !number.is_multiple_of(3),
        confirmed: 1_700_000_001.5,
        last_success: Some(1_700_000_000.0 + f64::from(number)),
        changed: number.is_multiple_of(4).then_some(1_600_000_000.5),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Image(u8),
    Index(u8),
    Blob(u8, u64),
    Layer(u8, bool),
    Keep(u8, u8, Vec<(u8, bool)>),
    Forget(u8),
    Scan(u8),
    RetainScans(HashSet<u8>),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..12_u8;
    prop_oneof![
        4 => number.clone().prop_map(Step::Image),
        2 => number.clone().prop_map(Step::Index),
        1 => (number.clone(), any::<u64>()).prop_map(|(number, bytes)| Step::Blob(number, bytes)),
        2 => (number.clone(), any::<bool>()).prop_map(|(number, known)| Step::Layer(number, known)),
        4 => (number.clone(), number.clone(), prop::collection::vec((number.clone(), any::<bool>()), 0..4))
            .prop_map(|(tag, number, images)| Step::Keep(tag, number, images)),
        2 => number.clone().prop_map(Step::Forget),
        2 => number.clone().prop_map(Step::Scan),
        1 => prop::collection::hash_set(number, 0..12).prop_map(Step::RetainScans),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    documents: HashMap<Digest, Stored>,
    blobs: HashMap<Digest, u64>,
    layers: HashMap<Digest, LayerRecord>,
    tags: HashMap<(Repository, Tag), TagRecord>,
    scans: HashSet<u8>,
}

impl Model {
    fn apply(&mut self, store: &Store, step: &Step) {
        let tag = |number: u8| -> (Repository, Tag) {
            let repository = if number.is_multiple_of(2) { "localhost/a" } else { "docker.io/library/b" };
            (repository.parse().unwrap(), format!("v{number}").parse().unwrap())
        };
        match step {
            Step::Image(number) => {
                let stored = Stored::Image(image(*number));
                store.remember(&digest(*number), stored.clone());
                self.documents.insert(digest(*number), stored);
            }
            Step::Index(number) => {
                let entry = IndexEntry {
                    digest: digest(1),
                    media_type: MediaType::default(),
                    bytes: 5,
                    platform: number.is_multiple_of(2).then(|| "linux/arm/v7".parse().unwrap()),
                    attestation: number.is_multiple_of(3),
                    artifact_type: "".into(),
                };
                let media_type = MediaType::new(MediaType::DOCKER_LIST);
                let index = StoredIndex { media_type, bytes: 7, entries: vec![entry; usize::from(*number)] };
                let stored = Stored::Index(Arc::new(index));
                // A digest of its own, since the content of a digest never changes.
                store.remember(&digest(number + 50), stored.clone());
                self.documents.insert(digest(number + 50), stored);
            }
            Step::Blob(number, bytes) => {
                store.remember_blob_bytes(&digest(*number), *bytes);
                self.blobs.insert(digest(*number), *bytes);
            }
            Step::Layer(number, known) => {
                let content =
                    LayerContent { uncompressed_bytes: 1 << 40, estimated: true, unpacked: Unpacked::Unknown };
                let record = if *known {
                    LayerRecord::Known(content)
                } else {
                    LayerRecord::Failed { reason: "not gzip".to_owned(), at: 1.5 }
                };
                store.remember_layer(&digest(*number), record.clone());
                self.layers.insert(digest(*number), record);
            }
            Step::Keep(name, number, images) => {
                let kept = kept(*number, images);
                let (repository, tag) = tag(*name);
                self.tags.insert((repository.clone(), tag.clone()), kept.clone());
                store.keep(vec![TagChange { repository, tag, kept: Some(kept) }]);
            }
            Step::Forget(name) => {
                let (repository, tag) = tag(*name);
                self.tags.remove(&(repository.clone(), tag.clone()));
                store.keep(vec![TagChange { repository, tag, kept: None }]);
            }
            Step::Scan(number) => {
                store.remember_scan(&digest(*number), 1.5);
                self.scans.insert(*number);
            }
            Step::RetainScans(numbers) => {
                store.retain_scans(&numbers.iter().copied().map(digest).collect());
                self.scans.retain(|number| numbers.contains(number));
            }
            Step::Flush | Step::Reopen => {}
        }
    }

    fn check(&self, store: &Store) {
        for number in 0..12 {
            let digest = digest(number);
            let index = Digest::from_sha256([number + 50; 32]);
            assert_eq!(store.document(&index), self.documents.get(&index).cloned());
            assert_eq!(store.document(&digest), self.documents.get(&digest).cloned());
            assert_eq!(store.blob_bytes(&digest), self.blobs.get(&digest).copied());
            assert_eq!(store.layer(&digest), self.layers.get(&digest).cloned());
            assert_eq!(store.has_scanned(&digest), self.scans.contains(&number));
        }
        let tags: HashMap<_, _> = store.tags().into_iter().map(|(r, t, kept)| ((r, t), kept)).collect();
        assert_eq!(tags, self.tags);
    }
}

/// Flushes, as a program does that ends.
fn flush(store: &Store) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.flush());
}

/// A missing diff_id has a form of its own: lists without one are stored as before.
#[test]
fn a_config_without_some_diff_ids_is_stored_as_a_list_of_digests() {
    let facts = |diff_ids| ConfigFacts { platform: Platform::none(), created: None, diff_ids };
    let all = encoding::seal(b"config", &facts(vec![Some(digest(1)), Some(digest(2))]));
    let as_before = encoding::seal(b"config", &("", None::<f64>, [digest(1), digest(2)].to_vec()));
    assert_eq!(all, as_before);
    let some = facts(vec![Some(digest(1)), None]);
    assert_eq!(encoding::unseal(b"config", &encoding::seal(b"config", &some)), Some(some));
}

/// Additions to version 2: older programs cannot read these records and ask the registry again; the rest of a file
/// keeps its meaning.
#[test]
fn what_was_added_to_version_2_has_bytes_of_its_own() {
    let content = |unpacked| LayerContent { uncompressed_bytes: 1, estimated: false, unpacked };
    for (unpacked, expected) in
        [(Unpacked::Unknown, vec![1, 0, 0]), (Unpacked::Bytes(3), vec![1, 0, 1, 3]), (Unpacked::Refused, vec![1, 0, 2])]
    {
        let sealed = encoding::seal(b"layer", &content(unpacked));
        assert_eq!(sealed[..sealed.len() - 4], expected);
        assert_eq!(encoding::unseal(b"layer", &sealed), Some(content(unpacked)));
    }
    let name = BaseName { repository: "r.io/a".parse().unwrap(), tag: Some(Tag::latest()), digest: Some(digest(1)) };
    let base = Base { name, bytes: Some(3), layers: 2 };
    let sealed = encoding::seal(b"base", &base);
    assert_eq!(sealed[..16], *b"\x04r.io\x01a\x01\x06latest\x01");
    assert_eq!(encoding::unseal(b"base", &sealed), Some(base));
    let odd = encoding::seal(b"base", &("r.io", "A", None::<String>, None::<Digest>, None::<u64>, 0_u32));
    assert_eq!(encoding::unseal::<Base>(b"base", &odd), None, "no repository has such a name");
    let sealed = encoding::seal(b"hint", &UncompressedHint::Soci(digest(1)));
    assert_eq!(sealed[..2], [2, 33], "the third kind, and a digest of 33 bytes");
}

/// A change of these expectations needs another `encoding::VERSION`: existing files have other bytes, and must not be
/// read as if they had these.
#[test]
fn the_bytes_of_version_2_are_these() {
    let hash = |bytes: Vec<u8>| Digest::sha256_of(&bytes).to_string()[7..23].to_owned();
    let entry = IndexEntry {
        digest: digest(1),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        bytes: 5,
        platform: Some("linux/arm/v7".parse().unwrap()),
        attestation: true,
        artifact_type: "application/x".into(),
    };
    let index = StoredIndex { media_type: MediaType::new(MediaType::OCI_INDEX), bytes: 7, entries: vec![entry] };
    let hints = [
        UncompressedHint::Bytes(1),
        UncompressedHint::TarSplit {
            contents: None,
            contents_digest: Some(digest(2)),
            tar_split: Span { offset: 1, bytes: 2, content_bytes: 3 },
        },
    ];
    let reasons = Reason::ALL;
    let content = LayerContent { uncompressed_bytes: 1, estimated: true, unpacked: Unpacked::Bytes(2) };
    let records = [LayerRecord::Known(content), LayerRecord::Failed { reason: "x".to_owned(), at: 1.5 }];
    assert_eq!(encoding::VERSION, 2);
    assert_eq!(
        [
            hash(encoding::seal(b"image", &Stored::Image(image(8)))),
            hash(encoding::seal(b"index", &Stored::Index(Arc::new(index)))),
            hash(encoding::seal(b"hints", &hints)),
            hash(encoding::seal(b"reasons", &reasons)),
            hash(encoding::seal(b"layers", &records)),
            hash(encoding::seal(b"tag", &kept(6, &[(1, true), (2, false)]))),
        ],
        [
            "4df8b9b1cb2a1bc5",
            "471320e4d44f4fbe",
            "7a2be554d7a182f4",
            "88338098bc30cf21",
            "7e977c8f51e0efea",
            "ca93ee0fc0501a29"
        ]
    );
}

#[test]
fn what_could_not_be_written_forgets_and_retains_scans_as_it_would_have() {
    let set = |numbers: &[u8]| numbers.iter().copied().map(digest).collect::<HashSet<_>>();
    let batch = |left: Option<&[u8]>, scans: &[u8]| Batch {
        scans: scans.iter().map(|number| (digest(*number), 1.5)).collect(),
        scans_retained: left.map(set),
        ..Batch::default()
    };
    // (older batch, newer batch, those of the file's 1 to 6 that are left)
    for (older, newer, left) in [
        (batch(None, &[5]), batch(None, &[6]), &[1, 2, 3, 4, 5, 6][..]),
        (batch(Some(&[1, 2]), &[5]), batch(None, &[6]), &[1, 2, 5, 6]),
        (batch(None, &[5]), batch(Some(&[1, 3]), &[6]), &[1, 3, 6]),
        (batch(Some(&[1, 2]), &[3, 5]), batch(Some(&[1, 3]), &[2]), &[1, 2, 3]),
    ] {
        let mut both = newer;
        both.put_back(older);
        let in_file = |number: u8| number <= 4;
        let has = |number: &u8| both.has_scanned(&digest(*number)).unwrap_or(in_file(*number));
        assert_eq!((1..=6).filter(has).collect::<Vec<_>>(), left);
    }
}

#[test]
fn bases_are_remembered_until_they_are_unused_for_long() {
    let name = BaseName { repository: "r.io/a".parse().unwrap(), tag: Some(Tag::latest()), digest: None };
    let base = Arc::new(Base { name: name.clone(), bytes: Some(3), layers: 2 });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let check = |store: &Store, kept: &[u8]| {
        for number in 1..3 {
            let expected = kept.contains(&number);
            assert_eq!(store.base(&digest(number)), expected.then(|| Arc::clone(&base)), "{number}");
            let names = store.base_names(&digest(number));
            assert_eq!(names.as_ref().and_then(|names| names.own()), expected.then_some(&name), "{number}");
        }
    };
    for store in [Store::memory(), Store::open(&path).unwrap().0] {
        for number in 1..3 {
            store.remember_bases(vec![(digest(number), Arc::clone(&base))]);
            store.remember_base_names(&digest(number), BaseNames::own_alone(name.clone()));
        }
        flush(&store);
        check(&store, &[1, 2]);
    }
    let file = Store::open(&path).unwrap().0;
    check(&file, &[1, 2]);
    for at in [0.0, 30.0 * 86_400.0] {
        file.sweep(&[digest(2)].into(), at);
        flush(&file);
    }
    check(&file, &[2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_file_remembers_what_a_map_would(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let mut model = Model::default();
        let (mut store, opened) = Store::open(&path).unwrap();
        assert_eq!(opened, Opened::Fresh);
        for step in &steps {
            match step {
                Step::Flush => {
                    flush(&store);
                    assert_eq!(store.documents(), model.documents.len() as u64);
                }
                Step::Reopen => {
                    drop(store);
                    let (again, opened) = Store::open(&path).unwrap();
                    assert_eq!(opened, Opened::Existing);
                    store = again;
                }
                step => model.apply(&store, step),
            }
            model.check(&store);
        }
        drop(store);
        model.check(&Store::open(&path).unwrap().0);
    }

    #[test]
    fn memory_remembers_what_a_map_would(steps in prop::collection::vec(step(), 1..60)) {
        let store = Store::memory();
        let mut model = Model::default();
        for step in &steps {
            model.apply(&store, step);
            model.check(&store);
        }
        flush(&store);
        assert_eq!(store.documents(), model.documents.len() as u64);
    }
}
