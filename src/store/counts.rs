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
const NOTHING: RegistrySummary =
    RegistrySummary { extent: RegistryExtent::Whole, series: 0, selection: 0, repositories: 0 };

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
            // Where all registries were named, one that was not had nothing.
            let nothing = OfRegistry { is_all: self.is_all, ..OfRegistry::default() };
            let known = self.registries.entry(registry).or_insert(nothing);
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

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tag::RegistryCounts;

    /// By registry and layer, how many series list it.
    type There = BTreeMap<(u8, u8), u32>;

    #[derive(Clone, Debug)]
    enum Step {
        /// A layer is listed by so many series.
        List(u8, u8, u32),
        /// A registry is no longer watched.
        Leave(u8),
        /// What changed is told, and waits.
        Tell,
        /// What waits is written.
        Write,
        /// Of what waits so many layers are written, and no answer comes.
        WriteInPart(usize),
        /// The program ends with what waits, and starts again.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..3_u8, 0..6_u8, 0..4_u32).prop_map(|(registry, layer, series)| Step::List(registry, layer, series)),
            1 => (0..3_u8).prop_map(Step::Leave),
            4 => Just(Step::Tell),
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
        RegistrySummary { extent: RegistryExtent::Whole, series, repositories: 1, selection: 5 }
    }

    fn counted(series: u32) -> CountedLayer {
        let mut counted = CountedLayer::default();
        (counted.count.series, counted.count.bytes) = (series, u64::from(series > 0));
        counted
    }

    /// What is told of a registry: all of it, or what differs from before.
    fn told(number: u8, there: &There, before: Option<&There>) -> RegistryCounts {
        let of = |there: &There| -> BTreeMap<u8, u32> {
            let own = there.iter().filter(|((registry, _), _)| *registry == number);
            own.map(|((_, layer), series)| (*layer, *series)).collect()
        };
        let (now, before_it) = (of(there), before.map(of).unwrap_or_default());
        let series = |layers: &BTreeMap<u8, u32>, layer: u8| layers.get(&layer).copied().unwrap_or_default();
        let changed = (0..6).filter(|&layer| series(&now, layer) != series(&before_it, layer));
        let layers = changed.map(|layer| (Digest::sha256_of(&[layer]), counted(series(&now, layer)))).collect();
        let summary = summary(now.values().sum::<u32>().into());
        RegistryCounts { summary: (!now.is_empty()).then_some(summary), is_all: before.is_none(), layers }
    }

    /// Applies rows to the layers that series list, and to the registries with series.
    fn apply(rows: CountRows, layers: &mut HashMap<(Registry, Digest), u32>, series: &mut HashMap<Registry, u64>) {
        for (registry, digest, counted) in rows.layers {
            layers.insert((registry, digest), counted.count.series);
        }
        for (registry, summary) in rows.registries {
            series.insert(registry, summary.series);
        }
        layers.retain(|_, series| *series > 0);
        series.retain(|_, series| *series > 0);
    }

    fn read(layers: &HashMap<(Registry, Digest), u32>, series: &HashMap<Registry, u64>) -> Counts {
        let mut counts = Counts::default();
        for (registry, series) in series {
            counts.read_registry(registry.clone(), summary(*series));
        }
        for ((registry, digest), series) in layers {
            counts.read_layer(registry.clone(), digest.clone(), counted(*series));
        }
        counts
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_told_last_however_often_a_write_failed(steps in steps()) {
            let (mut there, mut before) = (There::new(), None::<There>);
            let (mut waiting, mut known) = (Counts::default(), Counts::default());
            let (mut layers, mut series) = (HashMap::new(), HashMap::new());
            let mut is_doubtful = false;
            let tell = |there: &There, before: &mut Option<There>, waiting: &mut Counts| {
                let registries = (0..3).map(|number| (registry(number), told(number, there, before.as_ref())));
                let registries = registries.filter(|(_, counts)| counts.summary.is_some() || !counts.layers.is_empty());
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
                    Step::Tell => tell(&there, &mut before, &mut waiting),
                    Step::Write => {
                        let mut all = known.clone();
                        all.apply(waiting.clone());
                        let there = read(&layers, &series);
                        let rows = if is_doubtful { all.as_all().rows(&there) } else { waiting.rows(&known) };
                        apply(rows, &mut layers, &mut series);
                        known.apply(std::mem::take(&mut waiting));
                        prop_assert_eq!(&known.rows(&read(&layers, &series)).layers, &Vec::new());
                        is_doubtful = false;
                    }
                    // Some rows were written, and it is not known which.
                    Step::WriteInPart(rows) => {
                        let mut written = waiting.rows(&known);
                        written.layers.truncate(rows);
                        apply(written, &mut layers, &mut series);
                        is_doubtful = true;
                    }
                    Step::Restart => {
                        (waiting, known, before) = (Counts::default(), read(&layers, &series), None);
                        is_doubtful = false;
                        tell(&there, &mut before, &mut waiting);
                    }
                }
            }
            let expected: HashMap<(Registry, Digest), u32> = there
                .iter()
                .map(|((number, layer), series)| ((registry(*number), Digest::sha256_of(&[*layer])), *series))
                .collect();
            prop_assert_eq!(&layers, &expected);
            let mut in_registries: HashMap<Registry, u64> = HashMap::new();
            for ((registry, _), series) in expected {
                *in_registries.entry(registry).or_default() += u64::from(series);
            }
            prop_assert_eq!(&series, &in_registries);
            // Another exporter wrote something meanwhile: all is compared with what is there.
            let odd = (registry(9), Digest::sha256_of(b"odd"));
            let mut changed = HashMap::from([(odd, 7)]);
            apply(known.as_all().rows(&read(&changed, &HashMap::new())), &mut changed, &mut series);
            prop_assert_eq!(changed.len(), there.len());
        }
    }
}
