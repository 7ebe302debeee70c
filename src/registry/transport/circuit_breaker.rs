//! Whether a registry may be asked at all right now: not while it said that it was asked too often, and not by
//! everybody at once while nobody can reach it.
//!
//! Requests fail fast at a closed gate instead of queueing: a scan of a thousand tags then ends, keeps what it knew,
//! and the next one asks again.

use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::retry::PATIENCE_MAX;
use crate::oci::Reason;

/// The longest that a registry is left alone, whatever it says.
pub(crate) const QUIET_MAX: Duration = Duration::from_mins(15);

/// How long a registry is left alone that says 429 and not until when.
const QUIET_UNSAID: Duration = Duration::from_mins(1);

/// So many failures to get any answer, one after the other, and a registry counts as out of reach.
const FAILURES_MAX: u32 = 8;

/// How long nobody tries to reach it then; afterwards one request tries, for at most `TRIAL`, and the rest still fail.
const OUT_OF_REACH: Duration = Duration::from_secs(2);
const TRIAL: Duration = Duration::from_secs(30);

/// The gate in front of one registry.
#[derive(Default)]
pub(crate) struct CircuitBreaker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    quiet_until: Option<Instant>,
    failures: u32,
    next_trial: Option<Instant>,
    last_failure: String,
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) reason: Reason,
    pub(crate) problem: String,
}

impl CircuitBreaker {
    /// Passes, waits a moment for a registry that will be ready soon, or fails.
    pub(crate) async fn enter(&self) -> Result<(), Closed> {
        loop {
            let Some(ready) = self.lock().check(Instant::now())? else { return Ok(()) };
            tokio::time::sleep_until(ready).await;
        }
    }

    /// Fails where [`Self::enter`] would fail now, and takes nothing: neither time nor the one trial.
    pub(crate) fn look(&self) -> Result<(), Closed> {
        self.lock().ready(Instant::now()).map(drop)
    }

    /// The registry said 429. Gives how long it is left alone.
    pub(crate) fn rate_limited(&self, retry_after: Option<Duration>) -> Duration {
        let quiet = retry_after.unwrap_or(QUIET_UNSAID).clamp(Duration::from_secs(1), QUIET_MAX);
        let mut state = self.lock();
        let until = Instant::now() + quiet;
        state.quiet_until = state.quiet_until.max(Some(until));
        quiet
    }

    /// The registry answered, whatever it said.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.next_trial = None;
    }

    /// The registry could not be reached, or did not answer.
    pub(crate) fn failed(&self, problem: &str) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.next_trial = Some(Instant::now() + OUT_OF_REACH);
            problem.clone_into(&mut state.last_failure);
        }
    }

    /// Whether so much failed lately that trying again at once would only keep others waiting.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.lock().failures >= FAILURES_MAX
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// `None`: go, as the one that tries where the registry was out of reach. `Some`: soon, wait until then.
    fn check(&mut self, now: Instant) -> Result<Option<Instant>, Closed> {
        let ready = self.ready(now)?;
        if ready.is_none() {
            self.quiet_until = None;
            self.next_trial = self.next_trial.map(|_| now + TRIAL);
        }
        Ok(ready)
    }

    fn ready(&self, now: Instant) -> Result<Option<Instant>, Closed> {
        if let Some(until) = self.quiet_until {
            let left = until.saturating_duration_since(now);
            if left > PATIENCE_MAX {
                let problem =
                    format!("the registry said that it was asked too often and is left alone for {}s", left.as_secs());
                return Err(Closed { reason: Reason::RateLimited, problem });
            }
            if !left.is_zero() {
                return Ok(Some(until));
            }
        }
        match self.next_trial {
            Some(at) if at > now => {
                let problem =
                    format!("not asked: the registry could not be reached a moment ago ({})", self.last_failure);
                Err(Closed { reason: Reason::Network, problem })
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_said_429_is_left_alone_until_it_said() {
        for (said, quiet_secs) in
            [(Some(60), 60), (None, 60), (Some(0), 1), (Some(10_000_000), 900), (Some(u64::MAX), 900)]
        {
            let gate = CircuitBreaker::default();
            assert_eq!(gate.rate_limited(said.map(Duration::from_secs)).as_secs(), quiet_secs);
            if quiet_secs > 5 {
                assert_eq!(gate.enter().await.unwrap_err().reason, Reason::RateLimited);
            }
            tokio::time::advance(Duration::from_secs(quiet_secs)).await;
            gate.enter().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_quiet_is_waited_for() {
        let gate = CircuitBreaker::default();
        gate.rate_limited(Some(Duration::from_secs(2)));
        let started = Instant::now();
        gate.enter().await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_reach_one_request_tries_while_the_others_fail_fast() {
        let gate = CircuitBreaker::default();
        for _ in 0..FAILURES_MAX {
            gate.enter().await.unwrap();
            gate.failed("connection refused");
        }
        let closed = gate.enter().await.unwrap_err();
        assert_eq!(closed.reason, Reason::Network);
        assert!(closed.problem.contains("connection refused"), "{}", closed.problem);
        assert!(gate.look().is_err());
        tokio::time::advance(OUT_OF_REACH).await;
        gate.look().unwrap();
        gate.enter().await.unwrap();
        assert!(gate.look().is_err());
        assert!(gate.enter().await.is_err(), "one is trying");
        gate.answered();
        gate.enter().await.unwrap();
        gate.enter().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_between_failures_keeps_the_gate_open() {
        let gate = CircuitBreaker::default();
        for _ in 0..3 * FAILURES_MAX {
            gate.failed("timeout");
            gate.answered();
        }
        gate.enter().await.unwrap();
    }
}
