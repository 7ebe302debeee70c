//! What is stored for groups of series, which may overlap.
//!
//! Adjacent series of one repository that are in the same groups are a run. Layers that no other repository has are
//! summed for a repository anyway, so that of a repository of one run only the shared layers are looked at again.

use super::Census;

/// What is stored for one group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupUsage {
    /// Bytes of its layers.
    pub stored_bytes: u64,
    /// Bytes of its layers that no series outside the group has.
    pub unique_bytes: u64,
    /// The proportional bytes of its series; those of a series in several groups are divided evenly among these. Over all
    /// groups, and the series that are in none, this gives the stored bytes.
    pub proportional_bytes: f64,
}

/// What is noted of groups while series are walked.
pub(super) struct GroupCounts {
    runs: Vec<Run>,
    /// The layers of all runs in turn; without those that only this run's repository has, where that is one run.
    layers: Vec<u32>,
    /// By layer: how many runs listed it in `layers`, those in no group included.
    runs_of: Vec<u32>,
}

struct Run {
    set: u32,
    /// Where its layers end in `layers`.
    end: usize,
    /// Whether it is all of its repository.
    is_whole: bool,
    /// If so, bytes of the layers that only its repository has.
    private_bytes: u64,
    proportional_bytes: f64,
}

impl GroupCounts {
    /// For layers whose numbers are below this.
    pub(super) fn new(layers_end: usize) -> Self {
        Self { runs: Vec::new(), layers: Vec::new(), runs_of: vec![0; layers_end] }
    }

    /// A run begins, of series in this set of groups. `is_whole`: it is all of its repository.
    pub(super) fn begin(&mut self, set: u32, is_whole: bool) {
        let end = self.layers.len();
        self.runs.push(Run { set, end, is_whole, private_bytes: 0, proportional_bytes: 0.0 });
    }

    /// The run has a layer that none of its earlier series had. `is_private`: no other repository has it.
    pub(super) fn layer(&mut self, layer: u32, is_private: bool) {
        if is_private && self.runs.last().is_some_and(|run| run.is_whole) {
            return;
        }
        self.layers.push(layer);
        self.runs_of[layer as usize] += 1;
    }

    /// A series of the run ends.
    pub(super) fn end(&mut self, proportional_bytes: f64) {
        let end = self.layers.len();
        let Some(run) = self.runs.last_mut() else { return };
        run.end = end;
        run.proportional_bytes += proportional_bytes;
    }

    /// The repository of the run ends, and this is in its layers that no other one has.
    pub(super) fn end_repository(&mut self, private_bytes: u64) {
        if let Some(run) = self.runs.last_mut() {
            run.private_bytes = private_bytes;
        }
    }

    /// What is stored for each group; none for a group without a series.
    pub(super) fn sum(&self, sets: &[Box<[u32]>], census: &Census) -> Vec<Option<GroupUsage>> {
        let mut members: Vec<(u32, usize)> = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            members.extend(sets[run.set as usize].iter().map(|&group| (group, at)));
        }
        members.sort_unstable();
        let groups = sets.iter().flat_map(|groups| groups.iter()).max().map_or(0, |last| *last as usize + 1);
        let mut usage: Vec<Option<GroupUsage>> = vec![None; groups];
        // By layer: one more than the number of the last group that has it, and how many runs of that group have it.
        let mut seen = vec![(0, 0); self.runs_of.len()];
        for (group, at) in members {
            let run = &self.runs[at];
            let sums = usage[group as usize].get_or_insert_default();
            sums.proportional_bytes += run.proportional_bytes / sets[run.set as usize].len() as f64;
            if run.is_whole {
                sums.stored_bytes = sums.stored_bytes.saturating_add(run.private_bytes);
                sums.unique_bytes = sums.unique_bytes.saturating_add(run.private_bytes);
            }
            let start = if at == 0 { 0 } else { self.runs[at - 1].end };
            for &layer in &self.layers[start..run.end] {
                let bytes = census.total(layer).bytes;
                let (last, runs) = &mut seen[layer as usize];
                if *last != group + 1 {
                    (*last, *runs) = (group + 1, 0);
                    sums.stored_bytes = sums.stored_bytes.saturating_add(bytes);
                }
                *runs += 1;
                if *runs == self.runs_of[layer as usize] {
                    sums.unique_bytes = sums.unique_bytes.saturating_add(bytes);
                }
            }
        }
        usage
    }
}
