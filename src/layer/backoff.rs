//! When to try again after a layer could not be read.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::{Digest, Repository};

/// After the first failure; doubled with each further one.
const WAIT_MIN: Duration = Duration::from_mins(30);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// Layers that a repository failed to serve, and when to try again. A layer that is broken in one repository may be
/// intact in another.
#[derive(Default)]
pub(crate) struct Backoff(HashMap<(Repository, Digest), Failures>);

struct Failures {
    count: u32,
    until: Instant,
}

impl Backoff {
    /// Whether it is too early to try again.
    pub(crate) fn is_waiting(&self, repository: &Repository, digest: &Digest) -> bool {
        self.0.get(&(repository.clone(), digest.clone())).is_some_and(|failures| failures.until > Instant::now())
    }

    /// Notes a failure; returns how long to wait. Entries that were not tried again within a day of their time are
    /// dropped: no target needs them any more.
    pub(crate) fn failed(&mut self, repository: &Repository, digest: &Digest) -> Duration {
        let now = Instant::now();
        self.0.retain(|_, failures| failures.until + WAIT_MAX > now);
        let failures = self.0.entry((repository.clone(), digest.clone())).or_insert(Failures { count: 0, until: now });
        let wait = WAIT_MIN.saturating_mul(2_u32.saturating_pow(failures.count)).min(WAIT_MAX);
        *failures = Failures { count: failures.count.saturating_add(1), until: now + wait };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_doubles_the_wait_up_to_a_day() {
        let mut backoff = Backoff::default();
        let repository: Repository = "registry.example/a".parse().unwrap();
        let digest = Digest::sha256_of(b"layer");
        for minutes in [30, 60, 120, 240, 480, 960, 1440, 1440] {
            let wait = backoff.failed(&repository, &digest);
            assert_eq!(wait, Duration::from_mins(minutes));
            tokio::time::advance(Duration::from_mins(minutes - 1)).await;
            assert!(backoff.is_waiting(&repository, &digest), "{minutes}");
            tokio::time::advance(Duration::from_mins(1)).await;
            assert!(!backoff.is_waiting(&repository, &digest), "{minutes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_per_repository_and_layer_and_expire() {
        let mut backoff = Backoff::default();
        let [one, other]: [Repository; 2] =
            ["registry.example/a", "registry.example/b"].map(|name| name.parse().unwrap());
        let digest = Digest::sha256_of(b"layer");
        backoff.failed(&one, &digest);
        assert!(!backoff.is_waiting(&other, &digest));
        assert!(!backoff.is_waiting(&one, &Digest::sha256_of(b"another")));
        tokio::time::advance(WAIT_MIN + WAIT_MAX).await;
        backoff.failed(&other, &digest);
        assert_eq!(backoff.0.len(), 1);
        assert_eq!(backoff.failed(&one, &digest), WAIT_MIN, "it counts from the start again");
    }
}
