//! How the inventory grows: time to account for everything, without groups and with 50, time from a changed tag to a new
//! snapshot, without a policy and with one that keeps two tags of five, time in which `retain` judges and counts what it has
//! read, and resident memory, for 1,000, 10,000 and 100,000 images in repositories of five tags, ten layers each, of
//! which four are an image's own and six are one of a hundred bases'.
//!
//! Prints a table: `cargo bench --bench scale`, with what each comes to for one image, which stays the same where the
//! growth is linear. Each size has a process of its own, so that memory is its own too.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "fixtures/inventory.rs"]
mod fixtures;
#[path = "fixtures/process.rs"]
mod process;
#[path = "fixtures/table.rs"]
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use image_size_exporter::image::accounting::{Accounting, Census, Figures, ImageMark, Series, StoredLayer};
use image_size_exporter::inventory::Inventory;
use image_size_exporter::oci::Tag;
use image_size_exporter::retention::{
    Blob, Document, JudgedTag, RetentionPolicy, TaggedContent, Verdict, freed, judge,
};

use fixtures::{BASE_LAYERS, BASES, OWN_LAYERS, TAGS, TEAMS, digest, layers_of, loaded, observed, tag};
use process::kib;
use table::table;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const ROUNDS: u32 = 9;

fn main() {
    let heading = || {
        format!(
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
        )
    };
    table(heading, &SIZES, row);
}

fn row(images: u32) -> String {
    let none: &[Box<[u32]>] = &[];
    let of_teams: Vec<Box<[u32]>> = (0..TEAMS).map(|team| Box::from([team])).collect();
    let (grouped, accounting) = (accounting(images, &of_teams), accounting(images, none));
    let mut inventory = loaded(images, |_| {});
    let before = inventory.snapshot();
    let resident = kib("VmRSS") / 1024;
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
        let groups = image / TAGS % TEAMS;
        Series { tag: image % TAGS, image, groups, layers }
    };
    let series: Vec<Series> = (0..).zip(layers.iter().map(Vec::as_slice)).map(one).collect();
    let repositories = || (0..).zip(series.chunks(TAGS as usize));
    let mut durations = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut census = Census::default();
        repositories().for_each(|(number, series)| census.replace(number, &[], series.iter().copied()));
        census.settle(|_| ImageMark::MIN);
        let mut accounting = Accounting::new(&census, !sets.is_empty());
        let all: Vec<Figures> =
            repositories().map(|(number, series)| accounting.repository(number, TAGS as usize, series)).collect();
        let groups = accounting.groups(sets);
        durations.push(start.elapsed());
        assert!(census.stored_bytes(0) > 0 && groups.len() == sets.len() && all.len() * TAGS as usize == series.len());
    }
    fastest(&durations)
}

/// The fastest of several: whatever else the machine does only adds.
fn fastest(durations: &[Duration]) -> Duration {
    durations.iter().min().copied().unwrap_or_default()
}
