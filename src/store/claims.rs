//! Who reads what right now, so that two tags of one image do not both fetch it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::oci::Digest;

type UnderWay = Arc<Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>>;

/// The digests that are being read.
#[derive(Debug, Default)]
pub(super) struct Claims(UnderWay);

/// The right to read what a digest names, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    under_way: UnderWay,
    digest: Digest,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Claims {
    pub(super) async fn claim(&self, digest: &Digest) -> Claim {
        let lock = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(under_way.entry(digest.clone()).or_default())
        };
        let guard = Some(lock.lock_owned().await);
        Claim { under_way: Arc::clone(&self.0), digest: digest.clone(), guard }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Those that still wait have the lock, too.
        if under_way.get(&self.digest).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            under_way.remove(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_a_claim_at_a_time_and_nothing_stays_behind() {
        let claims = Claims::default();
        let (a, b) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"));
        let first = claims.claim(&a).await;
        let _other = claims.claim(&b).await;
        let mut second = std::pin::pin!(claims.claim(&a));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(claims.0.lock().unwrap().len(), 1, "b is still claimed");
    }
}
