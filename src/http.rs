//! The endpoint: what Prometheus scrapes and people look at.
//!
//! A scrape reads what was rendered before; nothing in here causes work on a registry. A client can hold a connection
//! only for as long as the timeouts say, and no bytes but those of the last two snapshots.

mod activity;
mod body;
mod connection;
mod generations;
mod landing;
mod listener;
mod negotiate;
mod routes;
mod slots;
mod systemd;
mod web_config;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exposition::Rendered;
use crate::telemetry::Telemetry;

pub use listener::{BindError, Listener};
pub use web_config::{WebConfig, WebConfigError};

/// A request to read the configuration again, answered with what came of it.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// What the routes answer from.
pub struct State {
    rendered: watch::Receiver<Arc<Rendered>>,
    telemetry: Arc<Telemetry>,
    /// What `/config` shows: TOML, with secrets masked.
    config: Arc<ArcSwap<String>>,
    reload: mpsc::Sender<Reload>,
    options: Options,
    limits: Limits,
    web_config: WebConfig,
    slots: slots::Slots,
    generations: generations::Generations,
    is_ready: AtomicBool,
}

/// What flags and configuration say of the endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the metrics, beginning with `/`. At `/` there is no landing page.
    pub telemetry_path: String,
    /// Whether `/-/reload` may be asked.
    pub enable_lifecycle: bool,
    /// Scrapes under way at once; 0: unlimited. More are answered with 503.
    pub max_requests: usize,
    /// exporter-toolkit's web configuration file.
    pub config_file: Option<PathBuf>,
}

/// What one client, or many, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. When there are more, those go that have waited longest without a request.
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

impl State {
    /// Ready as soon as it is served. Fails if the web configuration file cannot be used.
    pub fn new(
        rendered: watch::Receiver<Arc<Rendered>>,
        telemetry: Arc<Telemetry>,
        config: Arc<ArcSwap<String>>,
        reload: mpsc::Sender<Reload>,
        options: Options,
    ) -> Result<Self, WebConfigError> {
        let web_config = WebConfig::open(options.config_file.as_deref())?;
        Ok(Self {
            rendered,
            telemetry,
            config,
            reload,
            limits: Limits::default(),
            web_config,
            slots: slots::Slots::new(options.max_requests),
            generations: generations::Generations::default(),
            is_ready: AtomicBool::new(false),
            options,
        })
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

/// Listens on all of these addresses: `host:port`, `[::1]:port`, or `:port` for every address of both kinds.
pub async fn bind(addresses: &[String]) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(Listener::bind(address).await?);
    }
    Ok(listeners)
}

/// All sockets that systemd passed to this process (`sd_listen_fds(3)`).
pub fn systemd_listeners() -> anyhow::Result<Vec<Listener>> {
    Ok(Listener::from_systemd()?)
}

/// Serves until `stop`, then lets answers under way end, for as long as [`Limits::drain`] says.
pub async fn serve(listeners: Vec<Listener>, state: Arc<State>, stop: CancellationToken) -> anyhow::Result<()> {
    let (tracker, kill) = (TaskTracker::new(), CancellationToken::new());
    let connections = Arc::new(connection::Connections::new(state.limits.connections_max));
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
    state.is_ready.store(true, Ordering::Relaxed);
    tokio::join!(state.generations.tidy(state.rendered.clone(), stop.clone()), systemd::live(stop));
    state.is_ready.store(false, Ordering::Relaxed);
    tracker.close();
    if timeout(state.limits.drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = connections.count(), "closing connections whose answers did not end in time");
        kill.cancel();
        tracker.wait().await;
    }
    Ok(())
}
