//! What the other shards count of the layers of each registry, as they last said.
//!
//! Not here: how it comes (`store/postgres`), and what this shard counts (`shared_counts`).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::image::accounting::LayerCount;
use crate::oci::{Digest, Registry};
use crate::tag::{CountedLayer, CountsElsewhere, GroupSet, RegistryExtent, RegistrySummary, ShardCounts};
use crate::target::Shard;

/// The other shards.
#[derive(Default)]
pub(super) struct OtherShards {
    by_number: BTreeMap<u32, OtherShard>,
    layers: BTreeMap<Registry, LayersElsewhere>,
}

/// One other shard.
#[derive(Default)]
struct OtherShard {
    is_settled: bool,
    registries: HashMap<Registry, RegistrySummary>,
}

/// The layers of one registry that other shards have.
#[derive(Default)]
pub(super) struct LayersElsewhere {
    counts: HashMap<Digest, CountByShard>,
    /// Of all of these layers, each once.
    pub(super) bytes: u128,
    /// Those that changed since they were last taken.
    changed: HashSet<Digest>,
}

/// What each shard counts of a layer. Most layers are in one of them.
struct CountByShard {
    first: (u32, CountedLayer),
    others: Box<[(u32, CountedLayer)]>,
}

impl OtherShards {
    /// Takes what they say; returns the registries of which sums may have changed.
    pub(super) fn learn(&mut self, news: CountsElsewhere) -> Vec<Registry> {
        let mut changed = Vec::new();
        for (number, counts) in news {
            if let Some(counts) = counts {
                self.learn_of(number, counts, &mut changed);
            } else {
                self.by_number.remove(&number);
                let everywhere = self.layers.iter_mut().map(|(registry, layers)| (registry, layers.forget(number)));
                changed.extend(everywhere.filter(|(_, had)| *had).map(|(registry, _)| registry.clone()));
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    fn learn_of(&mut self, number: u32, counts: ShardCounts, changed: &mut Vec<Registry>) {
        let shard = self.by_number.entry(number).or_default();
        shard.is_settled = counts.is_settled;
        if counts.is_all {
            shard.registries.clear();
            let is_gone = |registry: &&Registry| !counts.registries.iter().any(|(other, _)| other == *registry);
            let gone: Vec<Registry> = self.layers.keys().filter(is_gone).cloned().collect();
            for registry in gone {
                if self.layers.get_mut(&registry).is_some_and(|layers| layers.forget(number)) {
                    changed.push(registry);
                }
            }
        }
        for (registry, counts) in counts.registries {
            match counts.summary {
                Some(summary) => drop(shard.registries.insert(registry.clone(), summary)),
                None => drop(shard.registries.remove(&registry)),
            }
            if counts.layers.is_empty() && !counts.is_all {
                continue;
            }
            let layers = self.layers.entry(registry.clone()).or_default();
            if counts.is_all {
                layers.forget(number);
            }
            for (digest, count) in counts.layers {
                layers.set(number, digest, count);
            }
            changed.push(registry);
        }
    }

    /// How much each of the others knows of its part of a registry, by its number. One that selects something else there than
    /// `selection` knows nothing of what this one selects; `is_named`: whether targets name the registry, so that each says
    /// something of it.
    pub(super) fn extents(
        &self,
        registry: &Registry,
        own: Shard,
        (selection, is_named): (u64, bool),
    ) -> impl Iterator<Item = (u32, RegistryExtent)> {
        let others = (0..own.total()).filter(move |&number| number != own.number());
        others.map(move |number| {
            let shard = self.by_number.get(&number);
            let extent = match shard.map(|shard| (shard.is_settled, shard.registries.get(registry))) {
                Some((_, Some(summary))) if summary.selection == selection => summary.extent,
                Some((true, None)) if !is_named => RegistryExtent::Whole,
                _ => RegistryExtent::Unknown,
            };
            (number, extent)
        })
    }

    /// Whether a shard with a lower number has series on a registry: of those that have some, the first says what all of
    /// them have together.
    pub(super) fn has_earlier(&self, registry: &Registry, own: Shard) -> bool {
        let earlier = self.by_number.range(..own.number());
        earlier.filter_map(|(_, shard)| shard.registries.get(registry)).any(|summary| summary.series > 0)
    }

    /// The layers that they have on a registry.
    pub(super) fn layers(&mut self, registry: &Registry) -> &mut LayersElsewhere {
        self.layers.entry(registry.clone()).or_default()
    }
}

impl LayersElsewhere {
    /// What all of them count of a layer.
    pub(super) fn count(&self, digest: &Digest) -> LayerCount {
        self.counts.get(digest).map_or_else(LayerCount::default, CountByShard::sum)
    }

    /// By digest, what all of them count, and how many of their series are in which groups.
    pub(super) fn by_groups(
        &self,
    ) -> impl Iterator<Item = (&Digest, LayerCount, impl Iterator<Item = &(GroupSet, u32)>)> {
        self.counts.iter().map(|(digest, counts)| (digest, counts.sum(), counts.groups()))
    }

    /// Of one layer, how many of their series are in which groups.
    pub(super) fn groups(&self, digest: &Digest) -> impl Iterator<Item = &(GroupSet, u32)> {
        self.counts.get(digest).into_iter().flat_map(CountByShard::groups)
    }

    /// The layers that changed since the last call.
    pub(super) fn take_changed(&mut self) -> HashSet<Digest> {
        std::mem::take(&mut self.changed)
    }

    fn set(&mut self, shard: u32, digest: Digest, count: CountedLayer) {
        let before = self.count(&digest);
        let others = self.counts.remove(&digest).into_iter().flat_map(CountByShard::into_counts);
        let others = others.filter(|(number, _)| *number != shard);
        let now = CountByShard::new(others.chain(count.count.is_listed().then_some((shard, count))));
        let sum = now.as_ref().map_or_else(LayerCount::default, CountByShard::sum);
        if sum != before {
            self.bytes = self.bytes - u128::from(before.bytes) + u128::from(sum.bytes);
            self.changed.insert(digest.clone());
        }
        if let Some(now) = now {
            self.counts.insert(digest, now);
        }
    }

    /// Forgets all that a shard counts; returns whether there was anything.
    fn forget(&mut self, shard: u32) -> bool {
        let has = |(_, counts): &(&Digest, &CountByShard)| counts.has(shard);
        let gone: Vec<Digest> = self.counts.iter().filter(has).map(|(digest, _)| digest.clone()).collect();
        let is_any = !gone.is_empty();
        for digest in gone {
            self.set(shard, digest, CountedLayer::default());
        }
        is_any
    }
}

impl CountByShard {
    fn new(mut counts: impl Iterator<Item = (u32, CountedLayer)>) -> Option<Self> {
        Some(Self { first: counts.next()?, others: counts.collect() })
    }

    fn into_counts(self) -> impl Iterator<Item = (u32, CountedLayer)> {
        std::iter::once(self.first).chain(self.others)
    }

    fn sum(&self) -> LayerCount {
        self.others.iter().fold(self.first.1.count, |sum, (_, counted)| sum.and(counted.count))
    }

    fn groups(&self) -> impl Iterator<Item = &(GroupSet, u32)> {
        let all = std::iter::once(&self.first).chain(&*self.others);
        all.flat_map(|(_, counted)| counted.groups.iter().flat_map(|groups| groups.iter()))
    }

    fn has(&self, shard: u32) -> bool {
        self.first.0 == shard || self.others.iter().any(|(number, _)| *number == shard)
    }
}
