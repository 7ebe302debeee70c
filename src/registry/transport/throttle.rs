//! Rate limits: a token bucket, and the throttle of one registry's requests.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The fraction of a token that may be missing: clocks have a resolution, and sums of floats are not exact.
const TOLERANCE: f64 = 1e-6;

/// A year: longer than any wait, and short enough for every clock.
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

    /// Takes tokens, even if that overdraws the bucket. A negative number returns some.
    pub(crate) fn take(&mut self, tokens: f64) {
        self.tokens -= tokens;
    }

    /// Takes one token if there is one; never from a bucket that cannot hold one.
    pub(crate) fn try_take(&mut self) -> bool {
        self.fill();
        let is_there = self.tokens >= 1.0 - TOLERANCE;
        if is_there {
            self.take(1.0);
        }
        is_there
    }

    /// Changes the rate from now on.
    pub(crate) fn set_rate(&mut self, per_second: f64) {
        self.fill();
        self.per_second = per_second;
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = (now - self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.capacity);
        self.at = now;
    }
}

/// The rate after a refusal, as a share of the rate at which the registry accepted requests before it.
const DECREASE: f64 = 0.8;
/// What each accepted request adds to the rate, as a share of the rate after the last refusal: the rate is back after 250
/// requests, so that fewer than 1 % of them are refused. It doubles with each minute without a refusal.
const INCREASE: f64 = 0.001;
/// The lowest learnt rate, requests per second.
const RATE_MIN: f64 = 0.5;
/// Above this a rate has no effect, requests per second.
const RATE_MAX: f64 = 1000.0;
/// The longest time over which accepted requests are counted.
const WINDOW_MAX: Duration = Duration::from_mins(1);
/// The most accepted requests that are counted.
const ACCEPTED_MAX: usize = 1024;

/// Limits the rate of one registry's requests: the configured one, with a burst of one second's worth; and after a 429
/// a learnt one, evenly spaced.
///
/// The learnt rate grows by additive increase with each request that had to wait, and is found anew by multiplicative
/// decrease with each refusal.
pub(crate) struct Throttle {
    configured: Option<f64>,
    state: Mutex<ThrottleState>,
    /// Held by the request that is sent next.
    queue: tokio::sync::Mutex<()>,
}

struct ThrottleState {
    bucket: Option<TokenBucket>,
    learnt: Option<LearntRate>,
    /// When the latest requests were accepted, oldest first.
    accepted: VecDeque<Instant>,
}

struct LearntRate {
    /// Requests per second.
    rate: f64,
    /// The rate after the last refusal, and when that was.
    base: f64,
    since: Instant,
}

/// One request's permission to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottlePermit {
    at: Instant,
    waited: bool,
}

impl ThrottlePermit {
    /// When the request was sent.
    pub(crate) fn at(self) -> Instant {
        self.at
    }
}

impl Throttle {
    /// Unlimited where `per_second` is absent or not a positive number.
    pub(crate) fn new(per_second: Option<f64>) -> Self {
        let configured = per_second.filter(|rate| *rate > 0.0);
        let bucket = configured.map(|rate| TokenBucket::new(rate, rate.max(1.0)));
        let state = ThrottleState { bucket, learnt: None, accepted: VecDeque::new() };
        Self { configured, state: Mutex::new(state), queue: tokio::sync::Mutex::default() }
    }

    /// Waits until this request may be sent.
    pub(crate) async fn acquire(&self) -> ThrottlePermit {
        let _next = self.queue.lock().await;
        let mut waited = false;
        loop {
            let wait = self.state.lock().take();
            if wait.is_zero() {
                return ThrottlePermit { at: Instant::now(), waited };
            }
            waited = true;
            tokio::time::sleep(wait).await;
        }
    }

    /// The registry answered the request other than with 429. Returns the rate where it has changed.
    pub(crate) fn accepted(&self, permit: ThrottlePermit) -> Option<f64> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.accepted.len() == ACCEPTED_MAX {
            state.accepted.pop_front();
        }
        state.accepted.push_back(now);
        let learnt = state.learnt.as_mut().filter(|_| permit.waited)?;
        let minutes = (now - learnt.since).as_secs_f64() / 60.0;
        let rate = learnt.rate + learnt.base * INCREASE * minutes.exp2();
        learnt.rate = rate.min(self.configured.unwrap_or(RATE_MAX));
        let rate = learnt.rate;
        state.bucket.as_mut()?.set_rate(rate);
        Some(rate)
    }

    /// The registry answered the request with 429, and seems to count requests over `window`. Returns the rate where it has
    /// changed.
    ///
    /// The new rate is what the registry accepted within the last `window`. Where it accepted nothing, the last rate is
    /// the basis. Refusals of requests that were sent before the last change are ignored.
    pub(crate) fn refused(&self, permit: ThrottlePermit, window: Duration) -> Option<f64> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.learnt.as_ref().is_some_and(|learnt| permit.at <= learnt.since) {
            return None;
        }
        let window = window.clamp(Duration::from_secs(1), WINDOW_MAX);
        let accepted = state.accepted.iter().filter(|at| now - **at <= window).count();
        let before = state.learnt.as_ref().map(|learnt| learnt.rate).or(self.configured);
        let rate = match (accepted, before) {
            (0, None) => return None,
            (0, Some(before)) => before,
            (accepted, before) => (accepted as f64 / window.as_secs_f64()).min(before.unwrap_or(RATE_MAX)),
        };
        let rate = (rate * DECREASE).max(RATE_MIN).min(self.configured.unwrap_or(RATE_MAX));
        state.learnt = Some(LearntRate { rate, base: rate, since: now });
        let mut bucket = TokenBucket::new(rate, 1.0);
        bucket.take(1.0);
        state.bucket = Some(bucket);
        Some(rate)
    }
}

impl ThrottleState {
    /// Takes a token, or returns how long to wait for it.
    fn take(&mut self) -> Duration {
        let Some(bucket) = &mut self.bucket else { return Duration::ZERO };
        let wait = bucket.wait(1.0);
        if wait.is_zero() {
            bucket.take(1.0);
        }
        wait
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
                throttle.acquire().await;
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

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_what_the_registry_accepted_before_it_refused() {
        // (requests accepted at once, seconds to leave alone, requests per second)
        for (accepted, pause, expected) in
            [(5, 1, Some(4.0)), (100, 50, Some(1.6)), (600, 900, Some(8.0)), (1, 60, Some(RATE_MIN)), (0, 60, None)]
        {
            let throttle = Throttle::new(None);
            for _ in 0..accepted {
                assert_eq!(throttle.accepted(throttle.acquire().await), None);
            }
            let rate = throttle.refused(throttle.acquire().await, Duration::from_secs(pause));
            assert_eq!(rate, expected, "{accepted} and then {pause} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_one_burst_count_once_and_a_later_one_again() {
        let (throttle, second) = (Throttle::new(None), Duration::from_secs(1));
        let mut burst = Vec::new();
        for _ in 0..8 {
            burst.push(throttle.acquire().await);
        }
        for permit in &burst[..5] {
            throttle.accepted(*permit);
        }
        assert_eq!(throttle.refused(burst[5], second), Some(4.0));
        assert_eq!(throttle.refused(burst[6], second), None);
        tokio::time::advance(2 * second).await;
        let rate = throttle.refused(throttle.acquire().await, second).unwrap();
        assert!((rate - 3.2).abs() < 0.001, "nothing was accepted since: {rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_grows_only_with_requests_that_wait_for_it_and_not_beyond_the_configured_one() {
        let throttle = Throttle::new(Some(10.0));
        for _ in 0..5 {
            throttle.accepted(throttle.acquire().await);
        }
        throttle.refused(throttle.acquire().await, Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(throttle.accepted(throttle.acquire().await), None, "it did not wait");
        let mut rate = 4.0;
        for _ in 0..250 {
            rate = throttle.accepted(throttle.acquire().await).unwrap();
        }
        assert!((5.0..5.8).contains(&rate), "{rate}");
        for _ in 0..10_000 {
            rate = throttle.accepted(throttle.acquire().await).unwrap();
        }
        assert!((rate - 10.0).abs() < f64::EPSILON, "{rate}");
    }
}
