//! The handles that the daemon's tasks share, and the messages between them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::Telemetry;
use crate::metrics::own::ScanEnd;
use crate::notify::{Change, Endpoint, Pulled};
use crate::oci::Repository;
use crate::registry::Registries;
use crate::store::Store;
use crate::tag::{Discovered, Observation, Running, TagRequest};
use crate::target::Target;

/// The shared handles that every scan works with.
#[derive(Clone)]
pub(crate) struct Handles {
    /// The clients. Replaced when a reload changes the settings of registries.
    pub(crate) registries: Arc<ArcSwap<Registries>>,
    /// The store.
    pub(crate) store: Store,
    /// The program's own metrics.
    pub(crate) telemetry: Arc<Telemetry>,
    /// The endpoint for notifications, which may be closed.
    pub(crate) notifications: Arc<Endpoint>,
}

/// Messages from workers to the state loop.
pub(crate) enum Event {
    /// A target's repositories and tags. The reply assigns those that this scan reads.
    Discovered { target: Arc<Target>, found: Discovered, reply: oneshot::Sender<Vec<TagRequest>> },
    /// A tag was read in a scan.
    Observed(Observation),
    /// A tag was read because of a notification.
    ObservedNow(Observation),
    /// A registry says that something changed. The reply assigns what is to be read because of it.
    Notified { change: Change, reply: oneshot::Sender<NotifiedReads> },
    /// The tag list of a repository that was new to a target, because of a change. The reply assigns the tags to read.
    Listed { target: Arc<Target>, found: Discovered, change: Change, reply: oneshot::Sender<Vec<TagRequest>> },
    /// A source says what runs. The reply assigns the tags that are to be read because of it.
    Seen { target: Arc<Target>, running: Running, reply: oneshot::Sender<Vec<TagRequest>> },
    /// What registries say was pulled.
    Pulled(Vec<Pulled>),
    /// A target's scan ended, successfully or not. `up`: whether the lists were read.
    ScanEnded { target: Arc<Target>, end: ScanEnd },
}

/// What a notification asks to be read.
#[derive(Default)]
pub(crate) struct NotifiedReads {
    /// Tags.
    pub(crate) requests: Vec<TagRequest>,
    /// Tag lists of repositories that are new to these targets.
    pub(crate) lists: Vec<(Arc<Target>, Repository)>,
}

/// A new configuration, already validated.
pub(crate) struct ReloadRequest {
    /// The configuration.
    pub(crate) config: Config,
    /// The channel for the result. The error is a message for the operator.
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// How many events may wait for the state loop before workers wait.
pub(crate) const EVENTS_WAITING_MAX: usize = 4096;
