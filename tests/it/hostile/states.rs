//! State files that are damaged, cut, somebody else's, of another version, or full of what versions before did not
//! check: the program comes up with each of them, reads its registries, and ends in order.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image_size_exporter::image::{Image, Layer};
use image_size_exporter::oci::{Digest, MediaType, Platform, Repository, Tag};
use image_size_exporter::store::{IndexEntry, Store, Stored, StoredIndex};
use image_size_exporter::tag::{Known, TagChange, TagRecord};
use redb::{Database, TableDefinition};

use super::corpus::{block_on, check_body};
use crate::support::daemon::Program;
use crate::support::images::{Blob, image};
use crate::support::registry::TestRegistry;

/// Daemons that run side by side.
const SIDE_BY_SIDE: usize = 4;

const TABLES: [&str; 7] = ["documents", "configs", "blobs", "layers", "tags", "unused", "passes"];

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// What the released version wrote, of `127.0.0.1:1/acme/app`.
fn released() -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed: &[u8] = include_bytes!("../store/fixtures/version-2.redb.gz");
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What the released version wrote, changed by redb itself.
fn changed(change: impl FnOnce(&Path)) -> Vec<u8> {
    let directory = crate::store::directory();
    let path = directory.path().join("state.redb");
    fs::write(&path, released()).unwrap();
    change(&path);
    fs::read(&path).unwrap()
}

fn of_version(version: u32) -> Vec<u8> {
    changed(|path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<&str, u32>::new("meta")).unwrap().insert("version", version).unwrap();
        transaction.commit().unwrap();
    })
}

/// A value that its checksum says is whole.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    [value, &hasher.finalize().to_le_bytes()].concat()
}

/// Every value of every table is this one.
fn of_values(value: &[u8]) -> Vec<u8> {
    changed(|path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        for table in TABLES {
            let definition = Bytes::new(table);
            let mut table = transaction.open_table(definition).unwrap();
            let mut keys: Vec<Vec<u8>> = Vec::new();
            table
                .retain(|key, _| {
                    keys.push(key.to_vec());
                    true
                })
                .unwrap();
            keys.extend([Vec::new(), vec![0xff; 40], b"127.0.0.1:1\0acme/app\0v9".to_vec()]);
            for key in keys {
                table.insert(key.as_slice(), sealed(&key, value).as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    })
}

/// A tag's record and its image, changed.
fn of_record(change: impl FnOnce(&mut TagRecord, &mut Known, &mut Image)) -> Vec<u8> {
    changed(|path| {
        let layer = Layer {
            digest: Digest::sha256_of(b"layer"),
            bytes: Some(1),
            foreign: false,
            diff_id: None,
            media_type: MediaType::default(),
            hint: None,
        };
        let mut image = Image {
            digest: Digest::sha256_of(b"manifest"),
            image_id: None,
            media_type: MediaType::new(MediaType::OCI_MANIFEST),
            artifact_type: "".into(),
            platform: "linux/amd64".parse().unwrap(),
            created: Some(1.0),
            config_bytes: 1,
            manifest_bytes: 1,
            layers: [layer].into(),
        };
        let mut known = Known {
            digest: image.digest.clone(),
            header: None,
            media_type: image.media_type.clone(),
            index_bytes: 0,
            images: vec![(image.platform.clone(), image.digest.clone())],
            attestations: 0,
            failed: Vec::new(),
            platforms: Vec::new().into(),
        };
        let now = 4_000_000_000.0;
        let mut record = TagRecord {
            known: Arc::new(known.clone()),
            up: true,
            confirmed: now,
            last_success: Some(now),
            changed: None,
        };
        let digest = image.digest.clone();
        change(&mut record, &mut known, &mut image);
        record.known = Arc::new(known);
        let repository: Repository = "127.0.0.1:1/acme/app".parse().unwrap();
        let tag: Tag = "v1".parse().unwrap();
        let (store, _) = Store::open(path).unwrap();
        store.remember(&digest, Stored::Image(Arc::new(image)));
        store.keep(vec![TagChange { repository, tag, kept: Some(record) }]);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.flush());
    })
}

fn long_platform() -> Platform {
    Platform::from_parts("linux", &"x".repeat(3_900_000), "", "")
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let index = || StoredIndex {
        media_type: MediaType::new(MediaType::OCI_INDEX),
        bytes: 1,
        entries: vec![
            IndexEntry {
                digest: Digest::sha256_of(b"manifest"),
                media_type: MediaType::default(),
                bytes: 1,
                platform: Some(long_platform()),
                attestation: false,
                artifact_type: "x".repeat(1 << 20).as_str().into(),
            };
            2
        ],
    };
    vec![
        ("a platform of 3.9 MB", of_record(|_, _, image| image.platform = long_platform())),
        ("a platform of 3.9 MB in a tag", of_record(|_, known, _| known.images[0].0 = long_platform())),
        ("platforms of 3.9 MB", of_record(|_, known, _| known.platforms = vec![long_platform()].into())),
        (
            "an artifact type of 3.9 MB",
            of_record(|_, _, image| image.artifact_type = "x".repeat(3_900_000).as_str().into()),
        ),
        ("an artifact type that turns around", of_record(|_, _, image| image.artifact_type = "a/\u{202e}b".into())),
        (
            "a digest header of 3.9 MB",
            of_record(|_, known, _| known.header = Some("x".repeat(3_900_000).as_str().into())),
        ),
        ("a digest header of two lines", of_record(|_, known, _| known.header = Some("a\nb\u{202e}".into()))),
        (
            "dates that are no numbers",
            of_record(|record, _, image| {
                (record.confirmed, record.last_success, record.changed) =
                    (f64::NAN, Some(f64::INFINITY), Some(f64::NAN));
                image.created = Some(f64::NAN);
            }),
        ),
        (
            "dates before all",
            of_record(|record, _, image| {
                (record.confirmed, record.last_success) = (f64::MIN, Some(f64::MIN));
                image.created = Some(f64::NEG_INFINITY);
            }),
        ),
        (
            "sizes of 64 bits",
            of_record(|_, known, image| {
                (known.index_bytes, image.config_bytes, image.manifest_bytes) = (u64::MAX, u64::MAX, u64::MAX);
                let mut layer = image.layers[0].clone();
                layer.bytes = Some(u64::MAX);
                image.layers = (0..3_u8).map(|n| Layer { digest: Digest::sha256_of(&[n]), ..layer.clone() }).collect();
            }),
        ),
        ("attestations of 32 bits", of_record(|_, known, _| known.attestations = u32::MAX)),
        ("one image 10,000 times", of_record(|_, known, _| known.images = vec![known.images[0].clone(); 10_000])),
        (
            "an index where an image was",
            changed(|path| {
                let (store, _) = Store::open(path).unwrap();
                for (_, _, record) in store.tags() {
                    for (_, digest) in &record.known.images {
                        store.remember(digest, Stored::Index(Arc::new(index())));
                    }
                }
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.flush());
            }),
        ),
    ]
}

fn files() -> Vec<(String, Vec<u8>)> {
    let good = released();
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("the released one".to_owned(), good.clone()),
        ("nothing".to_owned(), Vec::new()),
        ("zeros".to_owned(), vec![0; 1 << 16]),
        ("text".to_owned(), b"[state]\npath = 'x'\n".to_vec()),
        ("garbage behind it".to_owned(), [good.clone(), vec![0xa5; 5_000]].concat()),
        ("twice".to_owned(), [good.clone(), good.clone()].concat()),
        (
            "another program's".to_owned(),
            changed(|path| {
                fs::remove_file(path).unwrap();
                let database = Database::create(path).unwrap();
                let transaction = database.begin_write().unwrap();
                transaction.open_table(TableDefinition::<u64, &str>::new("meta")).unwrap().insert(1, "theirs").unwrap();
                transaction.commit().unwrap();
            }),
        ),
    ];
    files.extend([0, 1, 3, 4_000, u32::MAX].map(|version| (format!("version {version}"), of_version(version))));
    let cuts =
        [1, 9, 64, 320, 511, 4_096, 8_192, good.len() / 2, good.len() * 3 / 4, good.len() - 4_096, good.len() - 1];
    files.extend(cuts.map(|length| (format!("its first {length} bytes"), good[..length].to_vec())));
    let values: [(&str, &[u8]); 5] = [
        ("nothing", &[]),
        ("zeros", &[0; 300]),
        ("ones", &[0xff; 300]),
        ("a list of 2^60 entries", b"\xff\xff\xff\xff\xff\xff\xff\xff\x0f"),
        ("texts of 2^60 bytes", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]),
    ];
    files.extend(values.map(|(what, value)| (format!("values of {what}"), of_values(value))));
    files.extend(records().into_iter().map(|(what, bytes)| (what.to_owned(), bytes)));
    // The same each time. Most of the file is unused pages, so that the flips are many.
    let mut random = 7_u64;
    for number in 0..16 {
        let mut bytes = good.clone();
        for _ in 0..1 << (number % 8) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            bytes[at] ^= 1 << (random % 8);
        }
        files.push((format!("flips {number}"), bytes));
    }
    files
}

/// Starts the program on the file, lets it read a registry, and ends it. Twice: what the first start left is a state file
/// as well.
fn comes_up(name: &str, bytes: &[u8], registry: &TestRegistry) {
    let directory = crate::store::directory();
    fs::write(directory.path().join("state.redb"), bytes).unwrap();
    let config = format!(
        "[scan]\ninterval = \"1h\"\nkeep = \"3650d\"\n[state]\npath = \"state.redb\"\n\
         [[targets]]\nrepository = \"127.0.0.1:1/acme/app\"\ntags = [\"v1\", \"v2\", \"chart\", \"old\"]\n\
         [[targets]]\nrepository = \"{}/acme/app\"\ntags = [\"v1\"]\n",
        registry.name()
    );
    fs::write(directory.path().join("config.toml"), config).unwrap();
    for _ in 0..2 {
        let daemon = block_on(Program::start(directory.path()));
        let series = r#"repository="acme/app",tag="v1",platform="linux/amd64"} 77"#;
        block_on(daemon.until("the registry is read", |metrics| {
            check_body(metrics.text());
            let mut lines = metrics.text().lines();
            lines.any(|line| line.starts_with("container_image_compressed_size_bytes") && line.ends_with(series))
        }));
        let log = daemon.log();
        assert!(!log.contains("panicked"), "{name}: {log}");
        assert!(block_on(daemon.end()).success(), "{name}: {log}");
    }
}

#[test]
fn the_program_comes_up_with_any_state_file() {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("healthy", 77)]));
    let (files, next) = (files(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((name, bytes)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    comes_up(name, bytes, &registry);
                }
            });
        }
    });
}
