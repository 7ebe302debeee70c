//! The rate limit on requests: a token bucket.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Holds at most `burst` tokens, and gains one in each interval.
pub(super) struct TokenBucket {
    interval: Duration,
    burst: u32,
    /// Tokens, with fractions, and when they were counted.
    level: Mutex<(f64, Instant)>,
}

impl TokenBucket {
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, level: Mutex::new((burst.into(), Instant::now())) }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut level = self.level.lock();
        let gained = (now - level.1).as_secs_f64() / self.interval.as_secs_f64();
        let tokens = (level.0 + gained).min(self.burst.into());
        let is_free = tokens >= 1.0;
        *level = (if is_free { tokens - 1.0 } else { tokens }, now);
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_one_passes_in_each_interval() {
        let bucket = TokenBucket::new(Duration::from_secs(1), 3);
        let passed = |bucket: &TokenBucket| (0..10).filter(|_| bucket.take()).count();
        assert_eq!(passed(&bucket), 3);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(passed(&bucket), 0);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(passed(&bucket), 1);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(passed(&bucket), 3);
    }
}
