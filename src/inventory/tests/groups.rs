//! What is stored for groups.

use super::fixtures::*;
use crate::inventory::*;
use crate::tag::{Discovered, DiscoveredRepository, ListExtent};
use crate::target::{Grouping, Target};

fn named(group: &str, target: Target) -> Target {
    Target { grouping: Some(Grouping::Named(group.into())), ..target }
}

fn by(pattern: &str, target: Target) -> Target {
    Target { grouping: Some(Grouping::By(pattern.parse().unwrap())), ..target }
}

/// `r.io web stored=110 unique=10 proportional=60`
fn groups(inventory: &mut Inventory) -> Vec<String> {
    let snapshot = inventory.snapshot();
    let views = snapshot.registries.iter().flat_map(|registry| {
        registry.groups.iter().map(move |view| {
            let (name, usage) = (&registry.registry, &view.usage);
            let (stored, unique, proportional) = (usage.stored_bytes, usage.unique_bytes, usage.proportional_bytes);
            format!("{name} {} stored={stored} unique={unique} proportional={proportional}", view.group)
        })
    });
    views.collect()
}

#[test]
fn a_group_has_the_tags_that_its_targets_select_on_one_registry() {
    let mut inventory = inventory(&[
        named("web", target("a", "r.io/acme/app", "v1")),
        named("web", target("b", "r.io/tools/web", "v1")),
        named("web", target("c", "s.io/acme/app", "v1")),
        named("data", target("d", "r.io/acme/db", "v1")),
        target("e", "r.io/other", "v1"),
    ]);
    for (reference, layers) in [
        ("r.io/acme/app:v1", "base:100 x:10"),
        ("r.io/tools/web:v1", "base:100 x:10 y:20"),
        ("s.io/acme/app:v1", "base:100 x:10"),
        ("r.io/acme/db:v1", "base:100 z:7"),
        ("r.io/other:v1", "base:100 z:7"),
    ] {
        read(&mut inventory, reference, 10.0, single(layers));
    }
    assert_eq!(groups(&mut inventory), [""; 0], "no target has ended a scan");
    for name in ["a", "b", "c", "d", "e"] {
        scan_ended(&mut inventory, name);
    }
    assert_eq!(
        groups(&mut inventory),
        [
            "r.io data stored=107 unique=0 proportional=28.5",
            "r.io web stored=130 unique=30 proportional=80",
            "s.io web stored=110 unique=110 proportional=110",
        ]
    );
}

#[test]
fn a_repositorys_name_gives_its_group_and_one_that_does_not_match_has_none() {
    let mut inventory = inventory(&[by("^([^/]+)/", listing("t", "r.io/**"))]);
    found(&mut inventory, "t", "r.io/acme/a:v1 r.io/acme/b:v1 r.io/tools/a:v1 r.io/alone:v1");
    for (reference, layers) in
        [("acme/a", "base:100 x:10"), ("acme/b", "base:100 x:10"), ("tools/a", "base:100"), ("alone", "y:5")]
    {
        read(&mut inventory, &format!("r.io/{reference}:v1"), 10.0, single(layers));
    }
    scan_ended(&mut inventory, "t");
    let (acme, tools) = ("r.io acme stored=110 unique=10", "r.io tools stored=100 unique=0");
    let third = 100.0 / 3.0;
    let both =
        [format!("{acme} proportional={}", 5.0 + third + (5.0 + third)), format!("{tools} proportional={third}")];
    assert_eq!(groups(&mut inventory), both);
    found(&mut inventory, "t", "r.io/acme/a:v1 r.io/acme/b:v1 r.io/alone:v1");
    assert_eq!(
        groups(&mut inventory),
        ["r.io acme stored=110 unique=110 proportional=110"],
        "a group without a tag is gone"
    );
}

#[test]
fn a_tag_that_two_targets_select_is_in_the_groups_of_both_and_its_share_is_divided() {
    let mut inventory =
        inventory(&[named("one", target("t", "r.io/a", "v1 v2")), named("two", target("u", "r.io/a", "v2 v3"))]);
    for (tag, layers) in [("v1", "base:90 x:10"), ("v2", "base:90 y:20"), ("v3", "base:90 z:30")] {
        read(&mut inventory, &format!("r.io/a:{tag}"), 10.0, single(layers));
    }
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "u");
    let expected = ["r.io one stored=120 unique=30 proportional=65", "r.io two stored=140 unique=50 proportional=85"];
    assert_eq!(groups(&mut inventory), expected, "150 in all");
    // Two targets of the same group are no two groups.
    let same = [named("one", target("t", "r.io/a", "v1 v2")), named("one", target("u", "r.io/a", "v2 v3"))];
    inventory.reconfigure(&shared(&same), WEEK);
    assert_eq!(groups(&mut inventory), ["r.io one stored=150 unique=150 proportional=150"]);
}

#[test]
fn a_wildcard_that_selects_nothing_in_a_repository_gives_it_no_group() {
    let everything = listing("all", "r.io/*");
    let mut inventory = inventory(&[everything, named("payments", listing("t", "r.io/*"))]);
    found(&mut inventory, "all", "r.io/a:v1 r.io/payments:v1");
    found(&mut inventory, "t", "r.io/payments:v1 r.io/a:");
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    read(&mut inventory, "r.io/payments:v1", 10.0, single("y:20"));
    scan_ended(&mut inventory, "all");
    scan_ended(&mut inventory, "t");
    assert_eq!(groups(&mut inventory), ["r.io payments stored=20 unique=20 proportional=20"]);
}

#[test]
fn a_group_of_which_a_part_is_known_is_withheld_and_others_stay() {
    let mut inventory = inventory(&[
        by("^([^/]+)/", listing("t", "r.io/**")),
        named("other", target("u", "r.io/acme/b", "v1")),
        named("third", target("w", "r.io/acme/b", "v9")),
    ]);
    found(&mut inventory, "t", "r.io/acme/a:v1 r.io/acme/b:v1 r.io/tools/a:v1");
    for reference in ["acme/a", "acme/b", "tools/a"] {
        read(&mut inventory, &format!("r.io/{reference}:v1"), 10.0, single("base:100"));
    }
    read(&mut inventory, "r.io/acme/b:v9", 10.0, single("x:9"));
    for name in ["t", "u", "w"] {
        scan_ended(&mut inventory, name);
    }
    let names = |inventory: &mut Inventory| -> Vec<String> {
        groups(inventory).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    let cut = |inventory: &mut Inventory, name: &str, list| {
        let one =
            DiscoveredRepository { repository: repository(name), tags: vec![tag("v1")], candidates: Vec::new(), list };
        inventory.select(&TargetName("t".into()), Discovered { repositories: vec![one], catalog: ListExtent::Partial });
    };
    let all = ["acme", "other", "third", "tools"];
    assert_eq!(names(&mut inventory), all);
    cut(&mut inventory, "r.io/acme/a", ListExtent::Cut);
    assert_eq!(names(&mut inventory), ["other", "third", "tools"]);
    cut(&mut inventory, "r.io/acme/a", ListExtent::Whole);
    assert_eq!(names(&mut inventory), all);
    // Unread tags beside theirs most likely share their layers.
    cut(&mut inventory, "r.io/acme/b", ListExtent::Cut);
    assert_eq!(names(&mut inventory), ["tools"]);
    cut(&mut inventory, "r.io/acme/b", ListExtent::Whole);
    assert_eq!(names(&mut inventory), all);
    // Unread repositories may be in any group.
    inventory.select(&TargetName("t".into()), Discovered { repositories: Vec::new(), catalog: ListExtent::Cut });
    assert_eq!(names(&mut inventory), <[&str; 0]>::default());
}

#[test]
fn a_group_of_a_list_that_was_never_read_to_its_end_is_withheld_though_no_tag_was_found() {
    let mut inventory = inventory(&[named("g", listing("t", "r.io/a")), named("g", target("u", "r.io/b", "v1"))]);
    read(&mut inventory, "r.io/b:v1", 10.0, single("x:1"));
    found_in_part(&mut inventory, "t", "r.io/a:");
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "u");
    assert_eq!(groups(&mut inventory), [""; 0]);
    found(&mut inventory, "t", "r.io/a:");
    assert_eq!(groups(&mut inventory), ["r.io g stored=1 unique=1 proportional=1"]);
}

#[test]
fn a_reload_changes_groups_at_once_and_every_push_changes_their_figures() {
    let t = target("t", "r.io/acme/a", "v1");
    let mut inventory = inventory(std::slice::from_ref(&t));
    read(&mut inventory, "r.io/acme/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(groups(&mut inventory), [""; 0]);
    for (reconfigured, expected) in [
        (named("one", t.clone()), "r.io one stored=1 unique=1 proportional=1"),
        (named("two", t.clone()), "r.io two stored=1 unique=1 proportional=1"),
        (by("^([^/]+)/", t.clone()), "r.io acme stored=1 unique=1 proportional=1"),
    ] {
        inventory.reconfigure(&shared(&[reconfigured]), WEEK);
        assert_eq!(groups(&mut inventory), [expected]);
    }
    read(&mut inventory, "r.io/acme/a:v1", 20.0, single("x:1 y:20"));
    assert_eq!(groups(&mut inventory), ["r.io acme stored=21 unique=21 proportional=21"]);
    inventory.reconfigure(&shared(&[t]), WEEK);
    assert_eq!(groups(&mut inventory), [""; 0]);
}

#[test]
fn groups_are_there_where_no_more_than_the_repository_is_wanted() {
    let target = Target { detail: crate::target::Detail::Repository, ..named("g", target("t", "r.io/a", "v1")) };
    let mut inventory = inventory(&[target]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(groups(&mut inventory), ["r.io g stored=1 unique=1 proportional=1"]);
}
