//! How many bytes of layers may be streamed in an hour.

use std::time::Duration;

use tokio::time::Instant;

const HOUR_SECS: f64 = 3600.0;

/// A budget that refills steadily and holds an hour's worth. It may be overdrawn by the layer that is larger than
/// what an hour gives, and by streams that start over; then it has to recover first.
pub(crate) struct Budget {
    bytes_per_hour: Option<f64>,
    left: f64,
    at: Instant,
}

impl Budget {
    /// Full; without a number there is no limit.
    pub(crate) fn new(bytes_per_hour: Option<u64>) -> Self {
        let bytes_per_hour = bytes_per_hour.map(|bytes| bytes.max(1) as f64);
        Self { bytes_per_hour, left: bytes_per_hour.unwrap_or(0.0), at: Instant::now() }
    }

    /// When `bytes` may be streamed: none for at once.
    pub(crate) fn wait(&mut self, bytes: u64) -> Option<Duration> {
        let per_hour = self.bytes_per_hour?;
        let now = Instant::now();
        self.left = (self.left + (now - self.at).as_secs_f64() / HOUR_SECS * per_hour).min(per_hour);
        self.at = now;
        let missing = (bytes as f64).min(per_hour) - self.left;
        // A year is longer than anybody waits, and short enough for every clock.
        let seconds = (missing / per_hour * HOUR_SECS).min(31_536_000.0);
        (missing > 0.5).then(|| Duration::from_secs_f64(seconds))
    }

    /// So many bytes will be streamed.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.left -= bytes as f64;
    }

    /// So many were streamed instead: more by a stream that started over, fewer by one that failed.
    pub(crate) fn settle(&mut self, expected: u64, streamed: u64) {
        self.left += expected as f64 - streamed as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hours_bytes_may_be_spent_at_once_and_then_come_back_steadily() {
        let mut budget = Budget::new(Some(3600));
        assert_eq!(budget.wait(3600), None);
        budget.spend(3600);
        let wait = budget.wait(100).unwrap().as_secs();
        assert!((98..=100).contains(&wait), "{wait}");
    }

    #[test]
    fn a_layer_of_more_than_an_hours_bytes_waits_for_a_full_budget_only() {
        let mut budget = Budget::new(Some(10));
        assert_eq!(budget.wait(1_000_000), None);
        budget.spend(1_000_000);
        assert!(budget.wait(1).is_some());
        assert_eq!(Budget::new(None).wait(u64::MAX), None);
    }
}
