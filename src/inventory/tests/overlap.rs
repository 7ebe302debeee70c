//! Tags that several targets select.

use std::time::Duration;

use super::fixtures::*;
use crate::inventory::*;
use crate::target::{Detail, Target};

#[test]
fn a_tag_belongs_to_the_target_with_the_shortest_interval_and_ties_to_the_first() {
    let (slow, fast, late) =
        (target("slow", "r.io/a", "v1 v2"), target("fast", "r.io/*", "v1"), target("late", "r.io/a", "v1"));
    let fast = Target { interval: Duration::from_secs(10), ..fast };
    let late = Target { interval: Duration::from_secs(10), ..late };
    let mut inventory = inventory(&[slow, fast, late]);
    assert_eq!(assign(&mut inventory, "slow"), ["r.io/a:v2 new"]);
    assert_eq!(assign(&mut inventory, "late"), ["r.io/a:v1 new"]);
    found(&mut inventory, "fast", "r.io/a:v1");
    assert_eq!(assign(&mut inventory, "fast"), [""; 0], "it is being read");
    found(&mut inventory, "fast", "r.io/a:v1");
    assert_eq!(assign(&mut inventory, "fast"), ["r.io/a:v1 new"]);
    assert_eq!(assign(&mut inventory, "late"), [""; 0]);
    assert_eq!(published(&mut inventory), ["a:v1", "a:v2"], "published once");
}

#[test]
fn a_tag_that_two_targets_list_is_read_by_the_first_to_list_it_and_then_by_its_owner() {
    let targets = || {
        let fast = Target { interval: Duration::from_secs(10), ..listing("fast", "r.io/*") };
        [listing("slow", "r.io/a*"), fast]
    };
    let scan = |inventory: &mut Inventory, target: &str, references: &str| {
        found(inventory, target, references);
        assign(inventory, target)
    };
    let mut inventory = inventory(&targets());
    let known = "r.io/a:v1 r.io/ab:v1";
    assert_eq!(scan(&mut inventory, "slow", known), ["r.io/a:v1 new", "r.io/ab:v1 new"]);
    assert_eq!(scan(&mut inventory, "fast", &format!("{known} r.io/b:v1")), ["r.io/b:v1 new"]);
    scan_ended(&mut inventory, "fast");
    let all = format!("{known} r.io/b:v1");
    assert_eq!(scan(&mut inventory, "fast", &all), ["r.io/a:v1 new", "r.io/ab:v1 new", "r.io/b:v1 new"]);
    assert_eq!(scan(&mut inventory, "slow", known), [""; 0]);
    // A new inventory, with the targets in the other order.
    let all = format!("{all} r.io/a:v2");
    assert_eq!(scan(&mut inventory, "fast", &all).len(), 4);
    assert_eq!(scan(&mut inventory, "slow", &format!("{known} r.io/a:v2")), [""; 0]);
    // After a reload no scan is assigned the tag.
    inventory.reconfigure(&shared(&targets()), WEEK);
    assert_eq!(scan(&mut inventory, "fast", &all).len(), 4);
}

#[test]
fn a_new_owner_with_other_platforms_reads_the_tag() {
    let with = |platforms: &[&str], target: Target| {
        let platforms = platforms.iter().map(|text| platform(text)).collect();
        Target { platforms, ..target }
    };
    for (slow, fast, is_read) in [
        (&["linux/amd64"][..], &["linux/arm64"][..], true),
        (&["linux/amd64"], &["linux/amd64"], false),
        (&["linux/amd64"], &[], true),
        (&[], &["linux/amd64"], false),
    ] {
        let fast = Target { interval: Duration::from_secs(10), ..with(fast, listing("fast", "r.io/*")) };
        let mut inventory = inventory(&[with(slow, listing("slow", "r.io/a")), fast]);
        found(&mut inventory, "slow", "r.io/a:v1");
        assert_eq!(assign(&mut inventory, "slow").len(), 1);
        found(&mut inventory, "fast", "r.io/a:v1");
        assert_eq!(assign(&mut inventory, "fast").len(), usize::from(is_read), "{slow:?}");
    }
}

#[test]
fn platforms_are_united_and_all_includes_all() {
    let with = |name, platforms: &[&str]| {
        let platforms = platforms.iter().map(|text| platform(text)).collect();
        Target { platforms, ..target(name, "r.io/a", "v1") }
    };
    for (first, second, expected) in [
        (&["linux/amd64"][..], &["linux/arm64", "linux/amd64"][..], &["linux/amd64", "linux/arm64"][..]),
        (&["linux/amd64"], &[], &["linux/amd64", "linux/arm64", "linux/s390x"]),
        (&["linux/s390x"], &["linux/s390x"], &["linux/s390x"]),
    ] {
        let mut inventory = inventory(&[with("t", first), with("u", second)]);
        let all = [("linux/amd64", "a:1"), ("linux/arm64", "b:2"), ("linux/s390x", "c:3")];
        read(&mut inventory, "r.io/a:v1", 10.0, index("all", &all));
        let shown: Vec<String> =
            published(&mut inventory)[1..].iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(shown, expected);
    }
}

#[test]
fn only_wanted_platforms_are_in_sums_and_failures() {
    let one = Target { platforms: vec![platform("linux/amd64")].into(), ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[one]);
    let reading = failing(
        index("all", &[("linux/amd64", "a:1"), ("linux/arm64", "b:2")]),
        "linux/s390x",
        crate::oci::Reason::Network,
    );
    read(&mut inventory, "r.io/a:v1", 10.0, reading);
    scan_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        ["a:v1 up=1 success=10 stored=1", "a:v1 linux/amd64 compressed=1 unique=1 proportional=1"]
    );
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=0 stored=1 unique=1 metadata=15"]);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1"]);
}

#[test]
fn a_platform_that_is_wanted_newly_has_to_be_read_though_the_tag_did_not_change() {
    let with = |platforms: &[&str]| {
        let platforms = platforms.iter().map(|text| platform(text)).collect();
        Target { platforms, ..target("t", "r.io/a", "v1") }
    };
    let mut inventory = inventory(&[with(&["linux/amd64"])]);
    let mut reading = index("all", &[("linux/amd64", "a:1")]);
    reading.platforms = vec![platform("linux/amd64")].into();
    read(&mut inventory, "r.io/a:v1", 10.0, reading);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1"]);
    for more in [&["linux/amd64", "linux/arm64"][..], &[]] {
        inventory.reconfigure(&shared(&[with(more)]), WEEK);
        assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 incomplete"]);
    }
    inventory.reconfigure(&shared(&[with(&["linux/amd64"])]), WEEK);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1"]);
}

#[test]
fn an_artifact_is_measured_whatever_platforms_are_wanted() {
    let one = Target { platforms: vec![platform("linux/amd64")].into(), ..target("t", "r.io/chart", "v1") };
    let mut inventory = inventory(&[one]);
    read(&mut inventory, "r.io/chart:v1", 10.0, reading_of(image("", "chart:4000")));
    assert_eq!(published(&mut inventory), ["chart:v1 up=1 success=10", "chart:v1  compressed=4000"]);
}

#[test]
fn the_smallest_budget_and_the_most_exact_uncompressed_hold() {
    let first = Target { budget_bytes: Some(50), uncompressed: Uncompressed::Exact, ..target("t", "r.io/a", "v1 v2") };
    let second = Target { budget_bytes: Some(40), uncompressed: Uncompressed::Cheap, ..target("u", "r.io/a", "v1 v3") };
    let mut inventory = inventory(&[first, second, target("w", "r.io/a", "v1 v4")]);
    for (number, reference) in ["r.io/a:v1", "r.io/a:v2", "r.io/a:v3", "r.io/a:v4"].into_iter().enumerate() {
        read(&mut inventory, reference, 10.0, single(&format!("l{number}:{number}")));
    }
    let budgets: Vec<String> = published(&mut inventory).into_iter().skip(1).step_by(2).collect();
    assert_eq!(
        budgets,
        [
            "a:v1 linux/amd64 compressed=0 budget=40",
            "a:v2 linux/amd64 compressed=1 budget=50",
            "a:v3 linux/amd64 compressed=2 budget=40",
            "a:v4 linux/amd64 compressed=3"
        ]
    );
    let mut work: Vec<(u64, Uncompressed)> =
        inventory.layer_requests().iter().map(|work| (work.bytes, work.mode)).collect();
    work.sort();
    assert_eq!(work, [(0, Uncompressed::Exact), (1, Uncompressed::Exact), (2, Uncompressed::Cheap)]);
}

#[test]
fn a_layer_is_asked_of_each_registry_that_has_it_as_exactly_as_a_target_on_it_wants_it() {
    let with = |name, repository, uncompressed| Target { uncompressed, ..target(name, repository, "v1") };
    let targets = [
        with("t", "a.io/a", Uncompressed::Cheap),
        with("u", "b.io/a", Uncompressed::Exact),
        with("v", "b.io/b", Uncompressed::Cheap),
        target("w", "c.io/a", "v1"),
    ];
    let mut inventory = inventory(&targets);
    for reference in ["a.io/a:v1", "b.io/a:v1", "b.io/b:v1", "c.io/a:v1"] {
        read(&mut inventory, reference, 10.0, single("l:1"));
    }
    let work = inventory.layer_requests();
    let asked: Vec<(&str, Uncompressed)> =
        work.iter().map(|work| (work.repository.registry().as_str(), work.mode)).collect();
    assert_eq!(asked, [("a.io", Uncompressed::Cheap), ("b.io", Uncompressed::Exact)]);
}

#[test]
fn a_layer_of_which_manifests_state_several_sizes_is_asked_for_with_each() {
    let exact = Target { uncompressed: Uncompressed::Exact, ..target("t", "r.io/a", "v1 v2 v3") };
    let mut inventory = inventory(&[exact]);
    for (reference, layers) in [("r.io/a:v1", "l:1"), ("r.io/a:v2", "l:2"), ("r.io/a:v3", "l:2 m:1")] {
        read(&mut inventory, reference, 10.0, single(layers));
    }
    let mut asked: Vec<_> = inventory.layer_requests().into_iter().map(|work| (work.digest, work.bytes)).collect();
    asked.sort();
    let mut expected = vec![(digest("l"), 1), (digest("l"), 2), (digest("m"), 1)];
    expected.sort();
    assert_eq!(asked, expected);
    inventory.learn_layers([(digest("l"), content(9, false, Some(9)))]);
    assert_eq!(inventory.layer_requests().len(), 1);
}

#[test]
fn nothing_is_asked_of_layers_for_a_target_that_publishes_no_images() {
    let with = |name, detail, uncompressed| Target { uncompressed, detail, ..target(name, "r.io/a", "v1") };
    let hidden = || with("t", Detail::Repository, Uncompressed::Exact);
    for (other, expected) in [
        (None, vec![]),
        (Some(with("u", Detail::Images, Uncompressed::Off)), vec![]),
        (Some(with("u", Detail::Images, Uncompressed::Cheap)), vec![Uncompressed::Cheap]),
    ] {
        let targets: Vec<Target> = [hidden()].into_iter().chain(other).collect();
        let mut inventory = inventory(&targets);
        read(&mut inventory, "r.io/a:v1", 10.0, single("l:1"));
        let modes: Vec<Uncompressed> = inventory.layer_requests().iter().map(|work| work.mode).collect();
        assert_eq!(modes, expected);
    }
}

#[test]
fn labels_merge_the_first_in_the_file_wins_and_that_is_said_once() {
    let with = |name, repositories, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Target { labels, ..target(name, repositories, "v1") }
    };
    let first = with("first", "r.io/*", &[("team", "a")]);
    let second = with("second", "r.io/*", &[("team", "b"), ("tier", "gold")]);
    let mut inventory = inventory(&[first, second]);
    found(&mut inventory, "second", "r.io/a:v1 r.io/b:v1");
    assert_eq!(
        repositories(&mut inventory),
        ["a tags=1 unknown=1 label_team=b label_tier=gold", "b tags=1 unknown=1 label_team=b label_tier=gold"]
    );
    found(&mut inventory, "first", "r.io/a:v1 r.io/b:v1");
    assert_eq!(repositories(&mut inventory)[0], "a tags=1 unknown=1 label_team=a label_tier=gold");
    let warnings: Vec<String> = inventory.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "targets `first` and `second` give r.io/a different labels `team`: that of `first`, the first in the file, counts"
        ]
    );
    assert!(inventory.warnings().is_empty());
}

#[test]
fn detail_repository_hides_images_but_those_that_another_target_wants() {
    let huge = Target { detail: Detail::Repository, ..listing("huge", "r.io/a") };
    let mut inventory = inventory(&[huge, target("some", "r.io/a", "v2")]);
    found(&mut inventory, "huge", "r.io/a:v1 r.io/a:v2");
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100 y:20"));
    scan_ended(&mut inventory, "huge");
    scan_ended(&mut inventory, "some");
    assert_eq!(repositories(&mut inventory), ["a tags=2 unknown=0 stored=130 unique=130 metadata=20"]);
    assert_eq!(
        published(&mut inventory),
        ["a:v2 up=1 success=10 stored=120", "a:v2 linux/amd64 compressed=120 unique=20 proportional=70"]
    );
}
