//! What is still to come of the targets' first scans: decides when sums are published without a pause, and says once
//! how long all took.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::own::ScanEnd;
use crate::target::{Target, TargetName};

/// The targets of which a first scan is awaited.
pub(super) struct FirstScans {
    started: Instant,
    /// Without those that were restored: their values are complete already.
    awaited: BTreeSet<TargetName>,
    /// Restored ones included.
    unscanned: BTreeSet<TargetName>,
    /// How long all of them took, until that is logged.
    took: Option<Duration>,
}

impl FirstScans {
    /// Every target is to be scanned; `restored` ones need not be waited for.
    pub(super) fn new(targets: &[Arc<Target>], restored: &BTreeSet<TargetName>) -> Self {
        let unscanned: BTreeSet<TargetName> = targets.iter().map(|target| target.name.clone()).collect();
        let awaited = unscanned.difference(restored).cloned().collect();
        Self { started: Instant::now(), awaited, unscanned, took: None }
    }

    /// Notes that a scan ended. Returns whether it was the last one that was awaited.
    pub(super) fn ended(&mut self, target: &TargetName) -> bool {
        if self.unscanned.remove(target) && self.unscanned.is_empty() {
            self.took = Some(self.started.elapsed());
        }
        self.awaited.remove(target) && self.awaited.is_empty()
    }

    /// Forgets targets that are no longer configured.
    pub(super) fn retain(&mut self, targets: &[Arc<Target>]) {
        for names in [&mut self.awaited, &mut self.unscanned] {
            names.retain(|name| targets.iter().any(|target| target.name == *name));
        }
    }

    /// Logs once that all have ended, and of how many targets something could not be read. `down` names those with
    /// failed tags, which only a snapshot shows.
    pub(super) fn log_end(&mut self, scans: &BTreeMap<TargetName, ScanEnd>, down: &HashSet<TargetName>) {
        let Some(took) = self.took.take() else { return };
        let is_down = |(name, end): &(&TargetName, &ScanEnd)| !end.up || down.contains(*name);
        tracing::info!(
            targets = scans.len(),
            down = scans.iter().filter(is_down).count(),
            seconds = (took.as_secs_f64() * 1e3).round() / 1e3,
            "the first scan of all targets has ended"
        );
    }
}
