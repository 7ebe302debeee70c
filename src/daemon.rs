//! The daemon: everything put together, from a configuration and bound listeners to a graceful end.

mod layers;
mod messages;
mod scan_target;
pub mod schedule;
mod state_loop;
mod timer;
mod workers;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::unix_now;
use crate::config::Config;
use crate::metrics::Telemetry;
use crate::registry::Registries;
use crate::store::{Opened, Store, StoreError};
use crate::{metrics, web};
use messages::{Handles, ReloadRequest, StateLoop};

/// Somebody wants the configuration read again, and waits for what came of it.
pub type WantsReload = oneshot::Sender<Result<(), String>>;

/// How many requests for a reload may wait.
pub const RELOADS_WAITING_MAX: usize = 4;

/// What the daemon is started with, beside its configuration.
pub struct Start {
    /// Where it answers; bound by the caller.
    pub listeners: Vec<web::Listener>,
    /// How it answers.
    pub options: web::Options,
    /// With whose certificates, to whom.
    pub web_config: web::WebConfig,
    /// Where the configuration is read from again; without it a reload is refused.
    pub config_file: Option<PathBuf>,
    /// Requests for a reload from outside, a signal's say, and where the web server sends its own.
    pub reloads: (mpsc::Sender<WantsReload>, mpsc::Receiver<WantsReload>),
}

/// Lets a panic of any task or thread end the process, from now on: with its message on stderr, and exit code 1. One
/// that writes the state file, say, or takes connections, would else be missing, and nobody would hear of it. What
/// is lost is no more than `kill -9` loses.
///
/// To be called before a state file is opened: a panic in there that is caught because of a damaged file ends nothing.
pub fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        // Not by way of the log, which may be what panicked.
        let _ = writeln!(std::io::stderr(), "this is a mistake in image-size-exporter, which ends: please report it");
        std::process::exit(1);
    }));
}

/// Runs until `stop`, and then ends in order. An error is something that the daemon cannot go on with.
pub async fn run(config: Config, start: Start, stop: CancellationToken) -> anyhow::Result<()> {
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
    let telemetry = Arc::new(Telemetry::new(registries.counters()));
    let store = open_store(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let handles =
        Handles { registries: Arc::new(ArcSwap::from_pointee(registries)), store, telemetry: telemetry.clone() };
    telemetry.watch_state(handles.store.persistent());
    telemetry.reloaded(true, unix_now());

    let masked = config.masked();
    let (publisher, rendered) = metrics::channel(telemetry.clone());
    let fold = StateLoop::start(handles, config, publisher).await;
    let (fold_reloads, fold_requests) = mpsc::channel(1);
    let (wants_reload, reloads) = start.reloads;
    let state = web::State::new(rendered, telemetry.clone(), wants_reload, start.web_config, start.options);
    let state = Arc::new(state);
    state.set_config(masked);
    state.set_ready(true);

    let mut folding = tokio::spawn(fold.run(fold_requests, stop.clone()));
    let mut serving = tokio::spawn(web::serve(start.listeners, state.clone(), stop.clone()));
    let reloading = tokio::spawn(answer_reloads(reloads, fold_reloads, start.config_file, state, telemetry));
    tracing::info!(version = crate::VERSION, "started");

    tokio::select! {
        ended = &mut folding => {
            // The fold ends by itself only when some task panicked, or it did.
            stop.cancel();
            ended.context("the task that publishes has panicked")?.context("a scan has panicked")?;
            // Answers under way may end.
            serving.await.context("the web server has panicked")?;
        }
        ended = &mut serving => {
            stop.cancel();
            ended.context("the web server has panicked")?;
            folding.await.context("the task that publishes has panicked")?.context("a scan has panicked")?;
        }
        ended = reloading => {
            stop.cancel();
            ended.context("the task that reloads has panicked")?;
        }
    }
    tracing::info!("ended");
    Ok(())
}

/// Opens the state file. Whatever is wrong with it but that somebody else uses it, the daemon goes on, and the store
/// tries again.
fn open_store(config: &Config) -> anyhow::Result<Store> {
    let Some(path) = &config.state else { return Ok(Store::memory()) };
    match Store::open(path) {
        Ok((store, Opened::SetAside { moved_to, why })) => {
            tracing::warn!(path = %path.display(), moved_to = %moved_to.display(), %why, "the state file could not be used and was set aside: sizes are read anew");
            Ok(store)
        }
        Ok((store, Opened::Fresh | Opened::Existing)) => Ok(store),
        Err(error @ StoreError::InUse { .. }) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "going on in memory: what is known is lost if the program ends before the state file can be opened; it is tried again every minute");
            Ok(Store::open_later(path, &error)?)
        }
    }
}

/// Answers one request for a reload after the other. A configuration that is wrong changes nothing.
async fn answer_reloads(
    mut requests: mpsc::Receiver<WantsReload>,
    fold: mpsc::Sender<ReloadRequest>,
    file: Option<PathBuf>,
    state: Arc<web::State>,
    telemetry: Arc<Telemetry>,
) {
    while let Some(reply) = requests.recv().await {
        let result = reload(&fold, file.clone(), &state).await;
        telemetry.reloaded(result.is_ok(), unix_now());
        match &result {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "cannot reload: the old configuration holds"),
        }
        let _ = reply.send(result);
    }
}

async fn reload(fold: &mpsc::Sender<ReloadRequest>, file: Option<PathBuf>, state: &web::State) -> Result<(), String> {
    let file = file.ok_or("there is no configuration file to read again")?;
    let config = tokio::task::spawn_blocking(move || Config::load(&file))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let text = config.masked();
    let (reply, answer) = oneshot::channel();
    let ended = "the daemon is ending";
    fold.send(ReloadRequest { config, reply }).await.map_err(|_| ended)?;
    answer.await.map_err(|_| ended)??;
    state.set_config(text);
    Ok(())
}
