//! Published figures equal their definitions, computed independently from the last readings, image by image and without
//! regard to speed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixtures::*;
use crate::image::Image;
use crate::inventory::*;
use crate::tag::*;

/// The tags: two registries, one of them with two repositories. The last tag of each is not selected at first.
const TAGS: [&str; 7] = ["r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/b:1", "r.io/b:2", "s.io/c:1", "s.io/c:2"];

fn watching() -> Inventory {
    let mut inventory =
        inventory(&[target("a", "r.io/a", "1 2 3"), target("b", "r.io/b", "1 2"), target("c", "s.io/c", "1 2")]);
    for name in ["a", "b", "c"] {
        scan_ended(&mut inventory, name);
    }
    inventory
}

/// Images of a small pool, so that digests are shared between tags, repositories and registries, and layers between
/// images: repeated, foreign, of unknown size, of sizes that disagree.
fn readings() -> impl Strategy<Value = Vec<Option<Reading>>> {
    let odd = |weight| prop::bool::weighted(weight);
    let layer = (0..6_u32, odd(0.1), odd(0.05), odd(0.1)).prop_map(|(number, foreign, unknown, odd)| {
        let bytes = u64::from(number) * 10 + u64::from(odd);
        let bytes = if unknown { "?".to_owned() } else { bytes.to_string() };
        format!("{}l{number}:{bytes}", if foreign { "~" } else { "" })
    });
    let image = prop::collection::vec(layer, 0..5).prop_map(|layers| layers.join(" "));
    let pool = prop::collection::vec(image, 6);
    let platform = prop::sample::select(vec!["linux/amd64", "linux/arm64", "linux/s390x"]);
    let tag = prop::option::weighted(0.8, prop::collection::btree_map(platform, 0..6_usize, 0..4));
    (pool, prop::collection::vec(tag, TAGS.len())).prop_map(|(pool, tags)| {
        let reading = |images: BTreeMap<&str, usize>| {
            let images: Vec<(&str, &str)> = images.into_iter().map(|(on, image)| (on, pool[image].as_str())).collect();
            index(&format!("{images:?}"), &images)
        };
        tags.into_iter().map(|tag| tag.map(reading)).collect()
    })
}

/// One series: registry, repository, tag, and the image.
type Series<'a> = (&'a str, &'a str, &'a str, &'a Image);

fn series(readings: &[Option<Reading>]) -> Vec<Series<'_>> {
    let mut all: Vec<Series> = Vec::new();
    for (reference, reading) in TAGS.iter().zip(readings) {
        let (repository, tag) = reference.split_once(':').unwrap();
        let registry = repository.split_once('/').unwrap().0;
        for image in reading.iter().flat_map(|reading| &reading.images) {
            all.push((registry, repository, tag, image));
        }
    }
    all
}

/// The layers that the registry stores for an image whose every layer's size is known; none for any other.
fn stored(image: &Image) -> BTreeSet<&Digest> {
    if image.layers.iter().any(|layer| layer.bytes.is_none()) {
        return BTreeSet::new();
    }
    image.layers.iter().filter(|layer| !layer.foreign).map(|layer| &layer.digest).collect()
}

/// All that is stored for some series.
fn stored_by<'a>(series: &[Series<'a>], are: impl Fn(&Series) -> bool) -> BTreeSet<&'a Digest> {
    series.iter().filter(|one| are(one)).flat_map(|one| stored(one.3)).collect()
}

/// Their bytes: the smallest of the sizes that counted images of the registry give.
fn bytes<'a>(series: &[Series], registry: &str, digests: impl IntoIterator<Item = &'a Digest>) -> u64 {
    let images = || series.iter().filter(|one| one.0 == registry && !stored(one.3).is_empty());
    let listed = |digest: &Digest| {
        let layers = images().flat_map(|one| one.3.layers.iter());
        layers.filter(|layer| layer.digest == *digest && !layer.foreign).filter_map(|layer| layer.bytes).min()
    };
    digests.into_iter().map(|digest| listed(digest).unwrap()).sum()
}

/// Everything that is published of sizes, as lines.
fn figures(inventory: &mut Inventory) -> BTreeMap<String, f64> {
    let mut lines = BTreeMap::new();
    for registry in &inventory.snapshot().registries {
        let mut note = |what: String, bytes: Option<f64>| lines.extend(bytes.map(|bytes| (what, bytes)));
        let whole = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        note(format!("{} stored", registry.registry), whole(registry.stored_bytes));
        for view in &registry.repositories {
            note(format!("{} stored", view.repository), whole(view.stored_bytes));
            note(format!("{} unique", view.repository), whole(view.unique_bytes));
            for tag in &view.tags {
                let name = format!("{}:{}", view.repository, tag.tag);
                note(format!("{name} stored"), whole(tag.stored_bytes));
                for image in &tag.images {
                    let name = format!("{name} {}", image.platform);
                    note(format!("{name} compressed"), whole(image.image.compressed_bytes));
                    note(format!("{name} unique"), whole(image.unique_bytes));
                    note(format!("{name} proportional"), image.proportional_bytes);
                }
            }
        }
    }
    lines
}

/// The same lines by definition.
fn expected(readings: &[Option<Reading>]) -> BTreeMap<String, f64> {
    let series = series(readings);
    let is_known = |image: &Image| image.layers.iter().all(|layer| layer.bytes.is_some());
    let mut lines = BTreeMap::new();
    for (registry, repository, tag, image) in series.iter().copied().filter(|one| is_known(one.3)) {
        let bytes = |digests: &BTreeSet<&Digest>| bytes(&series, registry, digests.iter().copied());
        let here = stored_by(&series, |one| one.1 == repository);
        let elsewhere = stored_by(&series, |one| one.0 == registry && one.1 != repository);
        let mine = stored(image);
        let others = stored_by(&series, |one| one.0 == registry && one.3.digest != image.digest);
        let share = |digest: &&Digest| {
            let having = series.iter().filter(|one| one.0 == registry && stored(one.3).contains(digest)).count();
            bytes(&[*digest].into()) as f64 / having as f64
        };
        let compressed: u64 = image.layers.iter().filter_map(|layer| layer.bytes).sum();
        let name = format!("{repository}:{tag}");
        let of_tag = |one: &Series| (one.1, one.2) == (repository, tag);
        if series.iter().filter(|one| of_tag(one)).all(|one| is_known(one.3)) {
            lines.insert(format!("{name} stored"), bytes(&stored_by(&series, of_tag)) as f64);
        }
        let name = format!("{name} {}", image.platform);
        for (what, value) in [
            (format!("{registry} stored"), bytes(&stored_by(&series, |one| one.0 == registry)) as f64),
            (format!("{repository} stored"), bytes(&here) as f64),
            (format!("{repository} unique"), bytes(&(&here - &elsewhere)) as f64),
            (format!("{name} compressed"), compressed as f64),
            (format!("{name} unique"), bytes(&(&mine - &others)) as f64),
            (format!("{name} proportional"), mine.iter().map(share).sum()),
        ] {
            lines.insert(what, value);
        }
    }
    lines
}

fn read_all(inventory: &mut Inventory, readings: &[Option<Reading>]) {
    for (reference, reading) in TAGS.iter().zip(readings) {
        if let Some(reading) = reading {
            read(inventory, reference, 10.0, reading.clone());
        }
    }
}

fn differ(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> bool {
    !a.keys().eq(b.keys()) || a.values().zip(b.values()).any(|(a, b)| (a - b).abs() > 1e-9 * (1.0 + a.abs()))
}

proptest! {
    #[test]
    fn every_published_figure_equals_its_definition(readings in readings()) {
        let mut inventory = watching();
        read_all(&mut inventory, &readings);
        let (published, expected) = (figures(&mut inventory), expected(&readings));
        prop_assert!(!differ(&published, &expected), "published {published:#?}\nexpected {expected:#?}");
    }

    #[test]
    fn the_order_of_readings_never_matters(readings in readings(), by in 0..TAGS.len()) {
        let (mut one, mut other) = (watching(), watching());
        read_all(&mut one, &readings);
        for place in (0..TAGS.len()).rev().map(|place| (place + by) % TAGS.len()) {
            if let Some(reading) = &readings[place] {
                read(&mut other, TAGS[place], 10.0, reading.clone());
                other.snapshot();
            }
        }
        prop_assert!(!differ(&figures(&mut one), &figures(&mut other)));
    }

    #[test]
    fn one_more_tag_for_a_known_digest_changes_no_stored_and_no_unique_size(mut readings in readings()) {
        let last = TAGS.iter().rposition(|tag| tag.starts_with("r.io/a:")).unwrap();
        readings[last] = None;
        let Some(alias) = readings[0].clone() else { return Ok(()) };
        let mut inventory = watching();
        read_all(&mut inventory, &readings);
        let before = figures(&mut inventory);
        read(&mut inventory, TAGS[last], 10.0, alias);
        let mut after = figures(&mut inventory);
        after.retain(|what, _| !what.starts_with(TAGS[last]));
        let fixed = |figures: BTreeMap<String, f64>| -> BTreeMap<String, f64> {
            figures.into_iter().filter(|(what, _)| !what.ends_with(" proportional")).collect()
        };
        prop_assert_eq!(fixed(before), fixed(after));
    }
}
