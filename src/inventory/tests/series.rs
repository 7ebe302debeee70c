//! When a tag's series appear, change and disappear.

use super::fixtures::*;
use crate::inventory::*;
use crate::oci::Reason;
use crate::tag::*;
use crate::target::{Listing, Selection, Target};

const NOTHING: [&str; 0] = [];

/// One target that names `r.io/a:v1`, whose first scan ended with what the tag pointed at.
pub(super) fn one(reading: Reading) -> Inventory {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, reading);
    scan_ended(&mut inventory, "t");
    inventory
}

pub(super) fn two_platforms() -> Reading {
    index("both", &[("linux/amd64", "base:100 x:10"), ("linux/arm64", "y:20")])
}

#[test]
fn a_tag_that_is_configured_by_name_is_there_before_anything_is_known() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    assert_eq!(published(&mut inventory), ["a:v1"]);
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=1"]);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 new"]);
}

#[test]
fn an_unchanged_tag_only_gets_a_new_timestamp() {
    let mut inventory = one(single("base:100"));
    record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Unchanged);
    assert_eq!(
        published(&mut inventory),
        ["a:v1 up=1 success=20 stored=100", "a:v1 linux/amd64 compressed=100 unique=100 proportional=100"]
    );
}

#[test]
fn a_changed_digest_is_seen_and_the_first_one_is_no_change() {
    let mut inventory = one(single("base:100"));
    read(&mut inventory, "r.io/a:v1", 20.0, single("base:100"));
    assert!(published(&mut inventory)[0].starts_with("a:v1 up=1 success=20 stored"));
    read(&mut inventory, "r.io/a:v1", 30.0, single("base:101"));
    assert_eq!(published(&mut inventory)[0], "a:v1 up=1 success=30 changed=30 stored=101");
}

#[test]
fn a_transient_failure_of_any_part_keeps_the_whole_previous_observation() {
    let mut inventory = one(two_platforms());
    let before = published(&mut inventory);
    let half = index("new", &[("linux/amd64", "base:100 z:99")]);
    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_transient()) {
        read(&mut inventory, "r.io/a:v1", 20.0, failing(half.clone(), "linux/arm64", reason));
        let after = published(&mut inventory);
        assert_eq!(after[0], "a:v1 up=0 success=10 stored=130");
        assert_eq!(after[1..], before[1..]);
    }
}

#[test]
fn a_failed_reading_keeps_the_previous_observation_with_its_old_timestamp() {
    let mut inventory = one(single("base:100"));
    for reason in Reason::ALL {
        record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Failed(reason));
        assert_eq!(published(&mut inventory)[0], "a:v1 up=0 success=10 stored=100", "{reason}");
    }
    record(&mut inventory, "r.io/a:v1", 30.0, Outcome::Unchanged);
    assert_eq!(published(&mut inventory)[0], "a:v1 up=1 success=30 stored=100");
}

#[test]
fn a_first_reading_in_part_publishes_the_good_platforms_and_withholds_the_tags_sums() {
    let half = failing(index("both", &[("linux/amd64", "base:100 x:10")]), "linux/arm64", Reason::Timeout);
    let mut inventory = one(half);
    assert_eq!(published(&mut inventory), ["a:v1 up=0", "a:v1 linux/amd64 compressed=110 unique=110 proportional=110"]);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 incomplete"]);
    read(&mut inventory, "r.io/a:v1", 20.0, two_platforms());
    assert_eq!(published(&mut inventory)[0], "a:v1 up=1 success=20 stored=130");
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1"]);
}

#[test]
fn another_part_of_the_same_index_replaces_the_first() {
    let half = failing(index("both", &[("linux/amd64", "x:10")]), "linux/arm64", Reason::Timeout);
    let mut inventory = one(half);
    let more = index("both", &[("linux/amd64", "x:10"), ("linux/s390x", "z:1")]);
    read(&mut inventory, "r.io/a:v1", 20.0, failing(more, "linux/arm64", Reason::Timeout));
    assert_eq!(published(&mut inventory).len(), 3);
    let other = failing(index("other", &[("linux/amd64", "w:7")]), "linux/arm64", Reason::Timeout);
    read(&mut inventory, "r.io/a:v1", 30.0, other);
    assert_eq!(published(&mut inventory).len(), 3);
}

#[test]
fn a_definite_failure_leaves_out_that_platform_only() {
    for (reason, expected) in [
        (Reason::NotFound, "a:v1 up=1 success=20 changed=20 stored=100"),
        (Reason::Invalid, "a:v1 up=0 success=10 changed=20 stored=100"),
        (Reason::Limit, "a:v1 up=0 success=10 changed=20 stored=100"),
        (Reason::Unsupported, "a:v1 up=0 success=10 changed=20 stored=100"),
    ] {
        let mut inventory = one(two_platforms());
        let rest = index("new", &[("linux/amd64", "base:100")]);
        read(&mut inventory, "r.io/a:v1", 20.0, failing(rest, "linux/arm64", reason));
        let after = published(&mut inventory);
        assert_eq!(after, [expected, "a:v1 linux/amd64 compressed=100 unique=100 proportional=100"], "{reason}");
        assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 incomplete"], "failed children are tried again");
    }
}

#[test]
fn a_platform_out_of_the_index_is_gone_at_the_next_snapshot() {
    let mut inventory = one(two_platforms());
    assert_eq!(published(&mut inventory).len(), 3);
    read(&mut inventory, "r.io/a:v1", 20.0, index("one", &[("linux/arm64", "y:20")]));
    assert_eq!(published(&mut inventory)[1..], ["a:v1 linux/arm64 compressed=20 unique=20 proportional=20"]);
}

#[test]
fn a_typing_error_in_a_tags_name_stays_visible() {
    let mut inventory = inventory(&[target("t", "r.io/a", "lattest")]);
    assert_eq!(record(&mut inventory, "r.io/a:lattest", 10.0, Outcome::Gone).unwrap().kept, None);
    scan_ended(&mut inventory, "t");
    assert_eq!(published(&mut inventory), ["a:lattest up=0"]);
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=0"]);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:lattest new"]);
    read(&mut inventory, "r.io/a:lattest", 20.0, single("x:1"));
    assert_eq!(published(&mut inventory)[0], "a:lattest up=1 success=20 stored=1");
}

#[test]
fn a_tag_by_name_that_goes_has_no_sizes_but_stays_down() {
    let mut inventory = one(single("base:100"));
    let change = record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Gone).unwrap();
    assert_eq!(change.kept, None);
    assert_eq!(published(&mut inventory), ["a:v1 up=0 success=10"]);
}

#[test]
fn under_a_wildcard_a_repository_without_a_configured_tag_is_not_a_failure() {
    let mut inventory = inventory(&[target("t", "r.io/*", "latest")]);
    found(&mut inventory, "t", "r.io/a:latest r.io/b:latest");
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=1", "b tags=1 unknown=1"]);
    read(&mut inventory, "r.io/a:latest", 10.0, single("x:1"));
    record(&mut inventory, "r.io/b:latest", 10.0, Outcome::Gone);
    scan_ended(&mut inventory, "t");
    assert_eq!(published(&mut inventory).len(), 2);
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=0 stored=1 unique=1 metadata=10"]);
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:latest", "r.io/b:latest new"], "it may come some day");
    read(&mut inventory, "r.io/b:latest", 20.0, single("y:1"));
    assert_eq!(published(&mut inventory).len(), 4);
}

#[test]
fn a_tag_that_is_missing_from_a_completely_read_list_is_gone() {
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("y:1"));
    assert_eq!(published(&mut inventory).len(), 4);
    let forgotten = found(&mut inventory, "t", "r.io/a:v2 r.io/a:v3");
    assert_eq!(forgotten, [TagChange { repository: repository("r.io/a"), tag: tag("v1"), kept: None }]);
    assert_eq!(published(&mut inventory).len(), 3);
    assert_eq!(repositories(&mut inventory), ["a tags=2 unknown=1"]);
}

#[test]
fn a_partial_tag_list_adds_and_removes_nothing() {
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    assert!(found_in_part(&mut inventory, "t", "r.io/a:v3").is_empty());
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 new", "r.io/a:v2 new", "r.io/a:v3 new"]);
}

#[test]
fn a_partial_catalog_removes_no_repository_and_a_complete_one_does() {
    let mut inventory = inventory(&[listing("t", "r.io/**")]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/b/c:v1");
    assert!(found_in_part(&mut inventory, "t", "r.io/a:v1").is_empty());
    assert_eq!(repositories(&mut inventory).len(), 2);
    assert_eq!(found(&mut inventory, "t", "r.io/a:v1").len(), 1);
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=1"]);
}

#[test]
fn a_listed_tag_that_goes_between_list_and_reading_is_gone_and_no_failure() {
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    found(&mut inventory, "t", "r.io/a:v1");
    record(&mut inventory, "r.io/a:v1", 10.0, Outcome::Gone);
    assert_eq!(published(&mut inventory), NOTHING);
    assert_eq!(repositories(&mut inventory), ["a tags=0 unknown=0"]);
}

#[test]
fn a_named_tag_is_selected_whatever_a_list_says() {
    let mut both = listing("t", "r.io/a");
    both.selection.tags = vec![tag("v1")];
    let mut inventory = inventory(&[both]);
    assert!(found(&mut inventory, "t", "r.io/a:v2").is_empty());
    assert_eq!(published(&mut inventory), ["a:v1", "a:v2"]);
}

#[test]
fn an_unreadable_tag_is_dropped_after_keep_and_not_before() {
    let week = WEEK.as_secs_f64();
    let mut inventory = one(single("base:100"));
    assert!(inventory.expire(10.0 + 2.0 * week).is_empty(), "nothing failed");
    record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Failed(Reason::Network));
    assert!(inventory.expire(10.0 + week).is_empty());
    assert_eq!(published(&mut inventory).len(), 2);
    assert_eq!(inventory.expire(11.0 + week).len(), 1);
    assert_eq!(published(&mut inventory), ["a:v1 up=0 success=10"]);
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=1"]);
}

#[test]
fn a_child_that_stays_invalid_is_no_reason_to_drop_the_others() {
    let mut inventory = one(failing(two_platforms(), "linux/s390x", Reason::Invalid));
    assert!(inventory.expire(10.0 + 2.0 * WEEK.as_secs_f64()).is_empty());
}

#[test]
fn a_tag_out_of_the_configuration_is_gone_at_the_next_snapshot() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2"), target("u", "s.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("x:1"));
    read(&mut inventory, "s.io/a:v1", 10.0, single("x:1"));
    let forgotten = inventory.reconfigure(&shared(&[target("t", "r.io/a", "v2 v3")]), WEEK);
    let forgotten: Vec<String> = forgotten.iter().map(|one| format!("{}:{}", one.repository, one.tag)).collect();
    assert_eq!(forgotten, ["r.io/a:v1", "s.io/a:v1"]);
    assert_eq!(published(&mut inventory), ["a:v2 up=1 success=10", "a:v2 linux/amd64 compressed=1", "a:v3"]);
}

#[test]
fn a_target_with_the_same_selection_continues_through_a_new_configuration() {
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    found(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    let before = published(&mut inventory);
    let mut same = listing("t", "r.io/a");
    same.budget_bytes = Some(5);
    assert!(inventory.reconfigure(&shared(&[same]), WEEK).is_empty());
    assert_eq!(published(&mut inventory), [before[0].clone(), format!("{} budget=5", before[1])]);
    assert!(
        inventory.reconfigure(&shared(&[target("other", "r.io/b", "v1"), listing("t", "r.io/a")]), WEEK).is_empty()
    );
    assert_eq!(published(&mut inventory)[..2], before);
    scan_ended(&mut inventory, "other");
    assert_eq!(published(&mut inventory)[..2], before);
}

#[test]
fn a_new_listing_target_publishes_known_tags_until_its_list_is_read() {
    let mut inventory = one(single("x:1"));
    let before = published(&mut inventory);
    assert!(inventory.reconfigure(&shared(&[listing("all", "r.io/**")]), WEEK).is_empty());
    assert_eq!(published(&mut inventory), before);
    assert_eq!(found(&mut inventory, "all", "r.io/a:v2").len(), 1);
    assert_eq!(published(&mut inventory), ["a:v2"]);
}

#[test]
fn a_target_is_down_while_a_tag_that_it_selects_is_whichever_target_reads_it() {
    let name = |name: &str| TargetName(name.into());
    let slow = Target { interval: Duration::from_hours(1), ..listing("slow", "r.io/a") };
    let mut inventory = inventory(&[target("fast", "r.io/a", "v1"), slow]);
    let down = |inventory: &mut Inventory| {
        inventory.snapshot();
        let mut down: Vec<String> = inventory.targets_down().iter().map(ToString::to_string).collect();
        down.sort();
        down.join(" ")
    };
    found(&mut inventory, "slow", "r.io/a:v1 r.io/a:v2");
    read(&mut inventory, "r.io/a:v2", 10.0, single("x:1"));
    for target in ["slow", "fast"] {
        assert!(!inventory.is_scanned(&name(target), Completeness::Whole));
    }
    assert_eq!(down(&mut inventory), "", "v1 was not read yet");
    record(&mut inventory, "r.io/a:v2", 20.0, Outcome::Failed(Reason::Denied));
    assert_eq!(down(&mut inventory), "slow");
    record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Gone);
    read(&mut inventory, "r.io/a:v2", 30.0, single("x:1"));
    assert_eq!(down(&mut inventory), "fast slow", "a tag that is named is published although it does not exist");
    read(&mut inventory, "r.io/a:v1", 40.0, single("x:1"));
    assert_eq!(down(&mut inventory), "");
    assert!(inventory.is_scanned(&name("slow"), Completeness::Whole));
}

#[test]
fn what_a_target_selects_is_counted_once_all_of_its_lists_were_read() {
    let targets = [target("named", "r.io/a", "v1"), listing("list", "r.io/a"), listing("all", "r.io/**")];
    let mut inventory = inventory(&targets);
    let selected = |inventory: &mut Inventory| {
        inventory.snapshot();
        let mut selected: Vec<String> = inventory
            .targets_selected()
            .iter()
            .map(|(name, Selected { repositories, tags })| format!("{name} {repositories} {tags}"))
            .collect();
        selected.sort();
        selected.join(", ")
    };
    assert_eq!(selected(&mut inventory), "named 1 1", "no list has been read");
    found_in_part(&mut inventory, "list", "r.io/a:v2");
    assert_eq!(selected(&mut inventory), "named 1 1", "the list broke off");
    found(&mut inventory, "list", "r.io/a:v2 r.io/a:v3");
    found(&mut inventory, "all", "r.io/a:v1 r.io/b: r.io/c:v1 r.io/c:v2");
    assert_eq!(selected(&mut inventory), "all 3 3, list 1 2, named 1 1");
    found_in_part(&mut inventory, "list", "r.io/a:v3");
    assert_eq!(selected(&mut inventory), "all 3 3, list 1 2, named 1 1", "the last whole list counts");
    inventory.reconfigure(&shared(&targets), WEEK);
    assert_eq!(selected(&mut inventory), "all 3 3, list 1 2, named 1 1", "a reload that changes nothing");
    found(&mut inventory, "list", "r.io/a:");
    found(&mut inventory, "all", "");
    assert_eq!(selected(&mut inventory), "all 0 0, list 1 0, named 1 1");
    inventory.reconfigure(&shared(&[listing("all", "r.io/a"), listing("new", "r.io/**")]), WEEK);
    assert_eq!(selected(&mut inventory), "", "other selections wait for their lists");
}

#[test]
fn an_index_without_a_readable_image_counts_as_never_read() {
    let mut inventory = one(failing(index("none", &[]), "linux/amd64", Reason::Denied));
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=1"]);
    read(&mut inventory, "r.io/a:v1", 20.0, failing(index("none", &[]), "linux/amd64", Reason::NotFound));
    assert_eq!(repositories(&mut inventory), ["a tags=1 unknown=0"], "sparse, and of no wanted platform");
}

#[test]
fn a_tag_that_was_gone_and_came_back_with_another_digest_has_changed() {
    let mut inventory = one(single("x:1"));
    record(&mut inventory, "r.io/a:v1", 20.0, Outcome::Gone);
    read(&mut inventory, "r.io/a:v1", 30.0, single("x:1"));
    assert_eq!(inventory.snapshot().registries[0].repositories[0].tags[0].changed, None, "the same as before");
    record(&mut inventory, "r.io/a:v1", 40.0, Outcome::Gone);
    read(&mut inventory, "r.io/a:v1", 50.0, single("y:1"));
    assert_eq!(inventory.snapshot().registries[0].repositories[0].tags[0].changed, Some(50.0));
}

#[test]
fn an_observation_of_a_tag_that_no_target_selects_changes_nothing() {
    let mut inventory = one(single("x:1"));
    let before = inventory.snapshot();
    assert_eq!(read(&mut inventory, "r.io/other:v1", 20.0, single("y:1")), None);
    assert_eq!(read(&mut inventory, "r.io/a:v2", 20.0, single("y:1")), None);
    assert!(Arc::ptr_eq(&before, &inventory.snapshot()), "the same snapshot");
}

#[test]
fn an_unchanged_registry_keeps_its_view() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1"), target("u", "s.io/a", "v1")]);
    let before = inventory.snapshot();
    read(&mut inventory, "s.io/a:v1", 10.0, single("x:1"));
    let after = inventory.snapshot();
    assert!(Arc::ptr_eq(&before.registries[0], &after.registries[0]));
    assert_ne!(before.registries[1], after.registries[1]);
}

#[test]
fn the_number_of_tags_is_unknown_while_their_list_was_never_read() {
    let mut inventory = inventory(&[listing("t", "r.io/a")]);
    found_in_part(&mut inventory, "t", "r.io/a:");
    scan_ended(&mut inventory, "t");
    assert_eq!(repositories(&mut inventory), ["a tags=? unknown=?"]);
    let target = TargetName("t".into());
    assert!(
        !inventory.is_scanned(&target, Completeness::Whole) && !inventory.is_scanned(&target, Completeness::Settled)
    );
    found_in_part(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    assert!(
        repositories(&mut inventory)[0].starts_with("a tags=? unknown=?"),
        "nor while it was never read to its end"
    );
    assert!(!inventory.is_scanned(&target, Completeness::Whole), "whatever else is listed");
    found(&mut inventory, "t", "r.io/a:v1");
    assert!(inventory.is_scanned(&target, Completeness::Whole));
    found(&mut inventory, "t", "r.io/a:");
    assert_eq!(repositories(&mut inventory), ["a tags=0 unknown=0"]);
    assert!(inventory.is_scanned(&target, Completeness::Whole));
}

#[test]
fn a_list_longer_than_is_read_keeps_the_limit_and_loses_what_is_gone() {
    let listing = Listing { limit: Some(2), ..Listing::default() };
    let selection = Selection { tags: Vec::new(), listing: Some(listing) };
    let mut inventory = inventory(&[Target { selection, ..super::fixtures::listing("t", "r.io/a") }]);
    found_in_part(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    found_in_part(&mut inventory, "t", "r.io/a:v3 r.io/a:v2");
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v2 new", "r.io/a:v3 new"]);
    record(&mut inventory, "r.io/a:v2", 10.0, Outcome::Gone);
    found_in_part(&mut inventory, "t", "r.io/a:v3");
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v3 new"]);
}
