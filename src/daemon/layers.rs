//! The state loop's handle of the layer worker: requests in, sizes out. Scans never wait for it.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::messages::Handles;
use crate::config::Config;
use crate::image::LayerContent;
use crate::layer;
use crate::layer::Limits;
use crate::oci::Digest;
use crate::tag::LayerRequest;

/// How many sizes may wait for the state loop before the worker waits.
const FOUND_WAITING_MAX: usize = 256;

/// The running worker. It stops when this is dropped.
pub(crate) struct LayerWorker {
    requests: mpsc::Sender<Vec<LayerRequest>>,
    found: mpsc::Receiver<(Digest, LayerContent)>,
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

    /// Sends the list of all requested layers, unless the worker has not taken the last one yet.
    pub(crate) fn offer(&self, requests: impl FnOnce() -> Vec<LayerRequest>) {
        if let Ok(permit) = self.requests.try_reserve() {
            permit.send(requests());
        }
    }

    /// The next sizes. An error means that the worker panicked.
    pub(crate) async fn found(&mut self) -> Result<Vec<(Digest, LayerContent)>, JoinError> {
        let mut found = Vec::new();
        if self.found.recv_many(&mut found, FOUND_WAITING_MAX).await > 0 {
            return Ok(found);
        }
        // The channel closes before `stop` only when the worker panicked.
        (&mut self.task).await?;
        std::future::pending().await
    }
}
