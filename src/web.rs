//! The endpoint: what Prometheus scrapes and people look at.
//!
//! A scrape reads what was rendered before; nothing in here causes work on a registry. A client can hold a connection
//! only for as long as the timeouts say, and no bytes but those of the last two snapshots.

mod address;
mod body;
mod concurrency;
mod connection;
mod deadlines;
mod listener;
mod negotiate;
mod page;
mod routes;
mod systemd;
mod web_config;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{Rendered, Telemetry};

pub use address::{InvalidListenAddress, ListenAddress};
pub use listener::{BindError, Listener};
pub use web_config::{WebConfig, WebConfigError};

/// A request to read the configuration again, answered with what came of it.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// What the routes answer from.
pub struct State {
    rendered: watch::Receiver<Arc<Rendered>>,
    telemetry: Arc<Telemetry>,
    config: ArcSwap<String>,
    is_ready: AtomicBool,
    reload: mpsc::Sender<Reload>,
    web_config: WebConfig,
    slots: concurrency::Slots,
    options: Options,
}

/// What flags say of the endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the metrics, beginning with `/`. At `/` there is no landing page.
    pub telemetry_path: String,
    /// Whether `/-/reload` may be asked.
    pub enable_lifecycle: bool,
    /// Scrapes under way at once, not counting those whose clients do not read; 0: unlimited. More wait, for at most
    /// 5 s, then they are answered with 503.
    pub max_requests: usize,
    /// What one client, or many, may take.
    pub limits: Limits,
}

/// What one client, or many, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. When there are more, those go that hang without a request, or without taking their answer,
    /// then those that are idle; whoever has waited longest first.
    pub connections_max: usize,
    /// Time from the connection, or the first byte of a further request, to the end of its header; for TLS,
    /// including its handshake.
    pub header: Duration,
    /// From the end of the header until the last byte of the answer is taken.
    pub answer: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// For answers under way when the program ends.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            header: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            idle: Duration::from_mins(5),
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            telemetry_path: "/metrics".to_owned(),
            enable_lifecycle: false,
            max_requests: 40,
            limits: Limits::default(),
        }
    }
}

impl State {
    /// Not ready yet, with an empty configuration to show.
    pub fn new(
        rendered: watch::Receiver<Arc<Rendered>>,
        telemetry: Arc<Telemetry>,
        reload: mpsc::Sender<Reload>,
        web_config: WebConfig,
        options: Options,
    ) -> Self {
        let slots = concurrency::Slots::new(options.max_requests);
        let config = ArcSwap::from_pointee(String::new());
        Self { rendered, telemetry, config, is_ready: AtomicBool::new(false), reload, web_config, slots, options }
    }

    /// What `/config` shows: TOML, with secrets masked.
    pub fn set_config(&self, masked: String) {
        self.config.store(Arc::new(masked));
    }

    /// What `/-/ready` answers.
    pub fn set_ready(&self, ready: bool) {
        self.is_ready.store(ready, Ordering::Relaxed);
    }
}

/// Serves until `stop`, then lets answers under way end, for as long as [`Limits::drain`] says.
pub async fn serve(listeners: Vec<Listener>, state: Arc<State>, stop: CancellationToken) {
    let (tracker, kill) = (TaskTracker::new(), CancellationToken::new());
    let connections = Arc::new(connection::Connections::new(state.options.limits.connections_max));
    for listener in listeners {
        tracing::info!(address = %listener, tls = state.web_config.current().is_tls(), "listening");
        let context = connection::Context {
            state: Arc::clone(&state),
            connections: Arc::clone(&connections),
            stop: stop.clone(),
            kill: kill.clone(),
            tracker: tracker.clone(),
        };
        tracker.spawn(connection::accept(listener, context));
    }
    systemd::live(stop).await;
    state.set_ready(false);
    tracker.close();
    if timeout(state.options.limits.drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = connections.count(), "closing connections whose answers did not end in time");
        kill.cancel();
        tracker.wait().await;
    }
}
