//! What survives a restart.

use super::fixtures::*;
use super::series::{one, two_platforms};
use crate::image::Image;
use crate::inventory::*;
use crate::oci::Reason;
use crate::tag::*;
use crate::target::Target;

/// The records in a store after these changes.
pub(super) fn restart(targets: &[Target], changes: &[TagChange], images: &[Arc<Image>]) -> Inventory {
    let mut inventory = inventory(targets);
    for change in changes {
        let image_of = |digest: &Digest| images.iter().find(|image| image.digest == *digest).cloned();
        let kept = change.kept.as_ref().unwrap();
        assert_eq!(inventory.restore(&change.repository, &change.tag, kept, image_of), None);
    }
    inventory
}

#[test]
fn after_a_restart_the_last_known_values_are_published_at_once_with_their_old_timestamps() {
    let targets = [target("t", "r.io/a", "v1"), listing("u", "r.io/b*")];
    let mut before = inventory(&targets);
    let named = read(&mut before, "r.io/a:v1", 10.0, two_platforms()).unwrap();
    found(&mut before, "u", "r.io/b:v1");
    read(&mut before, "r.io/b:v1", 10.0, single("base:100"));
    let listed = read(&mut before, "r.io/b:v1", 20.0, single("base:100 z:1")).unwrap();
    scan_ended(&mut before, "t");
    scan_ended(&mut before, "u");

    let images: Vec<_> = two_platforms().images.into_iter().chain([image("linux/amd64", "base:100 z:1")]).collect();
    let mut after = restart(&targets, &[listed, named], &images);
    assert_eq!(after.restored(|_, _| true), [TargetName("t".into()), TargetName("u".into())]);
    assert_eq!(published(&mut after), published(&mut before));
    assert_eq!(repositories(&mut after), repositories(&mut before));
    assert_eq!(assign(&mut after, "t"), ["r.io/a:v1"]);
}

#[test]
fn a_target_with_a_tag_that_was_never_read_is_not_restored() {
    let mut before = one(single("x:1"));
    let change = record(&mut before, "r.io/a:v1", 20.0, Outcome::Unchanged).unwrap();
    let v1 = ["a:v1 up=1 success=20", "a:v1 linux/amd64 compressed=1"];
    // After a settled scan the sums were as complete as they are now.
    let summed = ["a:v1 up=1 success=20 stored=1", "a:v1 linux/amd64 compressed=1 unique=1 proportional=1"];
    for (is_settled, expected) in [(false, v1), (true, summed)] {
        let mut after =
            restart(&[target("t", "r.io/a", "v1 v2")], std::slice::from_ref(&change), &single("x:1").images);
        assert_eq!(after.restored(|_, complete| is_settled && complete == Completeness::Settled), []);
        assert_eq!(published(&mut after), [expected[0], expected[1], "a:v2"]);
    }
}

#[test]
fn a_settled_target_without_any_readable_tag_keeps_the_sums() {
    let mut before = one(single("x:1"));
    let change = record(&mut before, "r.io/a:v1", 20.0, Outcome::Unchanged).unwrap();
    let targets = [target("t", "r.io/a", "v1"), target("slip", "r.io/b", "v1")];
    let v1 = ["a:v1 up=1 success=20", "a:v1 linux/amd64 compressed=1"];
    let summed = ["a:v1 up=1 success=20 stored=1", "a:v1 linux/amd64 compressed=1 unique=1 proportional=1"];
    for (is_settled, expected) in [(false, v1), (true, summed)] {
        let mut after = restart(&targets, std::slice::from_ref(&change), &single("x:1").images);
        let restored = after.restored(|_, complete| is_settled && complete == Completeness::Settled);
        assert_eq!(restored, [TargetName("t".into())], "the other is scanned at once");
        assert_eq!(published(&mut after), [expected[0], expected[1], "b:v1"]);
    }
}

#[test]
fn a_scan_is_settled_when_everything_readable_was_read() {
    let target = TargetName("t".into());
    for (outcome, settled, whole) in [
        (None, false, false),
        (Some(Outcome::Failed(Reason::Timeout)), false, false),
        (Some(Outcome::Failed(Reason::Denied)), false, false),
        (Some(Outcome::Failed(Reason::Invalid)), true, false),
        (Some(Outcome::Gone), true, true),
        (Some(Outcome::Read(Arc::new(single("x:1")))), true, true),
    ] {
        let mut inventory = inventory(&[super::fixtures::target("t", "r.io/a", "v1 v2")]);
        read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
        if let Some(outcome) = &outcome {
            record(&mut inventory, "r.io/a:v2", 10.0, outcome.clone());
        }
        let scanned =
            [Completeness::Settled, Completeness::Whole].map(|complete| inventory.is_scanned(&target, complete));
        assert_eq!(scanned, [settled, whole], "{outcome:?}");
    }
}

#[test]
fn a_target_with_a_platform_that_was_never_looked_for_is_not_restored() {
    let narrow = Target { platforms: vec![platform("linux/amd64")].into(), ..target("t", "r.io/a", "v1") };
    let mut before = inventory(std::slice::from_ref(&narrow));
    let amd64 = index("both", &[("linux/amd64", "x:1")]);
    let reading = Reading { platforms: narrow.platforms.clone(), ..amd64 };
    let change = read(&mut before, "r.io/a:v1", 10.0, reading.clone()).unwrap();
    for (platforms, restored) in [(&["linux/amd64"][..], true), (&["linux/amd64", "linux/arm64"], false), (&[], false)]
    {
        let platforms = platforms.iter().copied().map(platform).collect();
        let now = Target { platforms, ..narrow.clone() };
        let mut after = restart(&[now], std::slice::from_ref(&change), &reading.images);
        assert_eq!(!after.restored(|_, _| true).is_empty(), restored);
    }
}

#[test]
fn a_tag_that_no_target_selects_is_not_restored() {
    let mut before = one(single("x:1"));
    let change = record(&mut before, "r.io/a:v1", 20.0, Outcome::Unchanged).unwrap();
    let mut after = inventory(&[target("t", "r.io/a", "v2")]);
    let forgotten = after.restore(&change.repository, &change.tag, &change.kept.unwrap(), |_| None).unwrap();
    assert_eq!(forgotten.kept, None);
    assert_eq!(published(&mut after), ["a:v2"]);
}

#[test]
fn an_image_that_the_store_lost_is_read_again() {
    let mut before = one(two_platforms());
    let change = record(&mut before, "r.io/a:v1", 20.0, Outcome::Unchanged).unwrap();
    let mut after = restart(&[target("t", "r.io/a", "v1")], &[change], &two_platforms().images[..1]);
    assert_eq!(after.restored(|_, _| true), [], "at once, and no sums of a half before");
    assert_eq!(published(&mut after), ["a:v1 up=1 success=20", "a:v1 linux/amd64 compressed=110"]);
    assert_eq!(assign(&mut after, "t"), ["r.io/a:v1 incomplete"]);
    scan_ended(&mut after, "t");
    assert_eq!(
        published(&mut after),
        ["a:v1 up=1 success=20", "a:v1 linux/amd64 compressed=110 unique=110 proportional=110"]
    );
}

#[test]
fn a_listing_target_whose_first_scan_was_cut_short_is_not_restored() {
    let targets = [listing("u", "r.io/b*")];
    let mut before = inventory(&targets);
    found(&mut before, "u", "r.io/b:v1 r.io/b:v2");
    let half = read(&mut before, "r.io/b:v1", 10.0, single("base:100")).unwrap();
    let mut after = restart(&targets, &[half], &single("base:100").images);
    assert_eq!(after.restored(|_, _| false), []);
    assert_eq!(published(&mut after), ["b:v1 up=1 success=10", "b:v1 linux/amd64 compressed=100"], "no sums of a half");
}

/// A repository of two releases, read before the program ended, and its target: what is known after a restart of which
/// the store remembers this of the last scan.
fn releases(remembered: &[Completeness]) -> Inventory {
    let targets = [Target { newest: Some(crate::target::NewestBy::Semver), ..listing("t", "r.io/a") }];
    let mut before = inventory(&targets);
    found(&mut before, "t", "r.io/a:v1 r.io/a:v2");
    let readings = [single("x:1"), single("y:2")];
    let changes: Vec<_> = ["r.io/a:v1", "r.io/a:v2"]
        .into_iter()
        .zip(&readings)
        .map(|(reference, reading)| read(&mut before, reference, 10.0, reading.clone()).unwrap())
        .collect();
    let images: Vec<_> = readings.into_iter().flat_map(|reading| reading.images).collect();
    let mut after = restart(&targets, &changes, &images);
    after.restored(|_, complete| remembered.contains(&complete));
    after
}

/// Its newest release and stored bytes.
fn whole_figures(inventory: &mut Inventory) -> (Option<u64>, Option<u64>) {
    let snapshot = inventory.snapshot();
    let view = &snapshot.registries[0].repositories[0];
    (view.newest.first().map(|newest| newest.release.compressed_bytes), view.stored_bytes)
}

#[test]
fn figures_of_a_list_that_was_never_whole_are_not_published_after_a_restart() {
    let mut after = releases(&[]);
    assert_eq!(whole_figures(&mut after), (None, None));
    scan_ended(&mut after, "t");
    assert_eq!(whole_figures(&mut after), (None, None), "no list was read");
    found_in_part(&mut after, "t", "r.io/a:v1");
    assert_eq!(whole_figures(&mut after), (None, None));
    found(&mut after, "t", "r.io/a:v2 r.io/a:v1");
    assert_eq!(whole_figures(&mut after), (Some(2), Some(3)));
}

#[test]
fn figures_stay_when_the_first_list_after_a_restart_breaks_off() {
    for remembered in [Completeness::Listed, Completeness::Settled, Completeness::Whole] {
        let mut after = releases(&[remembered]);
        let stored = (remembered != Completeness::Listed).then_some(3);
        assert_eq!(whole_figures(&mut after), (Some(2), stored), "{remembered:?}");
        found_in_part(&mut after, "t", "r.io/a:v1");
        scan_ended(&mut after, "t");
        assert_eq!(whole_figures(&mut after), (Some(2), Some(3)), "{remembered:?}");
    }
}

#[test]
fn a_target_is_listed_although_tags_are_unread_and_not_once_its_list_is_cut() {
    let name = TargetName("t".into());
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    let listed = |inventory: &Inventory| {
        [Completeness::Listed, Completeness::Settled].map(|complete| inventory.is_scanned(&name, complete))
    };
    assert_eq!(listed(&inventory), [false, false]);
    found(&mut inventory, "t", "r.io/a:v1");
    assert_eq!(listed(&inventory), [true, false]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    assert_eq!(listed(&inventory), [true, true]);
    let v1 = vec![tag("v1")];
    let cut = ListExtent::Cut;
    let one = DiscoveredRepository { repository: repository("r.io/a"), candidates: v1.clone(), tags: v1, list: cut };
    inventory.select(&name, Discovered { repositories: vec![one], catalog: ListExtent::Whole });
    assert_eq!(listed(&inventory), [false, false]);
}
