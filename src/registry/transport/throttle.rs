//! Limits on how often something is done: a token bucket, and the rate of one registry's requests.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What a bucket may lack of a token and still give it: clocks count in steps, and sums of parts are not exact.
const TOLERANCE: f64 = 1e-6;

/// A year is longer than anything waits, and short enough for every clock.
const WAIT_SECONDS_MAX: f64 = 31_536_000.0;

/// A token bucket: it fills at a steady rate up to its capacity, and may be overdrawn.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    /// When `tokens` was true.
    at: Instant,
}

impl TokenBucket {
    /// A full bucket. The rate is positive.
    pub(crate) fn new(per_second: f64, capacity: f64) -> Self {
        Self { per_second, capacity, tokens: capacity, at: Instant::now() }
    }

    /// How long until `tokens` can be taken, or as many as the bucket holds; zero for now.
    pub(crate) fn wait(&mut self, tokens: f64) -> Duration {
        self.fill();
        let missing = tokens.min(self.capacity) - self.tokens;
        if missing < TOLERANCE {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((missing / self.per_second).min(WAIT_SECONDS_MAX))
    }

    /// Takes tokens, also such as are not there yet. A negative number gives some back.
    pub(crate) fn take(&mut self, tokens: f64) {
        self.tokens -= tokens;
    }

    /// Takes one token if it is there; never from a bucket that cannot hold one.
    pub(crate) fn try_take(&mut self) -> bool {
        self.fill();
        let is_there = self.tokens >= 1.0 - TOLERANCE;
        if is_there {
            self.take(1.0);
        }
        is_there
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = (now - self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.capacity);
        self.at = now;
    }
}

/// The rate of one registry's requests: at most the configured one, with a second's worth saved up while idle.
pub(crate) struct Throttle {
    bucket: Option<Mutex<TokenBucket>>,
    /// Held by the request whose turn is next.
    queue: tokio::sync::Mutex<()>,
}

impl Throttle {
    /// Unlimited where `per_second` is absent or not a positive number.
    pub(crate) fn new(per_second: Option<f64>) -> Self {
        let per_second = per_second.filter(|rate| *rate > 0.0);
        let bucket = per_second.map(|rate| Mutex::new(TokenBucket::new(rate, rate.max(1.0))));
        Self { bucket, queue: tokio::sync::Mutex::default() }
    }

    /// Waits for this request's turn.
    pub(crate) async fn turn(&self) {
        let Some(bucket) = &self.bucket else { return };
        let _next = self.queue.lock().await;
        loop {
            let wait = bucket.lock().wait(1.0);
            if wait.is_zero() {
                return bucket.lock().take(1.0);
            }
            tokio::time::sleep(wait).await;
        }
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
            let throttle = Throttle::new(rate);
            tokio::time::advance(Duration::from_mins(1)).await;
            let started = Instant::now();
            for _ in 0..requests {
                throttle.turn().await;
            }
            let took = started.elapsed().as_secs_f64();
            assert!((took - expected).abs() < 0.01, "{requests} at {rate:?} took {took}s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_one_token_comes_in_each_interval() {
        let mut bucket = TokenBucket::new(1.0, 3.0);
        let taken = |bucket: &mut TokenBucket| (0..10).filter(|_| bucket.try_take()).count();
        for (advance, expected) in [(0, 3), (500, 0), (500, 1), (3_600_000, 3)] {
            tokio::time::advance(Duration::from_millis(advance)).await;
            assert_eq!(taken(&mut bucket), expected, "after {advance} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_without_capacity_gives_nothing() {
        let mut bucket = TokenBucket::new(1.0, 0.0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!bucket.try_take());
    }

    #[tokio::test(start_paused = true)]
    async fn what_exceeds_the_capacity_waits_for_a_full_bucket_only() {
        let mut bucket = TokenBucket::new(10.0, 100.0);
        assert!(bucket.wait(1_000_000.0).is_zero());
        bucket.take(1000.0);
        assert_eq!(bucket.wait(1_000_000.0).as_secs(), 100);
        bucket.take(-1000.0);
        assert!(bucket.wait(100.0).is_zero());
    }
}
