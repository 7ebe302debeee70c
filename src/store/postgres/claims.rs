//! Single-flight across exporters: one of them fetches a digest from a registry, the others wait for what it stores.
//!
//! A claim is a row that expires. The exporter that made it renews it while it fetches, and deletes it in the transaction
//! that stores what was fetched, or after a failure. That of an exporter that has died expires.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::reader::Reader;
use crate::oci::{Digest, Registry};
use crate::store::batch::ClaimKey;
use crate::store::queue::Queue;
use crate::store::stored::FactsOf;

/// Well within the time until a claim ends that nobody renews.
const RENEW_EVERY: Duration = Duration::from_secs(4);

/// How long others are waited for at most: then the registry is asked all the same.
pub(super) const WAIT_MAX: Duration = Duration::from_mins(1);

/// The time between two looks at what another one fetches: a write takes up to a second.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The right to fetch a digest, among the exporters that share a database.
#[derive(Debug)]
pub(in crate::store) struct Claim {
    queue: Arc<Queue>,
    key: ClaimKey,
    renewing: AbortHandle,
}

impl Claim {
    /// A claim that was just obtained.
    pub(super) fn new(queue: &Arc<Queue>, reader: &Arc<Reader>, handle: &Handle, key: ClaimKey) -> Self {
        let (reader, renewed) = (Arc::clone(reader), key.clone());
        let renewing = handle.spawn(async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                // Without an answer it ends, and another one may fetch the same.
                let _ = reader.claim(&renewed).await;
            }
        });
        Self { queue: Arc::clone(queue), key, renewing: renewing.abort_handle() }
    }
}

impl Drop for Claim {
    /// What was fetched is in the queue before this: both are written together, or this later.
    fn drop(&mut self) {
        self.renewing.abort();
        self.queue.add(|waiting| waiting.claims_done.push(self.key.clone()));
    }
}

/// The key of a claim. A slow registry holds up only those who read from it.
pub(super) fn key(registry: &Registry, digest: &Digest, facts: FactsOf) -> ClaimKey {
    let facts = match facts {
        FactsOf::Documents => 1,
        FactsOf::Blobs => 2,
        FactsOf::Layers => 3,
    };
    (registry.as_str().into(), digest.clone(), facts)
}
