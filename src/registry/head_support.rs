//! Whether `HEAD` of manifests works on one registry, and through the proxies in front of it.
//!
//! A `HEAD` that fails may fail for its method: some proxies refuse it with 401, 403, 406, 411 or 5xx, close the connection
//! or never answer. So it is followed by a `GET`, which decides: one at a time, so that the others profit from what it
//! shows, and within a budget, so that a registry that fails everything is not asked twice for everything.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::transport::throttle::TokenBucket;
use crate::oci::Repository;

/// How long a `HEAD` that never worked is not tried again, and one that worked before.
const RELEARN_AFTER: Duration = Duration::from_hours(1);
const RELEARN_SOON: Duration = Duration::from_mins(5);

/// After so many `GET`s that worked where `HEAD` failed, without a `HEAD` that worked between them, it counts as useless,
/// if it worked before: single requests fail for any reason, and where pulls are metered a `GET` costs one.
const FAILURES_MAX: u32 = 3;

/// How long a failure of `HEAD` in a repository is believed after `GET` failed there too.
const BELIEVED_FOR: Duration = Duration::from_mins(1);

/// The budget of `GET`s that fail as `HEAD` did: so many at once, and so many a second.
const VAIN_GETS_MAX: f64 = 4.0;
const VAIN_GETS_PER_SECOND: f64 = 1.0 / 30.0;

/// What was learnt of `HEAD`.
pub(crate) struct HeadSupport {
    state: Mutex<HeadState>,
    /// Held by the request that finds out whether `GET` works where `HEAD` failed.
    turns: tokio::sync::Mutex<()>,
}

struct HeadState {
    /// Whether a `HEAD` ever returned a digest.
    has_worked: bool,
    /// `GET`s that worked where `HEAD` failed, since a `HEAD` last worked.
    failures: u32,
    useless_until: Option<Instant>,
    /// The repositories where `GET` failed as `HEAD` did, and until when that is believed. As many as the budget allows.
    agreed_until: HashMap<Repository, Instant>,
    vain_gets: TokenBucket,
}

/// Permission to try `GET` where `HEAD` failed; other requests that fail so wait until it is dropped.
pub struct HeadTrial<'a> {
    support: &'a HeadSupport,
    repository: &'a Repository,
    /// `None` where `HEAD` is known to be useless.
    turn: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Default for HeadSupport {
    fn default() -> Self {
        let state = HeadState {
            has_worked: false,
            failures: 0,
            useless_until: None,
            agreed_until: HashMap::new(),
            vain_gets: TokenBucket::new(VAIN_GETS_PER_SECOND, VAIN_GETS_MAX),
        };
        Self { state: Mutex::new(state), turns: tokio::sync::Mutex::default() }
    }
}

impl HeadSupport {
    /// Whether a `HEAD` is worth a request.
    pub(crate) fn is_useful(&self) -> bool {
        self.state.lock().useless_until.is_none_or(|until| until <= Instant::now())
    }

    /// A `HEAD` returned a digest.
    pub(crate) fn worked(&self) {
        let mut state = self.state.lock();
        (state.has_worked, state.failures, state.useless_until) = (true, 0, None);
    }

    /// Whether a `HEAD` ever returned a digest.
    pub(crate) fn has_worked(&self) -> bool {
        self.state.lock().has_worked
    }

    /// A `HEAD` returned no digest, or failed where `GET` works.
    pub(crate) fn failed(&self) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if !state.has_worked || state.failures >= FAILURES_MAX {
            let is_first = state.has_worked && state.failures == FAILURES_MAX;
            state.useless_until = Some(Instant::now() + if is_first { RELEARN_SOON } else { RELEARN_AFTER });
        }
    }

    /// `GET` failed in a repository as `HEAD` did, so the method is not the cause.
    pub(crate) fn agreed(&self, repository: &Repository) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.agreed_until.retain(|_, until| *until > now);
        state.agreed_until.insert(repository.clone(), now + BELIEVED_FOR);
    }

    /// A `HEAD` failed in a way that may be of the method: waits for its turn to try `GET`. `None` where the failure is
    /// believed, as that of a request that was never sent is.
    pub(crate) async fn doubt<'a>(&'a self, repository: &'a Repository, was_sent: bool) -> Option<HeadTrial<'a>> {
        let turn = self.turns.lock().await;
        if !self.is_useful() {
            return Some(HeadTrial { support: self, repository, turn: None });
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let is_believed = !was_sent || state.agreed_until.get(repository).is_some_and(|until| *until > now);
        let may_try = !is_believed && state.vain_gets.try_take();
        may_try.then_some(HeadTrial { support: self, repository, turn: Some(turn) })
    }
}

impl HeadTrial<'_> {
    /// Whether this is the one request that finds out for others.
    pub fn is_alone(&self) -> bool {
        self.turn.is_some()
    }

    /// `GET` works.
    pub(crate) fn get_worked(self) {
        if self.turn.is_some() {
            self.support.state.lock().vain_gets.take(-1.0);
            self.support.failed();
        }
    }

    /// `GET` fails as well.
    pub(crate) fn get_failed(self) {
        self.support.agreed(self.repository);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        format!("r.io/{name}").parse().unwrap()
    }

    /// Whether a `HEAD` that fails in the repository is followed by a `GET`, which works or does not.
    async fn is_tried(head: &HeadSupport, name: &str, get_works: bool) -> bool {
        let repository = repository(name);
        let Some(trial) = head.doubt(&repository, true).await else { return false };
        if get_works {
            trial.get_worked();
        } else {
            trial.get_failed();
        }
        true
    }

    #[tokio::test(start_paused = true)]
    async fn head_that_never_worked_is_tried_again_after_an_hour() {
        let head = HeadSupport::default();
        assert!(head.is_useful());
        assert!(is_tried(&head, "a", true).await && !head.is_useful());
        assert!(is_tried(&head, "a", true).await, "GET is what works");
        tokio::time::advance(RELEARN_AFTER).await;
        assert!(head.is_useful());
        head.failed();
        assert!(!head.is_useful());
    }

    #[tokio::test(start_paused = true)]
    async fn head_that_worked_before_is_useless_after_some_failures_and_soon_tried_again() {
        let head = HeadSupport::default();
        head.worked();
        for _ in 1..FAILURES_MAX {
            assert!(is_tried(&head, "a", true).await && head.is_useful());
        }
        head.worked();
        for failures in 1..=FAILURES_MAX {
            assert!(is_tried(&head, "a", true).await);
            assert_eq!(head.is_useful(), failures < FAILURES_MAX);
        }
        for again_after in [RELEARN_SOON, RELEARN_AFTER, RELEARN_AFTER] {
            tokio::time::advance(again_after.saturating_sub(Duration::from_secs(1))).await;
            assert!(!head.is_useful(), "{again_after:?}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(head.is_useful());
            assert!(is_tried(&head, "a", true).await && !head.is_useful(), "one failure more is enough");
        }
        head.worked();
        assert!(head.is_useful());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_get_confirms_is_believed_for_a_while_in_that_repository() {
        let head = HeadSupport::default();
        head.worked();
        assert!(is_tried(&head, "denied", false).await);
        assert!(!is_tried(&head, "denied", false).await, "once, not for each tag");
        assert!(is_tried(&head, "other", true).await);
        tokio::time::advance(BELIEVED_FOR).await;
        assert!(is_tried(&head, "denied", false).await);
        assert!(head.is_useful());
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_fails_everything_is_asked_for_little_more() {
        let head = HeadSupport::default();
        let mut tried = 0;
        for number in 0..1_000 {
            tried += u32::from(is_tried(&head, &number.to_string(), false).await);
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        assert_eq!(tried, 4 + 300 / 30 - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_of_a_request_that_was_not_sent_says_nothing_of_head() {
        let (head, a) = (HeadSupport::default(), repository("a"));
        assert!(head.doubt(&a, false).await.is_none());
        head.failed();
        assert!(head.doubt(&a, false).await.is_some(), "HEAD is known to be useless");
    }
}
