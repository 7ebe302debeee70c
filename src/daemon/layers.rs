//! The lane of uncompressed sizes, as the fold sees it: work goes in, sizes come out, scans never wait for it.

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

/// How many sizes may wait for the fold before the lane waits.
const FOUND_WAITING_MAX: usize = 256;

/// The running lane. It stops when this is dropped.
pub(crate) struct Lane {
    work: mpsc::Sender<Vec<LayerRequest>>,
    found: mpsc::Receiver<(Digest, LayerContent)>,
    task: JoinHandle<()>,
    _stop: DropGuard,
}

impl Lane {
    pub(crate) fn start(handles: &Handles, config: &Config) -> Self {
        // One list at a time: each is all that is wanted, so that an older one is of no use.
        let (work, wanted) = mpsc::channel(1);
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
        Self { work, found, task, _stop: stop.drop_guard() }
    }

    /// Hands over all that is wanted now, unless the lane has not looked at the last list yet.
    pub(crate) fn offer(&self, work: impl FnOnce() -> Vec<LayerRequest>) {
        if let Ok(place) = self.work.try_reserve() {
            place.send(work());
        }
    }

    /// The next sizes that were found. An error means that the lane panicked.
    pub(crate) async fn found(&mut self) -> Result<Vec<(Digest, LayerContent)>, JoinError> {
        let mut found = Vec::new();
        if self.found.recv_many(&mut found, FOUND_WAITING_MAX).await > 0 {
            return Ok(found);
        }
        // It ends by itself only when it panics.
        (&mut self.task).await?;
        std::future::pending().await
    }
}
