//! How the inventory grows: time to account for everything, without groups and with 50, time from a changed tag to a new
//! snapshot, without a policy and with one that keeps two tags of five, time in which `retain` judges and counts what it has
//! read, and resident memory, for 1,000, 10,000 and 100,000 images in repositories of five tags, ten layers each, of
//! which four are an image's own and six are one of a hundred bases'.
//!
//! Prints a table: `cargo bench --bench scale`, with what each comes to for one image, which stays the same where the
//! growth is linear. Each size has a process of its own, so that memory is its own too.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image_size_exporter::image::accounting::{Series, StoredLayer, account};
use image_size_exporter::image::{Image, Layer};
use image_size_exporter::inventory::Inventory;
use image_size_exporter::oci::{Digest, MediaType, PlatformFilter, Repository, Tag};
use image_size_exporter::retention::{
    Blob, Document, JudgedTag, RetentionPolicy, TaggedContent, Verdict, freed, judge,
};
use image_size_exporter::tag::{Discovered, DiscoveredRepository, ListExtent, Observation, Outcome, Reading};
use image_size_exporter::target::{Detail, Target, TargetName, Uncompressed};
use image_size_exporter::target::{Listing, Selection};

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const TAGS: u32 = 5;
const BASES: u32 = 100;
const BASE_LAYERS: u32 = 6;
const OWN_LAYERS: u32 = 4;
const TEAMS: u32 = 50;
const ROUNDS: u32 = 9;

fn main() {
    let size = std::env::args().nth(1).and_then(|text| text.parse().ok());
    if let Some(images) = size {
        println!("{}", row(images));
        return;
    }
    println!(
        "{:>8}  {:>13}  {:>8}  {:>14}  {:>25}  {:>8}  {:>16}  {:>9}  {:>12}  {:>9}",
        "images",
        "accounting ms",
        "ns/image",
        "with groups ms",
        "changed tag → snapshot ms",
        "ns/image",
        "with a policy ms",
        "retain ms",
        "resident MiB",
        "KiB/image"
    );
    let program = std::env::current_exe().expect("a running program has a path");
    for images in SIZES {
        let output = Command::new(&program).arg(images.to_string()).output().expect("this program runs");
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn row(images: u32) -> String {
    let none: &[Box<[u32]>] = &[];
    let of_teams: Vec<Box<[u32]>> = (0..TEAMS).map(|team| Box::from([team])).collect();
    let (grouped, accounting) = (accounting(images, &of_teams), accounting(images, none));
    let mut inventory = loaded(images);
    let before = inventory.snapshot();
    let resident = resident_mib();
    let changed = changed(&mut inventory, images, images);
    inventory.set_policies(&[Arc::new(policy())]);
    drop(before);
    let before = inventory.snapshot();
    let with_policy = self::changed(&mut inventory, images, images + ROUNDS);
    let reclaimable = &inventory.snapshot().registries[0].reclaimable;
    assert!(reclaimable[0].bytes > Some(0));
    drop((before, inventory));
    let retained = retained(images);
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let each = |duration: Duration| duration.as_secs_f64() * 1e9 / f64::from(images);
    format!(
        "{images:>8}  {:>13.1}  {:>8.0}  {:>14.1}  {:>25.1}  {:>8.0}  {:>16.1}  {:>9.1}  {resident:>12}  {:>9.1}",
        ms(accounting),
        each(accounting),
        ms(grouped),
        ms(changed),
        each(changed),
        ms(with_policy),
        ms(retained),
        resident as f64 * 1024.0 / f64::from(images)
    )
}

/// From one tag that holds another image to the snapshot with it. `next`: the first image that no tag holds yet.
fn changed(inventory: &mut Inventory, images: u32, next: u32) -> Duration {
    let mut changed = Vec::new();
    for round in 0..ROUNDS {
        let observation = observed(images / 2, next + round);
        let start = Instant::now();
        inventory.record(&observation);
        let snapshot = inventory.snapshot();
        changed.push(start.elapsed());
        drop(snapshot);
    }
    fastest(&changed)
}

/// Two tags of five.
fn policy() -> RetentionPolicy {
    RetentionPolicy {
        name: "two".into(),
        targets: None,
        keep_newest: None,
        keep_match: vec![r"^v1\.[01]\.".parse().expect("an expression")],
        keep_younger: None,
        keep_running: false,
    }
}

/// What `retain` does with what it has read: judges each repository, and counts what is freed.
fn retained(images: u32) -> Duration {
    let contents: Vec<(Tag, [Document; 1])> = (0..images).map(|image| (tag(image), [document(image)])).collect();
    let policy = policy();
    let start = Instant::now();
    let mut gone = Vec::with_capacity(contents.len());
    for repository in contents.chunks(TAGS as usize) {
        let tags: Vec<JudgedTag> = repository
            .iter()
            .map(|(tag, documents)| JudgedTag {
                tag,
                digest: Some(&documents[0].digest),
                created: Some(1.7e9),
                runs: false,
            })
            .collect();
        gone.extend(judge(&policy, &tags, 1.8e9).verdicts.into_iter().map(|verdict| verdict == Verdict::Gone));
    }
    let tags = contents.iter().zip(&gone).enumerate().map(|(at, ((_, documents), &is_gone))| TaggedContent {
        repository: at / TAGS as usize,
        is_gone,
        documents,
    });
    let freed = freed(tags, contents.len() / TAGS as usize);
    let took = start.elapsed();
    assert!(freed.bytes > 0);
    took
}

fn document(image: u32) -> Document {
    let blob = |digest, bytes| Blob { digest, bytes: Some(bytes) };
    let layers = layers_of(image).map(|(number, bytes)| blob(digest("layer", number), bytes));
    let config = blob(digest("config", image), 7_000);
    Document { digest: digest("manifest", image), bytes: 2_000, blobs: layers.chain([config]).collect() }
}

/// The arithmetic alone, over layers that are numbered already: all over the place, as after a long life. Each team is
/// one of the sets of groups, if there are any.
fn accounting(images: u32, sets: &[Box<[u32]>]) -> Duration {
    let end = BASES * BASE_LAYERS + images * OWN_LAYERS;
    let scattered = |number: u32| {
        let number = u64::from(number) * 2_654_435_761 % u64::from(end);
        u32::try_from(number).expect("below the end")
    };
    let layers: Vec<Vec<StoredLayer>> = (0..images)
        .map(|image| layers_of(image).map(|(layer, bytes)| StoredLayer { layer: scattered(layer), bytes }).collect())
        .collect();
    let one = |(image, layers)| {
        let repository = image / TAGS;
        Series { repository, tag: image, image, groups: repository % TEAMS, layers }
    };
    let series: Vec<Series> = (0..).zip(layers.iter().map(Vec::as_slice)).map(one).collect();
    let mut durations = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let usage = account(&series, end as usize, sets);
        durations.push(start.elapsed());
        assert!(usage.stored_bytes > 0);
    }
    fastest(&durations)
}

fn loaded(images: u32) -> Inventory {
    let name = TargetName("all".into());
    let target = Target {
        name: name.clone(),
        repositories: "registry.example.com/**".parse().expect("a pattern"),
        selection: Selection { tags: Vec::new(), listing: Some(Listing::default()) },
        newest: None,
        platforms: PlatformFilter::all(),
        interval: Duration::from_mins(5),
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: None,
        labels: std::collections::BTreeMap::new(),
        grouping: None,
        tags_max: 10_000,
    };
    let mut inventory = Inventory::new(&[Arc::new(target)], Duration::from_hours(168));
    let one = |number: u32| DiscoveredRepository {
        repository: repository(number * TAGS),
        tags: (0..TAGS).map(|place| tag(number * TAGS + place)).collect(),
        candidates: Vec::new(),
        list: ListExtent::Whole,
    };
    let repositories = (0..images / TAGS).map(one).collect();
    inventory.select(&name, Discovered { repositories, catalog: ListExtent::Whole });
    for image in 0..images {
        inventory.record(&observed(image, image));
    }
    inventory.scan_ended(&name);
    inventory
}

/// The place of one image, which holds another one's layers.
fn observed(place: u32, image: u32) -> Observation {
    let layer = |(number, bytes): (u32, u64)| Layer {
        digest: digest("layer", number),
        bytes: Some(bytes),
        foreign: false,
        diff_id: Some(digest("tar", number)),
        media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
        hint: None,
    };
    let image = Image {
        digest: digest("manifest", image),
        image_id: Some(digest("config", image)),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        platform: "linux/amd64".parse().expect("a platform"),
        created: Some(1.7e9),
        config_bytes: 7_000,
        manifest_bytes: 2_000,
        layers: layers_of(image).map(layer).collect(),
    };
    let reading = Reading {
        digest: image.digest.clone(),
        header: Some(image.digest.to_string().into()),
        media_type: image.media_type.clone(),
        index_bytes: 0,
        images: vec![Arc::new(image)],
        attestations: 0,
        failed: Vec::new(),
        platforms: PlatformFilter::all(),
    };
    Observation { repository: repository(place), tag: tag(place), at: 1.7e9, outcome: Outcome::Read(Arc::new(reading)) }
}

/// Numbers and bytes of an image's layers, bottom first.
fn layers_of(image: u32) -> impl Iterator<Item = (u32, u64)> {
    let base = image / TAGS % BASES;
    let shared = (0..BASE_LAYERS).map(move |place| base * BASE_LAYERS + place);
    let own = (0..OWN_LAYERS).map(move |place| BASES * BASE_LAYERS + image * OWN_LAYERS + place);
    shared.chain(own).map(|number| (number, 1_000_000 + u64::from(number)))
}

fn digest(kind: &str, number: u32) -> Digest {
    Digest::sha256_of(format!("{kind} {number}").as_bytes())
}

fn repository(image: u32) -> Repository {
    let number = image / TAGS;
    format!("registry.example.com/team-{}/service-{number}", number % TEAMS).parse().expect("a repository")
}

fn tag(image: u32) -> Tag {
    format!("v1.{}.0", image % TAGS).parse().expect("a tag")
}

/// The fastest of several: whatever else the machine does only adds.
fn fastest(durations: &[Duration]) -> Duration {
    durations.iter().min().copied().unwrap_or_default()
}

/// Resident memory of this process; 0 where `/proc` does not say.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
