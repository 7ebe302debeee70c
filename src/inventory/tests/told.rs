//! Shards that tell each other what they count publish what one inventory of all repositories does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixtures::*;
use super::fleet::*;
use crate::inventory::*;
use crate::tag::*;
use crate::target::{Shard, Target};

/// A repository's and a tag's number, and layers; without these the tag goes. And days that pass.
type Step = (u8, u8, Option<Vec<u8>>, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let layers = prop::option::weighted(0.7, prop::collection::vec(1..8_u8, 1..5));
    prop::collection::vec((0..9_u8, 0..3_u8, layers, 0..3_u8), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn together_they_publish_what_one_inventory_does(
        steps in steps(),
        total in 2_u32..5,
        restarted in prop::collection::vec(any::<prop::sample::Index>(), 16),
    ) {
        let mut whole = start(Shard::default());
        let mut fleet = Fleet::new(total);
        // A target that finds nothing would have to be scanned again after a restart.
        let mut there: BTreeMap<(u8, u8), Vec<u8>> = [((1, 9), vec![1]), ((4, 9), vec![2])].into();
        let mut before_it = BTreeMap::new();
        for ((repository, tag, layers, days), restarted) in steps.into_iter().zip(restarted) {
            match layers {
                Some(layers) => drop(there.insert((repository, tag), layers)),
                None => drop(there.remove(&(repository, tag))),
            }
            fleet.set_time(fleet.now + f64::from(days) * DAY);
            whole.set_time(fleet.now);
            scan(&mut whole, Shard::default(), &there);
            (0..fleet.shards.len()).for_each(|number| fleet.scan(number, &there));
            let truth = figures(&mut whole);
            for number in 0..fleet.shards.len() {
                fleet.tell(number);
                // While only some have heard of one change, each says what was true before or is after it, or nothing.
                for (name, now) in fleet.figures().0.into_iter().filter(|(name, _)| days == 0 && name.contains("frees")) {
                    let is_true = [&before_it, &truth].iter().any(|truth| truth.get(&name) == Some(&now));
                    prop_assert!(is_true || now.starts_with("None"), "{} {} {:?} {:?}", name, now, before_it.get(&name), truth.get(&name));
                }
            }
            prop_assert!(whole.own_counts().is_none(), "there is nobody to tell");
            let (figures_of_all, tellers) = fleet.figures();
            prop_assert_eq!(&figures_of_all, &truth);
            prop_assert!(tellers.values().all(|count| *count == 1), "{:?}", tellers);
            // A shard that starts again has the same, and tells the others the same.
            let restarted = restarted.index(fleet.shards.len());
            fleet.restart(restarted);
            prop_assert_eq!(&fleet.figures().0, &figures_of_all);
            let before = std::mem::take(&mut fleet.told[restarted]);
            let told_again = fleet.shards[restarted].own_counts().unwrap();
            fleet.told[restarted].take(&told_again);
            prop_assert_eq!(&fleet.told[restarted], &before);
            before_it = truth;
        }
    }
}

#[test]
fn without_one_of_them_sums_over_all_are_unknown() {
    let there = nine_repositories();
    let mut fleet = Fleet::new(3);
    let is_shared = |figures: &BTreeMap<String, String>| figures.contains_key("r.io");
    for number in 0..3 {
        (0..3).for_each(|shard| assert!(!is_shared(&figures(&mut fleet.shards[shard]))));
        fleet.scan(number, &there);
        fleet.tell(number);
        let unknown: BTreeSet<u32> = (u32::try_from(number).unwrap() + 1..3).collect();
        assert_eq!(fleet.shards[0].unknown_shards(), Some(unknown));
    }
    // The last one has heard all, the first one too.
    let told: Vec<bool> = (0..3).map(|shard| is_shared(&figures(&mut fleet.shards[shard]))).collect();
    assert_eq!(told.iter().filter(|is_shared| **is_shared).count(), 1);
    let teller = told.iter().position(|is_shared| *is_shared).unwrap();
    let lost = (teller + 1) % 3;
    let before = figures(&mut fleet.shards[teller]);
    assert!(fleet.shards[teller].learn_elsewhere(vec![(u32::try_from(lost).unwrap(), None)]));
    let without = figures(&mut fleet.shards[teller]);
    assert!(!is_shared(&without) && without.values().all(|figures| !figures.contains("(Some")));
    let again = fleet.told[lost].all();
    fleet.shards[teller].learn_elsewhere(vec![(u32::try_from(lost).unwrap(), Some(again))]);
    assert_eq!(figures(&mut fleet.shards[teller]), before);
}

#[test]
fn a_part_of_a_list_elsewhere_leaves_what_is_stored_on_the_registry_unknown() {
    let there = nine_repositories();
    let mut fleet = Fleet::new(2);
    (0..2).for_each(|number| fleet.scan(number, &there));
    fleet.tell_all();
    assert!(fleet.figures().0.contains_key("r.io"));
    // A repository whose list breaks off, in the shard that has it.
    let of_r = |number: &u8| *number < 9 && !number.is_multiple_of(4);
    for cut in (0..9).filter(of_r).map(name) {
        let holder = (0..2).position(|number| fleet.shard(number).holds(&repository(&cut))).unwrap();
        let mut broken = Fleet::new(2);
        (0..2).filter(|&number| number != holder).for_each(|number| broken.scan(number, &there));
        broken.scan(holder, &there);
        let list = DiscoveredRepository {
            repository: repository(&cut),
            tags: vec![tag("v0")],
            candidates: Vec::new(),
            list: ListExtent::Cut,
        };
        let found = Discovered { repositories: vec![list], catalog: ListExtent::Partial };
        broken.shards[holder].select(&TargetName("r".into()), found);
        broken.tell_all();
        let figures = broken.figures().0;
        assert!(!figures.contains_key("r.io") && figures.contains_key("q.io"), "{cut}");
        let others = figures.iter().filter(|(name, _)| !name.contains(&cut) && name.contains(':'));
        assert!(others.clone().count() > 0 && others.into_iter().all(|(_, figures)| figures.contains("(Some")));
    }
}

#[test]
fn a_shard_that_has_not_read_a_catalog_leaves_sums_over_all_unknown() {
    let there = nine_repositories();
    let mut fleet = Fleet::new(2);
    fleet.scan(0, &there);
    // The registry does not answer the other one: its scans end all the same.
    for target in ["r", "q", "one", "four", "named"] {
        scan_ended(&mut fleet.shards[1], target);
    }
    fleet.tell_all();
    let is_shared = |figures: &BTreeMap<String, String>| figures.values().any(|figures| figures.contains("(Some"));
    let both = fleet.figures().0;
    assert!(!is_shared(&both) && !both.contains_key("r.io"), "{both:?}");
    assert_eq!(fleet.shards[0].unknown_shards(), Some([1].into()));
    fleet.scan(1, &there);
    fleet.tell_all();
    let both = fleet.figures().0;
    assert!(is_shared(&both) && both.contains_key("r.io"), "{both:?}");
}

#[test]
fn a_shard_without_an_image_says_nothing_of_groups() {
    let mut cases = 0;
    for total in 2..6 {
        let mut fleet = Fleet::new(total);
        let holder = |fleet: &Fleet, name: &str| {
            (0..fleet.shards.len()).position(|number| fleet.shard(number).holds(&repository(name))).unwrap()
        };
        let named = holder(&fleet, "r.io/named");
        // Images in later shards alone.
        let later = (0..60).filter(|number: &u8| {
            let name = name(*number);
            name.starts_with("r.io") && holder(&fleet, &name) > named
        });
        let there: BTreeMap<(u8, u8), Vec<u8>> = later.map(|number| ((number, 0), vec![1, number])).collect();
        if there.is_empty() {
            continue;
        }
        cases += 1;
        (0..fleet.shards.len()).for_each(|number| fleet.scan(number, &there));
        // The only image of its shard is gone from the registry, and its repository is still watched.
        record(&mut fleet.shards[named], "r.io/named:v1", 20.0, Outcome::Gone);
        fleet.tell_all();
        assert!(!fleet.shards[named].snapshot().registries.is_empty());
        let (figures, tellers) = fleet.figures();
        assert!(figures.contains_key("r.io web"), "{figures:?}");
        assert!(tellers.values().all(|count| *count == 1), "{tellers:?}");
    }
    assert!(cases > 0, "the named repository is in the last shard of each fleet");
}

#[test]
fn shards_of_other_configurations_do_not_count_together() {
    let there = nine_repositories();
    let mut fleet = Fleet::new(2);
    (0..2).for_each(|number| fleet.scan(number, &there));
    fleet.tell_all();
    assert!(fleet.figures().0.contains_key("r.io"));
    let more = |shard: Shard| -> Vec<Target> {
        let further = [grouped("other", target("more", "r.io/7", "v0")), listing("new", "new.io/*")];
        targets(shard).into_iter().chain(further.map(|target| target.in_shard(shard))).collect()
    };
    for number in 0..2 {
        let targets = more(fleet.shard(number));
        fleet.shards[number].reconfigure(&shared(&targets), WEEK);
        fleet.tell_all();
        // Before its first scan has ended a new target is no part of what is counted.
        assert_eq!(fleet.figures().0.contains_key("r.io"), number == 0);
        for target in ["more", "new"] {
            found(&mut fleet.shards[number], "new", "");
            scan_ended(&mut fleet.shards[number], target);
        }
        fleet.tell_all();
        let is_everywhere = number == 1;
        let figures = fleet.figures().0;
        assert_eq!(figures.contains_key("r.io"), is_everywhere, "{figures:?}");
        assert!(figures.contains_key("q.io"), "nothing has changed there");
    }
}
