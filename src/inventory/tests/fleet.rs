//! Shards that tell each other what they count, and one inventory of the same repositories.

use std::collections::BTreeMap;

use super::fixtures::*;
use super::reclaimable::policy;
use crate::image::Image;
use crate::inventory::snapshot::GroupView;
use crate::inventory::*;
use crate::oci::Tag;
use crate::tag::*;
use crate::target::{Grouping, Shard, Target};

/// What a shard told last.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Told {
    is_settled: bool,
    pub(super) registries: BTreeMap<Registry, OfRegistry>,
}

/// What it told of a registry.
#[derive(PartialEq, Debug)]
pub(super) struct OfRegistry {
    pub(super) summary: RegistrySummary,
    layers: BTreeMap<Digest, CountedLayer>,
    pub(super) blobs: BTreeMap<BlobName, GoneBy>,
}

/// Shards, and what each of them told.
pub(super) struct Fleet {
    pub(super) shards: Vec<Inventory>,
    pub(super) told: Vec<Told>,
    /// What is in the shards' stores.
    records: BTreeMap<(Repository, Tag), TagRecord>,
    images: HashMap<Digest, Arc<Image>>,
    pub(super) now: Timestamp,
}

/// Of one registry in groups, of which one is a part of another; some tags of the other registry are in one.
pub(super) fn targets(shard: Shard) -> [Target; 5] {
    let all = [
        grouped("web", listing("r", "r.io/*")),
        listing("q", "q.io/*"),
        grouped("ones", listing("one", "r.io/1")),
        grouped("data", listing("four", "q.io/4")),
        grouped("data", target("named", "r.io/named", "v1")),
    ];
    all.map(|target| target.in_shard(shard))
}

pub(super) fn grouped(group: &str, target: Target) -> Target {
    Target { grouping: Some(Grouping::Named(group.into())), ..target }
}

pub(super) fn name(repository: u8) -> String {
    format!("{}.io/{repository}", if repository.is_multiple_of(4) { 'q' } else { 'r' })
}

/// Layers whose sizes their manifests disagree about now and then.
pub(super) fn layers(numbers: &[u8]) -> String {
    let mut distinct = numbers.to_vec();
    distinct.dedup();
    let bytes = |number: u8| if number == 3 { 50 + distinct.len() } else { usize::from(number) * 100 };
    distinct.iter().map(|&number| format!("{number}:{}", bytes(number))).collect::<Vec<_>>().join(" ")
}

/// What a tag points at: an image of these layers, or an index of two. Images of the same layers are the same; some have a config
/// that is the layer 7 of others, and whose size their manifests disagree about.
pub(super) fn reading(numbers: &[u8]) -> Reading {
    let on = |platform: &str, numbers: &[u8]| {
        let mut image = (*image(platform, &layers(numbers))).clone();
        image.created = Some(START + f64::from(numbers[0]) * DAY);
        if numbers[0] == 6 {
            (image.image_id, image.config_bytes) = (Some(digest("7")), 7 + image.layers.len() as u64);
        }
        Arc::new(image)
    };
    if numbers.len() < 4 {
        return reading_of(on("linux/amd64", numbers));
    }
    let (amd64, arm64) = numbers.split_at(2);
    let mut reading = index(&format!("{numbers:?}"), &[]);
    reading.images = vec![on("linux/amd64", amd64), on("linux/arm64", arm64)];
    reading
}

pub(super) const DAY: f64 = 86_400.0;
/// Day 0 of images.
pub(super) const START: f64 = 1_700_000_000.0;

/// Of all tags, of some targets', of one repository's, and one that time changes.
pub(super) fn policies() -> Vec<Arc<RetentionPolicy>> {
    let newest = (*policy("newest", Some("r four"), &["^v9$"], None)).clone();
    vec![
        policy("first", None, &["^v[0]$"], None),
        Arc::new(RetentionPolicy { keep_newest: Some(1), ..newest }),
        policy("named", Some("named"), &["^nothing$"], None),
        policy("young", Some("r q"), &[], Some(5)),
    ]
}

/// A tag in each, of a layer that all have and one of its own.
pub(super) fn nine_repositories() -> BTreeMap<(u8, u8), Vec<u8>> {
    (0..9).map(|number| ((number, 0), vec![1, number])).collect()
}

pub(super) fn start(shard: Shard) -> Inventory {
    let mut inventory = inventory(&targets(shard));
    inventory.share_counts();
    inventory.set_policies(&policies());
    inventory.set_time(START);
    inventory
}

/// All of a scan: of `there` each inventory finds its own part, and reads what changed.
pub(super) fn scan(inventory: &mut Inventory, shard: Shard, there: &BTreeMap<(u8, u8), Vec<u8>>) -> Vec<TagChange> {
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
        changes.extend(read(inventory, &reference, 10.0, reading(numbers)));
    }
    changes.extend(read(inventory, "r.io/named:v1", 10.0, reading(&[1, 2])));
    for target in ["r", "q", "one", "four", "named"] {
        scan_ended(inventory, target);
    }
    changes
}

impl Fleet {
    pub(super) fn new(total: u32) -> Self {
        let shards = (0..total).map(|number| start(Shard::new(number, total).unwrap())).collect();
        let told = (0..total).map(|_| Told::default()).collect();
        Self { shards, told, records: BTreeMap::new(), images: HashMap::new(), now: START }
    }

    pub(super) fn shard(&self, number: usize) -> Shard {
        Shard::new(u32::try_from(number).unwrap(), u32::try_from(self.shards.len()).unwrap()).unwrap()
    }

    pub(super) fn scan(&mut self, number: usize, there: &BTreeMap<(u8, u8), Vec<u8>>) {
        let shard = self.shard(number);
        for change in scan(&mut self.shards[number], shard, there) {
            let key = (change.repository, change.tag);
            match change.kept {
                Some(record) => drop(self.records.insert(key, record)),
                None => drop(self.records.remove(&key)),
            }
        }
        let images = there.values().flat_map(|numbers| reading(numbers).images);
        let images = images.chain(reading(&[1, 2]).images);
        self.images.extend(images.map(|image| (image.digest.clone(), image)));
    }

    /// Tells the others what a shard counts.
    pub(super) fn tell(&mut self, number: usize) {
        self.shards[number].snapshot();
        let Some(counts) = self.shards[number].own_counts() else { return };
        self.told[number].take(&counts);
        for other in (0..self.shards.len()).filter(|&other| other != number) {
            let news = vec![(u32::try_from(number).unwrap(), Some(counts.clone()))];
            assert!(self.shards[other].learn_elsewhere(news));
        }
    }

    pub(super) fn tell_all(&mut self) {
        (0..self.shards.len()).for_each(|number| self.tell(number));
    }

    /// Ends a shard, and starts it again with what its store has and what the others told.
    pub(super) fn restart(&mut self, number: usize) {
        let shard = self.shard(number);
        let mut inventory = start(shard);
        inventory.set_time(self.now);
        for ((repository, tag), record) in self.records.iter().filter(|((name, _), _)| shard.holds(name)) {
            inventory.restore(repository, tag, record, |digest| self.images.get(digest).cloned());
        }
        inventory.restored(|_, _| true);
        let others = self.told.iter().enumerate().filter(|(other, _)| *other != number);
        let others = others.map(|(other, told)| (u32::try_from(other).unwrap(), Some(told.all())));
        inventory.learn_elsewhere(others.collect());
        self.shards[number] = inventory;
    }

    /// Time passes in all of them.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        self.now = now;
        self.shards.iter_mut().for_each(|shard| shard.set_time(now));
    }

    /// What all of them publish together, and how many say what is stored on each registry.
    pub(super) fn figures(&mut self) -> (BTreeMap<String, String>, BTreeMap<String, usize>) {
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
    pub(super) fn take(&mut self, counts: &ShardCounts) {
        self.is_settled = counts.is_settled;
        if counts.is_all {
            self.registries.retain(|registry, _| counts.registries.iter().any(|(named, _)| named == registry));
        }
        for (registry, counts) in &counts.registries {
            let Some(summary) = counts.summary else {
                self.registries.remove(registry);
                continue;
            };
            let nothing = OfRegistry { summary, layers: BTreeMap::new(), blobs: BTreeMap::new() };
            let known = self.registries.entry(registry.clone()).or_insert(nothing);
            known.summary = summary;
            if counts.is_all {
                known.layers.clear();
            }
            if counts.are_all_blobs {
                known.blobs.clear();
            }
            for (digest, count) in &counts.layers {
                if count.count.is_listed() {
                    known.layers.insert(digest.clone(), count.clone());
                } else {
                    known.layers.remove(digest);
                }
            }
            for (name, gone) in &counts.blobs {
                match gone {
                    Some(gone) => drop(known.blobs.insert(name.clone(), *gone)),
                    None => drop(known.blobs.remove(name)),
                }
            }
        }
    }

    pub(super) fn all(&self) -> ShardCounts {
        let registries = self.registries.iter().map(|(registry, told)| {
            let layers = told.layers.iter().map(|(digest, count)| (digest.clone(), count.clone())).collect();
            let blobs = told.blobs.iter().map(|(name, gone)| (name.clone(), Some(*gone))).collect();
            let summary = Some(told.summary);
            (registry.clone(), RegistryCounts { summary, is_all: true, layers, are_all_blobs: true, blobs })
        });
        ShardCounts { is_all: true, is_settled: self.is_settled, registries: registries.collect() }
    }
}

/// All sums: of registries, groups, repositories, tags and images.
pub(super) fn figures(inventory: &mut Inventory) -> BTreeMap<String, String> {
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
        for of in registry.reclaimable.iter().filter(|_| !registry.elsewhere.is_reclaimable_told) {
            if let Some(bytes) = of.bytes {
                figures.insert(format!("{} frees {}", registry.registry, of.policy), bytes.to_string());
            }
        }
        for view in &registry.repositories {
            let name = view.repository.to_string();
            let own = format!("{:?} {:?} {:?}", view.stored_bytes, view.unique_bytes, view.proportional_bytes);
            figures.insert(name.clone(), own);
            for of in &view.reclaimable {
                figures.insert(format!("{name} frees {}", of.policy), format!("{:?}/{:?}", of.bytes, of.tags));
            }
            for tag in &view.tags {
                let images: Vec<_> =
                    tag.images.iter().map(|image| (image.unique_bytes, image.proportional_bytes)).collect();
                figures.insert(format!("{name}:{}", tag.tag), format!("{:?} {images:?}", tag.stored_bytes));
            }
        }
    }
    figures
}
