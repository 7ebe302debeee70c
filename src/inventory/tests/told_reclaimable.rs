//! What shards that tell each other what they have say that policies would free.

use std::collections::BTreeMap;

use super::fixtures::*;
use super::reclaimable::policy;
use crate::inventory::*;
use crate::oci::Reason;
use crate::tag::*;
use crate::target::{Shard, Target};

/// Two shards.
struct Pair {
    shards: [Inventory; 2],
    /// A repository of each.
    names: [String; 2],
}

impl Pair {
    fn new(policies: &[Arc<RetentionPolicy>], targets: impl Fn(&[String; 2]) -> Vec<Target>) -> Self {
        let shards = [0, 1].map(|number| Shard::new(number, 2).unwrap());
        let is_in = |shard: &Shard| {
            (0..100).map(|number| format!("r.io/{number}")).find(|name| shard.holds(&repository(name))).unwrap()
        };
        let names = shards.each_ref().map(is_in);
        let targets = shards
            .map(|shard| -> Vec<Target> { targets(&names).into_iter().map(|target| target.in_shard(shard)).collect() });
        let shards = targets.each_ref().map(|targets| {
            let mut inventory = inventory(targets);
            inventory.share_counts();
            inventory.set_policies(policies);
            inventory
        });
        Self { shards, names }
    }

    /// One wildcard target.
    fn of_all(policies: &[Arc<RetentionPolicy>]) -> Self {
        Self::new(policies, |_| vec![listing("t", "r.io/*")])
    }

    /// A tag of one's repository is read.
    fn read(&mut self, number: usize, tag: &str, layers: &str) {
        let reference = format!("{}:{tag}", self.names[number]);
        read(&mut self.shards[number], &reference, 10.0, single(layers));
    }

    /// One has these tags, and its scan ends.
    fn find(&mut self, number: usize, tags: &[(&str, &str)]) {
        let name = &self.names[number];
        let all: Vec<String> = tags.iter().map(|(tag, _)| format!("{name}:{tag}")).collect();
        found(&mut self.shards[number], "t", &all.join(" "));
        for (tag, layers) in tags {
            self.read(number, tag, layers);
        }
        scan_ended(&mut self.shards[number], "t");
    }

    /// One tells the other what changed; returns how many blobs are in it.
    fn tell(&mut self, number: usize) -> usize {
        self.shards[number].snapshot();
        let Some(counts) = self.shards[number].own_counts() else { return 0 };
        let blobs = counts.registries.iter().map(|(_, counts)| counts.blobs.len()).sum();
        self.shards[1 - number].learn_elsewhere(vec![(u32::try_from(number).unwrap(), Some(counts))]);
        blobs
    }

    fn tell_both(&mut self) {
        for number in 0..2 {
            self.tell(number);
        }
    }

    /// What both publish of bytes: of the first one's repository, the other one's, and the registry.
    fn freed(&mut self) -> [Option<u64>; 3] {
        let mut of_registry = Vec::new();
        let mut of_repositories = [None; 2];
        for (number, shard) in self.shards.iter_mut().enumerate() {
            for registry in &shard.snapshot().registries {
                let told = registry.reclaimable.iter().filter(|_| !registry.elsewhere.is_reclaimable_told);
                of_registry.extend(told.filter_map(|of| of.bytes));
                let of = registry.repositories.iter().flat_map(|view| &view.reclaimable).next();
                of_repositories[number] = of.and_then(|of| of.bytes);
            }
        }
        assert!(of_registry.len() < 2, "one says it: {of_registry:?}");
        [of_repositories[0], of_repositories[1], of_registry.first().copied()]
    }
}

fn keeps_v2() -> [Arc<RetentionPolicy>; 1] {
    [policy("p", None, &["^v2$"], None)]
}

#[test]
fn a_layer_is_freed_once_it_goes_in_each_shard_that_has_it() {
    let mut pair = Pair::of_all(&keeps_v2());
    pair.find(0, &[("v1", "both:100 x:10"), ("v2", "kept:1")]);
    pair.tell(0);
    assert_eq!(pair.freed(), [None; 3], "nobody knows what the other shard has");
    pair.find(1, &[("v1", "both:100 y:20"), ("v2", "both:100 z:40")]);
    assert_eq!(pair.freed(), [None, Some(30), None], "it has heard the first one, which has not heard it");
    pair.tell(1);
    // Beside the layers each image has 10 bytes of config and manifest.
    assert_eq!(pair.freed(), [Some(20), Some(30), Some(50)]);
    pair.find(1, &[("v1", "both:100 y:20"), ("v2", "z:40")]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(20), Some(30), Some(150)], "both let it go, and neither alone frees it");
    pair.find(1, &[("v1", "y:20"), ("v2", "z:40")]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(120), Some(30), Some(150)]);
    // The same image is in both, with its documents.
    pair.find(1, &[("v1", "both:100 x:10"), ("v2", "z:40")]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(120)]);
    pair.find(1, &[("v2", "both:100 x:10")]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(0)]);
    pair.find(1, &[]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(120), None, Some(120)], "the other one has no repository any more");
}

#[test]
fn what_is_unknown_in_one_shard_is_unknown_in_all() {
    let mut pair = Pair::of_all(&keeps_v2());
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    pair.tell_both();
    let known = [Some(0), Some(0), Some(20)];
    assert_eq!(pair.freed(), known);
    let tag = format!("{}:v3", pair.names[1]);
    let all = ["v1", "v2", "v3"].map(|tag| format!("{}:{tag}", pair.names[1]));
    found(&mut pair.shards[1], "t", &all.join(" "));
    pair.tell(1);
    assert_eq!(pair.freed(), [None; 3], "a tag that was never read");
    record(&mut pair.shards[1], &tag, 20.0, Outcome::Failed(Reason::Invalid));
    pair.tell(1);
    assert_eq!(pair.freed(), [None; 3]);
    record(&mut pair.shards[1], &tag, 20.0, Outcome::Gone);
    pair.tell(1);
    assert_eq!(pair.freed(), known);
    pair.shards[0].learn_elsewhere(vec![(1, None)]);
    assert_eq!(pair.freed()[0], None, "the other one's program does not count");
}

#[test]
fn only_changes_are_told_and_nothing_without_policies() {
    let mut pair = Pair::of_all(&[]);
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    assert_eq!([pair.tell(0), pair.tell(1)], [0, 0]);
    let policies = keeps_v2();
    pair.shards.iter_mut().for_each(|shard| shard.set_policies(&policies));
    assert_eq!([pair.tell(0), pair.tell(1)], [6, 6], "two layers, manifests and configs");
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(20)]);
    assert_eq!([pair.tell(0), pair.tell(1)], [0, 0]);
    pair.read(1, "v1", "x:10 w:80");
    assert_eq!(pair.tell(1), 5, "two documents are gone, two and a layer are new");
    assert_eq!(pair.freed(), [Some(10), Some(90), Some(110)]);
    // After a reload of the same, all of it is told again, which is no news for the store.
    pair.shards[1].set_policies(&policies);
    assert_eq!(pair.tell(1), 7);
    assert_eq!(pair.freed(), [Some(10), Some(90), Some(110)]);
    pair.shards[1].set_policies(&[]);
    pair.shards[1].snapshot();
    let counts = pair.shards[1].own_counts().unwrap();
    assert!(counts.registries.iter().any(|(_, counts)| counts.are_all_blobs && counts.blobs.is_empty()));
    pair.shards[0].learn_elsewhere(vec![(1, Some(counts))]);
    assert_eq!(pair.freed(), [None; 3], "the policies are not the same");
}

/// Its rows would stay otherwise, and be taken for true once it has policies again.
#[test]
fn a_shard_that_knew_too_little_says_too_that_it_has_no_policies_any_more() {
    let mut pair = Pair::of_all(&keeps_v2());
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    pair.tell_both();
    let all = ["v1", "v2", "v3"].map(|tag| format!("{}:{tag}", pair.names[1]));
    found(&mut pair.shards[1], "t", &all.join(" "));
    pair.tell(1);
    pair.shards[1].set_policies(&[]);
    pair.shards[1].snapshot();
    let counts = pair.shards[1].own_counts().expect("it is news that there is nothing");
    let is_nothing = |counts: &RegistryCounts| counts.are_all_blobs && counts.blobs.is_empty();
    assert!(counts.registries.iter().any(|(_, counts)| is_nothing(counts)));
    assert!(pair.shards[1].own_counts().is_none());
}

#[test]
fn a_catalog_that_was_never_read_may_have_anything() {
    let mut pair = Pair::of_all(&keeps_v2());
    pair.find(0, &[("v1", "x:10"), ("v2", "y:20")]);
    // The registry does not answer the other one.
    scan_ended(&mut pair.shards[1], "t");
    pair.tell_both();
    assert_eq!(pair.freed(), [None; 3]);
    pair.find(1, &[]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(20), None, Some(20)]);
}

/// What one of them finds anew may need what the other one has yet to find.
#[test]
fn after_a_reload_nothing_is_said_before_each_shard_has_found_what_is_selected_now() {
    let mut pair = Pair::of_all(&keeps_v2());
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    pair.tell_both();
    for number in 0..2 {
        let shard = Shard::new(u32::try_from(number).unwrap(), 2).unwrap();
        let targets = [listing("t", "r.io/*"), listing("u", "r.io/*")].map(|one| one.in_shard(shard));
        pair.shards[number].reconfigure(&shared(&targets), WEEK);
        pair.shards[number].set_policies(&keeps_v2());
    }
    for scanned in 0..2 {
        pair.tell_both();
        assert_eq!(pair.freed(), [None; 3]);
        let tags = ["v1", "v2"].map(|tag| format!("{}:{tag}", pair.names[scanned])).join(" ");
        found(&mut pair.shards[scanned], "u", &tags);
        scan_ended(&mut pair.shards[scanned], "u");
    }
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(20)]);
}

/// A registry that limits requests refuses other lists each time.
#[test]
fn lists_that_were_read_in_different_scans_are_all_lists() {
    let mut pair = Pair::of_all(&keeps_v2());
    pair.find(0, &[("v1", "x:10"), ("v2", "y:20")]);
    let shard = Shard::new(1, 2).unwrap();
    let is_other = |name: &String| shard.holds(&repository(name)) && *name != pair.names[1];
    let other = (0..100).map(|number| format!("r.io/{number}")).find(is_other).unwrap();
    let names = [pair.names[1].clone(), other];
    for failing in [1, 0] {
        assert_eq!(pair.freed(), [None; 3]);
        let one = |at: usize| DiscoveredRepository {
            repository: repository(&names[at]),
            tags: if at == failing { Vec::new() } else { vec![tag("v1")] },
            candidates: Vec::new(),
            list: if at == failing { ListExtent::Unread } else { ListExtent::Whole },
        };
        let all = Discovered { repositories: vec![one(0), one(1)], catalog: ListExtent::Whole };
        pair.shards[1].select(&TargetName("t".into()), all);
        read(&mut pair.shards[1], &format!("{}:v1", names[1 - failing]), 10.0, single("x:10"));
        scan_ended(&mut pair.shards[1], "t");
        pair.tell_both();
    }
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(20)]);
}

/// None of its tags was ever read, so that none is restored.
#[test]
fn a_shard_that_starts_again_with_nothing_says_nothing_before_it_has_looked() {
    let mut pair = Pair::of_all(&keeps_v2());
    pair.find(0, &[("v1", "x:10"), ("v2", "y:20")]);
    let tag = format!("{}:v1", pair.names[1]);
    let fail = |pair: &mut Pair| {
        found(&mut pair.shards[1], "t", &tag);
        record(&mut pair.shards[1], &tag, 20.0, Outcome::Failed(Reason::Invalid));
        scan_ended(&mut pair.shards[1], "t");
        pair.tell_both();
        assert_eq!(pair.freed(), [None; 3]);
    };
    fail(&mut pair);
    let mut again = inventory(&[listing("t", "r.io/*").in_shard(Shard::new(1, 2).unwrap())]);
    again.share_counts();
    again.set_policies(&keeps_v2());
    again.restored(|_, completeness| completeness != Completeness::Whole);
    pair.shards[1] = again;
    pair.tell_both();
    assert_eq!(pair.freed(), [None; 3]);
    fail(&mut pair);
    pair.find(1, &[]);
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(20), None, Some(20)]);
}

#[test]
fn a_tag_that_was_read_for_fewer_platforms_is_unknown_in_all_shards() {
    let narrow = |target: Target| Target { platforms: [platform("linux/amd64")].into_iter().collect(), ..target };
    let mut pair = Pair::new(&keeps_v2(), |_| vec![narrow(listing("t", "r.io/*"))]);
    pair.find(0, &[("v1", "x:10"), ("v2", "y:20")]);
    let tag = format!("{}:v2", pair.names[1]);
    let both = || index("i", &[("linux/amd64", "y:20"), ("linux/arm64", "x:10")]);
    found(&mut pair.shards[1], "t", &tag);
    let of_one = Reading {
        platforms: [platform("linux/amd64")].into_iter().collect(),
        ..index("i", &[("linux/amd64", "y:20")])
    };
    read(&mut pair.shards[1], &tag, 10.0, of_one);
    scan_ended(&mut pair.shards[1], "t");
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(20), Some(0), Some(20)]);
    for number in 0..2 {
        let shard = Shard::new(u32::try_from(number).unwrap(), 2).unwrap();
        pair.shards[number].reconfigure(&shared(&[listing("t", "r.io/*").in_shard(shard)]), WEEK);
        pair.shards[number].set_policies(&keeps_v2());
    }
    pair.tell_both();
    assert_eq!(pair.freed(), [None; 3]);
    read(&mut pair.shards[1], &tag, 20.0, both());
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(0), Some(0), Some(0)], "a kept tag has that image for another platform");
}

#[test]
fn policies_of_two_configurations_are_not_taken_for_each_other() {
    let mut pair = Pair::of_all(&keeps_v2());
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    pair.tell_both();
    for other in [
        vec![policy("p", None, &["^v1$"], None)],
        vec![policy("q", None, &["^v2$"], None)],
        vec![policy("p", Some("t"), &["^v2$"], None)],
        vec![policy("p", None, &["^v2$"], Some(3))],
        vec![policy("first", None, &["^v2$"], None), keeps_v2()[0].clone()],
    ] {
        pair.shards[0].set_policies(&other);
        pair.tell(0);
        assert_eq!(pair.freed(), [None; 3]);
        pair.shards[0].set_policies(&keeps_v2());
        pair.tell(0);
        assert_eq!(pair.freed(), [Some(0), Some(0), Some(20)]);
    }
    // Nor are the same policies of other targets.
    let more = [listing("t", "r.io/*"), listing("u", "r.io/*")].map(|one| one.in_shard(Shard::new(0, 2).unwrap()));
    pair.shards[0].reconfigure(&shared(&more), WEEK);
    pair.shards[0].set_policies(&keeps_v2());
    let tags = ["v1", "v2"].map(|tag| format!("{}:{tag}", pair.names[0])).join(" ");
    found(&mut pair.shards[0], "u", &tags);
    scan_ended(&mut pair.shards[0], "u");
    pair.tell(0);
    assert_eq!(pair.freed(), [None; 3]);
}

/// A target drops a tag that another one still selects with fewer platforms: the tag has the others until it is read again.
#[test]
fn what_a_tag_has_and_no_series_lists_is_not_freed() {
    let mut pair = Pair::new(&keeps_v2(), |names| {
        let narrow =
            Target { platforms: [platform("linux/amd64")].into_iter().collect(), ..target("n", &names[0], "v2") };
        vec![listing("t", "r.io/*"), narrow]
    });
    let name = pair.names[0].clone();
    found(&mut pair.shards[0], "t", &format!("{name}:v1 {name}:v2"));
    pair.read(0, "v1", "kept:1");
    let both = index("i", &[("linux/amd64", "x:10"), ("linux/arm64", "arm:80")]);
    read(&mut pair.shards[0], &format!("{name}:v2"), 10.0, both);
    scan_ended(&mut pair.shards[0], "t");
    scan_ended(&mut pair.shards[0], "n");
    pair.find(1, &[("v1", "arm:80")]);
    scan_ended(&mut pair.shards[1], "n");
    pair.tell_both();
    assert_eq!(pair.freed(), [Some(11), Some(0), Some(11)]);
    found(&mut pair.shards[0], "t", &format!("{name}:v1"));
    pair.tell_both();
    let compressed: Vec<String> =
        published(&mut pair.shards[0]).into_iter().filter(|line| line.contains("arm64")).collect();
    assert!(compressed.is_empty(), "{compressed:?}");
    assert_eq!(pair.freed(), [Some(11), Some(0), Some(11)]);
}

#[test]
fn beyond_the_64th_policy_nothing_is_said_over_shards() {
    let policies: Vec<_> = (0..66).map(|number| policy(&format!("p{number}"), None, &["^v2$"], None)).collect();
    let mut pair = Pair::of_all(&policies);
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    pair.tell_both();
    let snapshot = pair.shards[0].snapshot();
    let bytes: Vec<Option<u64>> = snapshot.registries[0].reclaimable.iter().map(|of| of.bytes).collect();
    assert_eq!(bytes[..64], [Some(20); 64]);
    assert_eq!(bytes[64..], [None, None]);
}

/// One daemon would say it of them.
#[test]
fn a_policy_about_repositories_of_other_shards_alone_is_said_by_the_first_shard() {
    let mut pair = Pair::new(&[policy("p", Some("b"), &["^v2$"], None)], |names| {
        vec![listing("t", "r.io/*"), listing("b", &names[1])]
    });
    (0..2).for_each(|number| pair.find(number, &[("v1", "x:10"), ("v2", "y:20")]));
    let tags = ["v1", "v2"].map(|tag| format!("{}:{tag}", pair.names[1])).join(" ");
    found(&mut pair.shards[1], "b", &tags);
    (0..2).for_each(|number| scan_ended(&mut pair.shards[number], "b"));
    pair.tell_both();
    assert_eq!(pair.freed(), [None, Some(0), Some(0)]);
    pair.find(0, &[("v1", "w:10"), ("v2", "y:20")]);
    pair.tell_both();
    assert_eq!(pair.freed(), [None, Some(20), Some(20)]);
    let of_registry: BTreeMap<usize, bool> = (0..2)
        .map(|number| (number, pair.shards[number].snapshot().registries[0].elsewhere.is_reclaimable_told))
        .collect();
    assert_eq!(of_registry, [(0, false), (1, true)].into());
}
