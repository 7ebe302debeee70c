//! Sums over what is watched.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::fixtures::*;
use crate::image::LayerContent;
use crate::image::accounting::Census;
use crate::image::{Layer, Unpacked};
use crate::inventory::sums::CountedImages;
use crate::inventory::*;
use crate::tag::Outcome;
use crate::target::Target;

/// The registry's stored bytes.
fn registry_stored(inventory: &mut Inventory) -> Vec<Option<u64>> {
    inventory.snapshot().registries.iter().map(|registry| registry.stored_bytes).collect()
}

#[test]
fn the_worked_example() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2 latest")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100 y:20"));
    read(&mut inventory, "r.io/a:latest", 10.0, single("base:100 y:20"));
    scan_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        [
            "a:latest up=1 success=10 stored=120",
            "a:latest linux/amd64 compressed=120 unique=20 proportional=43",
            "a:v1 up=1 success=10 stored=110",
            "a:v1 linux/amd64 compressed=110 unique=10 proportional=43",
            "a:v2 up=1 success=10 stored=120",
            "a:v2 linux/amd64 compressed=120 unique=20 proportional=43",
        ]
    );
    assert_eq!(repositories(&mut inventory), ["a tags=3 unknown=0 stored=130 unique=130 metadata=20"]);
    assert_eq!(registry_stored(&mut inventory), [Some(130)]);
}

#[test]
fn sums_wait_for_the_first_scan_of_each_target_on_their_registry() {
    let targets = [target("t", "r.io/a", "v1"), listing("u", "r.io/b*"), target("v", "s.io/a", "v1")];
    let mut inventory = inventory(&targets);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(published(&mut inventory)[..2], ["a:v1 up=1 success=10", "a:v1 linux/amd64 compressed=1"]);
    assert_eq!(repositories(&mut inventory)[0], "a tags=1 unknown=0");
    assert_eq!(registry_stored(&mut inventory), [None, None]);
    // A scan that failed completely has ended too.
    scan_ended(&mut inventory, "u");
    assert_eq!(registry_stored(&mut inventory), [Some(1), None]);
    assert_eq!(repositories(&mut inventory)[0], "a tags=1 unknown=0 stored=1 unique=1 metadata=10");
    scan_ended(&mut inventory, "v");
    assert_eq!(registry_stored(&mut inventory), [Some(1), None], "what was never read is not zero");
    assert_eq!(repositories(&mut inventory)[1], "a tags=1 unknown=1");
}

#[test]
fn tags_that_a_reload_adds_enter_the_sums_after_the_first_scan_and_none_disappear_meanwhile() {
    let (t, u) = (target("t", "r.io/a", "v1"), target("u", "r.io/b", "v1"));
    let mut inventory = inventory(&[t.clone(), u.clone()]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1 y:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "u");
    let before = (published(&mut inventory), repositories(&mut inventory), registry_stored(&mut inventory));
    assert_eq!(before.2, [Some(11)]);

    // One adds tags to a repository that another selects, one is new, and one selects more than before.
    let more = Target { selection: target("u", "r.io/b", "v1 v2").selection, ..u };
    let wild = Target { interval: std::time::Duration::from_secs(9), ..listing("w", "r.io/*") };
    let added = [t, more, wild];
    inventory.reconfigure(&shared(&added), WEEK);
    found(&mut inventory, "w", "r.io/a:v1 r.io/a:v2 r.io/c:v1");
    for reference in ["r.io/a:v2", "r.io/b:v2", "r.io/c:v1"] {
        read(&mut inventory, reference, 20.0, single("y:10 z:100"));
    }
    assert_eq!(registry_stored(&mut inventory), before.2);
    assert_eq!(
        repositories(&mut inventory),
        [
            "a tags=2 unknown=0 stored=11 unique=10 metadata=10",
            "b tags=2 unknown=0 stored=1 unique=0 metadata=10",
            "c tags=1 unknown=0"
        ]
    );
    let now = published(&mut inventory);
    assert!(before.0.iter().all(|line| now.contains(line)), "{now:#?}");
    assert_eq!(now[2..4], ["a:v2 up=1 success=20", "a:v2 linux/amd64 compressed=110"]);
    // A target that stays works as before meanwhile.
    scan_ended(&mut inventory, "u");
    read(&mut inventory, "r.io/a:v1", 20.0, single("x:1 y:10 y2:1000"));
    assert_eq!(registry_stored(&mut inventory), [Some(1011)]);

    scan_ended(&mut inventory, "w");
    assert_eq!(registry_stored(&mut inventory), [Some(1111)]);
    assert_eq!(
        repositories(&mut inventory),
        [
            "a tags=2 unknown=0 stored=1111 unique=1000 metadata=20",
            "b tags=2 unknown=0 stored=111 unique=0 metadata=20",
            "c tags=1 unknown=0 stored=110 unique=0 metadata=10"
        ]
    );
}

#[test]
fn removing_a_new_target_before_its_first_scan_ends_keeps_the_sums_of_the_others() {
    let (t, late) = (target("t", "r.io/a", "v1"), target("late", "r.io/b", "v1"));
    let mut inventory = inventory(&[t.clone(), late]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(registry_stored(&mut inventory), [None]);
    inventory.reconfigure(&shared(&[t]), WEEK);
    assert_eq!(registry_stored(&mut inventory), [Some(1)]);
}

#[test]
fn while_a_list_is_known_in_part_no_sum_that_its_unread_tags_may_change_is_published() {
    let mut inventory = inventory(&[listing("t", "r.io/a"), target("u", "r.io/b", "v1")]);
    found_in_part(&mut inventory, "t", "r.io/a:v1");
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("base:100 y:20"));
    scan_ended(&mut inventory, "t");
    scan_ended(&mut inventory, "u");
    let other = ["b:v1 up=1 success=10 stored=120", "b:v1 linux/amd64 compressed=120 unique=20 proportional=70"];
    let part = ["a:v1 up=1 success=10 stored=110", "a:v1 linux/amd64 compressed=110"];
    assert_eq!(published(&mut inventory), [part[0], part[1], other[0], other[1]]);
    assert_eq!(registry_stored(&mut inventory), [None]);
    found(&mut inventory, "t", "r.io/a:v1");
    let whole = "a:v1 linux/amd64 compressed=110 unique=10 proportional=60";
    assert_eq!(published(&mut inventory), [part[0], whole, other[0], other[1]]);
    assert_eq!(registry_stored(&mut inventory), [Some(130)]);
    found_in_part(&mut inventory, "t", "r.io/a:v1");
    assert_eq!(registry_stored(&mut inventory), [Some(130)], "the last true figures stay");
}

#[test]
fn a_layer_listed_twice_counts_twice_in_compressed_and_once_elsewhere() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10 y:1 x:10"));
    scan_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        ["a:v1 up=1 success=10 stored=11", "a:v1 linux/amd64 compressed=21 unique=11 proportional=11"]
    );
}

#[test]
fn foreign_layers_count_in_compressed_only_and_listing_one_is_not_having_it() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("~base:100 x:10"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100"));
    scan_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        [
            "a:v1 up=1 success=10 stored=10",
            "a:v1 linux/amd64 compressed=110 unique=10 proportional=10",
            "a:v2 up=1 success=10 stored=100",
            "a:v2 linux/amd64 compressed=100 unique=100 proportional=100",
        ]
    );
}

#[test]
fn only_images_whose_every_layer_size_is_known_take_part() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:?"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100 y:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        [
            "a:v1 up=0",
            "a:v1 linux/amd64",
            "a:v2 up=1 success=10 stored=101",
            "a:v2 linux/amd64 compressed=101 unique=101 proportional=101",
        ]
    );
    assert_eq!(assign(&mut inventory, "t"), ["r.io/a:v1 incomplete", "r.io/a:v2"]);
}

#[test]
fn where_manifests_disagree_about_a_size_the_smallest_counts_and_it_is_reported_once() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:90 y:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(registry_stored(&mut inventory), [Some(91)]);
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=100 unique=0 proportional=45");
    let expected = Warning::SizesDisagree { registry: "r.io".parse().unwrap(), digest: digest("base"), bytes: 90 };
    assert_eq!(inventory.warnings(), [expected]);
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:80 y:1"));
    assert_eq!(registry_stored(&mut inventory), [Some(81)]);
    assert!(inventory.warnings().is_empty());
}

#[test]
fn one_manifest_with_two_sizes_of_a_layer_is_reported_too() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 base:90"));
    scan_ended(&mut inventory, "t");
    assert_eq!(registry_stored(&mut inventory), [Some(90)]);
    assert_eq!(inventory.warnings().len(), 1);
}

#[test]
fn a_repository_keeps_alone_what_no_other_watched_one_of_the_registry_has() {
    let mut inventory =
        inventory(&[target("t", "r.io/a", "v1"), target("u", "r.io/b", "v1"), target("w", "s.io/c", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("base:100 y:20"));
    read(&mut inventory, "s.io/c:v1", 10.0, single("base:100 x:10"));
    for name in ["t", "u", "w"] {
        scan_ended(&mut inventory, name);
    }
    assert_eq!(
        repositories(&mut inventory),
        [
            "a tags=1 unknown=0 stored=110 unique=10 metadata=10",
            "b tags=1 unknown=0 stored=120 unique=20 metadata=10",
            "c tags=1 unknown=0 stored=110 unique=110 metadata=10",
        ]
    );
    assert_eq!(registry_stored(&mut inventory), [Some(130), Some(110)]);
}

#[test]
fn attestations_are_counted_and_nothing_else() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    let mut reading = index("i", &[("linux/amd64", "x:1")]);
    reading.attestations = 2;
    read(&mut inventory, "r.io/a:v1", 10.0, reading);
    assert_eq!(published(&mut inventory), ["a:v1 up=1 success=10 attestations=2", "a:v1 linux/amd64 compressed=1"]);
}

#[test]
fn metadata_counts_each_config_manifest_and_index_of_a_repository_once() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2 v3")]);
    for reference in ["r.io/a:v1", "r.io/a:v2"] {
        read(&mut inventory, reference, 10.0, index("i", &[("linux/amd64", "x:1"), ("linux/arm64", "y:1")]));
    }
    read(&mut inventory, "r.io/a:v3", 10.0, single("x:1"));
    scan_ended(&mut inventory, "t");
    assert_eq!(repositories(&mut inventory), ["a tags=3 unknown=0 stored=2 unique=2 metadata=25"]);
}

#[test]
fn uncompressed_sizes_stand_where_every_layer_is_known_and_unpacked_ones_where_all_are_exact() {
    let wanted = Target { uncompressed: Uncompressed::Exact, ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[wanted, target("u", "r.io/b", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10 y:1 x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("x:10"));
    let work: Vec<Digest> = inventory.layer_requests().into_iter().map(|work| work.digest).collect();
    assert_eq!(work.len(), 2);
    inventory.learn_layers([(digest("x"), content(30, true, None))]);
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21");
    inventory.learn_layers([(digest("y"), content(4, false, Some(3)))]);
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21 uncompressed=64 estimated=1");
    assert_eq!(inventory.layer_requests().len(), 1, "an estimate is not exact");
    assert!(inventory.learn_layers([(digest("x"), content(31, false, Some(29)))]));
    assert!(!inventory.learn_layers([(digest("x"), content(30, true, None))]), "an estimate is no news");
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21 uncompressed=66 estimated=0 unpacked=61");
    assert!(inventory.layer_requests().is_empty());
    assert_eq!(published(&mut inventory)[3], "b:v1 linux/amd64 compressed=10", "no target there asks for it");
}

#[test]
fn a_layer_that_overlay2_refuses_was_streamed_and_is_no_work() {
    let wanted = Target { uncompressed: Uncompressed::Exact, ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[wanted]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    assert!(inventory.learn_layers([(digest("x"), content(30, false, None))]));
    assert_eq!(inventory.layer_requests().len(), 1, "exact, but not streamed");
    let refused = LayerContent { unpacked: Unpacked::Refused, ..content(30, false, None) };
    assert!(inventory.learn_layers([(digest("x"), refused)]));
    assert!(inventory.layer_requests().is_empty());
    assert!(!inventory.learn_layers([(digest("x"), refused)]), "nothing to publish");
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=10 uncompressed=30 estimated=0");
}

#[test]
fn the_uncompressed_size_of_an_image_with_a_foreign_layer_is_unknown() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[wanted]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("~base:100 x:10"));
    assert!(inventory.layer_requests().is_empty());
    inventory.learn_layers([(digest("x"), content(30, false, None))]);
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=110");
}

#[test]
fn known_digests_are_in_use_and_layers_only_where_the_store_has_a_record() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("u", "r.io/b", "v1") };
    let mut inventory = inventory(&[target("t", "r.io/a", "v1"), wanted]);
    let half = failing(index("i", &[("linux/amd64", "x:1")]), "linux/arm64", crate::oci::Reason::Invalid);
    read(&mut inventory, "r.io/a:v1", 10.0, half);
    read(&mut inventory, "r.io/b:v1", 10.0, single("y:1"));
    let expected = ["i", "x:1", "config of x:1", "linux/arm64", "y:1", "config of y:1", "y"];
    assert_eq!(inventory.digests_in_use(), expected.into_iter().map(digest).collect());
}

#[test]
fn a_layer_with_more_facts_in_another_image_has_them_for_both() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("t", "r.io/a", "v1 v2") };
    let mut inventory = inventory(&[wanted]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    let mut more = (*image("linux/amd64", "x:10 y:1")).clone();
    more.layers = more.layers.iter().map(|layer| Layer { diff_id: Some(digest("tar")), ..layer.clone() }).collect();
    read(&mut inventory, "r.io/a:v2", 10.0, reading_of(Arc::new(more)));
    assert!(inventory.layer_requests().iter().all(|work| work.diff_id == Some(digest("tar"))));
}

#[test]
fn an_unchanged_repository_keeps_its_view() {
    let mut inventory =
        inventory(&[target("t", "r.io/a", "v1"), target("u", "r.io/b", "v1"), target("w", "r.io/c", "v1")]);
    for (reference, layers) in [("r.io/a:v1", "x:1 base:9"), ("r.io/b:v1", "base:9"), ("r.io/c:v1", "z:1")] {
        read(&mut inventory, reference, 10.0, single(layers));
    }
    for name in ["t", "u", "w"] {
        scan_ended(&mut inventory, name);
    }
    let before = inventory.snapshot();
    read(&mut inventory, "r.io/a:v1", 20.0, single("x:1"));
    let after = inventory.snapshot();
    let kept =
        |place: usize| Arc::ptr_eq(&before.registries[0].repositories[place], &after.registries[0].repositories[place]);
    assert_eq!([kept(0), kept(1), kept(2)], [false, false, true], "b has `base` for itself now");
}

/// Counts all images anew.
fn recounted(inventory: &mut Inventory) -> Arc<Snapshot> {
    for state in inventory.registries.values_mut() {
        state.census = Census::default();
        state.stale.mark(StalePart::Sums);
        for repository in state.repositories.values_mut() {
            repository.counted = CountedImages::default();
            repository.stale.mark(StalePart::Sums);
        }
    }
    inventory.snapshot()
}

proptest! {
    #[test]
    fn sums_after_any_changes_are_those_of_all_images_counted_anew(
        changes in prop::collection::vec((0..5_u8, 0..3_u8, prop::collection::vec((0..9_u8, 0..20_u8), 0..5), 0..9_u8), 1..20),
    ) {
        let mut inventory = inventory(&[listing("t", "r.io/*")]);
        scan_ended(&mut inventory, "t");
        let mut there = BTreeSet::new();
        for (repository, tag, layers, what) in changes {
            let reference = format!("r.io/{repository}:v{tag}");
            if what == 0 {
                there.retain(|other: &String| !other.starts_with(&format!("r.io/{repository}:")));
            } else {
                there.insert(reference.clone());
            }
            found(&mut inventory, "t", &there.iter().cloned().collect::<Vec<_>>().join(" "));
            if what == 1 {
                record(&mut inventory, &reference, 10.0, Outcome::Gone);
            } else if what > 1 {
                let bytes = |odd: u8, layer: u8| if odd == 0 { 7 } else { 10 * u64::from(layer) };
                let words: Vec<String> = layers.iter().map(|&(layer, odd)| format!("{layer}:{}", bytes(odd, layer))).collect();
                read(&mut inventory, &reference, 10.0, single(&words.join(" ")));
            }
            if what < 6 {
                let changed = inventory.snapshot();
                prop_assert_eq!(&*changed, &*recounted(&mut inventory));
            }
        }
        let changed = inventory.snapshot();
        prop_assert_eq!(&*changed, &*recounted(&mut inventory));
    }
}
