//! What is stored for groups where a part of the series is counted elsewhere: summed layer by layer, from how many series of
//! which groups list each.

use super::{GroupUsage, LayerCount, Series};

/// Sums up groups, numbered from 0.
pub struct GroupSums {
    usage: Vec<Option<GroupUsage>>,
    /// Of the layer that is added: by group, how many of its series list it, and their shares in the group.
    of_layer: Vec<(u32, u32, f64)>,
}

impl GroupSums {
    /// No layer yet.
    pub fn new() -> Self {
        Self { usage: Vec::new(), of_layer: Vec::new() }
    }

    /// Adds a layer: what all series say of it, and how many of each set of groups list it. Series in no group are in none.
    pub fn add<'a>(&mut self, count: LayerCount, sets: impl Iterator<Item = (&'a [u32], u32)>) {
        self.of_layer.clear();
        for (groups, series) in sets {
            for &group in groups {
                let share = f64::from(series) / groups.len() as f64;
                match self.of_layer.iter_mut().find(|(known, ..)| *known == group) {
                    Some((_, known, shares)) => (*known, *shares) = (known.saturating_add(series), *shares + share),
                    None => self.of_layer.push((group, series, share)),
                }
            }
        }
        for &(group, series, shares) in &self.of_layer {
            let at = group as usize;
            if self.usage.len() <= at {
                self.usage.resize(at + 1, None);
            }
            let usage = self.usage[at].get_or_insert_default();
            usage.stored_bytes = usage.stored_bytes.saturating_add(count.bytes);
            if series >= count.series {
                usage.unique_bytes = usage.unique_bytes.saturating_add(count.bytes);
            }
            usage.proportional_bytes += count.bytes as f64 * shares / f64::from(count.series.max(1));
        }
    }

    /// By group; none for one without a layer.
    pub fn usage(self) -> Vec<Option<GroupUsage>> {
        self.usage
    }
}

impl Default for GroupSums {
    fn default() -> Self {
        Self::new()
    }
}

/// How often series of each set of groups list each layer: layer, set and series, ascending. Without series that are in no group.
pub fn listed_by_set(series: &[Series], sets: &[Box<[u32]>]) -> Vec<(u32, u32, u32)> {
    let in_groups = |one: &&Series| sets.get(one.groups as usize).is_some_and(|groups| !groups.is_empty());
    let in_groups = series.iter().filter(in_groups);
    let listed = in_groups.flat_map(|one| one.layers.iter().map(|listed| (listed.layer, one.groups)));
    let mut listed: Vec<(u32, u32)> = listed.collect();
    listed.sort_unstable();
    let runs = listed.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0].0, run[0].1, u32::try_from(run.len()).unwrap_or(u32::MAX))).collect()
}
