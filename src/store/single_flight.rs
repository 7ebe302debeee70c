//! Single-flight: at most one task fetches a digest from a registry. By registry, so that no task waits for a slow
//! registry that it does not need.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

#[cfg(feature = "postgres")]
use super::postgres::Claim;
use crate::oci::{Digest, Registry};

type InFlight = Arc<Mutex<HashMap<(Registry, Digest), Arc<tokio::sync::Mutex<()>>>>>;

/// The digests that are being fetched.
#[derive(Debug, Default)]
pub(super) struct SingleFlight(InFlight);

/// The exclusive right to fetch a digest, until it is dropped.
#[derive(Debug)]
pub struct Flight {
    keys: InFlight,
    key: (Registry, Digest),
    guard: Option<OwnedMutexGuard<()>>,
    /// The right among other processes too.
    #[cfg(feature = "postgres")]
    pub(super) claim: Option<Claim>,
}

impl SingleFlight {
    pub(super) async fn begin(&self, registry: &Registry, digest: &Digest) -> Flight {
        let key = (registry.clone(), digest.clone());
        let lock = {
            let mut in_flight = self.0.lock();
            Arc::clone(in_flight.entry(key.clone()).or_default())
        };
        let guard = Some(lock.lock_owned().await);
        Flight {
            keys: Arc::clone(&self.0),
            key,
            guard,
            #[cfg(feature = "postgres")]
            claim: None,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // First, so that a task that waits here finds it given up.
        #[cfg(feature = "postgres")]
        drop(self.claim.take());
        let mut in_flight = self.keys.lock();
        self.guard = None;
        // Waiting tasks hold a clone of the lock too.
        if in_flight.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            in_flight.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_task_fetches_at_a_time_and_nothing_stays_behind() {
        let flights = SingleFlight::default();
        let [here, there] = ["here.example", "there.example"].map(|host| host.parse().unwrap());
        let (a, b) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"));
        let first = flights.begin(&here, &a).await;
        let _other = flights.begin(&here, &b).await;
        drop(flights.begin(&there, &a).await);
        let mut second = std::pin::pin!(flights.begin(&here, &a));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(flights.0.lock().len(), 1, "b is still in flight");
    }
}
