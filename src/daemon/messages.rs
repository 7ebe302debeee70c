//! When to scan, and the one task that writes what is published.
//!
//! Every target has a worker that sleeps, scans and tells; all of them tell one fold, which alone changes the
//! inventory, the kept tags and the snapshot. Nobody else waits for anybody.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::metrics::Telemetry;
use crate::metrics::own::ScanEnd;
use crate::registry::Registries;
use crate::store::Store;
use crate::tag::{Discovered, Observation, TagRequest};
use crate::target::Target;

pub(crate) use super::state_loop::{ReloadRequest, StateLoop};

/// What every scan works with.
#[derive(Clone)]
pub(crate) struct Handles {
    /// The clients. Swapped when a reload changes how registries are spoken to.
    pub(crate) registries: Arc<ArcSwap<Registries>>,
    /// What was read before.
    pub(crate) store: Store,
    /// The program's own metrics.
    pub(crate) telemetry: Arc<Telemetry>,
}

/// What workers tell the fold.
pub(crate) enum Event {
    /// A target's repositories and tags; the answer is what of them it has to read.
    Discovered { target: Arc<Target>, found: Discovered, reply: oneshot::Sender<Assignment> },
    /// A tag was read.
    Observed(Observation),
    /// A target's scan ended, successfully or not. Its `up` says whether the lists were read.
    ScanEnded(Arc<Target>, ScanEnd),
}

/// What a target's scan is to do.
pub(crate) struct Assignment {
    /// The tags that it reads.
    pub(crate) to_read: Vec<TagRequest>,
}

/// How many events may wait for the fold before workers wait.
pub(crate) const EVENTS_WAITING_MAX: usize = 4096;
