//! Fixtures: targets, images and readings from short texts, and published values as lines of text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::image::LayerContent;
use crate::image::{Image, Layer, Unpacked};
use crate::inventory::snapshot::{ImageView, RepositoryView, TagView};
use crate::inventory::*;
use crate::oci::{MediaType, Platform, PlatformFilter, Reason, Tag};
use crate::tag::*;
use crate::target::{Detail, Listing, Selection, Target};

pub(super) const WEEK: Duration = Duration::from_hours(7 * 24);

/// A target of the name, for a repository or pattern, that selects the tags, separated by spaces.
pub(super) fn target(name: &str, repositories: &str, tags: &str) -> Target {
    Target {
        name: TargetName(name.into()),
        repositories: repositories.parse().unwrap(),
        selection: Selection { tags: tags.split_whitespace().map(tag).collect(), listing: None },
        newest: None,
        platforms: PlatformFilter::all(),
        interval: Duration::from_mins(5),
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: None,
        labels: BTreeMap::new(),
        grouping: None,
        tags_max: 10_000,
    }
}

/// A target that selects all tags in the repository's list.
pub(super) fn listing(name: &str, repositories: &str) -> Target {
    let mut target = target(name, repositories, "");
    target.selection.listing = Some(Listing::default());
    target
}

pub(super) fn inventory(targets: &[Target]) -> Inventory {
    Inventory::new(&shared(targets), WEEK)
}

pub(super) fn shared(targets: &[Target]) -> Vec<Arc<Target>> {
    targets.iter().cloned().map(Arc::new).collect()
}

pub(super) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(super) fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

pub(super) fn platform(text: &str) -> Platform {
    if text.is_empty() { Platform::none() } else { text.parse().unwrap() }
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::sha256_of(text.as_bytes())
}

/// An image of layers such as `base:100 x:10`; `~base:100` is distributed elsewhere, `base:?` of unknown size. Its
/// digest is that of its words.
pub(super) fn image(on: &str, layers: &str) -> Arc<Image> {
    let layer = |word: &str| {
        let (name, bytes) = word.split_once(':').unwrap();
        Layer {
            digest: digest(name.trim_start_matches('~')),
            bytes: bytes.parse().ok(),
            foreign: name.starts_with('~'),
            diff_id: None,
            media_type: MediaType::default(),
            hint: None,
        }
    };
    Arc::new(Image {
        digest: digest(layers),
        image_id: Some(digest(&format!("config of {layers}"))),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        platform: platform(on),
        created: None,
        config_bytes: 7,
        manifest_bytes: 3,
        layers: layers.split_whitespace().map(layer).collect(),
    })
}

/// A tag that points at one manifest.
pub(super) fn single(layers: &str) -> Reading {
    reading_of(image("linux/amd64", layers))
}

pub(super) fn reading_of(image: Arc<Image>) -> Reading {
    Reading {
        digest: image.digest.clone(),
        header: Some(image.digest.to_string().into()),
        media_type: image.media_type.clone(),
        index_bytes: 0,
        images: vec![image],
        attestations: 0,
        failed: Vec::new(),
        platforms: PlatformFilter::all(),
    }
}

/// A tag that points at an index of the name, with images of platforms.
pub(super) fn index(name: &str, images: &[(&str, &str)]) -> Reading {
    Reading {
        digest: digest(name),
        header: Some(digest(name).to_string().into()),
        media_type: MediaType::new(MediaType::OCI_INDEX),
        index_bytes: 5,
        images: images.iter().map(|(on, layers)| image(on, layers)).collect(),
        attestations: 0,
        failed: Vec::new(),
        platforms: PlatformFilter::all(),
    }
}

/// What a layer is after decompression.
pub(super) fn content(uncompressed_bytes: u64, estimated: bool, unpacked_bytes: Option<u64>) -> LayerContent {
    let unpacked = unpacked_bytes.map_or(Unpacked::Unknown, Unpacked::Bytes);
    LayerContent { uncompressed_bytes, estimated, unpacked }
}

/// The reading with a failed child.
pub(super) fn failing(mut reading: Reading, on: &str, reason: Reason) -> Reading {
    reading.failed.push(Child { digest: digest(on), platform: platform(on), reason });
    reading
}

pub(super) fn read(inventory: &mut Inventory, reference: &str, at: Timestamp, reading: Reading) -> Option<TagChange> {
    record(inventory, reference, at, Outcome::Read(Arc::new(reading)))
}

pub(super) fn record(inventory: &mut Inventory, reference: &str, at: Timestamp, outcome: Outcome) -> Option<TagChange> {
    let (name, text) = reference.rsplit_once(':').unwrap();
    inventory.record(&Observation { repository: repository(name), tag: tag(text), at, outcome })
}

/// A target's discovery found these tags, such as `r.io/a:v1`, in complete lists.
pub(super) fn found(inventory: &mut Inventory, target: &str, references: &str) -> Vec<TagChange> {
    inventory.select(&TargetName(target.into()), discovered(references, ListExtent::Whole))
}

/// A target's discovery found these tags before reading the list failed.
pub(super) fn found_in_part(inventory: &mut Inventory, target: &str, references: &str) -> Vec<TagChange> {
    inventory.select(&TargetName(target.into()), discovered(references, ListExtent::Partial))
}

fn discovered(references: &str, extent: ListExtent) -> Discovered {
    let mut repositories: Vec<DiscoveredRepository> = Vec::new();
    for reference in references.split_whitespace() {
        let (name, tag) = reference.rsplit_once(':').unwrap();
        let name = repository(name);
        let place = repositories.iter().position(|one| one.repository == name).unwrap_or_else(|| {
            repositories.push(DiscoveredRepository {
                repository: name,
                tags: Vec::new(),
                candidates: Vec::new(),
                list: extent,
            });
            repositories.len() - 1
        });
        // `r.io/a:` is a repository without a tag.
        repositories[place].tags.extend(tag.parse().ok());
        repositories[place].candidates.extend(tag.parse().ok());
    }
    Discovered { repositories, catalog: extent }
}

pub(super) fn scan_ended(inventory: &mut Inventory, target: &str) {
    inventory.scan_ended(&TargetName(target.into()));
}

pub(super) fn assign(inventory: &mut Inventory, target: &str) -> Vec<String> {
    let requests = inventory.assign(&TargetName(target.into()));
    let shown = |one: &TagRequest| {
        let mark = match &one.known {
            None => " new",
            Some(_) if one.is_incomplete => " incomplete",
            Some(_) => "",
        };
        format!("{}:{}{mark}", one.repository, one.tag)
    };
    requests.iter().map(shown).collect()
}

/// What is published of tags and images, one line each: `a:v1 up=1 success=5 stored=110`, `a:v1 linux/amd64 110
/// unique=10`. A value without a sample is left out.
pub(super) fn published(inventory: &mut Inventory) -> Vec<String> {
    let snapshot = inventory.snapshot();
    let mut lines = Vec::new();
    for repository in snapshot.registries.iter().flat_map(|registry| &registry.repositories) {
        for tag in &repository.tags {
            let name = format!("{}:{}", repository.repository.name(), tag.tag);
            lines.push(tag_line(&name, tag));
            lines.extend(tag.images.iter().map(|image| image_line(&name, image)));
        }
    }
    lines
}

/// What is published of repositories, one line each: `a tags=2 unknown=0 stored=130 unique=130`.
pub(super) fn repositories(inventory: &mut Inventory) -> Vec<String> {
    let snapshot = inventory.snapshot();
    let repositories = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
    repositories.map(|view| repository_line(view)).collect()
}

fn repository_line(view: &RepositoryView) -> String {
    let known = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let (tags, unknown) = (known(view.tags_selected), known(view.tags_unknown));
    let mut line = format!("{} tags={tags} unknown={unknown}", view.repository.name());
    word(&mut line, "stored", view.stored_bytes);
    word(&mut line, "unique", view.unique_bytes);
    word(&mut line, "metadata", view.metadata_bytes);
    for (key, value) in &view.labels {
        write!(line, " {key}={value}").unwrap();
    }
    line
}

fn tag_line(name: &str, view: &TagView) -> String {
    let mut line = name.to_owned();
    word(&mut line, "up", view.up.map(u8::from));
    word(&mut line, "success", view.last_success);
    word(&mut line, "changed", view.changed);
    word(&mut line, "stored", view.stored_bytes);
    word(&mut line, "attestations", view.attestations.filter(|count| *count > 0));
    line
}

fn image_line(name: &str, view: &ImageView) -> String {
    let mut line = format!("{name} {}", view.platform);
    word(&mut line, "compressed", view.image.compressed_bytes);
    word(&mut line, "unique", view.unique_bytes);
    word(&mut line, "proportional", view.proportional_bytes.map(f64::round));
    word(&mut line, "uncompressed", view.uncompressed.map(|(bytes, _)| bytes));
    word(&mut line, "estimated", view.uncompressed.map(|(_, estimated)| u8::from(estimated)));
    word(&mut line, "unpacked", view.unpacked_bytes);
    word(&mut line, "budget", view.budget_bytes);
    line
}

fn word(line: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        write!(line, " {name}={value}").unwrap();
    }
}
