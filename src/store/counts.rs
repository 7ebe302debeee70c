//! What a shard counts of layers, for the others: changes that wait for the writer, or all that the database has.

use std::collections::HashMap;

use crate::oci::{Digest, Registry};
#[cfg(feature = "postgres")]
use crate::tag::RegistryExtent;
use crate::tag::{CountedLayer, RegistrySummary, ShardCounts};

/// Changes, of which the latest count. The default: none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    is_any: bool,
    /// Whether registries that are not named have nothing.
    is_all: bool,
    is_settled: bool,
    registries: HashMap<Registry, OfRegistry>,
}

/// What is counted on one registry.
#[derive(Clone, Debug, Default, PartialEq)]
struct OfRegistry {
    summary: Option<RegistrySummary>,
    /// Whether layers that are not named are listed by nobody.
    is_all: bool,
    layers: HashMap<Digest, CountedLayer>,
}

/// A registry that is not watched.
#[cfg(feature = "postgres")]
const NOTHING: RegistrySummary = RegistrySummary { extent: RegistryExtent::Whole, series: 0 };

/// The rows to write.
#[cfg(feature = "postgres")]
#[derive(Debug, Default, PartialEq)]
pub(super) struct CountRows {
    pub(super) is_settled: bool,
    pub(super) registries: Vec<(Registry, RegistrySummary)>,
    pub(super) layers: Vec<(Registry, Digest, CountedLayer)>,
}

impl Counts {
    pub(super) fn is_empty(&self) -> bool {
        !self.is_any
    }

    /// Adds changes that came later.
    pub(super) fn then(&mut self, later: Self) {
        self.merge(later, |layers, digest, count| {
            layers.insert(digest, count);
        });
    }

    /// Applies changes to all that there is.
    #[cfg(feature = "postgres")]
    pub(super) fn apply(&mut self, changes: Self) {
        self.merge(changes, |layers, digest, count| {
            if count.count.is_listed() {
                layers.insert(digest, count);
            } else {
                layers.remove(&digest);
            }
        });
    }

    fn merge(&mut self, later: Self, put: impl Fn(&mut HashMap<Digest, CountedLayer>, Digest, CountedLayer)) {
        if later.is_empty() {
            return;
        }
        (self.is_any, self.is_settled) = (true, later.is_settled);
        if later.is_all {
            self.is_all = true;
            self.registries.retain(|registry, _| later.registries.contains_key(registry));
        }
        for (registry, later) in later.registries {
            let known = self.registries.entry(registry).or_default();
            known.summary = later.summary;
            if later.is_all {
                known.is_all = true;
                known.layers.clear();
            }
            for (digest, count) in later.layers {
                put(&mut known.layers, digest, count);
            }
        }
    }
}

#[cfg(feature = "postgres")]
impl Counts {
    /// The same, as all that there is.
    pub(super) fn as_all(&self) -> Self {
        let mut all = self.clone();
        (all.is_any, all.is_all) = (true, true);
        all.registries.values_mut().for_each(|registry| registry.is_all = true);
        all
    }

    /// What has to be written where `there` is all that is there.
    pub(super) fn rows(&self, there: &Self) -> CountRows {
        let mut rows = CountRows { is_settled: self.is_settled, ..CountRows::default() };
        let nothing = OfRegistry::default();
        for (registry, now) in &self.registries {
            let before = there.registries.get(registry).unwrap_or(&nothing);
            now.rows(registry, before, &mut rows);
        }
        if self.is_all {
            let gone = there.registries.iter().filter(|(registry, _)| !self.registries.contains_key(*registry));
            let all_gone = OfRegistry { is_all: true, ..OfRegistry::default() };
            gone.for_each(|(registry, before)| all_gone.rows(registry, before, &mut rows));
        }
        rows
    }

    /// Takes what is read of a registry.
    pub(super) fn read_registry(&mut self, registry: Registry, summary: RegistrySummary) {
        self.is_any = true;
        self.registries.entry(registry).or_default().summary = Some(summary);
    }

    /// Takes what is read of a layer.
    pub(super) fn read_layer(&mut self, registry: Registry, digest: Digest, count: CountedLayer) {
        self.is_any = true;
        self.registries.entry(registry).or_default().layers.insert(digest, count);
    }
}

#[cfg(feature = "postgres")]
impl OfRegistry {
    fn rows(&self, registry: &Registry, before: &Self, rows: &mut CountRows) {
        let summary = self.summary.unwrap_or(NOTHING);
        if before.summary != Some(summary) {
            rows.registries.push((registry.clone(), summary));
        }
        let none = CountedLayer::default();
        let there = |digest: &Digest| before.layers.get(digest).unwrap_or(&none);
        let changed = self.layers.iter().filter(|(digest, count)| there(digest) != *count);
        rows.layers.extend(changed.map(|(digest, count)| (registry.clone(), digest.clone(), count.clone())));
        if self.is_all {
            let gone = before.layers.keys().filter(|digest| !self.layers.contains_key(*digest));
            rows.layers.extend(gone.map(|digest| (registry.clone(), digest.clone(), none.clone())));
        }
    }
}

impl From<ShardCounts> for Counts {
    fn from(counts: ShardCounts) -> Self {
        let registries = counts.registries.into_iter().map(|(registry, counts)| {
            let layers = counts.layers.into_iter().collect();
            (registry, OfRegistry { summary: counts.summary, is_all: counts.is_all, layers })
        });
        Self { is_any: true, is_all: counts.is_all, is_settled: counts.is_settled, registries: registries.collect() }
    }
}
