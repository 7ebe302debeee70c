//! Notifications: what they ask to be read, and what they may not change.

use super::fixtures::*;
use crate::inventory::*;
use crate::oci::{Reason, Tag};
use crate::tag::{Observation, Outcome, TagChange};
use crate::target::{Selection, Target, TargetName};

/// The tag to read, and the targets that have to list the repository first.
fn pushed(inventory: &mut Inventory, reference: &str) -> (Vec<String>, Vec<String>) {
    let (name, tag) = reference.rsplit_once(':').unwrap();
    let pushed = inventory.pushed(&repository(name), &tag.parse().unwrap());
    let read = pushed.request.iter().map(|request| request.tag.to_string()).collect();
    (read, pushed.lists.iter().map(ToString::to_string).collect())
}

/// The tag is read because of a notification.
fn read_now(inventory: &mut Inventory, reference: &str, outcome: Outcome) -> Vec<TagChange> {
    let (name, tag) = reference.rsplit_once(':').unwrap();
    let observation = Observation { repository: repository(name), tag: tag.parse().unwrap(), at: 20.0, outcome };
    inventory.record_notified(&observation)
}

fn deleted(inventory: &Inventory, name: &str, deleted: Deleted<'_>) -> Vec<String> {
    inventory.deleted(&repository(name), deleted).iter().map(|request| request.tag.to_string()).collect()
}

fn registry_stored(inventory: &mut Inventory) -> Vec<Option<u64>> {
    inventory.snapshot().registries.iter().map(|registry| registry.stored_bytes).collect()
}

fn lines(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_push_of_a_named_tag_asks_for_that_tag_and_of_no_other() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    assert_eq!(pushed(&mut inventory, "r.io/a:v1"), (lines(&["v1"]), vec![]));
    assert_eq!(pushed(&mut inventory, "r.io/a:v3"), (vec![], vec![]));
    assert_eq!(pushed(&mut inventory, "r.io/b:v1"), (vec![], vec![]));
}

#[test]
fn a_push_of_a_listed_tag_adds_it_where_the_target_selects_it() {
    let mut with_limit = listing("t", "r.io/a");
    with_limit.selection.listing.as_mut().unwrap().limit = Some(2);
    let mut inventory = inventory(&[with_limit]);
    found(&mut inventory, "t", "r.io/a:v1 r.io/a:v2");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("y:2"));
    scan_ended(&mut inventory, "t");
    assert_eq!(registry_stored(&mut inventory), [Some(3)]);
    assert_eq!(pushed(&mut inventory, "r.io/a:v0"), (vec![], vec![]), "two newer ones are selected");
    assert_eq!(pushed(&mut inventory, "r.io/a:v3"), (lines(&["v3"]), vec![]));
    assert_eq!(registry_stored(&mut inventory), [Some(3)], "nothing is displaced before a reading finds the tag");
    for outcome in [Outcome::Gone, Outcome::Failed(Reason::Network)] {
        assert_eq!(read_now(&mut inventory, "r.io/a:v3", outcome), []);
        assert_eq!(registry_stored(&mut inventory), [Some(3)], "an event that is not true changes nothing");
    }
    read_now(&mut inventory, "r.io/a:v3", Outcome::Read(single("z:4").into()));
    assert_eq!(registry_stored(&mut inventory), [Some(6)], "v1 is beyond the limit, and the list is known to be whole");
}

#[test]
fn a_repository_new_to_a_wildcard_is_listed_first_so_that_no_part_is_published() {
    let mut inventory = inventory(&[listing("t", "r.io/**")]);
    found(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(pushed(&mut inventory, "r.io/b:v1"), (vec![], lines(&["t"])));
    assert_eq!(registry_stored(&mut inventory), [Some(1)]);
    assert_eq!(pushed(&mut inventory, "r.io/a:v2"), (lines(&["v2"]), vec![]));
}

#[test]
fn a_named_tag_of_a_repository_new_to_a_wildcard_is_asked_for_at_once() {
    let mut inventory = inventory(&[target("t", "r.io/*", "latest main")]);
    assert_eq!(pushed(&mut inventory, "r.io/b:v1"), (vec![], vec![]));
    assert_eq!(pushed(&mut inventory, "r.io/b:main"), (lines(&["main"]), vec![]));
    assert!(!inventory.is_watched(&repository("r.io/b")), "not before a reading finds the tag");
    read_now(&mut inventory, "r.io/b:main", Outcome::Read(single("x:1").into()));
    assert_eq!(pushed(&mut inventory, "r.io/b:main"), (lines(&["main"]), vec![]));
    read_now(&mut inventory, "r.io/b:latest", Outcome::Read(single("x:1").into()));
    assert!(
        inventory.knows(&repository("r.io/b"), &tag("main")) && inventory.knows(&repository("r.io/b"), &tag("latest"))
    );
}

#[test]
fn no_more_tags_are_added_than_a_target_may_have() {
    let few = Target { tags_max: 2, ..listing("t", "r.io/a") };
    let mut inventory = inventory(&[few]);
    found(&mut inventory, "t", "r.io/a:v1");
    assert_eq!(pushed(&mut inventory, "r.io/a:v2").0, ["v2"]);
    read_now(&mut inventory, "r.io/a:v2", Outcome::Read(single("x:1").into()));
    assert_eq!(pushed(&mut inventory, "r.io/a:v3").0, [""; 0]);
    assert_eq!(pushed(&mut inventory, "r.io/a:v2").0, ["v2"]);
}

#[test]
fn a_tag_that_one_target_knows_is_selected_by_another_one_too() {
    let named = target("named", "r.io/a", "v1");
    let mut inventory = inventory(&[named, listing("all", "r.io/a")]);
    found(&mut inventory, "all", "r.io/a:v0");
    read_now(&mut inventory, "r.io/a:v1", Outcome::Read(single("x:1").into()));
    let both = |inventory: &mut Inventory| {
        inventory.snapshot();
        inventory.targets_selected()[&TargetName("all".into())].tags
    };
    assert_eq!(both(&mut inventory), 2);
}

#[test]
fn a_deletion_asks_for_known_tags_only() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2 v3")]);
    for (reference, layers) in [("r.io/a:v1", "x:1"), ("r.io/a:v2", "x:1"), ("r.io/a:v3", "y:1")] {
        read(&mut inventory, reference, 10.0, single(layers));
    }
    let tag: Tag = tag("v3");
    assert_eq!(deleted(&inventory, "r.io/a", Deleted::Tag(&tag)), ["v3"]);
    assert_eq!(deleted(&inventory, "r.io/a", Deleted::Digest(&digest("x:1"))), ["v1", "v2"]);
    assert_eq!(deleted(&inventory, "r.io/a", Deleted::Digest(&digest("z:1"))), [""; 0]);
    assert_eq!(deleted(&inventory, "r.io/a", Deleted::Repository), ["v1", "v2", "v3"]);
    assert_eq!(deleted(&inventory, "r.io/b", Deleted::Tag(&tag)), [""; 0]);
}

#[test]
fn an_unknown_host_means_every_registry_that_has_the_name_selected() {
    let all = Selection::latest();
    let with = |name: &str, on: &str| Target { selection: all.clone(), ..target(name, on, "") };
    let inventory = inventory(&[with("a", "r.io/acme/*"), with("b", "s.io/acme/web"), with("c", "t.io/other")]);
    let named = |host: Option<&str>, name: &str| {
        let registry = host.map(|host| host.parse().unwrap());
        let mut named: Vec<String> =
            inventory.named_repositories(registry.as_ref(), name).iter().map(ToString::to_string).collect();
        named.sort();
        named
    };
    assert_eq!(named(Some("r.io"), "acme/web"), ["r.io/acme/web"]);
    assert_eq!(named(Some("t.io"), "acme/web"), [""; 0], "the host is known");
    assert_eq!(named(Some("internal:5000"), "acme/web"), ["r.io/acme/web", "s.io/acme/web"]);
    assert_eq!(named(None, "acme/api"), ["r.io/acme/api"]);
    assert_eq!(named(None, "else"), [""; 0]);
}
