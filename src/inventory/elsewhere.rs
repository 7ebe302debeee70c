//! What the other shards count of the layers of each registry, as they last said.
//!
//! Not here: how it comes (`store/postgres`), what this shard counts (`shared_counts`), and what goes by policies
//! (`blobs_elsewhere`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::blobs_elsewhere::BlobsElsewhere;
use super::by_shard::ByShard;
use crate::image::accounting::LayerCount;
use crate::oci::{Digest, Registry};
use crate::tag::{CountedLayer, CountsElsewhere, GroupSet, PolicySet, RegistryExtent, RegistrySummary, ShardCounts};
use crate::target::Shard;

/// The other shards.
#[derive(Default)]
pub(super) struct OtherShards {
    by_number: BTreeMap<u32, OtherShard>,
    on: BTreeMap<Registry, RegistryElsewhere>,
}

/// What other shards have of one registry.
#[derive(Default)]
pub(super) struct RegistryElsewhere {
    pub(super) layers: LayersElsewhere,
    pub(super) blobs: BlobsElsewhere,
}

/// What the policies are about in other shards' parts of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReclaimableElsewhere {
    /// Whether each of them says it, by the same policies: only then are there bytes.
    pub(super) is_known: bool,
    /// The policies that are about a repository of one of them.
    pub(super) about: PolicySet,
    /// Whether a shard with a lower number publishes something of the registry: the first of those that do says what all would
    /// free together.
    pub(super) is_told: bool,
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
    counts: HashMap<Digest, ByShard<CountedLayer>>,
    /// Of all of these layers, each once.
    pub(super) bytes: u128,
    /// Those that changed since they were last taken.
    changed: HashSet<Digest>,
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
                let everywhere = self.on.iter_mut().map(|(registry, of)| (registry, of.forget(number)));
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
            let gone: Vec<Registry> = self.on.keys().filter(is_gone).cloned().collect();
            for registry in gone {
                if self.on.get_mut(&registry).is_some_and(|of| of.forget(number)) {
                    changed.push(registry);
                }
            }
        }
        for (registry, counts) in counts.registries {
            match counts.summary {
                Some(summary) => drop(shard.registries.insert(registry.clone(), summary)),
                None => drop(shard.registries.remove(&registry)),
            }
            if counts.layers.is_empty() && !counts.is_all && counts.blobs.is_empty() && !counts.are_all_blobs {
                continue;
            }
            let of = self.on.entry(registry.clone()).or_default();
            if counts.is_all {
                of.layers.forget(number);
            }
            if counts.are_all_blobs {
                of.blobs.forget(number);
            }
            for (digest, count) in counts.layers {
                of.layers.set(number, digest, count);
            }
            for (name, gone) in counts.blobs {
                of.blobs.set(number, name, gone);
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

    /// What the policies are about in their parts of a registry. One with other policies says nothing of those of
    /// `identity`, which is none where no policy is about the registry.
    pub(super) fn reclaimable(&self, registry: &Registry, own: Shard, identity: Option<u64>) -> ReclaimableElsewhere {
        let mut all = ReclaimableElsewhere { is_known: true, ..ReclaimableElsewhere::default() };
        let others = (0..own.total()).filter(|&number| number != own.number() && identity.is_some());
        for number in others {
            let summary = self.by_number.get(&number).and_then(|shard| shard.registries.get(registry));
            match summary.and_then(|summary| summary.reclaimable).filter(|of| Some(of.identity) == identity) {
                Some(of) => {
                    all.about = all.about.or(of.about);
                    all.is_told |= of.is_shown && number < own.number();
                }
                None => all.is_known = false,
            }
        }
        all
    }

    /// What they have on a registry.
    pub(super) fn on(&mut self, registry: &Registry) -> &mut RegistryElsewhere {
        self.on.entry(registry.clone()).or_default()
    }
}

impl RegistryElsewhere {
    /// Forgets all that a shard has; returns whether there was anything.
    fn forget(&mut self, shard: u32) -> bool {
        self.layers.forget(shard) | self.blobs.forget(shard)
    }

    /// Leaves it to who numbers blobs there to look them up.
    pub(super) fn drop_changed(&mut self) {
        self.layers.take_changed();
        self.blobs.drop_changed();
    }
}

impl LayersElsewhere {
    /// What all of them count of a layer.
    pub(super) fn count(&self, digest: &Digest) -> LayerCount {
        self.counts.get(digest).map_or_else(LayerCount::default, sum)
    }

    /// By digest, what all of them count, and how many of their series are in which groups.
    pub(super) fn by_groups(
        &self,
    ) -> impl Iterator<Item = (&Digest, LayerCount, impl Iterator<Item = &(GroupSet, u32)>)> {
        self.counts.iter().map(|(digest, counts)| (digest, sum(counts), groups(counts)))
    }

    /// Of one layer, how many of their series are in which groups.
    pub(super) fn groups(&self, digest: &Digest) -> impl Iterator<Item = &(GroupSet, u32)> {
        self.counts.get(digest).into_iter().flat_map(groups)
    }

    /// The layers that changed since the last call.
    pub(super) fn take_changed(&mut self) -> HashSet<Digest> {
        std::mem::take(&mut self.changed)
    }

    fn set(&mut self, shard: u32, digest: Digest, count: CountedLayer) {
        let counts = self.counts.remove(&digest);
        let before = counts.as_ref().map_or_else(LayerCount::default, sum);
        let counts = ByShard::with(counts, shard, count.count.is_listed().then_some(count));
        let now = counts.as_ref().map_or_else(LayerCount::default, sum);
        if now != before {
            self.bytes = self.bytes - u128::from(before.bytes) + u128::from(now.bytes);
            self.changed.insert(digest.clone());
        }
        if let Some(counts) = counts {
            self.counts.insert(digest, counts);
        }
    }

    /// Forgets all that a shard counts; returns whether there was anything.
    fn forget(&mut self, shard: u32) -> bool {
        let gone = ByShard::named_by(shard, &self.counts);
        let is_any = !gone.is_empty();
        for digest in gone {
            self.set(shard, digest, CountedLayer::default());
        }
        is_any
    }
}

/// All shards' counts of a layer together.
fn sum(counts: &ByShard<CountedLayer>) -> LayerCount {
    counts.iter().fold(LayerCount::default(), |sum, counted| sum.and(counted.count))
}

fn groups(counts: &ByShard<CountedLayer>) -> impl Iterator<Item = &(GroupSet, u32)> {
    counts.iter().flat_map(|counted| counted.groups.iter().flat_map(|groups| groups.iter()))
}
