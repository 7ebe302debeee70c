//! State files that are truncated, damaged, foreign, locked, full or in the wrong place, and those of killed processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use image_size_exporter::image::{Image, Layer};
use image_size_exporter::oci::{Digest, MediaType, Platform, Repository, Tag};
use image_size_exporter::store::{Opened, Store, StoreError, Stored};
use image_size_exporter::tag::{Known, TagChange, TagRecord};

mod bounds;
pub(crate) mod closed;
mod damage;
mod full;
mod kill;
mod moved;
mod place;
mod restored;
mod sweep;

const TAGS: u32 = 60;

/// The content of tag `number` in its `version`: an image of its own and a shared one, derived from the two numbers.
fn kept(number: u32, version: u32) -> TagRecord {
    let platform = |text: &str| text.parse::<Platform>().unwrap();
    TagRecord {
        known: Arc::new(Known {
            digest: digest("index", number, version),
            header: Some(digest("index", number, version).to_string().into()),
            media_type: MediaType::new(MediaType::OCI_INDEX),
            index_bytes: u64::from(version),
            images: images(number, version).map(|image| (platform("linux/amd64"), image.digest.clone())).collect(),
            attestations: 1,
            failed: Vec::new(),
            platforms: vec![platform("linux/amd64")].into(),
        }),
        up: true,
        confirmed: f64::from(version),
        last_success: Some(f64::from(version)),
        changed: Some(f64::from(version) / 2.0),
    }
}

fn images(number: u32, version: u32) -> impl Iterator<Item = Arc<Image>> {
    [image(number, version), image(0, version / 10)].into_iter()
}

fn image(number: u32, version: u32) -> Arc<Image> {
    let layer = |position: u32| Layer {
        digest: digest("layer", number + position, version),
        bytes: Some(u64::from(position) * 1_000_003),
        foreign: false,
        diff_id: Some(digest("diff", number + position, version)),
        media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
        hint: None,
    };
    Arc::new(Image {
        digest: digest("manifest", number, version),
        image_id: Some(digest("config", number, version)),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        platform: Platform::none(),
        created: Some(1_700_000_000.0),
        config_bytes: 2_000,
        manifest_bytes: 1_000,
        layers: (0..8).map(layer).collect(),
    })
}

fn digest(what: &str, number: u32, version: u32) -> Digest {
    Digest::sha256_of(format!("{what} {number} {version}").as_bytes())
}

fn name(number: u32) -> (Repository, Tag) {
    (format!("registry.test/app{}", number % 7).parse().unwrap(), format!("v{number}").parse().unwrap())
}

/// Does what a scan and then the state loop do: stores documents, then the tag.
fn write(store: &Store, number: u32, version: u32) {
    for image in images(number, version) {
        store.remember(&image.digest.clone(), Stored::Image(image));
    }
    let (repository, tag) = name(number);
    store.keep(vec![TagChange { repository, tag, kept: Some(kept(number, version)) }]);
}

/// The version of every tag that is kept. Fails if one is not exactly what was written, or if its documents are not.
fn versions(store: &Store) -> BTreeMap<u32, u32> {
    let mut versions = BTreeMap::new();
    for (repository, tag, found) in store.tags() {
        let number = tag.as_str()[1..].parse().unwrap();
        assert_eq!((repository, tag), name(number));
        let version = u32::try_from(found.known.index_bytes).unwrap();
        assert_eq!(found, kept(number, version));
        for image in images(number, version) {
            assert_eq!(store.document(&image.digest.clone()), Some(Stored::Image(image)));
        }
        versions.insert(number, version);
    }
    versions
}

fn flush(store: &Store) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.flush());
}

/// A directory in memory where the system has one: these tests are about what is written, not about disks.
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A state file with every tag in version 1.
fn write_all(path: &Path) {
    let (store, _) = Store::open(path).unwrap();
    for number in 0..TAGS {
        write(&store, number, 1);
    }
    flush(&store);
}

/// How a child of a test is told what to do: the variable and the name of the test that is the child.
const CHILD: &str = "IMAGE_SIZE_EXPORTER_TEST_STATE";

/// The state file of a child; none in a test that is no child.
#[expect(clippy::disallowed_methods, reason = "the environment is how a test tells its child apart from itself")]
fn child_path() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}
