//! Runs of units: where one ends depends on the names of its units, so that a unit that is new, or gone, changes the
//! run that it is in, and not those after it (content-defined chunking).

use super::changes::Stretch;
use super::metric::Metrics;
use super::units::Landmark;

/// How long runs are, in weights of units: each unit after the first `least` ends its run with a probability of its
/// weight in `spread`; the unit with which the run weighs `most` ends it anyway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    pub(crate) least: u32,
    pub(crate) spread: u32,
    pub(crate) most: u32,
}

/// Consecutive units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The number of the unit after its last one.
    pub(crate) end: u32,
    pub(crate) weight: u32,
}

/// A run, and what became of it since the body before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextRun {
    pub(crate) run: Run,
    /// The number of the run with the same units in the body before, if there was one.
    pub(crate) before: Option<u32>,
    /// The metrics of which it has other samples than that one.
    pub(crate) changed: Metrics,
}

/// The runs of all units: the same, whatever was before. `units` are those from a given one on.
pub(crate) fn follow<Units: Iterator<Item = Landmark>>(
    before: &[Run],
    stretches: &[Stretch],
    units: impl Fn(u32) -> Units,
    limits: RunLimits,
) -> Vec<NextRun> {
    let total: u32 = stretches.iter().map(|stretch| stretch.units).sum();
    let mut cursor = Cursor { stretches, passed: 0 };
    let mut runs: Vec<NextRun> = Vec::with_capacity(before.len() + 1);
    let mut start = 0;
    let mut next_before = 0;
    while start < total {
        cursor.pass(start);
        let kept = cursor.before(start).and_then(|start_before| {
            let first = |run: usize| if run == 0 { 0 } else { before[run - 1].end };
            while next_before < before.len() && first(next_before) < start_before {
                next_before += 1;
            }
            let run = before.get(next_before).filter(|_| first(next_before) == start_before)?;
            let units = run.end - start_before;
            // The last run ended because there was nothing more: it may go on now.
            let is_whole = next_before + 1 < before.len() || start + units == total;
            let changed = cursor.kept(start, units).filter(|_| is_whole)?;
            let number = u32::try_from(next_before).expect("there are no more runs than units, which u32 numbers");
            Some(NextRun { run: Run { end: start + units, weight: run.weight }, before: Some(number), changed })
        });
        let run = kept.unwrap_or_else(|| {
            let run = first_run(start, units(start), limits);
            NextRun { run, before: None, changed: Metrics::default() }
        });
        start = run.run.end;
        runs.push(run);
    }
    runs
}

/// The run that begins with the first of these units.
fn first_run(start: u32, units: impl Iterator<Item = Landmark>, limits: RunLimits) -> Run {
    let mut run = Run { end: start, weight: 0 };
    for unit in units {
        run.end += 1;
        run.weight = run.weight.saturating_add(unit.weight);
        let ends = run.weight >= limits.least && unit.hash % limits.spread < unit.weight;
        if ends || run.weight >= limits.most {
            break;
        }
    }
    run
}

/// Goes through the stretches.
struct Cursor<'a> {
    /// From the one on that has the current unit.
    stretches: &'a [Stretch],
    /// Units in those before.
    passed: u32,
}

impl Cursor<'_> {
    /// Goes on to the stretch of a unit.
    fn pass(&mut self, unit: u32) {
        while let Some((first, rest)) = self.stretches.split_first()
            && self.passed + first.units <= unit
        {
            self.passed += first.units;
            self.stretches = rest;
        }
    }

    /// The number that a unit of the current stretch had before.
    fn before(&self, unit: u32) -> Option<u32> {
        Some(self.stretches.first()?.before? + (unit - self.passed))
    }

    /// If so many units from the given one on, which is in the current stretch, are those that they were before: the
    /// metrics that changed.
    fn kept(&self, from: u32, units: u32) -> Option<Metrics> {
        let mut changed = Metrics::default();
        let end = from + units;
        let mut start = self.passed;
        let mut expected = self.stretches.first()?.before?;
        for stretch in self.stretches {
            if start >= end {
                break;
            }
            if stretch.before != Some(expected) {
                return None;
            }
            changed |= stretch.changed;
            start += stretch.units;
            expected += stretch.units;
        }
        (start >= end).then_some(changed)
    }
}
