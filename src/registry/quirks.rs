//! How one registry deviates from the distribution specification, as its answers showed. Kept in memory only: after a
//! restart it is learnt again with one or two requests.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a result about `HEAD` counts before it is tried again.
const RELEARN_AFTER: Duration = Duration::from_hours(1);

/// What a client has learnt of its registry.
#[derive(Default)]
pub(crate) struct Quirks {
    /// Whether `HEAD` of a manifest returns a digest.
    pub(crate) head: HeadSupport,
    /// It refuses requests of lists with a page size, or its links to further pages are wrong.
    pub(crate) page_size_refused: AtomicBool,
    /// Its links to a list's next page have another path than the list.
    pub(crate) wrong_link_paths: AtomicBool,
    /// It lacks the referrers API: referrers stand under a fallback tag.
    pub(crate) no_referrers_api: AtomicBool,
}

/// Whether a registry and the proxies in front of it support `HEAD` of manifests.
#[derive(Default)]
pub(crate) struct HeadSupport(Mutex<HeadState>);

#[derive(Default)]
enum HeadState {
    #[default]
    Nothing,
    WorkedAt(Instant),
    AgreedAt(Instant),
    UselessSince(Instant),
}

impl HeadSupport {
    /// Whether a `HEAD` is worth a request.
    pub(crate) fn is_useful(&self) -> bool {
        !matches!(*self.0.lock(), HeadState::UselessSince(since) if since.elapsed() < RELEARN_AFTER)
    }

    /// Whether a refusal may be of the method, so that a `GET` is worth a try: not while other `HEAD`s succeed.
    pub(crate) fn is_doubtful(&self) -> bool {
        !matches!(*self.0.lock(), HeadState::WorkedAt(at) | HeadState::AgreedAt(at) if at.elapsed() < RELEARN_AFTER)
    }

    /// A `HEAD` returned a digest.
    pub(crate) fn worked(&self) {
        *self.0.lock() = HeadState::WorkedAt(Instant::now());
    }

    /// `GET` failed as `HEAD` did, so the method is not the cause. Whether a successful `HEAD` has a digest stays
    /// unknown.
    pub(crate) fn agreed(&self) {
        let mut state = self.0.lock();
        if matches!(*state, HeadState::Nothing) {
            *state = HeadState::AgreedAt(Instant::now());
        }
    }

    /// A `HEAD` returned no digest, or was refused where `GET` works. One failure among many successes changes nothing.
    pub(crate) fn failed(&self) {
        let mut state = self.0.lock();
        if !matches!(*state, HeadState::WorkedAt(at) if at.elapsed() < RELEARN_AFTER) {
            *state = HeadState::UselessSince(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn head_that_never_worked_is_tried_again_later() {
        let head = HeadSupport::default();
        assert!(head.is_useful() && head.is_doubtful());
        head.failed();
        assert!(!head.is_useful());
        tokio::time::advance(RELEARN_AFTER).await;
        assert!(head.is_useful() && head.is_doubtful());
        head.worked();
        assert!(head.is_useful() && !head.is_doubtful());
    }

    #[tokio::test(start_paused = true)]
    async fn a_get_that_agrees_does_not_make_a_useless_head_useful() {
        let head = HeadSupport::default();
        head.failed();
        head.agreed();
        assert!(!head.is_useful());
        let head = HeadSupport::default();
        head.agreed();
        assert!(!head.is_doubtful());
        head.failed();
        assert!(!head.is_useful(), "no HEAD returned a digest yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_fails_among_many_that_work_is_believed() {
        let head = HeadSupport::default();
        head.worked();
        head.failed();
        assert!(head.is_useful() && !head.is_doubtful());
        tokio::time::advance(RELEARN_AFTER).await;
        assert!(head.is_doubtful(), "something in front of the registry may refuse HEAD since");
        head.failed();
        assert!(!head.is_useful());
    }
}
