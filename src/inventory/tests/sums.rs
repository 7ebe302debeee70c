//! Sums over what is watched.

use proptest::prelude::*;

use super::super::*;
use super::world::*;
use crate::image::Layer;
use crate::target::Target;

/// What a registry's view says of all of it.
fn registry_stored(inventory: &mut Inventory) -> Vec<Option<u64>> {
    inventory.snapshot().registries.iter().map(|registry| registry.stored_bytes).collect()
}

#[test]
fn the_worked_example() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2 latest")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 x:10"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:100 y:20"));
    read(&mut inventory, "r.io/a:latest", 10.0, single("base:100 y:20"));
    pass_ended(&mut inventory, "t");
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
fn sums_wait_for_each_targets_first_pass_on_their_registry() {
    let targets = [target("t", "r.io/a", "v1"), listing("u", "r.io/b*"), target("v", "s.io/a", "v1")];
    let mut inventory = inventory(&targets);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:1"));
    pass_ended(&mut inventory, "t");
    assert_eq!(published(&mut inventory)[..2], ["a:v1 up=1 success=10", "a:v1 linux/amd64 compressed=1"]);
    assert_eq!(repositories(&mut inventory)[0], "a tags=1 unknown=0");
    assert_eq!(registry_stored(&mut inventory), [None, None]);
    // A pass that failed altogether ends too.
    pass_ended(&mut inventory, "u");
    assert_eq!(registry_stored(&mut inventory), [Some(1), None]);
    assert_eq!(repositories(&mut inventory)[0], "a tags=1 unknown=0 stored=1 unique=1 metadata=10");
    pass_ended(&mut inventory, "v");
    assert_eq!(registry_stored(&mut inventory), [Some(1), None], "what was never read is not zero");
    assert_eq!(repositories(&mut inventory)[1], "a tags=1 unknown=1");
}

#[test]
fn a_layer_listed_twice_counts_twice_in_compressed_and_once_elsewhere() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10 y:1 x:10"));
    pass_ended(&mut inventory, "t");
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
    pass_ended(&mut inventory, "t");
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
    pass_ended(&mut inventory, "t");
    assert_eq!(
        published(&mut inventory),
        [
            "a:v1 up=1 success=10",
            "a:v1 linux/amd64",
            "a:v2 up=1 success=10 stored=101",
            "a:v2 linux/amd64 compressed=101 unique=101 proportional=101",
        ]
    );
    assert_eq!(to_read(&inventory, "t"), ["r.io/a:v1 lacking", "r.io/a:v2"]);
}

#[test]
fn where_manifests_disagree_about_a_size_the_smallest_counts_and_that_is_said_once() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1 v2")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:90 y:1"));
    pass_ended(&mut inventory, "t");
    assert_eq!(registry_stored(&mut inventory), [Some(91)]);
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=100 unique=0 proportional=45");
    let expected = Warning::SizesDisagree { registry: "r.io".parse().unwrap(), digest: digest("base"), bytes: 90 };
    assert_eq!(inventory.warnings(), [expected]);
    read(&mut inventory, "r.io/a:v2", 10.0, single("base:80 y:1"));
    assert_eq!(registry_stored(&mut inventory), [Some(81)]);
    assert!(inventory.warnings().is_empty());
}

#[test]
fn one_manifest_that_disagrees_with_itself_is_told_of_too() {
    let mut inventory = inventory(&[target("t", "r.io/a", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("base:100 base:90"));
    pass_ended(&mut inventory, "t");
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
        pass_ended(&mut inventory, name);
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
    pass_ended(&mut inventory, "t");
    assert_eq!(repositories(&mut inventory), ["a tags=3 unknown=0 stored=2 unique=2 metadata=25"]);
}

fn content(uncompressed_bytes: u64, estimated: bool, unpacked_bytes: Option<u64>) -> LayerContent {
    LayerContent { uncompressed_bytes, estimated, unpacked_bytes }
}

#[test]
fn uncompressed_sizes_stand_where_every_layer_is_known_and_unpacked_ones_where_all_are_exact() {
    let wanted = Target { uncompressed: Uncompressed::Exact, ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[wanted, target("u", "r.io/b", "v1")]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10 y:1 x:10"));
    read(&mut inventory, "r.io/b:v1", 10.0, single("x:10"));
    let work: Vec<Digest> = inventory.uncompressed_work().into_iter().map(|work| work.digest).collect();
    assert_eq!(work.len(), 2);
    inventory.learn_layer(&digest("x"), content(30, true, None));
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21");
    inventory.learn_layer(&digest("y"), content(4, false, Some(3)));
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21 uncompressed=64 estimated=1");
    assert_eq!(inventory.uncompressed_work().len(), 1, "an estimate is not exact");
    inventory.learn_layer(&digest("x"), content(31, false, Some(29)));
    inventory.learn_layer(&digest("x"), content(30, true, None));
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=21 uncompressed=66 estimated=0 unpacked=61");
    assert!(inventory.uncompressed_work().is_empty());
    assert_eq!(published(&mut inventory)[3], "b:v1 linux/amd64 compressed=10", "nobody wants it there");
}

#[test]
fn the_uncompressed_size_of_an_image_with_a_foreign_layer_is_unknown() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("t", "r.io/a", "v1") };
    let mut inventory = inventory(&[wanted]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("~base:100 x:10"));
    assert_eq!(inventory.uncompressed_work().len(), 1);
    inventory.learn_layer(&digest("x"), content(30, false, None));
    assert_eq!(published(&mut inventory)[1], "a:v1 linux/amd64 compressed=110");
}

#[test]
fn what_is_held_is_in_use_and_layers_only_where_something_is_remembered_of_them() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("u", "r.io/b", "v1") };
    let mut inventory = inventory(&[target("t", "r.io/a", "v1"), wanted]);
    let half = failing(index("i", &[("linux/amd64", "x:1")]), "linux/arm64", crate::reason::Reason::Invalid);
    read(&mut inventory, "r.io/a:v1", 10.0, half);
    read(&mut inventory, "r.io/b:v1", 10.0, single("y:1"));
    let expected = ["i", "x:1", "config of x:1", "linux/arm64", "y:1", "config of y:1", "y"];
    assert_eq!(inventory.digests_in_use(), expected.into_iter().map(digest).collect());
}

/// What happens to tags of two repositories and a registry beside, all of them meant.
fn happenings() -> impl Strategy<Value = Vec<(String, Outcome)>> {
    let reference = prop::sample::select(vec!["r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/b:1", "r.io/b:2", "s.io/a:1"]);
    let layer =
        (0..6_u32, prop::bool::weighted(0.1), prop::option::weighted(0.95, Just(())), prop::bool::weighted(0.1));
    let image = prop::collection::vec(layer, 0..5).prop_map(|layers| {
        let word = |(number, foreign, known, odd): (u32, bool, Option<()>, bool)| {
            let bytes = known.map_or("?".to_owned(), |()| (u64::from(number) * 10 + u64::from(odd)).to_string());
            format!("{}l{number}:{bytes}", if foreign { "~" } else { "" })
        };
        layers.into_iter().map(word).collect::<Vec<_>>().join(" ")
    });
    let images = prop::collection::vec((prop::sample::select(vec!["linux/amd64", "linux/arm64"]), image), 0..3);
    let outcome = images.prop_map(|images| {
        let images: Vec<(&str, &str)> = images.iter().map(|(on, layers)| (*on, layers.as_str())).collect();
        Outcome::Read(Arc::new(index(&format!("{images:?}"), &images)))
    });
    let outcome = prop_oneof![8 => outcome, 1 => Just(Outcome::Gone)];
    prop::collection::vec((reference.prop_map(str::to_owned), outcome), 0..12)
}

fn meaning_all() -> Inventory {
    let targets = [
        target("t", "r.io/a", "1 2 3"),
        target("u", "r.io/b", "1 2"),
        target("w", "s.io/a", "1"),
        target("x", "r.io/a", "2"),
    ];
    let mut inventory = inventory(&targets);
    for name in ["t", "u", "w", "x"] {
        pass_ended(&mut inventory, name);
    }
    inventory
}

/// All that is published but when a tag changed, which depends on what was seen before.
fn without_changes(inventory: &mut Inventory) -> Snapshot {
    let mut snapshot = (*inventory.snapshot()).clone();
    for registry in &mut snapshot.registries {
        for repository in &mut Arc::make_mut(registry).repositories {
            for tag in &mut Arc::make_mut(repository).tags {
                tag.changed = None;
            }
        }
    }
    snapshot
}

/// The last that happened to each tag.
fn last(happenings: &[(String, Outcome)]) -> BTreeMap<&str, &Outcome> {
    happenings.iter().map(|(reference, outcome)| (reference.as_str(), outcome)).collect()
}

proptest! {
    #[test]
    fn what_is_published_follows_from_what_each_tag_is_now(happenings in happenings(), looks: bool) {
        let mut lived = meaning_all();
        for (reference, outcome) in &happenings {
            record(&mut lived, reference, 10.0, outcome.clone());
            if looks {
                lived.snapshot();
            }
        }
        let mut fresh = meaning_all();
        for (reference, outcome) in last(&happenings) {
            // What went is down from its first reading on, with a success only where there was one.
            if *outcome == Outcome::Gone && happenings.iter().any(|(other, outcome)| other == reference && *outcome != Outcome::Gone) {
                record(&mut fresh, reference, 10.0, Outcome::Read(Arc::new(single("l:1"))));
            }
            record(&mut fresh, reference, 10.0, outcome.clone());
        }
        prop_assert_eq!(without_changes(&mut lived), without_changes(&mut fresh));
    }

    #[test]
    fn recording_commutes_between_tags_and_so_between_targets(happenings in happenings(), seed: u64) {
        let mut apart: Vec<(&str, &Outcome)> = last(&happenings).into_iter().collect();
        let mut one = meaning_all();
        for (reference, outcome) in &apart {
            record(&mut one, reference, 10.0, (*outcome).clone());
        }
        apart.sort_by_key(|(reference, _)| reference.bytes().fold(seed, |hash, byte| hash.rotate_left(7) ^ u64::from(byte)));
        let mut other = meaning_all();
        for (reference, outcome) in &apart {
            record(&mut other, reference, 10.0, (*outcome).clone());
        }
        prop_assert_eq!(&*one.snapshot(), &*other.snapshot());
        prop_assert_eq!(one.warnings().len(), other.warnings().len());
    }

    #[test]
    fn every_sum_and_inequality_holds_in_what_is_published(happenings in happenings()) {
        let mut inventory = meaning_all();
        for (reference, outcome) in &happenings {
            record(&mut inventory, reference, 10.0, outcome.clone());
        }
        for registry in &inventory.snapshot().registries {
            let repositories = &registry.repositories;
            let tags = || repositories.iter().flat_map(|repository| &repository.tags);
            let images = || tags().flat_map(|tag| &tag.images);
            let stored = registry.stored_bytes.unwrap_or(0);
            let proportional: f64 = images().filter_map(|image| image.proportional_bytes).sum();
            prop_assert!((proportional - stored as f64).abs() < 1e-6 * (1.0 + proportional));
            for image in images() {
                prop_assert_eq!(image.unique_bytes.is_some(), image.image.compressed_bytes.is_some());
                prop_assert!(image.unique_bytes <= image.image.compressed_bytes);
            }
            prop_assert!(repositories.iter().filter_map(|one| one.unique_bytes).sum::<u64>() <= stored);
            prop_assert!(stored <= repositories.iter().filter_map(|one| one.stored_bytes).sum());
            for repository in repositories {
                prop_assert!(repository.unique_bytes <= repository.stored_bytes);
                let largest = repository.tags.iter().filter_map(|tag| tag.stored_bytes).max();
                prop_assert!(largest <= repository.stored_bytes && repository.stored_bytes <= Some(stored));
                for tag in &repository.tags {
                    let compressed = tag.images.iter().filter_map(|image| image.image.compressed_bytes).sum();
                    prop_assert!(tag.stored_bytes.is_none_or(|stored| stored <= compressed));
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_of_what_went(happenings in happenings()) {
        let mut inventory = meaning_all();
        for (reference, outcome) in &happenings {
            record(&mut inventory, reference, 10.0, outcome.clone());
        }
        for reference in last(&happenings).into_keys() {
            record(&mut inventory, reference, 10.0, Outcome::Gone);
        }
        prop_assert!(inventory.digests_in_use().is_empty());
        for state in inventory.registries.values() {
            prop_assert!(state.holdings.is_empty());
        }
    }
}

#[test]
fn a_layer_that_says_more_of_itself_under_another_image_is_known_by_both() {
    let wanted = Target { uncompressed: Uncompressed::Cheap, ..target("t", "r.io/a", "v1 v2") };
    let mut inventory = inventory(&[wanted]);
    read(&mut inventory, "r.io/a:v1", 10.0, single("x:10"));
    let mut more = (*image("linux/amd64", "x:10 y:1")).clone();
    more.layers = more.layers.iter().map(|layer| Layer { diff_id: Some(digest("tar")), ..layer.clone() }).collect();
    read(&mut inventory, "r.io/a:v2", 10.0, of(Arc::new(more)));
    assert!(inventory.uncompressed_work().iter().all(|work| work.diff_id == Some(digest("tar"))));
}

#[test]
fn a_repository_of_which_nothing_changed_keeps_its_view() {
    let mut inventory =
        inventory(&[target("t", "r.io/a", "v1"), target("u", "r.io/b", "v1"), target("w", "r.io/c", "v1")]);
    for (reference, layers) in [("r.io/a:v1", "x:1 base:9"), ("r.io/b:v1", "base:9"), ("r.io/c:v1", "z:1")] {
        read(&mut inventory, reference, 10.0, single(layers));
    }
    for name in ["t", "u", "w"] {
        pass_ended(&mut inventory, name);
    }
    let before = inventory.snapshot();
    read(&mut inventory, "r.io/a:v1", 20.0, single("x:1"));
    let after = inventory.snapshot();
    let kept =
        |place: usize| Arc::ptr_eq(&before.registries[0].repositories[place], &after.registries[0].repositories[place]);
    assert_eq!([kept(0), kept(1), kept(2)], [false, false, true], "b has `base` for itself now");
}

/// Anything that may happen to an inventory of the targets below.
#[derive(Clone, Debug)]
enum Event {
    Happens(String, Outcome),
    Found(usize, Vec<usize>, bool),
    PassEnded(usize),
    Learnt(u32, LayerContent),
    Expires,
    Configured(Vec<usize>),
    Looks,
}

fn targets() -> Vec<Target> {
    vec![
        target("named", "r.io/a", "1 2"),
        Target { newest: Some(crate::target::NewestBy::Semver), ..listing("listing", "r.io/a") },
        Target {
            platforms: vec![platform("linux/amd64")],
            uncompressed: Uncompressed::Exact,
            ..listing("wild", "r.io/*")
        },
        Target { detail: crate::target::Detail::Repository, ..listing("other", "s.io/*") },
    ]
}

const LISTED: [&str; 6] = ["r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/b:1", "r.io/b:2", "s.io/a:1"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let happens = happenings().prop_map(|happenings| {
        happenings.into_iter().map(|(reference, outcome)| Event::Happens(reference, outcome)).collect::<Vec<_>>()
    });
    let fails = prop::sample::select(LISTED.to_vec()).prop_map(|reference| {
        vec![Event::Happens(reference.to_owned(), Outcome::Failed(crate::reason::Reason::Network))]
    });
    let found =
        (0..4_usize, prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 0..6), prop::bool::weighted(0.8))
            .prop_map(|(target, listed, complete)| vec![Event::Found(target, listed, complete)]);
    let learnt = (0..6_u32, 0..100_u64, any::<bool>())
        .prop_map(|(layer, bytes, exact)| vec![Event::Learnt(layer, content(bytes, !exact, exact.then_some(bytes)))]);
    let configured = prop::sample::subsequence((0..4).collect::<Vec<usize>>(), 0..4);
    let event = prop_oneof![
        4 => happens,
        1 => fails,
        4 => found,
        3 => (0..4_usize).prop_map(|target| vec![Event::PassEnded(target)]),
        2 => learnt,
        1 => Just(vec![Event::Expires]),
        1 => configured.prop_map(|targets| vec![Event::Configured(targets)]),
        3 => Just(vec![Event::Looks]),
    ];
    prop::collection::vec(event, 0..20).prop_map(|events| events.concat())
}

fn apply(inventory: &mut Inventory, event: Event) {
    let name = |target: usize| targets()[target].name.clone();
    match event {
        Event::Happens(reference, outcome) => drop(record(inventory, &reference, 10.0, outcome)),
        Event::Found(target, listed, complete) => {
            let meant = listed.iter().map(|&place| LISTED[place]);
            let meant = meant.filter(|reference| {
                targets()[target].repositories.include(&repository(reference.rsplit_once(':').unwrap().0))
            });
            let references = meant.collect::<Vec<_>>().join(" ");
            let found = if complete { found } else { found_in_part };
            found(inventory, &name(target).0, &references);
        }
        Event::PassEnded(target) => inventory.pass_ended(&name(target)),
        Event::Learnt(layer, content) => inventory.learn_layer(&digest(&format!("l{layer}")), content),
        Event::Expires => drop(inventory.expire(11.0 + WEEK.as_secs_f64())),
        Event::Configured(chosen) => {
            let chosen: Vec<Target> = chosen.into_iter().map(|target| targets()[target].clone()).collect();
            inventory.reconfigure(&shared(&chosen), WEEK);
        }
        Event::Looks => drop(inventory.snapshot()),
    }
}

proptest! {
    #[test]
    fn a_snapshot_that_reuses_the_one_before_is_what_a_new_one_would_be(events in events()) {
        let mut inventory = inventory(&targets());
        for event in events {
            apply(&mut inventory, event);
        }
        let reused = inventory.snapshot();
        for state in inventory.registries.values_mut() {
            state.touch();
            state.refresh_all();
        }
        prop_assert_eq!(&*reused, &*inventory.snapshot());
    }
}
