//! What policies would free.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixtures::*;
use crate::image::Image;
use crate::inventory::*;
use crate::oci::Reason;
use crate::retention::{Blob, Document, TaggedContent, freed};
use crate::tag::{Outcome, Reading};

const DAY: f64 = 86_400.0;
/// Day 0 of these tests.
const START: f64 = 1_700_000_000.0;

pub(super) fn policy(
    name: &str,
    targets: Option<&str>,
    keep_match: &[&str],
    younger_days: Option<u64>,
) -> Arc<RetentionPolicy> {
    Arc::new(RetentionPolicy {
        name: name.into(),
        targets: targets.map(|names| names.split(' ').map(|name| TargetName(name.into())).collect()),
        keep_newest: None,
        keep_match: keep_match.iter().map(|text| text.parse().unwrap()).collect(),
        keep_younger: younger_days.map(|days| Duration::from_hours(24 * days)),
        keep_running: false,
    })
}

/// `a p=bytes/tags` of each repository and policy, `p=bytes` of the registry's.
pub(super) fn reclaimable(inventory: &mut Inventory) -> Vec<String> {
    let known = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let mut lines = Vec::new();
    for registry in &inventory.snapshot().registries {
        for repository in &registry.repositories {
            lines.extend(repository.reclaimable.iter().map(|view| {
                format!("{} {}={}/{}", repository.repository.name(), view.policy, known(view.bytes), known(view.tags))
            }));
        }
        lines.extend(registry.reclaimable.iter().map(|view| format!("{}={}", view.policy, known(view.bytes))));
    }
    lines
}

#[test]
fn what_two_repositories_share_is_freed_by_both_together() {
    let mut inventory = inventory(&[listing("t", "r.io/a"), listing("u", "r.io/b")]);
    inventory.set_policies(&[policy("all", None, &["^v2$"], None), policy("a", Some("t"), &["^v2$"], None)]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    found(&mut inventory, "u", "r.io/b:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10 both:5"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100 y:20"));
    scan_ended(&mut inventory, "t");
    assert_eq!(reclaimable(&mut inventory), ["a all=?/1", "a a=?/1", "b all=?/?", "all=?", "a=?"], "before the sums");
    read(&mut inventory, "r.io/b:v1", 10.0, single("both:5"));
    scan_ended(&mut inventory, "u");
    // Beside the layers each image has 10 bytes of config and manifest.
    assert_eq!(reclaimable(&mut inventory), ["a all=20/1", "a a=20/1", "b all=10/1", "all=35", "a=20"]);
    record(&mut inventory, "r.io/b:v1", 20.0, Outcome::Gone);
    assert_eq!(reclaimable(&mut inventory), ["a all=25/1", "a a=25/1", "b all=0/0", "all=25", "a=25"]);
    // A tag that is unread may have anything.
    found(&mut inventory, "u", "r.io/b:v1 r.io/b:v2");
    assert_eq!(reclaimable(&mut inventory), ["a all=?/1", "a a=?/1", "b all=?/?", "all=?", "a=?"]);
    record(&mut inventory, "r.io/b:v2", 30.0, Outcome::Failed(Reason::Invalid));
    assert_eq!(reclaimable(&mut inventory)[0], "a all=?/1", "even if it never will be");
    read(&mut inventory, "r.io/b:v2", 30.0, single("x:10"));
    read(&mut inventory, "r.io/b:v1", 30.0, single("x:10"));
    assert_eq!(reclaimable(&mut inventory), ["a all=15/1", "a a=15/1", "b all=0/1", "all=15", "a=15"]);
    // A transient failure keeps what is known.
    record(&mut inventory, "r.io/b:v2", 40.0, Outcome::Failed(Reason::Network));
    assert_eq!(reclaimable(&mut inventory)[0], "a all=15/1");
    inventory.set_policies(&[]);
    assert!(reclaimable(&mut inventory).is_empty());
}

#[test]
fn time_alone_changes_what_a_dated_rule_keeps() {
    let dated = |layers: &str, day: f64| {
        reading_of(Arc::new(Image { created: Some(START + day * DAY), ..(*image("linux/amd64", layers)).clone() }))
    };
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    inventory.set_policies(&[policy("p", None, &[], Some(30))]);
    read(&mut inventory, "r.io/a:v1", 10.0, dated("x:10", 0.0));
    read(&mut inventory, "r.io/a:v2", 10.0, dated("x:10 y:20", 5.0));
    scan_ended(&mut inventory, "t");
    assert_eq!(reclaimable(&mut inventory), ["a p=0/0", "p=0"], "without a time nothing is old");
    for (day, expected) in [(29.0, ["a p=0/0", "p=0"]), (30.0, ["a p=10/1", "p=10"]), (35.0, ["a p=50/2", "p=50"])] {
        inventory.set_time(START + day * DAY);
        assert_eq!(reclaimable(&mut inventory), expected, "day {day}");
    }
    // Only what has changed is made anew.
    let before = inventory.snapshot();
    inventory.set_time(START + 36.0 * DAY);
    assert!(Arc::ptr_eq(&before, &inventory.snapshot()));
}

#[test]
fn a_reload_judges_anew() {
    let (t, u) = (target("t", "r.io/a", "v1"), target("u", "r.io/a", "v2"));
    let mut inventory = inventory(&[t.clone(), u.clone()]);
    inventory.set_policies(&[policy("p", Some("u"), &["^nothing$"], None)]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("y:20"));
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "u");
    assert_eq!(reclaimable(&mut inventory), ["a p=30/1", "p=30"]);
    // The targets change places, and their numbers with them.
    inventory.reconfigure(&shared(&[u, t]), WEEK);
    assert_eq!(reclaimable(&mut inventory), ["a p=30/1", "p=30"]);
    inventory.set_policies(&[policy("q", None, &["^v2$"], None)]);
    assert_eq!(reclaimable(&mut inventory), ["a q=20/1", "q=20"]);
}

#[test]
fn a_child_that_cannot_be_read_may_have_anything() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    inventory.set_policies(&[policy("p", None, &["^v2$"], None)]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    let with = |reason| failing(index("i", &[("linux/amd64", "y:20")]), "linux/arm64", reason);
    read(&mut inventory, "r.io/a:v2", 10.0, with(Reason::NotFound));
    scan_ended(&mut inventory, "t");
    assert_eq!(reclaimable(&mut inventory), ["a p=20/1", "p=20"], "a sparse index has no more than it has");
    for reason in [Reason::Invalid, Reason::Limit, Reason::Unsupported, Reason::Network] {
        read(&mut inventory, "r.io/a:v2", 20.0, with(Reason::NotFound));
        record(&mut inventory, "r.io/a:v2", 21.0, Outcome::Gone);
        read(&mut inventory, "r.io/a:v2", 22.0, with(reason));
        assert_eq!(reclaimable(&mut inventory), ["a p=?/?", "p=?"], "{reason:?}");
    }
}

#[test]
fn platforms_that_a_reload_deselects_count_no_longer_and_are_read_again_when_they_return() {
    let both = || index("i", &[("linux/amd64", "base:100 x:10"), ("linux/arm64", "base:100 w:80")]);
    let of = |platforms: &[&str]| Target {
        platforms: platforms.iter().map(|text| platform(text)).collect(),
        ..target("t", "r.io/a", "v1 v2")
    };
    let mut inventory = inventory(&[of(&[])]);
    inventory.set_policies(&[policy("p", None, &["^v2$"], None)]);
    read(&mut inventory, "r.io/a:v1", 10.0, both());
    read(&mut inventory, "r.io/a:v2", 10.0, single("x:10"));
    scan_ended(&mut inventory, "t");
    let wide = ["a p=205/1", "p=205"];
    assert_eq!(reclaimable(&mut inventory), wide);
    inventory.reconfigure(&shared(&[of(&["linux/amd64"])]), WEEK);
    assert_eq!(reclaimable(&mut inventory), ["a p=115/1", "p=115"], "an index, a manifest, a config and the base");
    inventory.reconfigure(&shared(&[of(&[])]), WEEK);
    assert_eq!(reclaimable(&mut inventory), ["a p=?/?", "p=?"], "what it is now is not known before it is read");
    assert!(inventory.assign(&TargetName("t".into())).iter().any(|request| request.tag == tag("v1")));
    read(&mut inventory, "r.io/a:v1", 20.0, both());
    assert_eq!(reclaimable(&mut inventory), wide);
}

/// What the tags of these tests point at. Two of them list one layer with different sizes, one lists one twice, one as
/// foreign.
fn contents() -> Vec<Reading> {
    vec![
        single("base:100 x:10"),
        single("base:100 y:20"),
        single("base:90 z:40"),
        single("x:10 x:10"),
        single("y:20 ~z:40"),
        index("i", &[("linux/amd64", "base:100 x:10"), ("linux/arm64", "base:100 w:80")]),
        index("j", &[("linux/amd64", "base:100 y:20"), ("linux/arm64", "base:100 w:80")]),
    ]
}

/// The documents of a reading, as a registry stores them.
fn documents(reading: &Reading) -> Vec<Document> {
    let of_image = |image: &Arc<Image>| Document {
        digest: image.digest.clone(),
        bytes: image.manifest_bytes,
        blobs: image
            .image_id
            .iter()
            .map(|config| Blob { digest: config.clone(), bytes: Some(image.config_bytes) })
            .chain(
                image
                    .layers
                    .iter()
                    .filter(|layer| !layer.foreign)
                    .map(|layer| Blob { digest: layer.digest.clone(), bytes: layer.bytes }),
            )
            .collect(),
    };
    let index = (reading.index_bytes > 0).then(|| Document {
        digest: reading.digest.clone(),
        bytes: reading.index_bytes,
        blobs: Vec::new(),
    });
    index.into_iter().chain(reading.images.iter().map(of_image)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_published_is_what_counting_everything_anew_gives(
        events in prop::collection::vec((0_usize..3, 0_usize..5, prop::option::weighted(0.8, 0_usize..7), any::<bool>()), 1..25),
    ) {
        let names = ["a", "b", "c"];
        let mut inventory = inventory(&[listing("t", "r.io/*")]);
        inventory.set_policies(&[policy("p", None, &["^v[01]$"], None)]);
        let mut there: BTreeMap<(usize, usize), Reading> = BTreeMap::new();
        scan_ended(&mut inventory, "t");
        for (repository, tag, content, looks) in events {
            let reference = format!("r.io/{}:v{tag}", names[repository]);
            match content.map(|content| contents().swap_remove(content)) {
                Some(reading) => drop(there.insert((repository, tag), reading)),
                None => drop(there.remove(&(repository, tag))),
            }
            // All but the first repository go with their last tag.
            let is_listed = |at: &usize| *at == 0 || there.keys().any(|(of, _)| of == at);
            let all: Vec<String> = (0..3).filter(is_listed).map(|at| format!("r.io/{}:", names[at]))
                .chain(there.keys().map(|(at, tag)| format!("r.io/{}:v{tag}", names[*at])))
                .collect();
            found(&mut inventory, "t", &all.join(" "));
            if let Some(reading) = there.get(&(repository, tag)) {
                read(&mut inventory, &reference, 10.0, reading.clone());
            }
            if !looks {
                continue;
            }
            let stored: Vec<((usize, usize), Vec<Document>)> =
                there.iter().map(|(place, reading)| (*place, documents(reading))).collect();
            let is_gone = |tag: usize| tag > 1;
            let expected = freed(stored.iter().map(|((repository, tag), documents)| TaggedContent {
                repository: *repository,
                is_gone: is_gone(*tag),
                documents,
            }), 3);
            let snapshot = inventory.snapshot();
            let views: BTreeMap<String, (Option<u64>, Option<u64>)> = snapshot.registries.iter()
                .flat_map(|registry| &registry.repositories)
                .flat_map(|view| view.reclaimable.iter().map(|of| (view.repository.name().to_owned(), (of.bytes, of.tags))))
                .collect();
            for (at, name) in names.iter().enumerate() {
                let tags = there.keys().filter(|(of, tag)| *of == at && is_gone(*tag)).count() as u64;
                if let Some(view) = views.get(*name) {
                    prop_assert_eq!(*view, (Some(expected.repositories[at]), Some(tags)), "{}", name);
                } else {
                    prop_assert_eq!(tags, 0);
                }
            }
            let of_registry: Vec<Option<u64>> = snapshot.registries.iter()
                .flat_map(|registry| registry.reclaimable.iter().map(|of| of.bytes)).collect();
            prop_assert!(of_registry == [Some(expected.bytes)] || there.is_empty(), "{:?} {}", of_registry, expected.bytes);
        }
    }
}
