//! How many bytes of layers may be streamed in an hour.

use std::time::Duration;

use crate::registry::TokenBucket;

const HOUR_SECS: f64 = 3600.0;

/// A budget that refills steadily and holds an hour's worth. A layer that is larger than an hour's worth, or a stream
/// that starts over, overdraws it; then it has to recover first.
pub(crate) struct Budget(Option<TokenBucket>);

impl Budget {
    /// Full; without a number there is no limit.
    pub(crate) fn new(bytes_per_hour: Option<u64>) -> Self {
        let bytes_per_hour = bytes_per_hour.map(|bytes| bytes.max(1) as f64);
        Self(bytes_per_hour.map(|bytes| TokenBucket::new(bytes / HOUR_SECS, bytes)))
    }

    /// How long until `bytes` may be streamed; `None` for now.
    pub(crate) fn wait(&mut self, bytes: u64) -> Option<Duration> {
        Some(self.0.as_mut()?.wait(bytes as f64)).filter(|wait| !wait.is_zero())
    }

    /// Counts bytes that will be streamed.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.settle(0, bytes);
    }

    /// Corrects `expected` bytes to those that were streamed: more by a stream that started over, fewer by one that
    /// failed.
    pub(crate) fn settle(&mut self, expected: u64, streamed: u64) {
        if let Some(bucket) = &mut self.0 {
            bucket.take(streamed as f64 - expected as f64);
        }
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
