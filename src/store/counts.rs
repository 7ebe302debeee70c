//! What a shard counts of layers, and which of its blobs go, for the others: changes that wait for the writer, or all that the
//! database has.

use std::collections::HashMap;

use super::changes::Changes;
use crate::oci::{Digest, Registry};
#[cfg(feature = "postgres")]
use crate::tag::RegistryExtent;
use crate::tag::{BlobName, CountedLayer, GoneBy, RegistrySummary, ShardCounts};

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
    layers: Changes<Digest, CountedLayer>,
    blobs: Changes<BlobName, Option<GoneBy>>,
}

/// A registry that is not watched.
#[cfg(feature = "postgres")]
pub(super) const NOTHING: RegistrySummary =
    RegistrySummary { extent: RegistryExtent::Whole, series: 0, selection: 0, repositories: 0, reclaimable: None };

/// The rows to write.
#[cfg(feature = "postgres")]
#[derive(Debug, Default, PartialEq)]
pub(super) struct CountRows {
    pub(super) is_settled: bool,
    pub(super) registries: Vec<(Registry, RegistrySummary)>,
    pub(super) layers: Vec<(Registry, Digest, CountedLayer)>,
    pub(super) blobs: Vec<(Registry, BlobName, Option<GoneBy>)>,
}

impl Counts {
    pub(super) fn is_empty(&self) -> bool {
        !self.is_any
    }

    /// Adds changes that came later.
    pub(super) fn then(&mut self, later: Self) {
        self.merge(later, |known, later| {
            known.layers.then(later.layers);
            known.blobs.then(later.blobs);
        });
    }

    /// Applies changes to all that there is.
    #[cfg(feature = "postgres")]
    pub(super) fn apply(&mut self, changes: Self) {
        self.merge(changes, |known, changes| {
            known.layers.apply(changes.layers);
            known.blobs.apply(changes.blobs);
        });
    }

    fn merge(&mut self, later: Self, add: impl Fn(&mut OfRegistry, OfRegistry)) {
        if later.is_empty() {
            return;
        }
        (self.is_any, self.is_settled) = (true, later.is_settled);
        if later.is_all {
            self.is_all = true;
            self.registries.retain(|registry, _| later.registries.contains_key(registry));
        }
        for (registry, later) in later.registries {
            // Where all registries were named, one that was not had nothing.
            let is_all = self.is_all;
            let known = self.registries.entry(registry).or_insert_with(|| OfRegistry::nothing(is_all));
            known.summary = later.summary;
            add(known, later);
        }
    }
}

impl OfRegistry {
    /// No layer and no blob.
    fn nothing(is_all: bool) -> Self {
        let (layers, blobs) = (HashMap::new(), HashMap::new());
        Self { summary: None, layers: Changes { is_all, values: layers }, blobs: Changes { is_all, values: blobs } }
    }
}

#[cfg(feature = "postgres")]
impl Counts {
    /// The same, as all that there is.
    pub(super) fn as_all(&self) -> Self {
        let mut all = self.clone();
        (all.is_any, all.is_all) = (true, true);
        for registry in all.registries.values_mut() {
            (registry.layers.is_all, registry.blobs.is_all) = (true, true);
        }
        all
    }

    /// Whether everything was read, and is nothing.
    pub(super) fn has_nothing(&self) -> bool {
        let is_nothing = |registry: &OfRegistry| {
            let summary = registry.summary.unwrap_or(NOTHING);
            summary.extent == RegistryExtent::Whole && summary.repositories == 0
        };
        self.is_settled && self.is_all && self.registries.values().all(is_nothing)
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
            let all_gone = OfRegistry::nothing(true);
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
        self.registries.entry(registry).or_default().layers.values.insert(digest, count);
    }

    /// Takes what is read of a blob.
    pub(super) fn read_blob(&mut self, registry: Registry, name: BlobName, gone: Option<GoneBy>) {
        self.is_any = true;
        self.registries.entry(registry).or_default().blobs.values.insert(name, gone);
    }
}

#[cfg(feature = "postgres")]
impl OfRegistry {
    fn rows(&self, registry: &Registry, before: &Self, rows: &mut CountRows) {
        let summary = self.summary.unwrap_or(NOTHING);
        if before.summary != Some(summary) {
            rows.registries.push((registry.clone(), summary));
        }
        self.layers.rows(&before.layers, |digest, count| rows.layers.push((registry.clone(), digest, count)));
        self.blobs.rows(&before.blobs, |name, gone| rows.blobs.push((registry.clone(), name, gone)));
    }
}

impl From<ShardCounts> for Counts {
    fn from(counts: ShardCounts) -> Self {
        let registries = counts.registries.into_iter().map(|(registry, counts)| {
            let layers = Changes { is_all: counts.is_all, values: counts.layers.into_iter().collect() };
            let blobs = Changes { is_all: counts.are_all_blobs, values: counts.blobs.into_iter().collect() };
            (registry, OfRegistry { summary: counts.summary, layers, blobs })
        });
        Self { is_any: true, is_all: counts.is_all, is_settled: counts.is_settled, registries: registries.collect() }
    }
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tag::{PolicySet, RegistryCounts};

    /// By registry and layer, how many series list it; from [`BLOBS`] on, by blob, by which policies it goes.
    type There = BTreeMap<(u8, u8), u32>;

    const BLOBS: u8 = 4;

    #[derive(Clone, Debug)]
    enum Step {
        /// A layer is listed by so many series, or a blob goes by such policies.
        List(u8, u8, u32),
        /// A registry is no longer watched.
        Leave(u8),
        /// What changed is told, and waits.
        Tell,
        /// With the next of that all blobs of a registry are told.
        Reload(u8),
        /// What waits is written.
        Write,
        /// Of what waits so many layers are written, and no answer comes.
        WriteInPart(usize),
        /// The program ends with what waits, and starts again.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..3_u8, 0..8_u8, 0..4_u32).prop_map(|(registry, layer, series)| Step::List(registry, layer, series)),
            1 => (0..3_u8).prop_map(Step::Leave),
            4 => Just(Step::Tell),
            1 => (0..3_u8).prop_map(Step::Reload),
            2 => Just(Step::Write),
            1 => (0..5_usize).prop_map(Step::WriteInPart),
            1 => Just(Step::Restart),
        ];
        prop::collection::vec(step, 0..60)
    }

    fn registry(number: u8) -> Registry {
        format!("r{number}.io").parse().unwrap()
    }

    fn summary(series: u64) -> RegistrySummary {
        RegistrySummary { extent: RegistryExtent::Whole, series, repositories: 1, selection: 5, reclaimable: None }
    }

    fn counted(series: u32) -> CountedLayer {
        let mut counted = CountedLayer::default();
        (counted.count.series, counted.count.bytes) = (series, u64::from(series > 0));
        counted
    }

    fn blob(number: u8) -> BlobName {
        let digest = Digest::sha256_of(&[number / 2]);
        if number.is_multiple_of(2) { BlobName::Layer(digest) } else { BlobName::Document(digest) }
    }

    fn gone(policies: u32) -> Option<GoneBy> {
        (policies > 0).then(|| GoneBy { policies: PolicySet::from_bits(policies.into()), bytes: 7 })
    }

    /// What is told of a registry: all of it, or what differs from before; and all of its blobs if `reloads`.
    fn told(number: u8, there: &There, before: Option<&There>, reloads: bool) -> RegistryCounts {
        let of = |there: &There| -> BTreeMap<u8, u32> {
            let own = there.iter().filter(|((registry, _), _)| *registry == number);
            own.map(|((_, layer), series)| (*layer, *series)).collect()
        };
        let (now, before_it) = (of(there), before.map(of).unwrap_or_default());
        let series = |layers: &BTreeMap<u8, u32>, layer: u8| layers.get(&layer).copied().unwrap_or_default();
        let changed = |&layer: &u8| series(&now, layer) != series(&before_it, layer);
        let layers = (0..BLOBS).filter(changed);
        let layers = layers.map(|layer| (Digest::sha256_of(&[layer]), counted(series(&now, layer)))).collect();
        let is_there = |number: &u8| now.contains_key(number);
        let blobs = (BLOBS..8).filter(if reloads { &is_there } else { &changed as &dyn Fn(&u8) -> bool });
        let blobs = blobs.map(|number| (blob(number), gone(series(&now, number)))).collect();
        let summary = summary(now.values().sum::<u32>().into());
        let (summary, is_all) = ((!now.is_empty()).then_some(summary), before.is_none());
        RegistryCounts { summary, is_all, layers, are_all_blobs: is_all || reloads, blobs }
    }

    /// What a database has.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Tables {
        layers: HashMap<(Registry, Digest), u32>,
        blobs: HashMap<(Registry, BlobName), GoneBy>,
        series: HashMap<Registry, u64>,
    }

    impl Tables {
        fn apply(&mut self, rows: CountRows) {
            for (registry, digest, counted) in rows.layers {
                self.layers.insert((registry, digest), counted.count.series);
            }
            for (registry, name, gone) in rows.blobs {
                match gone {
                    Some(gone) => drop(self.blobs.insert((registry, name), gone)),
                    None => drop(self.blobs.remove(&(registry, name))),
                }
            }
            for (registry, summary) in rows.registries {
                self.series.insert(registry, summary.series);
            }
            self.layers.retain(|_, series| *series > 0);
            self.series.retain(|_, series| *series > 0);
        }

        fn read(&self) -> Counts {
            let mut counts = Counts::default();
            for (registry, series) in &self.series {
                counts.read_registry(registry.clone(), summary(*series));
            }
            for ((registry, digest), series) in &self.layers {
                counts.read_layer(registry.clone(), digest.clone(), counted(*series));
            }
            for ((registry, name), gone) in &self.blobs {
                counts.read_blob(registry.clone(), name.clone(), Some(*gone));
            }
            counts
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_told_last_however_often_a_write_failed(steps in steps()) {
            let (mut there, mut before) = (There::new(), None::<There>);
            let (mut waiting, mut known) = (Counts::default(), Counts::default());
            let mut tables = Tables::default();
            let mut is_doubtful = false;
            let mut reloading = [false; 3];
            let tell = |there: &There, before: &mut Option<There>, waiting: &mut Counts, reloading: &mut [bool; 3]| {
                let reloaded = std::mem::take(reloading);
                let registries = (0..3_u8).zip(reloaded);
                let registries = registries
                    .map(|(number, reloads)| (registry(number), told(number, there, before.as_ref(), reloads)));
                let is_any = |counts: &RegistryCounts| {
                    let is_reload = counts.are_all_blobs && !counts.is_all;
                    counts.summary.is_some() || !counts.layers.is_empty() || !counts.blobs.is_empty() || is_reload
                };
                let registries = registries.filter(|(_, counts)| is_any(counts));
                let counts = ShardCounts { is_all: before.is_none(), is_settled: true, registries: registries.collect() };
                *before = Some(there.clone());
                // As after a write that failed: what is newer comes on top.
                let mut older = std::mem::take(waiting);
                older.then(counts.into());
                *waiting = older;
            };
            for step in steps.into_iter().chain([Step::Tell, Step::Write]) {
                match step {
                    Step::List(registry, layer, 0) => drop(there.remove(&(registry, layer))),
                    Step::List(registry, layer, series) => drop(there.insert((registry, layer), series)),
                    Step::Leave(gone) => there.retain(|(registry, _), _| *registry != gone),
                    Step::Reload(registry) => reloading[usize::from(registry)] = true,
                    Step::Tell => tell(&there, &mut before, &mut waiting, &mut reloading),
                    Step::Write => {
                        let mut all = known.clone();
                        all.apply(waiting.clone());
                        let there = tables.read();
                        let rows = if is_doubtful { all.as_all().rows(&there) } else { waiting.rows(&known) };
                        tables.apply(rows);
                        known.apply(std::mem::take(&mut waiting));
                        let rows = known.rows(&tables.read());
                        prop_assert_eq!((rows.layers.len(), rows.blobs.len()), (0, 0));
                        is_doubtful = false;
                    }
                    // Some rows were written, and it is not known which.
                    Step::WriteInPart(rows) => {
                        let mut written = waiting.rows(&known);
                        let layers = written.layers.len();
                        written.layers.truncate(rows);
                        written.blobs.truncate(rows.saturating_sub(layers));
                        tables.apply(written);
                        is_doubtful = true;
                    }
                    Step::Restart => {
                        (waiting, known, before) = (Counts::default(), tables.read(), None);
                        is_doubtful = false;
                        tell(&there, &mut before, &mut waiting, &mut reloading);
                    }
                }
            }
            let mut expected = Tables::default();
            for (&(number, key), &series) in &there {
                let registry = registry(number);
                *expected.series.entry(registry.clone()).or_default() += u64::from(series);
                if key < BLOBS {
                    expected.layers.insert((registry, Digest::sha256_of(&[key])), series);
                } else if let Some(gone) = gone(series) {
                    expected.blobs.insert((registry, blob(key)), gone);
                }
            }
            prop_assert_eq!(&tables, &expected);
            // Another exporter wrote something meanwhile: all is compared with what is there.
            let mut changed = Tables::default();
            changed.layers.insert((registry(9), Digest::sha256_of(b"odd")), 7);
            changed.blobs.extend(gone(3).map(|gone| ((registry(9), blob(9)), gone)));
            changed.apply(known.as_all().rows(&changed.read()));
            prop_assert_eq!(&changed, &expected);
        }
    }
}
