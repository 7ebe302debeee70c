//! The newest release as one stable series.

use super::fixtures::*;
use crate::image::Image;
use crate::inventory::*;
use crate::oci::{Reason, Tag};
use crate::tag::*;
use crate::target::{Detail, Listing, NewestBy, Selection, Target};

fn by(by: NewestBy) -> Inventory {
    inventory(&[Target { newest: Some(by), ..listing("t", "r.io/a") }])
}

/// `v1.5.0 linux/amd64 120 after 110`
fn newest(inventory: &mut Inventory) -> Vec<String> {
    let snapshot = inventory.snapshot();
    let views = snapshot
        .registries
        .iter()
        .flat_map(|registry| &registry.repositories)
        .flat_map(|repository| &repository.newest);
    let shown = |view: &snapshot::NewestView| {
        let before = |release: &snapshot::ReleaseView| format!(" after {}", release.compressed_bytes);
        let previous = view.previous.as_ref().map_or(String::new(), before);
        format!("{} {} {}{previous}", view.release.tag, view.platform, view.release.compressed_bytes)
    };
    views.map(shown).collect()
}

#[test]
fn both_releases_are_named_by_their_tags_and_what_these_point_at() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v3 r.io/a:v2 r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, index("1", &[("linux/amd64", "x:1"), ("linux/arm64", "y:10")]));
    read(&mut inventory, "r.io/a:v2", 10.0, single("x:2"));
    read(&mut inventory, "r.io/a:v3", 10.0, index("3", &[("linux/amd64", "x:3"), ("linux/arm64", "y:30")]));
    let snapshot = inventory.snapshot();
    let named = |release: &snapshot::ReleaseView| (release.tag.to_string(), release.digest.clone());
    let views = snapshot.registries[0].repositories[0].newest.iter();
    let shown: Vec<_> = views.map(|view| (named(&view.release), view.previous.as_ref().map(named))).collect();
    let three = ("v3".to_owned(), digest("3"));
    assert_eq!(
        shown,
        [(three.clone(), Some(("v2".to_owned(), digest("x:2")))), (three, Some(("v1".to_owned(), digest("1")))),],
        "the release before is the last one that has the platform"
    );
}

#[test]
fn one_series_moves_from_release_to_release_and_back() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v1.4.0 r.io/a:v1.3.0");
    read(&mut inventory, "r.io/a:v1.3.0", 10.0, single("x:100"));
    read(&mut inventory, "r.io/a:v1.4.0", 10.0, single("x:100 y:10"));
    assert_eq!(newest(&mut inventory), ["v1.4.0 linux/amd64 110 after 100"]);
    found(&mut inventory, "t", "r.io/a:v1.5.0 r.io/a:v1.4.0 r.io/a:v1.3.0");
    assert_eq!(newest(&mut inventory), ["v1.4.0 linux/amd64 110 after 100"], "only tags once read qualify");
    record(&mut inventory, "r.io/a:v1.5.0", 15.0, Outcome::Failed(Reason::Timeout));
    assert_eq!(newest(&mut inventory), ["v1.4.0 linux/amd64 110 after 100"]);
    read(&mut inventory, "r.io/a:v1.5.0", 20.0, single("x:100 z:20"));
    assert_eq!(newest(&mut inventory), ["v1.5.0 linux/amd64 120 after 110"]);
    record(&mut inventory, "r.io/a:v1.5.0", 25.0, Outcome::Failed(Reason::Timeout));
    assert_eq!(newest(&mut inventory), ["v1.5.0 linux/amd64 120 after 110"], "a failing registry changes nothing");
    found(&mut inventory, "t", "r.io/a:v1.4.0 r.io/a:v1.3.0");
    assert_eq!(newest(&mut inventory), ["v1.4.0 linux/amd64 110 after 100"]);
}

#[test]
fn a_newest_tag_that_the_registry_deleted_is_not_published() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v2 r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("y:2"));
    record(&mut inventory, "r.io/a:v2", 20.0, Outcome::Gone);
    assert_eq!(newest(&mut inventory), ["v1 linux/amd64 1"]);
}

#[test]
fn a_platform_that_the_newest_release_lacks_has_no_series() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v3 r.io/a:v2 r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, index("1", &[("linux/amd64", "x:1"), ("linux/arm64", "y:10")]));
    read(&mut inventory, "r.io/a:v2", 10.0, index("2", &[("linux/arm64", "y:20")]));
    read(&mut inventory, "r.io/a:v3", 10.0, index("3", &[("linux/amd64", "x:3")]));
    assert_eq!(newest(&mut inventory), ["v3 linux/amd64 3 after 1"]);
}

#[test]
fn a_pre_release_is_never_the_newest_while_a_release_exists() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v1.0.0 r.io/a:v2.0.0-rc.2 r.io/a:v2.0.0-rc.1");
    read(&mut inventory, "r.io/a:v2.0.0-rc.1", 10.0, single("x:3"));
    read(&mut inventory, "r.io/a:v2.0.0-rc.2", 10.0, single("x:4"));
    assert_eq!(newest(&mut inventory), [""; 0], "v1.0.0 exists, though it is not read yet");
    read(&mut inventory, "r.io/a:v1.0.0", 10.0, single("x:1"));
    assert_eq!(newest(&mut inventory), ["v1.0.0 linux/amd64 1"], "nor is it the release before");
    found(&mut inventory, "t", "r.io/a:v2.0.0-rc.2 r.io/a:v2.0.0-rc.1");
    assert_eq!(newest(&mut inventory), ["v2.0.0-rc.2 linux/amd64 4 after 3"]);
}

#[test]
fn other_names_of_the_newest_release_are_not_the_release_before_it() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:1.27.3 r.io/a:1.27 r.io/a:1.26.0 r.io/a:latest");
    for (reference, layers) in [("1.27.3", "x:3"), ("1.27", "x:3"), ("latest", "x:3"), ("1.26.0", "x:2")] {
        read(&mut inventory, &format!("r.io/a:{reference}"), 10.0, single(layers));
    }
    assert_eq!(newest(&mut inventory), ["1.27.3 linux/amd64 3 after 2"]);
}

#[test]
fn a_tag_that_is_not_a_version_is_never_the_newest_by_version() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:main r.io/a:latest");
    read(&mut inventory, "r.io/a:main", 10.0, single("x:3"));
    assert_eq!(newest(&mut inventory), [""; 0]);
}

#[test]
fn by_created_the_latest_date_counts_and_what_has_none_does_not() {
    let mut inventory = by(NewestBy::Created);
    found(&mut inventory, "t", "r.io/a:v3-rc.1 r.io/a:main-b r.io/a:main-a r.io/a:main-c");
    for (reference, layers, created) in [
        ("main-a", "x:1", Some(100.0)),
        ("main-b", "x:2", Some(200.0)),
        ("main-c", "x:3", None),
        ("v3-rc.1", "x:4", Some(900.0)),
    ] {
        let image = Image { created, ..(*image("linux/amd64", layers)).clone() };
        read(&mut inventory, &format!("r.io/a:{reference}"), 10.0, reading_of(Arc::new(image)));
    }
    assert_eq!(newest(&mut inventory), ["main-b linux/amd64 2 after 1"]);
}

#[test]
fn by_created_the_series_moves_with_each_build_and_back_when_it_is_deleted() {
    let built = |layers: &str, created: f64| {
        reading_of(Arc::new(Image { created: Some(created), ..(*image("linux/amd64", layers)).clone() }))
    };
    let mut inventory = by(NewestBy::Created);
    found(&mut inventory, "t", "r.io/a:build-b r.io/a:build-a");
    read(&mut inventory, "r.io/a:build-a", 10.0, built("x:1", 100.0));
    read(&mut inventory, "r.io/a:build-b", 10.0, built("x:2", 200.0));
    assert_eq!(newest(&mut inventory), ["build-b linux/amd64 2 after 1"]);
    found(&mut inventory, "t", "r.io/a:build-c r.io/a:build-b r.io/a:build-a");
    assert_eq!(newest(&mut inventory), ["build-b linux/amd64 2 after 1"], "only tags once read qualify");
    read(&mut inventory, "r.io/a:build-c", 20.0, built("x:3", 300.0));
    assert_eq!(newest(&mut inventory), ["build-c linux/amd64 3 after 2"]);
    read(&mut inventory, "r.io/a:build-a", 30.0, built("x:4", 400.0));
    assert_eq!(newest(&mut inventory), ["build-a linux/amd64 4 after 3"], "pushed again");
    found(&mut inventory, "t", "r.io/a:build-c r.io/a:build-b");
    assert_eq!(newest(&mut inventory), ["build-c linux/amd64 3 after 2"]);
    record(&mut inventory, "r.io/a:build-c", 40.0, Outcome::Gone);
    assert_eq!(newest(&mut inventory), ["build-b linux/amd64 2"]);
}

#[test]
fn the_newest_release_is_there_where_no_more_than_the_repository_is_wanted() {
    let target = Target { newest: Some(NewestBy::Semver), detail: Detail::Repository, ..listing("t", "r.io/a") };
    let mut inventory = inventory(&[target]);
    found(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    assert_eq!(published(&mut inventory), [""; 0]);
    assert_eq!(newest(&mut inventory), ["v1 linux/amd64 1"]);
}

#[test]
fn the_digest_is_the_tags_and_the_target_the_one_that_asks() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, index("both", &[("linux/amd64", "x:1"), ("linux/arm64", "y:2")]));
    for view in &inventory.snapshot().registries[0].repositories[0].newest {
        assert_eq!((&view.release.digest, &*view.target.0), (&digest("both"), "t"));
    }
    assert_eq!(newest(&mut inventory).len(), 2);
}

/// `limit` bounds what is read, and so what can be the newest. A release that it cuts is still a release: no
/// pre-release takes its place.
#[test]
fn a_release_beyond_limit_is_not_the_newest_and_lets_no_pre_release_take_its_place() {
    let listed = |inventory: &mut Inventory, limit, tags: &str| {
        let listing = Listing { limit: Some(limit), ..Listing::default() };
        let tags: Vec<Tag> = tags.split(' ').map(tag).collect();
        let selected = Selection { tags: Vec::new(), listing: Some(listing) }.select(&tags);
        let (tags, candidates) = (selected.tags, selected.candidates);
        let one = DiscoveredRepository { repository: repository("r.io/a"), tags, candidates, list: ListExtent::Whole };
        inventory.select(&TargetName("t".into()), Discovered { repositories: vec![one], catalog: ListExtent::Whole });
        for (number, wanted) in (1..).zip(inventory.assign(&TargetName("t".into()))) {
            let layers = format!("{}:{number}", wanted.tag);
            read(inventory, &format!("r.io/a:{}", wanted.tag), 10.0, single(&layers));
        }
        newest(inventory)
    };
    for (limit, tags, expected) in [
        (1, "v1.4.0 v1.5.0", &["v1.5.0 linux/amd64 1"][..]),
        (2, "v1.4.0 v1.5.0", &["v1.5.0 linux/amd64 2 after 1"]),
        (2, "v1.4.0 v1.5.0 v1.3.0", &["v1.5.0 linux/amd64 2 after 1"]),
        (2, "v1.4.0 v2.0.0-rc.1 v2.0.0-rc.2", &[]),
        (3, "v1.4.0 v2.0.0-rc.1 v2.0.0-rc.2", &["v1.4.0 linux/amd64 1"]),
    ] {
        assert_eq!(listed(&mut by(NewestBy::Semver), limit, tags), expected, "{limit} of {tags}");
    }
}

#[test]
fn a_reading_in_part_is_no_newest_release_yet() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v2 r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, index("1", &[("linux/amd64", "x:1"), ("linux/arm64", "y:1")]));
    let half = failing(index("2", &[("linux/amd64", "x:2")]), "linux/arm64", Reason::Server);
    read(&mut inventory, "r.io/a:v2", 10.0, half);
    assert_eq!(newest(&mut inventory), ["v1 linux/amd64 1", "v1 linux/arm64 1"]);
}

#[test]
fn the_newest_of_half_a_list_is_not_taken_for_the_newest() {
    let mut inventory = by(NewestBy::Semver);
    found_in_part(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    assert_eq!(newest(&mut inventory), [""; 0]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    assert_eq!(newest(&mut inventory), ["v1 linux/amd64 1"]);
}

#[test]
fn a_reload_that_selects_otherwise_keeps_the_newest_of_what_is_known_until_the_list_is_read() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("x:2"));
    let mut otherwise = Target { newest: Some(NewestBy::Semver), ..listing("t", "r.io/a") };
    otherwise.selection.listing = Some(Listing { limit: Some(10), ..Listing::default() });
    inventory.reconfigure(&shared(&[otherwise]), WEEK);
    assert_eq!(newest(&mut inventory), ["v2 linux/amd64 2 after 1"]);
    found_in_part(&mut inventory, "t", "r.io/a:");
    assert_eq!(newest(&mut inventory), ["v2 linux/amd64 2 after 1"], "nor does a list that cannot be read change it");
}

#[test]
fn a_list_that_was_read_in_part_hides_no_newer_release() {
    let mut inventory = by(NewestBy::Semver);
    found(&mut inventory, "t", "r.io/a:v3 r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v3", 10.0, single("x:3"));
    found_in_part(&mut inventory, "t", "r.io/a:v2 r.io/a:v1");
    read(&mut inventory, "r.io/a:v2", 20.0, single("x:2"));
    assert_eq!(newest(&mut inventory), ["v3 linux/amd64 3 after 2"]);
}

#[test]
fn each_target_has_its_own_newest_release_on_its_own_platforms() {
    let amd = Target {
        newest: Some(NewestBy::Semver),
        platforms: vec![platform("linux/amd64")].into(),
        ..listing("amd", "r.io/a")
    };
    let arm = Target {
        newest: Some(NewestBy::Semver),
        platforms: vec![platform("linux/arm64")].into(),
        ..listing("arm", "r.io/a")
    };
    let mut inventory = inventory(&[amd, arm]);
    found(&mut inventory, "amd", "r.io/a:v2 r.io/a:v1");
    found(&mut inventory, "arm", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, index("1", &[("linux/amd64", "x:1"), ("linux/arm64", "y:10")]));
    read(&mut inventory, "r.io/a:v2", 10.0, index("2", &[("linux/amd64", "x:2"), ("linux/arm64", "y:20")]));
    assert_eq!(newest(&mut inventory), ["v2 linux/amd64 2 after 1", "v1 linux/arm64 10"]);
}

#[test]
fn the_newest_release_is_there_at_once_after_a_restart() {
    let mut before = by(NewestBy::Semver);
    found(&mut before, "t", "r.io/a:v1.5.0 r.io/a:v1.4.0");
    let old = read(&mut before, "r.io/a:v1.4.0", 10.0, single("x:110")).unwrap();
    let new = read(&mut before, "r.io/a:v1.5.0", 10.0, single("y:120")).unwrap();
    scan_ended(&mut before, "t");
    let expected = newest(&mut before);
    let images: Vec<_> = single("x:110").images.into_iter().chain(single("y:120").images).collect();
    let mut after = by(NewestBy::Semver);
    for change in [old, new] {
        let image_of = |digest: &Digest| images.iter().find(|image| image.digest == *digest).cloned();
        after.restore(&change.repository, &change.tag, &change.kept.unwrap(), image_of);
    }
    after.restored(|_, _| true);
    assert_eq!(newest(&mut after), expected);
    assert_eq!(expected, ["v1.5.0 linux/amd64 120 after 110"]);
}

#[test]
fn figures_of_a_whole_repository_are_withheld_while_its_list_is_cut() {
    let target = Target { newest: Some(NewestBy::Semver), ..listing("t", "r.io/a") };
    let mut inventory = inventory(&[target]);
    let listed = |inventory: &mut Inventory, list| {
        let tags = vec![tag("v1")];
        let one = DiscoveredRepository { repository: repository("r.io/a"), candidates: tags.clone(), tags, list };
        inventory.select(&TargetName("t".into()), Discovered { repositories: vec![one], catalog: ListExtent::Whole });
        read(inventory, "r.io/a:v1", 10.0, single("x:1"));
        scan_ended(inventory, "t");
        let snapshot = inventory.snapshot();
        let view = &snapshot.registries[0].repositories[0];
        assert_eq!(view.tags[0].images.len(), 1, "what was read is published");
        (view.tags_selected, view.stored_bytes, view.metadata_bytes.is_some(), view.newest.len())
    };
    let (whole, withheld) = ((Some(1), Some(1), true, 1), (None, None, false, 0));
    for (list, expected) in [
        (ListExtent::Partial, withheld),
        (ListExtent::Whole, whole),
        // A list that was complete before keeps its last true figures when reading it fails.
        (ListExtent::Partial, whole),
        (ListExtent::Unread, whole),
        (ListExtent::Cut, withheld),
        (ListExtent::Unread, withheld),
        (ListExtent::Whole, whole),
    ] {
        assert_eq!(listed(&mut inventory, list), expected, "{list:?}");
    }
}

/// A target that needs no list says nothing about another target's list.
#[test]
fn a_partial_list_stays_partial_although_another_target_needs_none() {
    let mut inventory = inventory(&[target("named", "r.io/a", "latest"), listing("listing", "r.io/a")]);
    let mut select = |name: &str, tags: &str, list| {
        let tags = vec![tag(tags)];
        let one = DiscoveredRepository { repository: repository("r.io/a"), candidates: Vec::new(), tags, list };
        inventory.select(&TargetName(name.into()), Discovered { repositories: vec![one], catalog: ListExtent::Whole });
    };
    select("named", "latest", ListExtent::Whole);
    select("listing", "v1", ListExtent::Partial);
    for (reference, at) in [("r.io/a:latest", 10.0), ("r.io/a:v1", 11.0)] {
        read(&mut inventory, reference, at, single("x:1"));
    }
    for name in ["named", "listing"] {
        scan_ended(&mut inventory, name);
    }
    let snapshot = inventory.snapshot();
    let view = &snapshot.registries[0].repositories[0];
    assert_eq!((view.tags_selected, view.stored_bytes), (None, None));
    assert!(!inventory.is_scanned(&TargetName("listing".into()), Completeness::Whole));
    assert!(inventory.is_scanned(&TargetName("named".into()), Completeness::Whole));
}
