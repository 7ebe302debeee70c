//! Whether requests to a registry may be sent: none during a pause after 429, and one at a time while it cannot be
//! reached.
//!
//! Requests fail fast while the breaker is open instead of queueing: a scan of a thousand tags then ends, the last
//! known values stay, and the next scan tries again.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::retry::{PATIENCE_MAX, random};
use crate::oci::Reason;

/// The longest pause, whatever `Retry-After` says.
const PAUSE_MAX: Duration = Duration::from_mins(15);

/// The first pause after a 429 without `Retry-After`: many registries count by the second. It doubles with each refusal
/// until a request is accepted, up to the longest of such pauses.
const UNTOLD_PAUSE_FIRST: Duration = Duration::from_secs(1);
const UNTOLD_PAUSE_MAX: Duration = Duration::from_mins(1);

/// The longest random addition to a pause, so that clients that a registry refused together do not return together.
const JITTER_MAX: Duration = Duration::from_secs(1);

/// After this many consecutive requests without any answer a registry counts as unreachable.
const FAILURES_MAX: u32 = 8;

/// How long no request is sent then; afterwards a single trial request is sent, and for at most `TRIAL` the others
/// still fail.
const UNREACHABLE_PAUSE: Duration = Duration::from_secs(2);
const TRIAL: Duration = Duration::from_secs(30);

/// The circuit breaker of one registry.
#[derive(Default)]
pub(crate) struct CircuitBreaker {
    state: Mutex<BreakerState>,
}

#[derive(Default)]
struct BreakerState {
    paused_until: Option<Instant>,
    /// The last pause without `Retry-After`, and when it began; `None` once a request sent after it was accepted.
    untold_pause: Option<(Duration, Instant)>,
    failures: u32,
    next_trial: Option<Instant>,
    last_failure: String,
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) reason: Reason,
    pub(crate) problem: String,
}

impl CircuitBreaker {
    /// Admits the request now or after a short wait; otherwise rejects it.
    pub(crate) async fn admit(&self) -> Result<(), Rejection> {
        while let Some(until) = self.try_admit()? {
            tokio::time::sleep_until(until).await;
        }
        Ok(())
    }

    /// Admits the request now (`None`), or returns when it may try again.
    pub(crate) fn try_admit(&self) -> Result<Option<Instant>, Rejection> {
        self.state().admit(Instant::now())
    }

    /// Waits or rejects as [`Self::admit`] does, but does not become the trial request.
    pub(crate) async fn ready(&self) -> Result<(), Rejection> {
        while let Some(until) = self.check()? {
            tokio::time::sleep_until(until).await;
        }
        Ok(())
    }

    fn check(&self) -> Result<Option<Instant>, Rejection> {
        self.state().ready(Instant::now())
    }

    /// The registry answered 429 to a request that was sent then, if that is known. Returns the length of the pause.
    pub(crate) fn rate_limited(&self, retry_after: Option<Duration>, sent: Option<Instant>) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let pause = retry_after.unwrap_or_else(|| state.untold_pause(now, sent));
        let pause = pause.clamp(Duration::from_secs(1), PAUSE_MAX);
        let jitter = (pause / 4).min(JITTER_MAX).mul_f64(random());
        state.paused_until = state.paused_until.max(Some(now + pause + jitter));
        pause
    }

    /// The registry answered a request that was sent then, and not with 429.
    pub(crate) fn accepted(&self, sent: Instant) {
        self.state().untold_pause.take_if(|(_, since)| *since < sent);
    }

    /// The registry answered, whatever the answer.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.next_trial = None;
    }

    /// The registry could not be reached, or did not answer in time.
    pub(crate) fn failed(&self, problem: &str) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.next_trial = Some(Instant::now() + UNREACHABLE_PAUSE);
            problem.clone_into(&mut state.last_failure);
        }
    }

    /// Waits until a trial request may be sent, but no longer than a few pauses: more failures put it off.
    pub(crate) async fn reachable_again(&self) {
        let deadline = Instant::now() + 3 * UNREACHABLE_PAUSE;
        loop {
            let next_trial = self.state().next_trial;
            match next_trial {
                Some(at) if at > Instant::now() && at <= deadline => tokio::time::sleep_until(at).await,
                _ => return,
            }
        }
    }

    /// Whether so many requests failed lately that a retry would only delay others.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.state().failures >= FAILURES_MAX
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock()
    }
}

impl BreakerState {
    /// The pause after a 429 that does not say how long. Requests that were refused together lengthen it once.
    fn untold_pause(&mut self, now: Instant, sent: Option<Instant>) -> Duration {
        let pause = match self.untold_pause {
            None => UNTOLD_PAUSE_FIRST,
            Some((pause, since)) => {
                let is_paused = self.paused_until.is_some_and(|until| until > now);
                if is_paused || sent.is_some_and(|sent| sent <= since) {
                    return pause;
                }
                (pause * 2).min(UNTOLD_PAUSE_MAX)
            }
        };
        self.untold_pause = Some((pause, now));
        pause
    }

    /// `None`: admitted, as the trial request where the registry was unreachable. `Some`: wait until then.
    fn admit(&mut self, now: Instant) -> Result<Option<Instant>, Rejection> {
        let ready = self.ready(now)?;
        if ready.is_none() {
            self.paused_until = None;
            self.next_trial = self.next_trial.map(|_| now + TRIAL);
        }
        Ok(ready)
    }

    fn ready(&self, now: Instant) -> Result<Option<Instant>, Rejection> {
        if let Some(until) = self.paused_until {
            let left = until.saturating_duration_since(now);
            if left > PATIENCE_MAX + JITTER_MAX {
                let problem = format!("the registry answered 429: requests pause for another {}s", left.as_secs());
                return Err(Rejection { reason: Reason::RateLimited, problem });
            }
            if !left.is_zero() {
                return Ok(Some(until));
            }
        }
        match self.next_trial {
            Some(at) if at > now => {
                let problem = format!("not sent: the registry was unreachable a moment ago ({})", self.last_failure);
                Err(Rejection { reason: Reason::Network, problem })
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_pause_after_429_for_as_long_as_retry_after_says() {
        for (retry_after, quiet_secs) in
            [(Some(60), 60), (None, 1), (Some(0), 1), (Some(10_000_000), 900), (Some(u64::MAX), 900)]
        {
            let breaker = CircuitBreaker::default();
            assert_eq!(breaker.rate_limited(retry_after.map(Duration::from_secs), None).as_secs(), quiet_secs);
            if quiet_secs > 5 {
                assert_eq!(breaker.admit().await.unwrap_err().reason, Reason::RateLimited);
            }
            tokio::time::advance(Duration::from_secs(quiet_secs)).await;
            breaker.admit().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_which_nobody_said_how_long_doubles_until_a_request_is_accepted() {
        let breaker = CircuitBreaker::default();
        let again_after = |pause: Duration| tokio::time::advance(pause + JITTER_MAX);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let sent = Instant::now();
            tokio::time::advance(Duration::from_millis(10)).await;
            for _ in 0..3 {
                let pause = breaker.rate_limited(None, Some(sent));
                assert_eq!(pause.as_secs(), expected, "refused together");
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            again_after(Duration::from_secs(expected)).await;
            assert_eq!(breaker.rate_limited(None, Some(sent)).as_secs(), expected, "sent before the pause");
            breaker.accepted(sent);
            again_after(Duration::from_secs(expected)).await;
        }
        breaker.accepted(Instant::now());
        assert_eq!(breaker.rate_limited(None, Some(Instant::now())).as_secs(), 1);
        again_after(Duration::from_secs(1)).await;
        assert_eq!(breaker.rate_limited(Some(Duration::from_secs(9)), Some(Instant::now())).as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_for() {
        let breaker = CircuitBreaker::default();
        breaker.rate_limited(Some(Duration::from_secs(2)), None);
        let started = Instant::now();
        breaker.admit().await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn while_unreachable_one_request_tries_and_the_others_fail_fast() {
        let breaker = CircuitBreaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.admit().await.unwrap();
            breaker.failed("connection refused");
        }
        let rejection = breaker.admit().await.unwrap_err();
        assert_eq!(rejection.reason, Reason::Network);
        assert!(rejection.problem.contains("connection refused"), "{}", rejection.problem);
        assert!(breaker.check().is_err());
        tokio::time::advance(UNREACHABLE_PAUSE).await;
        breaker.check().unwrap();
        breaker.admit().await.unwrap();
        assert!(breaker.check().is_err());
        assert!(breaker.admit().await.is_err(), "one is trying");
        breaker.answered();
        breaker.admit().await.unwrap();
        breaker.admit().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_between_failures_keeps_requests_going() {
        let breaker = CircuitBreaker::default();
        for _ in 0..3 * FAILURES_MAX {
            breaker.failed("timeout");
            breaker.answered();
        }
        breaker.admit().await.unwrap();
    }
}
