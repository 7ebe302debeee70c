//! One target's rhythm: at once or at its place, then from tick to tick.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::schedule;
use crate::target::Target;

/// Wall-clock time that moves with tokio's clock, so that tests can pause it, and that is set right at each tick, so
/// that a corrected system clock counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The machine's.
    System,
    /// Tokio's, from a moment on.
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

/// How a scan ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Something could be read, or nothing was to be read.
    Useful,
    /// Nothing could be read.
    Useless,
}

/// When the first scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// Nothing is known of this target.
    AtOnce,
    /// Values of it were restored: they can wait for its place.
    AtItsPlace,
}

/// One target's rhythm. A scan that takes longer than its interval does not pile up: ticks that passed are gone.
#[derive(Debug)]
pub(crate) struct Rhythm {
    target: Arc<Target>,
    clock: Clock,
    at_once: bool,
    /// Scans in a row that could read nothing.
    failures: u32,
}

impl Rhythm {
    pub(crate) fn new(target: Arc<Target>, clock: Clock, first: First) -> Self {
        Self { target, clock, at_once: first == First::AtOnce, failures: 0 }
    }

    /// Sleeps until the next scan is due.
    pub(crate) async fn tick(&mut self) {
        if !std::mem::take(&mut self.at_once) {
            let Target { name, interval, .. } = &*self.target;
            tokio::time::sleep(schedule::until_next(self.clock.since_epoch(), name, *interval, self.failures)).await;
        }
    }

    /// Notes how a scan ended.
    pub(crate) fn ended(&mut self, ended: Ended) {
        self.failures = match ended {
            Ended::Useful => 0,
            Ended::Useless => self.failures.saturating_add(1),
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
            repositories: Repositories::One("alpine".parse().unwrap()),
            selection: Selection::default(),
            newest: None,
            platforms: crate::oci::PlatformFilter::all(),
            interval,
            uncompressed: Uncompressed::Off,
            detail: Detail::Images,
            budget_bytes: None,
            labels: std::collections::BTreeMap::new(),
            tags_max: 10_000,
        }
    }

    /// The seconds after the start at which scans began within `during`, each taking `takes` and ending as told.
    async fn starts(first: First, takes: Duration, during: Duration, ended: impl Fn(usize) -> Ended) -> Vec<f64> {
        let start = Instant::now();
        let clock = Clock::Tokio { since_epoch: Duration::from_secs(1_700_000_000), at: start };
        let mut rhythm = Rhythm::new(Arc::new(target(Duration::from_mins(5))), clock, first);
        let mut starts = Vec::new();
        loop {
            rhythm.tick().await;
            if start.elapsed() > during {
                return starts;
            }
            starts.push(start.elapsed().as_secs_f64());
            tokio::time::sleep(takes).await;
            rhythm.ended(ended(starts.len()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_target_is_scanned_at_once_and_then_at_its_place() {
        let unknown = starts(First::AtOnce, Duration::ZERO, Duration::from_mins(21), |_| Ended::Useful).await;
        let restored = starts(First::AtItsPlace, Duration::ZERO, Duration::from_mins(21), |_| Ended::Useful).await;
        assert!(unknown[0] < 0.01);
        let rounded = |starts: &[f64]| starts.iter().map(|start| start.round()).collect::<Vec<_>>();
        assert_eq!(rounded(&unknown[1..]), rounded(&restored));
        assert!(restored.windows(2).all(|pair| (pair[1] - pair[0] - 300.0).abs() < 0.01), "{restored:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_longer_than_its_interval_does_not_pile_up() {
        let slow = Duration::from_secs(700);
        let starts = starts(First::AtItsPlace, slow, Duration::from_hours(1), |_| Ended::Useful).await;
        assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - 900.0).abs() < 0.01), "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_leave_out_ticks_and_one_success_ends_that() {
        let ended = |scan: usize| if scan <= 4 || scan > 5 { Ended::Useless } else { Ended::Useful };
        let starts = starts(First::AtItsPlace, Duration::ZERO, Duration::from_hours(3), ended).await;
        let intervals: Vec<f64> = starts.windows(2).map(|pair| ((pair[1] - pair[0]) / 300.0).round()).collect();
        assert_eq!(intervals[..7], [1.0, 2.0, 4.0, 8.0, 1.0, 1.0, 2.0]);
    }
}
