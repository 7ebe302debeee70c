//! Who reads what right now, so that two tags of one image do not both fetch it: of one registry, since nobody should
//! wait for another one that is slow.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::oci::{Digest, Registry};

type UnderWay = Arc<Mutex<HashMap<(Registry, Digest), Arc<tokio::sync::Mutex<()>>>>>;

/// The digests that are being read.
#[derive(Debug, Default)]
pub(super) struct Claims(UnderWay);

/// The right to read what a digest names, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    under_way: UnderWay,
    key: (Registry, Digest),
    guard: Option<OwnedMutexGuard<()>>,
}

impl Claims {
    pub(super) async fn claim(&self, registry: &Registry, digest: &Digest) -> Claim {
        let key = (registry.clone(), digest.clone());
        let lock = {
            let mut under_way = self.0.lock();
            Arc::clone(under_way.entry(key.clone()).or_default())
        };
        let guard = Some(lock.lock_owned().await);
        Claim { under_way: Arc::clone(&self.0), key, guard }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        self.guard = None;
        // Those that still wait have the lock, too.
        if under_way.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_a_claim_at_a_time_and_nothing_stays_behind() {
        let claims = Claims::default();
        let [here, there] = ["here.example", "there.example"].map(|host| host.parse().unwrap());
        let (a, b) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"));
        let first = claims.claim(&here, &a).await;
        let _other = claims.claim(&here, &b).await;
        drop(claims.claim(&there, &a).await);
        let mut second = std::pin::pin!(claims.claim(&here, &a));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(claims.0.lock().len(), 1, "b is still claimed");
    }
}
