//! At most so many requests a second.

use parking_lot::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Evenly spaced permissions to send, with one second's worth saved up while idle.
pub(crate) struct Throttle {
    gap: Option<Duration>,
    burst: Duration,
    next: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Unlimited where `per_second` is absent or not a positive number.
    pub(crate) fn new(per_second: Option<f64>) -> Self {
        let gap = per_second
            .filter(|rate| *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
            .filter(|gap| !gap.is_zero());
        // The first of a burst takes a place too: a second's worth is the rate, not the rate and one.
        let burst = gap.map_or(Duration::ZERO, |gap| Duration::from_secs(1).saturating_sub(gap));
        Self { gap, burst, next: Mutex::new(None) }
    }

    /// Waits for this request's turn.
    pub(crate) async fn turn(&self) {
        if let Some(gap) = self.gap {
            tokio::time::sleep_until(self.reserve(gap)).await;
        }
    }

    fn reserve(&self, gap: Duration) -> Instant {
        let now = Instant::now();
        let mut next = self.next.lock();
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let turn = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(turn + gap);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_to_their_rate() {
        // (rate, requests, seconds that they take at least)
        for (rate, requests, expected) in
            [(Some(5.0), 5, 0.0), (Some(5.0), 25, 4.0), (Some(0.5), 3, 4.0), (None, 1000, 0.0)]
        {
            let pace = Throttle::new(rate);
            tokio::time::advance(Duration::from_mins(1)).await;
            let started = Instant::now();
            for _ in 0..requests {
                pace.turn().await;
            }
            let took = started.elapsed().as_secs_f64();
            assert!((took - expected).abs() < 0.01, "{requests} at {rate:?} took {took}s");
        }
    }
}
