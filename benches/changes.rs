//! What one change costs from the inventory to the body of an answer, for 10,000, 100,000 and 1,000,000 series: milliseconds
//! of CPU of the snapshot and of the rendering after a changed tag, of the rendering after a tag on another base (other
//! shares all over the registry), after a new repository, after a scan that found nothing new, and of everything anew.
//! Then the part of the bytes that is shared with the body before, the compressed body against one stream, and the most
//! memory while one tag after the other changes, beyond the inventory's and against the body's bytes in both encodings.
//!
//! Prints a table: `cargo bench --bench changes`. Each size has a process of its own, so that memory is its own too.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "fixtures/inventory.rs"]
mod fixtures;
#[path = "fixtures/process.rs"]
mod process;
#[path = "fixtures/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use image_size_exporter::inventory::Inventory;
use image_size_exporter::metrics::{Encoding, Rendered, Shown};
use image_size_exporter::tag::{Observation, Outcome};
use image_size_exporter::target::TargetName;

use fixtures::{BASES, TAGS, discovered, loaded, observed};
use process::{cpu, kib};
use table::table;

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
const ROUNDS: u32 = 20;

fn main() {
    let heading = || {
        format!(
            "{:>9}  {:>8}  {:>9}  {:>12}  {:>9}  {:>8}  {:>6}  {:>8}  {:>8}  {:>12}  {:>11}",
            "series",
            "snapshot",
            "a tag ms",
            "other base",
            "new repo",
            "a scan",
            "all ms",
            "shared %",
            "body MiB",
            "gzip / whole",
            "peak / body"
        )
    };
    table(heading, &SIZES, row);
}

/// An inventory, and what was rendered of it last.
struct World {
    inventory: Inventory,
    rendered: Rendered,
}

/// What a change took, and the part of the bytes that was there before.
struct Took {
    snapshot: Duration,
    rendering: Duration,
    shared: f64,
}

impl World {
    fn change(&mut self, change: impl FnOnce(&mut Inventory)) -> Took {
        let start = cpu();
        change(&mut self.inventory);
        let snapshot = self.inventory.snapshot();
        let taken = cpu();
        let next = self.rendered.next(Shown { snapshot, targets: Arc::default() }, &BTreeSet::new());
        let rendered = cpu();
        let shared = next.bytes_shared_with(&self.rendered) as f64 / bytes(&next) as f64;
        self.rendered = next;
        Took { snapshot: taken.saturating_sub(start), rendering: rendered.saturating_sub(taken), shared }
    }
}

/// In both encodings.
fn bytes(rendered: &Rendered) -> u64 {
    rendered.pieces_bytes(Encoding::Identity) + rendered.pieces_bytes(Encoding::Gzip)
}

fn row(series: u32) -> String {
    // Eight series for an image, five for its tag, and six for each five of them.
    let images = series * 10 / 142 / TAGS * TAGS;
    let mut inventory = loaded(images, |_| {});
    let snapshot = inventory.snapshot();
    let resident = kib("VmRSS");
    let start = cpu();
    let rendered = Rendered::render(&snapshot, &BTreeSet::new());
    let all = cpu().saturating_sub(start);
    drop(snapshot);
    let mut world = World { inventory, rendered };
    let series = world.rendered.series();
    world.change(|_| {});

    // Numbers of images that are not there yet, and have the bases of those that are.
    let unused = images.next_multiple_of(TAGS * BASES);
    std::fs::write("/proc/self/clear_refs", "5").expect("forget the peak so far");
    let tags: Vec<Took> = (0..ROUNDS)
        .map(|round| {
            let place = round * 977 * TAGS % images;
            let again = observed(place, place + unused * (round + 1));
            world.change(|inventory| drop(inventory.record(&again)))
        })
        .collect();
    let peak = kib("VmHWM").saturating_sub(resident) * 1024;

    let other = observed(0, unused * (ROUNDS + 1) + TAGS);
    let other_base = world.change(|inventory| drop(inventory.record(&other)));
    let repository = world.change(|inventory| {
        inventory.select(&TargetName("all".into()), discovered(images + TAGS, false));
        (images..images + TAGS).for_each(|place| drop(inventory.record(&observed(place, place))));
    });
    let unchanged = |place| Observation { at: 1.8e9, outcome: Outcome::Unchanged, ..observed(place, place) };
    let scan: Vec<Observation> = (0..images).map(unchanged).collect();
    let scan = world.change(|inventory| scan.iter().for_each(|observation| drop(inventory.record(observation))));

    // At the level of the blocks.
    let mut whole = GzEncoder::new(Vec::new(), Compression::new(2));
    for piece in world.rendered.pieces(Encoding::Identity) {
        whole.write_all(&piece).expect("writing into memory does not fail");
    }
    let whole = whole.finish().expect("writing into memory does not fail").len();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    format!(
        "{series:>9}  {:>8.2}  {:>9.2}  {:>12.1}  {:>9.1}  {:>8.1}  {:>6.0}  {:>8.2}  {:>8.1}  {:>12.3}  {:>11.2}",
        ms(median(tags.iter().map(|took| took.snapshot).collect())),
        ms(median(tags.iter().map(|took| took.rendering).collect())),
        ms(other_base.rendering),
        ms(repository.rendering),
        ms(scan.rendering),
        ms(all),
        tags.iter().map(|took| took.shared).fold(1.0, f64::min) * 100.0,
        bytes(&world.rendered) as f64 / 1024.0 / 1024.0,
        world.rendered.pieces_bytes(Encoding::Gzip) as f64 / whole as f64,
        peak as f64 / bytes(&world.rendered) as f64,
    )
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
