//! The state loop's handle of the layer worker: requests in, sizes out. Scans never wait for it.

use std::collections::BTreeSet;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::messages::Handles;
use crate::config::Config;
use crate::layer;
use crate::layer::Limits;
use crate::tag::{LayerFound, LayerRequests};

/// How many sizes may wait for the state loop before the worker waits.
const FOUND_WAITING_MAX: usize = 256;

/// The running worker. It stops when this is dropped.
pub(crate) struct LayerWorker {
    requests: mpsc::Sender<LayerRequests>,
    found: mpsc::Receiver<LayerFound>,
    task: JoinHandle<()>,
    _stop: DropGuard,
}

impl LayerWorker {
    pub(crate) fn start(handles: &Handles, config: &Config) -> Self {
        // A queue of one: each list has every requested layer, so an older one is obsolete.
        let (requests, wanted) = mpsc::channel(1);
        let (sender, found) = mpsc::channel(FOUND_WAITING_MAX);
        let stop = CancellationToken::new();
        let pull_through: BTreeSet<_> = config
            .registries
            .iter()
            .filter(|(_, settings)| settings.pull_through)
            .map(|(host, _)| host.clone())
            .collect();
        let limits = Limits { pull_through, ..Limits::default() };
        let registries = handles.registries.load_full();
        let task = tokio::spawn(layer::run(wanted, registries, handles.store.clone(), sender, limits, stop.clone()));
        Self { requests, found, task, _stop: stop.drop_guard() }
    }

    /// Waits until the worker has taken the last list: another one can be handed over.
    pub(crate) fn ready(&self) -> impl Future<Output = OwnedPermit<LayerRequests>> + use<> {
        let requests = self.requests.clone();
        async move {
            match requests.reserve_owned().await {
                Ok(permit) => permit,
                // The worker panicked, which `found` reports.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// The next sizes. An error means that the worker panicked.
    pub(crate) async fn found(&mut self) -> Result<Vec<LayerFound>, JoinError> {
        let mut found = Vec::new();
        if self.found.recv_many(&mut found, FOUND_WAITING_MAX).await > 0 {
            return Ok(found);
        }
        // The channel closes before `stop` only when the worker panicked.
        (&mut self.task).await?;
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_list_that_the_worker_cannot_take_yet_is_not_dropped() {
        let (requests, mut wanted) = mpsc::channel(1);
        let (_sender, found) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let task = tokio::spawn(std::future::pending());
        let worker = LayerWorker { requests, found, task, _stop: stop.drop_guard() };
        worker.ready().await.send(LayerRequests::default());
        let mut next = std::pin::pin!(worker.ready());
        assert!((&mut next).now_or_never().is_none(), "the worker has not taken the first one");
        assert!(wanted.recv().await.is_some());
        next.await.send(LayerRequests::default());
        assert!(wanted.recv().await.is_some());
    }
}
