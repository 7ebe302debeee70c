//! One target's timer: its first scan at once or at its scheduled time, then one scan an interval.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::schedule;
use crate::target::Target;

/// Wall-clock time. It is read again for each scan, so that a corrected system clock takes effect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The system clock.
    System,
    /// Tokio's, from a given moment on.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests pause time"))]
    Tokio { since_epoch: Duration, at: Instant },
}

impl Clock {
    fn since_epoch(self) -> Duration {
        match self {
            Self::System => crate::clock::since_epoch(),
            Self::Tokio { since_epoch, at } => since_epoch + at.elapsed(),
        }
    }
}

/// The result of a scan, as far as the time of the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanResult {
    /// Something was read, or there was nothing to read.
    SomethingRead,
    /// Everything failed.
    NothingRead,
}

/// When the first scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstScan {
    /// At once: no value of this target is known.
    Now,
    /// At the scheduled time: its values were restored.
    Scheduled,
}

/// One target's timer. Scans do not pile up: scheduled times that pass during a scan are skipped.
#[derive(Debug)]
pub(crate) struct ScanTimer {
    target: Arc<Target>,
    clock: Clock,
    now: bool,
    /// Scans in a row that read nothing.
    failures: u32,
}

impl ScanTimer {
    pub(crate) fn new(target: Arc<Target>, clock: Clock, first: FirstScan) -> Self {
        Self { target, clock, now: first == FirstScan::Now, failures: 0 }
    }

    /// Sleeps until the next scan is due.
    pub(crate) async fn wait(&mut self) {
        if !std::mem::take(&mut self.now) {
            let Target { name, interval, repositories, .. } = &*self.target;
            let now = self.clock.since_epoch();
            tokio::time::sleep(schedule::until_next(now, (name, repositories.shard()), *interval, self.failures)).await;
        }
    }

    /// Notes how a scan ended: failures in a row delay the next one.
    pub(crate) fn scanned(&mut self, result: ScanResult) {
        self.failures = match result {
            ScanResult::SomethingRead => 0,
            ScanResult::NothingRead => self.failures.saturating_add(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Detail, Repositories, Selection, TargetName, Uncompressed};

    fn target(interval: Duration) -> Target {
        Target {
            name: TargetName("docker.io/library/alpine".into()),
            repositories: Repositories::one("alpine".parse().unwrap()),
            selection: Selection::default(),
            newest: None,
            platforms: crate::oci::PlatformFilter::all(),
            interval,
            uncompressed: Uncompressed::Off,
            detail: Detail::Images,
            budget_bytes: None,
            labels: std::collections::BTreeMap::new(),
            grouping: None,
            tags_max: 10_000,
        }
    }

    /// The seconds after the start at which scans began within `during`, each taking `takes` and ending with the given
    /// result.
    async fn starts(
        first: FirstScan,
        takes: Duration,
        during: Duration,
        result: impl Fn(usize) -> ScanResult,
    ) -> Vec<f64> {
        let start = Instant::now();
        let clock = Clock::Tokio { since_epoch: Duration::from_secs(1_700_000_000), at: start };
        let mut timer = ScanTimer::new(Arc::new(target(Duration::from_mins(5))), clock, first);
        let mut starts = Vec::new();
        loop {
            timer.wait().await;
            if start.elapsed() > during {
                return starts;
            }
            starts.push(start.elapsed().as_secs_f64());
            tokio::time::sleep(takes).await;
            timer.scanned(result(starts.len()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_target_is_scanned_at_once_and_then_at_its_offset() {
        let unknown =
            starts(FirstScan::Now, Duration::ZERO, Duration::from_mins(21), |_| ScanResult::SomethingRead).await;
        let restored =
            starts(FirstScan::Scheduled, Duration::ZERO, Duration::from_mins(21), |_| ScanResult::SomethingRead).await;
        assert!(unknown[0] < 0.01);
        let rounded = |starts: &[f64]| starts.iter().map(|start| start.round()).collect::<Vec<_>>();
        assert_eq!(rounded(&unknown[1..]), rounded(&restored));
        assert!(restored.windows(2).all(|pair| (pair[1] - pair[0] - 300.0).abs() < 0.01), "{restored:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_longer_than_its_interval_does_not_pile_up() {
        let slow = Duration::from_secs(700);
        let starts = starts(FirstScan::Scheduled, slow, Duration::from_hours(1), |_| ScanResult::SomethingRead).await;
        assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - 900.0).abs() < 0.01), "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_skip_intervals_until_one_scan_succeeds() {
        let result =
            |scan: usize| if scan <= 4 || scan > 5 { ScanResult::NothingRead } else { ScanResult::SomethingRead };
        let starts = starts(FirstScan::Scheduled, Duration::ZERO, Duration::from_hours(3), result).await;
        let intervals: Vec<f64> = starts.windows(2).map(|pair| ((pair[1] - pair[0]) / 300.0).round()).collect();
        assert_eq!(intervals[..7], [1.0, 2.0, 4.0, 8.0, 1.0, 1.0, 2.0]);
    }
}
