//! What this shard tells the others about the layers of one registry, and what they say of its own ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::elsewhere::LayersElsewhere;
use super::groups::GroupNumbers;
use super::interner::Renumbered;
use super::layer_table::LayerTable;
use super::reclaimable::Reclaimable;
use super::snapshot::GroupView;
use super::sums::CountedImages;
use crate::image::accounting::{Census, GroupSums, ImageMark, LayerCount, Series, listed_by_set};
use crate::oci::Digest;
use crate::tag::{CountedLayer, GroupSet, RegistryCounts, RegistrySummary};

/// What was counted here when the others were last told.
#[derive(Default)]
pub(super) struct SharedCounts {
    /// By the numbers of layers.
    own: Vec<LayerCount>,
    /// Where series here are in groups, how many list a layer.
    groups: HashMap<u32, Arc<[(GroupSet, u32)]>>,
    /// What changed here since they were last told.
    changed: HashMap<Digest, CountedLayer>,
    was_told: bool,
    /// Whether policies were about the registry then.
    told_blobs: bool,
}

impl SharedCounts {
    /// Adds to a census of this shard's series what the other shards have, and notes what it counts itself. Returns the
    /// repositories whose figures may have changed.
    pub(super) fn exchange(
        &mut self,
        census: &mut Census,
        layers: &LayerTable,
        others: &mut LayersElsewhere,
    ) -> HashSet<u32> {
        for digest in others.take_changed() {
            if let Some(number) = layers.number(&digest) {
                census.set_elsewhere(number, others.count(&digest));
            }
        }
        let mark_of = |image: u32| mark(layers.document_digest(image));
        let recounted = census.settle(mark_of);
        for number in recounted.layers {
            let count = census.count(number, mark_of);
            let known = &mut self.own[number as usize];
            if *known != count {
                *known = count;
                let groups = self.groups.get(&number).cloned();
                self.changed.insert(layers.digest(number).clone(), CountedLayer { count, groups });
            }
        }
        recounted.repositories
    }

    /// Notes how many series of which groups list each layer: before [`Self::exchange`].
    pub(super) fn note_groups<'a>(
        &mut self,
        repositories: impl Iterator<Item = &'a CountedImages> + Clone,
        layers: &LayerTable,
    ) {
        let has_groups = repositories.clone().any(|counted| counted.groups().next().is_some());
        if !has_groups && self.groups.is_empty() {
            return;
        }
        let mut groups = GroupNumbers::new();
        let mut series: Vec<Series> = Vec::new();
        for counted in repositories {
            let sets: Vec<u32> = counted.sets().iter().map(|set| groups.number(set)).collect();
            series.extend(counted.series(&sets));
        }
        let name = |group: &u32| Arc::clone(&groups.names[*group as usize]);
        let sets: Vec<GroupSet> = groups.sets.iter().map(|groups_of| groups_of.iter().map(name).collect()).collect();
        let listed = listed_by_set(&series, &groups.sets);
        let of_layer = |run: &[(u32, u32, u32)]| {
            let mut sets: Vec<(GroupSet, u32)> =
                run.iter().map(|&(_, set, series)| (Arc::clone(&sets[set as usize]), series)).collect();
            // Numbers of sets follow the order of repositories, which is not part of what is told.
            sets.sort_unstable();
            (run[0].0, sets.into())
        };
        let now: HashMap<u32, Arc<[(GroupSet, u32)]>> = listed.chunk_by(|a, b| a.0 == b.0).map(of_layer).collect();
        let before = std::mem::replace(&mut self.groups, now);
        let mut changed: HashSet<u32> =
            before.keys().copied().filter(|layer| !self.groups.contains_key(layer)).collect();
        changed
            .extend(self.groups.iter().filter(|(layer, now)| before.get(layer) != Some(now)).map(|(layer, _)| *layer));
        for layer in changed {
            let count = self.own[layer as usize];
            let groups = self.groups.get(&layer).cloned();
            self.changed.insert(layers.digest(layer).clone(), CountedLayer { count, groups });
        }
    }

    /// What is stored for the groups of all shards, after [`Self::exchange`].
    pub(super) fn sum_groups(&self, layers: &LayerTable, others: &LayersElsewhere) -> Vec<GroupView> {
        let mut numbers: HashMap<Arc<str>, u32> = HashMap::new();
        let mut sums = GroupSums::new();
        let mut add = |count: LayerCount, members: &mut dyn Iterator<Item = &(GroupSet, u32)>| {
            let mut sets: Vec<(Vec<u32>, u32)> = Vec::new();
            for (names, series) in members {
                let mut number = |name: &Arc<str>| {
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    *numbers.entry(Arc::clone(name)).or_insert(next)
                };
                sets.push((names.iter().map(&mut number).collect(), *series));
            }
            sums.add(count, sets.iter().map(|(groups, series)| (&**groups, *series)));
        };
        for (layer, own) in (0_u32..).zip(&self.own).filter(|(_, own)| own.is_listed()) {
            let count = own.and(others.count(layers.digest(layer)));
            let here = self.groups.get(&layer).into_iter().flat_map(|groups| groups.iter());
            add(count, &mut here.chain(others.groups(layers.digest(layer))));
        }
        for (digest, count, mut groups) in others.by_groups() {
            let is_here = layers.number(digest).is_some_and(|number| self.own[number as usize].is_listed());
            if !is_here {
                add(count, &mut groups);
            }
        }
        let usage = sums.usage();
        let views = numbers.into_iter().filter_map(|(group, number)| {
            let usage = usage.get(number as usize).copied().flatten()?;
            Some(GroupView { group, usage })
        });
        let mut views: Vec<GroupView> = views.collect();
        views.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        views
    }

    /// Takes into account which numbers were given to other layers: before [`Self::exchange`].
    pub(super) fn renumber(
        &mut self,
        renumbered: Renumbered,
        layers: &LayerTable,
        census: &mut Census,
        others: &LayersElsewhere,
    ) {
        for (number, released) in renumbered {
            let at = number as usize;
            if self.own.len() <= at {
                self.own.resize(at + 1, LayerCount::default());
            }
            let elsewhere = if let Some(digest) = released {
                if std::mem::take(&mut self.own[at]).is_listed() {
                    self.changed.insert(digest, CountedLayer::default());
                }
                self.groups.remove(&number);
                LayerCount::default()
            } else {
                others.count(layers.digest(number))
            };
            census.set_elsewhere(number, elsewhere);
        }
    }

    /// Whether the others have yet to be told something about layers, or about blobs.
    pub(super) fn is_news(&self, summary: &RegistrySummary, blobs: &Reclaimable) -> bool {
        let is_over = self.told_blobs && !blobs.is_shared();
        !self.changed.is_empty() || is_over || blobs.is_news(summary.reclaimable.is_some())
    }

    /// What the others are to be told.
    pub(super) fn take(
        &mut self,
        summary: RegistrySummary,
        has_sums: bool,
        layers: &LayerTable,
        reclaimable: &mut Reclaimable,
    ) -> RegistryCounts {
        let is_all = has_sums && !self.was_told;
        self.was_told |= has_sums;
        let (are_all_blobs, blobs) = if reclaimable.is_shared() {
            reclaimable.take_news(summary.reclaimable.is_some(), layers)
        } else {
            (is_all || self.told_blobs, Vec::new())
        };
        self.told_blobs = reclaimable.is_shared();
        let layers = std::mem::take(&mut self.changed).into_iter().collect();
        RegistryCounts { summary: Some(summary), is_all, layers, are_all_blobs, blobs }
    }
}

/// The mark of an image with this digest.
pub(super) fn mark(digest: &Digest) -> ImageMark {
    ImageMark::new(digest.beginning()).unwrap_or(ImageMark::MIN)
}
