//! Several exporters on one database: what a digest names is fetched once, and each has tags of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image_size_exporter::oci::{Digest, MediaType, Registry as RegistryName, Repository, Tag};
use image_size_exporter::store::{Store, Stored, StoredIndex};
use image_size_exporter::tag::{Known, TagChange, TagRecord};
use image_size_exporter::target::Shard;

use super::*;
use crate::harness::wait_for;

/// A database, and the file with its URL.
fn start() -> (Postgresql, tempfile::TempDir, PathBuf) {
    let (database, directory) = (Postgresql::start(DATABASE), scratch());
    let url_file = directory.path().join("url");
    std::fs::write(&url_file, database.url(DATABASE)).expect("the URL can be written");
    (database, directory, url_file)
}

fn open(url_file: &Path, ordinal: u32) -> Store {
    open_of(url_file, ordinal, 3)
}

fn open_of(url_file: &Path, ordinal: u32, total: u32) -> Store {
    let shard = Shard::new(ordinal, total).expect("a shard");
    let (store, error) = Store::database(url_file, shard).expect("threads can be started");
    assert!(error.is_none(), "{error:?}");
    store
}

/// Runs a future as a program of its own would.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn document(bytes: u64) -> Stored {
    Stored::Index(Arc::new(StoredIndex {
        media_type: MediaType::new(MediaType::OCI_INDEX),
        bytes,
        entries: Vec::new(),
    }))
}

fn registry() -> RegistryName {
    "registry.test".parse().expect("a registry")
}

/// Keeps a tag that points at a document, with a number to know it by.
fn keep(store: &Store, repository: Repository, tag: Tag, digest: &Digest, attestations: u32) {
    let known = Known {
        digest: digest.clone(),
        header: None,
        media_type: MediaType::new(MediaType::OCI_INDEX),
        index_bytes: 9,
        images: Vec::new(),
        attestations,
        failed: Vec::new(),
        platforms: Vec::new().into(),
    };
    let kept = TagRecord { known: Arc::new(known), up: true, confirmed: 1.0, last_success: Some(1.0), changed: None };
    store.keep(vec![TagChange { repository, tag, kept: Some(kept) }]);
}

/// The numbers of the tags that are kept.
fn kept(store: &Store) -> Vec<u32> {
    let mut numbers: Vec<u32> = store.tags().iter().map(|(.., record)| record.known.attestations).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_digest_that_several_exporters_want_is_fetched_by_one_of_them() {
    let (_database, _directory, url_file) = start();
    let digests: Vec<Digest> = (0..40_u8).map(|number| Digest::sha256_of(&[number])).collect();
    let fetched = Mutex::new(HashMap::<Digest, usize>::new());
    std::thread::scope(|threads| {
        for ordinal in 0..3 {
            let (digests, fetched, url_file) = (&digests, &fetched, &url_file);
            threads.spawn(move || {
                let store = open(url_file, ordinal);
                run(futures_util::future::join_all(digests.iter().map(async |digest| {
                    let _flight = store.document_flight(&registry(), digest).await;
                    if store.document(digest).is_none() {
                        *fetched.lock().expect("no panic").entry(digest.clone()).or_default() += 1;
                        // Others have their turns while the registry answers.
                        tokio::task::yield_now().await;
                        store.remember(digest, document(7));
                    }
                    assert_eq!(store.document(digest), Some(document(7)));
                })));
            });
        }
    });
    let fetched = fetched.into_inner().expect("no panic");
    assert_eq!(fetched, digests.into_iter().map(|digest| (digest, 1)).collect());
}

#[test]
fn a_fetch_that_fails_or_whose_exporter_dies_delays_the_others_by_seconds() {
    let (database, _directory, url_file) = start();
    let [first, second] = [0, 1].map(|ordinal| open(&url_file, ordinal));
    let digest = Digest::sha256_of(b"failed");
    let failed = run(first.document_flight(&registry(), &digest));
    let waiting = std::thread::spawn({
        let digest = digest.clone();
        move || {
            drop(run(second.document_flight(&registry(), &digest)));
            second
        }
    });
    let claims = || database.sql(DATABASE, "SELECT count(*) FROM image_size_exporter.claims").trim().to_owned();
    assert_eq!(claims(), "1");
    assert!(!waiting.is_finished());
    drop(failed);
    let second = waiting.join().expect("it gets its turn");
    wait_for("the claims to be given up", || (claims() == "0").then_some(()), String::new);

    // What an exporter that died 8 seconds ago has left: the claim of this one, made another's.
    let dead = Digest::sha256_of(b"dead");
    let left = run(first.document_flight(&registry(), &dead));
    database
        .sql(DATABASE, "UPDATE image_size_exporter.claims SET claimant = 1, ends_at = now() + interval '2 seconds'");
    drop(left);
    let started = Instant::now();
    let flight = run(second.document_flight(&registry(), &dead));
    let took = started.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(20), "{took:?}");
    drop(flight);
}

#[test]
fn each_shard_is_restored_with_its_own_tags_and_the_facts_of_all() {
    let (_database, _directory, url_file) = start();
    let name = |ordinal: u32| -> (Repository, Tag) {
        (format!("registry.test/app{ordinal}").parse().expect("a name"), "v1".parse().expect("a tag"))
    };
    let shared = Digest::sha256_of(b"shared");
    for ordinal in 0..2 {
        let store = open(&url_file, ordinal);
        if ordinal == 0 {
            store.remember(&shared, document(9));
        }
        let (repository, tag) = name(ordinal);
        keep(&store, repository, tag, &shared, ordinal);
        store.remember_scan(&shared, 1.0);
    }
    for ordinal in 0..3 {
        let store = open(&url_file, ordinal);
        let tags: Vec<_> = store
            .tags()
            .into_iter()
            .map(|(repository, tag, kept)| (repository, tag, kept.known.attestations))
            .collect();
        let (repository, tag) = name(ordinal);
        assert_eq!(tags, if ordinal < 2 { vec![(repository, tag, ordinal)] } else { Vec::new() });
        assert_eq!(store.has_scanned(&shared), ordinal < 2);
        run(store.load_documents(std::slice::from_ref(&shared)));
        assert_eq!(store.document(&shared), Some(document(9)));
    }
}

#[test]
fn a_shard_begins_with_what_its_number_had_last_whatever_the_total_was() {
    let (_database, _directory, url_file) = start();
    let digest = Digest::sha256_of(b"shared");
    let tag = |name: &str| -> (Repository, Tag) {
        (format!("registry.test/{name}").parse().expect("a name"), "v1".parse().expect("a tag"))
    };
    for (ordinal, total, name, number) in [(0, 1, "alone", 1), (0, 3, "of-three", 3), (1, 3, "other", 4)] {
        let store = open_of(&url_file, ordinal, total);
        let (repository, tag) = tag(name);
        keep(&store, repository, tag, &digest, number);
        store.remember_scan(&digest, f64::from(number));
    }
    let store = open_of(&url_file, 0, 4);
    // It was last the one of three, which began with what the only one had.
    assert_eq!((kept(&store), store.has_scanned(&digest)), (vec![1, 3], true));
    let (repository, tag) = tag("of-three");
    store.keep(vec![TagChange { repository, tag, kept: None }]);
    drop(store);
    // Of three again it does not have what it had when it was of three before.
    for (ordinal, total, expected) in [(0, 4, vec![1]), (0, 3, vec![1]), (3, 4, vec![1]), (1, 3, vec![1, 4])] {
        assert_eq!(kept(&open_of(&url_file, ordinal, total)), expected, "{ordinal} of {total}");
    }
}

#[test]
fn a_shard_that_is_taken_back_has_what_its_exporter_knows_and_nothing_of_the_other_one() {
    let (database, _directory, url_file) = start();
    let [digest, other] = [b"one", b"two"].map(|text| Digest::sha256_of(text));
    let change = |store: &Store, name: &str, number: u32| {
        let repository = format!("registry.test/{name}").parse().expect("a name");
        keep(store, repository, "v1".parse().expect("a tag"), &digest, number);
    };
    let first = open(&url_file, 0);
    change(&first, "removed", 1);
    change(&first, "changed", 2);
    first.remember_scan(&digest, 1.0);
    run(first.flush());

    let second = open(&url_file, 0);
    assert_eq!(kept(&second), vec![1, 2]);
    let removed = "registry.test/removed".parse().expect("a name");
    second.keep(vec![TagChange { repository: removed, tag: "v1".parse().expect("a tag"), kept: None }]);
    change(&second, "changed", 3);
    change(&second, "further", 4);
    second.remember_scan(&other, 1.0);
    drop(second);
    change(&first, "new", 5);
    let persistent = first.persistent().expect("it has a database");
    let is = |expected: bool| (persistent.load(std::sync::atomic::Ordering::Relaxed) == expected).then_some(());
    wait_for("the loss to be noticed", || is(false), String::new);
    database.sql(DATABASE, "UPDATE image_size_exporter.holders SET seen_at = now() - interval '2 minutes'");
    wait_for("the shard to be taken back", || is(true), String::new);
    drop(first);

    let store = open(&url_file, 0);
    assert_eq!(kept(&store), vec![1, 2, 5]);
    assert_eq!((store.has_scanned(&digest), store.has_scanned(&other)), (true, false));
}
