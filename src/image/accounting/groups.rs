//! What is stored for groups of series, which may overlap.
//!
//! Adjacent series of one repository that are in the same groups are a run. Layers that no other repository has are
//! summed for a repository anyway, so that of a repository of one run only the shared layers are looked at again.

use super::Series;

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
pub(super) struct GroupCounts<'a> {
    /// By set, its groups.
    sets: &'a [Box<[u32]>],
    runs: Vec<Run>,
    /// By repository: whether its series are more than one run.
    is_split: Vec<bool>,
    /// Whether the last run is all of its repository.
    is_whole: bool,
    /// The layers of all runs in turn, as indices into the census; without those that only this run's repository has,
    /// where that is one run.
    layers: Vec<u32>,
    /// By layer, in the census's order: how many runs listed it in `layers`, those in no group included.
    runs_of: Vec<u32>,
}

struct Run {
    set: u32,
    repository: u32,
    /// Where its layers end in `layers`.
    end: usize,
    proportional_bytes: f64,
}

impl<'a> GroupCounts<'a> {
    /// For these series with so many layers; `None` where there are no groups.
    pub(super) fn new(sets: &'a [Box<[u32]>], series: &[Series], repositories: usize, layers: usize) -> Option<Self> {
        if sets.iter().all(|groups| groups.is_empty()) {
            return None;
        }
        let mut is_split = vec![false; repositories];
        for pair in series.windows(2) {
            let [one, next] = pair else { continue };
            is_split[one.repository as usize] |= one.repository == next.repository && one.groups != next.groups;
        }
        let (runs, listed) = (Vec::with_capacity(repositories), Vec::new());
        Some(Self { sets, runs, is_split, is_whole: false, layers: listed, runs_of: vec![0; layers] })
    }

    /// A run begins, with this series.
    pub(super) fn begin(&mut self, one: &Series) {
        let (set, repository, end) = (one.groups, one.repository, self.layers.len());
        self.runs.push(Run { set, repository, end, proportional_bytes: 0.0 });
        self.is_whole = !self.is_split[repository as usize];
    }

    /// The run has a layer that none of its earlier series had. `is_private`: no other repository has it.
    pub(super) fn layer(&mut self, index: u32, is_private: bool) {
        if is_private && self.is_whole {
            return;
        }
        self.layers.push(index);
        self.runs_of[index as usize] += 1;
    }

    /// A series of the run ends.
    pub(super) fn end(&mut self, proportional_bytes: f64) {
        let end = self.layers.len();
        let Some(run) = self.runs.last_mut() else { return };
        run.end = end;
        run.proportional_bytes += proportional_bytes;
    }

    /// What is stored for each group; none for a group without a series. `bytes_of` a layer in the census, and
    /// `private_bytes` of a repository: of its layers that no other one has.
    pub(super) fn sum(
        &self,
        bytes_of: impl Fn(u32) -> u64,
        private_bytes: impl Fn(u32) -> u64,
    ) -> Vec<Option<GroupUsage>> {
        let mut members: Vec<(u32, usize)> = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            members.extend(self.sets[run.set as usize].iter().map(|&group| (group, at)));
        }
        members.sort_unstable();
        let groups = self.sets.iter().flat_map(|groups| groups.iter()).max().map_or(0, |last| *last as usize + 1);
        let mut usage: Vec<Option<GroupUsage>> = vec![None; groups];
        // By layer: one more than the number of the last group that has it, and how many runs of that group have it.
        let mut seen = vec![(0, 0); self.runs_of.len()];
        for (group, at) in members {
            let run = &self.runs[at];
            let sums = usage[group as usize].get_or_insert_default();
            sums.proportional_bytes += run.proportional_bytes / self.sets[run.set as usize].len() as f64;
            if !self.is_split[run.repository as usize] {
                let private = private_bytes(run.repository);
                sums.stored_bytes = sums.stored_bytes.saturating_add(private);
                sums.unique_bytes = sums.unique_bytes.saturating_add(private);
            }
            let start = if at == 0 { 0 } else { self.runs[at - 1].end };
            for &index in &self.layers[start..run.end] {
                let (last, runs) = &mut seen[index as usize];
                if *last != group + 1 {
                    (*last, *runs) = (group + 1, 0);
                    sums.stored_bytes = sums.stored_bytes.saturating_add(bytes_of(index));
                }
                *runs += 1;
                if *runs == self.runs_of[index as usize] {
                    sums.unique_bytes = sums.unique_bytes.saturating_add(bytes_of(index));
                }
            }
        }
        usage
    }
}
