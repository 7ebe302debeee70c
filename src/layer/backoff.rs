//! When to try again after a layer could not be read.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::{Digest, Repository};

/// After the first failure that a registry may recover from by itself; doubled with each further one.
pub(crate) const WAIT_MIN_TRANSIENT: Duration = Duration::from_mins(1);

/// The same after any other failure.
pub(crate) const WAIT_MIN: Duration = Duration::from_mins(30);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// A layer as one repository and one manifest describe it: its compressed bytes and `diff_id`. Other manifests may be
/// correct where this one is wrong.
pub(crate) type Claim = (Repository, Digest, u64, Option<Digest>);

/// Layers that a repository failed to serve, and when to try again. A layer that is broken in one repository may be
/// intact in another, and a manifest may state a wrong size.
#[derive(Default)]
pub(crate) struct Backoff(HashMap<Claim, Failures>);

struct Failures {
    count: u32,
    until: Instant,
}

impl Backoff {
    /// Whether it is too early to try again.
    pub(crate) fn is_waiting(&self, claim: &Claim) -> bool {
        self.0.get(claim).is_some_and(|failures| failures.until > Instant::now())
    }

    /// Notes a failure; returns how long to wait, which is `first` for the first one. Entries that were not tried again
    /// within a day of their time are dropped: no target needs them any more.
    pub(crate) fn failed(&mut self, claim: Claim, first: Duration) -> Duration {
        let now = Instant::now();
        self.0.retain(|_, failures| failures.until + WAIT_MAX > now);
        let failures = self.0.entry(claim).or_insert(Failures { count: 0, until: now });
        let wait = first.saturating_mul(2_u32.saturating_pow(failures.count)).min(WAIT_MAX);
        *failures = Failures { count: failures.count.saturating_add(1), until: now + wait };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(repository: &str, digest: &[u8], bytes: u64) -> Claim {
        (repository.parse().unwrap(), Digest::sha256_of(digest), bytes, None)
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_doubles_the_wait_up_to_a_day() {
        for (first, waits) in [
            (WAIT_MIN, &[30, 60, 120, 240, 480, 960, 1440, 1440][..]),
            (WAIT_MIN_TRANSIENT, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]),
        ] {
            let mut backoff = Backoff::default();
            let layer = claim("registry.example/a", b"layer", 1);
            for &minutes in waits {
                assert_eq!(backoff.failed(layer.clone(), first), Duration::from_mins(minutes));
                tokio::time::advance(Duration::from_secs(minutes * 60 - 1)).await;
                assert!(backoff.is_waiting(&layer), "{minutes}");
                tokio::time::advance(Duration::from_secs(1)).await;
                assert!(!backoff.is_waiting(&layer), "{minutes}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_per_repository_layer_and_size_and_expire() {
        let mut backoff = Backoff::default();
        let one = claim("registry.example/a", b"layer", 1);
        let other = claim("registry.example/b", b"layer", 1);
        backoff.failed(one.clone(), WAIT_MIN);
        assert!(!backoff.is_waiting(&other));
        assert!(!backoff.is_waiting(&claim("registry.example/a", b"another", 1)));
        assert!(!backoff.is_waiting(&claim("registry.example/a", b"layer", 2)));
        tokio::time::advance(WAIT_MIN + WAIT_MAX).await;
        backoff.failed(other, WAIT_MIN);
        assert_eq!(backoff.0.len(), 1);
        assert_eq!(backoff.failed(one, WAIT_MIN), WAIT_MIN, "it counts from the start again");
    }
}
