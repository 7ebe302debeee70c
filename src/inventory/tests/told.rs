//! Shards that tell each other what they count publish what one inventory of all repositories does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixtures::*;
use crate::image::Image;
use crate::inventory::snapshot::GroupView;
use crate::inventory::*;
use crate::oci::Tag;
use crate::tag::*;
use crate::target::{Grouping, Shard, Target};

/// A repository's and a tag's number, and layers; without these the tag goes.
type Step = (u8, u8, Option<Vec<u8>>);

/// What a shard told last.
#[derive(Default, PartialEq, Debug)]
struct Told {
    is_settled: bool,
    registries: BTreeMap<Registry, (RegistrySummary, BTreeMap<Digest, CountedLayer>)>,
}

/// Shards, and what each of them told.
struct Fleet {
    shards: Vec<Inventory>,
    told: Vec<Told>,
    /// What is in the shards' stores.
    records: BTreeMap<(Repository, Tag), TagRecord>,
    images: HashMap<Digest, Arc<Image>>,
}

/// Of one registry in groups, of which one is a part of another; some tags of the other registry are in one.
fn targets(shard: Shard) -> [Target; 5] {
    let all = [
        grouped("web", listing("r", "r.io/*")),
        listing("q", "q.io/*"),
        grouped("ones", listing("one", "r.io/1")),
        grouped("data", listing("four", "q.io/4")),
        grouped("data", target("named", "r.io/named", "v1")),
    ];
    all.map(|target| target.in_shard(shard))
}

fn grouped(group: &str, target: Target) -> Target {
    Target { grouping: Some(Grouping::Named(group.into())), ..target }
}

fn name(repository: u8) -> String {
    format!("{}.io/{repository}", if repository.is_multiple_of(4) { 'q' } else { 'r' })
}

/// Layers whose sizes their manifests disagree about now and then.
fn layers(numbers: &[u8]) -> String {
    let mut distinct = numbers.to_vec();
    distinct.dedup();
    let bytes = |number: u8| if number == 3 { 50 + distinct.len() } else { usize::from(number) * 100 };
    distinct.iter().map(|&number| format!("{number}:{}", bytes(number))).collect::<Vec<_>>().join(" ")
}

/// A tag in each, of a layer that all have and one of its own.
fn nine_repositories() -> BTreeMap<(u8, u8), Vec<u8>> {
    (0..9).map(|number| ((number, 0), vec![1, number])).collect()
}

fn start(shard: Shard) -> Inventory {
    let mut inventory = inventory(&targets(shard));
    inventory.share_counts();
    inventory
}

/// All of a scan: of `there` each inventory finds its own part, and reads what changed.
fn scan(inventory: &mut Inventory, shard: Shard, there: &BTreeMap<(u8, u8), Vec<u8>>) -> Vec<TagChange> {
    let mut changes = Vec::new();
    for (target, beginning) in [("r", "r.io/"), ("q", "q.io/"), ("one", "r.io/1"), ("four", "q.io/4")] {
        let references = there.keys().map(|(repository, tag)| (name(*repository), format!("v{tag}")));
        let references = references.chain([("r.io/named".to_owned(), "v1".to_owned())]);
        let own = references.filter(|(name, _)| name.starts_with(beginning) && shard.holds(&repository(name)));
        let all: Vec<String> = own.map(|(name, tag)| format!("{name}:{tag}")).collect();
        changes.extend(found(inventory, target, &all.join(" ")));
    }
    for ((repository, tag), numbers) in there {
        let reference = format!("{}:v{tag}", name(*repository));
        changes.extend(read(inventory, &reference, 10.0, single(&layers(numbers))));
    }
    changes.extend(read(inventory, "r.io/named:v1", 10.0, single("1:100 2:200")));
    for target in ["r", "q", "one", "four", "named"] {
        scan_ended(inventory, target);
    }
    changes
}

impl Fleet {
    fn new(total: u32) -> Self {
        let shards = (0..total).map(|number| start(Shard::new(number, total).unwrap())).collect();
        let told = (0..total).map(|_| Told::default()).collect();
        Self { shards, told, records: BTreeMap::new(), images: HashMap::new() }
    }

    fn shard(&self, number: usize) -> Shard {
        Shard::new(u32::try_from(number).unwrap(), u32::try_from(self.shards.len()).unwrap()).unwrap()
    }

    fn scan(&mut self, number: usize, there: &BTreeMap<(u8, u8), Vec<u8>>) {
        let shard = self.shard(number);
        for change in scan(&mut self.shards[number], shard, there) {
            let key = (change.repository, change.tag);
            match change.kept {
                Some(record) => drop(self.records.insert(key, record)),
                None => drop(self.records.remove(&key)),
            }
        }
        let images = there.values().flat_map(|numbers| single(&layers(numbers)).images);
        let images = images.chain(single("1:100 2:200").images);
        self.images.extend(images.map(|image| (image.digest.clone(), image)));
    }

    /// Tells the others what a shard counts.
    fn tell(&mut self, number: usize) {
        self.shards[number].snapshot();
        let Some(counts) = self.shards[number].own_counts() else { return };
        self.told[number].take(&counts);
        for other in (0..self.shards.len()).filter(|&other| other != number) {
            let news = vec![(u32::try_from(number).unwrap(), Some(counts.clone()))];
            assert!(self.shards[other].learn_elsewhere(news));
        }
    }

    fn tell_all(&mut self) {
        (0..self.shards.len()).for_each(|number| self.tell(number));
    }

    /// Ends a shard, and starts it again with what its store has and what the others told.
    fn restart(&mut self, number: usize) {
        let shard = self.shard(number);
        let mut inventory = start(shard);
        for ((repository, tag), record) in self.records.iter().filter(|((name, _), _)| shard.holds(name)) {
            inventory.restore(repository, tag, record, |digest| self.images.get(digest).cloned());
        }
        inventory.restored(|_, _| true);
        let others = self.told.iter().enumerate().filter(|(other, _)| *other != number);
        let others = others.map(|(other, told)| (u32::try_from(other).unwrap(), Some(told.all())));
        inventory.learn_elsewhere(others.collect());
        self.shards[number] = inventory;
    }

    /// What all of them publish together, and how many say what is stored on each registry.
    fn figures(&mut self) -> (BTreeMap<String, String>, BTreeMap<String, usize>) {
        let (mut all, mut tellers) = (BTreeMap::new(), BTreeMap::new());
        for shard in &mut self.shards {
            for (name, figures) in figures(shard) {
                *tellers.entry(name.clone()).or_default() += 1;
                all.insert(name, figures);
            }
        }
        (all, tellers)
    }
}

impl Told {
    fn take(&mut self, counts: &ShardCounts) {
        self.is_settled = counts.is_settled;
        if counts.is_all {
            self.registries.retain(|registry, _| counts.registries.iter().any(|(named, _)| named == registry));
        }
        for (registry, counts) in &counts.registries {
            let Some(summary) = counts.summary else {
                self.registries.remove(registry);
                continue;
            };
            let (known, layers) = self.registries.entry(registry.clone()).or_insert((summary, BTreeMap::new()));
            *known = summary;
            if counts.is_all {
                layers.clear();
            }
            for (digest, count) in &counts.layers {
                if count.count.is_listed() {
                    layers.insert(digest.clone(), count.clone());
                } else {
                    layers.remove(digest);
                }
            }
        }
    }

    fn all(&self) -> ShardCounts {
        let registries = self.registries.iter().map(|(registry, (summary, layers))| {
            let layers = layers.iter().map(|(digest, count)| (digest.clone(), count.clone())).collect();
            (registry.clone(), RegistryCounts { summary: Some(*summary), is_all: true, layers })
        });
        ShardCounts { is_all: true, is_settled: self.is_settled, registries: registries.collect() }
    }
}

/// All sums: of registries, groups, repositories, tags and images.
fn figures(inventory: &mut Inventory) -> BTreeMap<String, String> {
    let snapshot = inventory.snapshot();
    let mut figures = BTreeMap::new();
    for registry in &snapshot.registries {
        if let Some(bytes) = registry.stored_bytes.filter(|_| !registry.elsewhere.is_told) {
            figures.insert(registry.registry.to_string(), bytes.to_string());
        }
        for GroupView { group, usage } in &registry.groups {
            // Shares are added up in another order.
            let proportional = (usage.proportional_bytes + 1e-6).floor();
            let own = format!("{} {} {proportional}", usage.stored_bytes, usage.unique_bytes);
            figures.insert(format!("{} {group}", registry.registry), own);
        }
        for view in &registry.repositories {
            let name = view.repository.to_string();
            let own = format!("{:?} {:?} {:?}", view.stored_bytes, view.unique_bytes, view.proportional_bytes);
            figures.insert(name.clone(), own);
            for tag in &view.tags {
                let image = tag.images.first().map(|image| (image.unique_bytes, image.proportional_bytes));
                figures.insert(format!("{name}:{}", tag.tag), format!("{:?} {image:?}", tag.stored_bytes));
            }
        }
    }
    figures
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let layers = prop::option::weighted(0.7, prop::collection::vec(1..8_u8, 1..5));
    prop::collection::vec((0..9_u8, 0..3_u8, layers), 1..16)
}

proptest! {
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
        for ((repository, tag, layers), restarted) in steps.into_iter().zip(restarted) {
            match layers {
                Some(layers) => drop(there.insert((repository, tag), layers)),
                None => drop(there.remove(&(repository, tag))),
            }
            scan(&mut whole, Shard::default(), &there);
            (0..fleet.shards.len()).for_each(|number| fleet.scan(number, &there));
            fleet.tell_all();
            prop_assert!(whole.own_counts().is_none(), "there is nobody to tell");
            let (figures_of_all, tellers) = fleet.figures();
            prop_assert_eq!(&figures_of_all, &figures(&mut whole));
            prop_assert!(tellers.values().all(|count| *count == 1), "{:?}", tellers);
            // A shard that starts again has the same, and tells the others the same.
            let restarted = restarted.index(fleet.shards.len());
            fleet.restart(restarted);
            prop_assert_eq!(&fleet.figures().0, &figures_of_all);
            let before = std::mem::take(&mut fleet.told[restarted]);
            let told_again = fleet.shards[restarted].own_counts().unwrap();
            fleet.told[restarted].take(&told_again);
            prop_assert_eq!(&fleet.told[restarted], &before);
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
    assert!(!is_shared(&without) && without.values().all(|figures| !figures.contains("Some((Some")));
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
        assert!(others.clone().count() > 0 && others.into_iter().all(|(_, figures)| figures.contains("Some((Some")));
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
    let is_shared = |figures: &BTreeMap<String, String>| figures.values().any(|figures| figures.contains("Some((Some"));
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
