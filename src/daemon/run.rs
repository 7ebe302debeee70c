//! Assembles the daemon: from a configuration and bound listeners to a graceful shutdown.

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::messages::Handles;
use super::reload;
use super::state_loop::StateLoop;
use crate::clock::unix_now;
use crate::config::{Config, Overrides, State};
use crate::metrics::Telemetry;
use crate::notify::Endpoint;
use crate::registry::Registries;
use crate::store::{Opened, Store, StoreError};
use crate::web::ReloadReply;
use crate::{metrics, web};

/// How long a shutdown may take: the drain of the web server's answers and the flush of the state file, with a margin.
/// Less than the 30 s after which Kubernetes kills.
const SHUTDOWN_MAX: Duration = Duration::from_secs(20);

/// The daemon's parameters besides its configuration.
pub struct Start {
    /// The listeners, bound by the caller.
    pub listeners: Vec<web::Listener>,
    /// The options of the endpoint.
    pub options: web::Options,
    /// TLS and authentication of the listeners.
    pub web_config: web::WebConfig,
    /// The file that a reload reads; without one a reload is refused.
    pub config_file: Option<PathBuf>,
    /// What flags set in place of the file's values, at the start as at each reload.
    pub overrides: Overrides,
    /// Reload requests from outside, such as a signal's. The web server sends its own through the sender.
    pub reloads: (mpsc::Sender<ReloadReply>, mpsc::Receiver<ReloadReply>),
}

/// From now on a panic in any task or thread ends the process: with its message on stderr, and exit code 1. Otherwise
/// the daemon would go on without, for example, the task that writes the state file, unnoticed. No more is lost than by
/// `kill -9`.
///
/// The message is for people, or the line that `line` makes of the panic.
///
/// Call it before opening a state file: opening a damaged one may panic, which is caught and must not end the process.
pub fn end_on_panic(line: Option<fn(&PanicHookInfo<'_>) -> String>) {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Not through the log, which may be what panicked.
        let said = if let Some(line) = line {
            line(panic)
        } else {
            default_hook(panic);
            "image-size-exporter panicked and is exiting; this is a bug, please report it".to_owned()
        };
        let _ = writeln!(std::io::stderr(), "{said}");
        std::process::exit(1);
    }));
}

/// Runs until `stop`, then shuts down gracefully, within 20 s even if a disk hangs. While it still starts,
/// `stop` ends it at once. An error is one that the daemon cannot recover from.
pub async fn run(config: Config, start: Start, stop: CancellationToken) -> anyhow::Result<()> {
    within_deadline(start_and_serve(config, start, stop.clone()), &stop).await
}

async fn within_deadline(
    running: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(SHUTDOWN_MAX).await;
    };
    tokio::select! {
        ended = running => ended,
        () = deadline => bail!(
            "the shutdown did not finish within {}: does the disk of the state file, or its database, hang? The last changes may be lost",
            humantime::format_duration(SHUTDOWN_MAX)
        ),
    }
}

async fn start_and_serve(mut config: Config, start: Start, stop: CancellationToken) -> anyhow::Result<()> {
    config.apply(&start.overrides);
    // On a blocking thread: the file system may hang.
    let opening = tokio::task::spawn_blocking(move || {
        let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
        let store = open_store(&config)?;
        anyhow::Ok((config, registries, store))
    });
    let Some(opened) = stop.run_until_cancelled(opening).await else { return Ok(()) };
    let (config, registries, store) = opened.context("opening the state panicked")??;
    let telemetry = Arc::new(Telemetry::new(registries.counters()));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let notifications = Arc::new(Endpoint::new(config.notifications.clone()));
    telemetry.watch_notifications(config.notifications.is_some());
    let handles = Handles {
        registries: Arc::new(ArcSwap::from_pointee(registries)),
        store,
        telemetry: telemetry.clone(),
        notifications: notifications.clone(),
    };
    telemetry.watch_state(handles.store.persistent());
    telemetry.set_shard(config.shard);
    telemetry.reloaded(Ok(()), unix_now());

    let reader = handles.store.reader();
    let started = config.clone();
    let (publisher, rendered) = metrics::channel(telemetry.clone());
    let restoring = tokio::spawn(StateLoop::start(handles, config, publisher));
    let Some(restored) = stop.run_until_cancelled(restoring).await else { return Ok(()) };
    let state_loop = restored.context("restoring the state panicked")?;
    let (reload_sender, reload_requests) = mpsc::channel(1);
    let (reload, reloads) = start.reloads;
    let web = web::ServerState::new(rendered, telemetry.clone(), reload, start.web_config, start.options);
    let web = web.with_notifications(notifications).with_commands(Arc::new(move |config| reader.commands(config)));
    let web = Arc::new(web);
    web.set_config(started.redacted());
    web.set_ready(true);

    let mut writing = tokio::spawn(state_loop.run(reload_requests, stop.clone()));
    let mut serving = tokio::spawn(web::serve(start.listeners, web.clone(), stop.clone()));
    let source = reload::Source { file: start.config_file, overrides: start.overrides, started };
    let reloading = tokio::spawn(reload::serve(reloads, reload_sender, source, web, telemetry));
    tracing::info!(version = crate::VERSION, "started");

    tokio::select! {
        ended = &mut writing => {
            // Before `stop` the state loop ends only when it, or a worker, panicked.
            stop.cancel();
            ended.context("the state loop panicked")?.context("a scan panicked")?;
            // Finishes answers under way.
            serving.await.context("the web server panicked")?;
        }
        ended = &mut serving => {
            stop.cancel();
            ended.context("the web server panicked")?;
            writing.await.context("the state loop panicked")?.context("a scan panicked")?;
        }
        ended = reloading => {
            stop.cancel();
            ended.context("the reload task panicked")?;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens the state. The one fatal error is that another process uses the file; after any other the daemon goes on in memory
/// and the store retries.
fn open_store(config: &Config) -> anyhow::Result<Store> {
    let path = match &config.state {
        None => return Ok(Store::memory()),
        Some(State::File(path)) => path,
        #[cfg(feature = "postgres")]
        Some(State::Database { url_file }) => return open_database(url_file, config.shard),
    };
    match Store::open(path) {
        Ok((store, Opened::SetAside { moved_to, why })) => {
            tracing::warn!(path = %path.display(), moved_to = %moved_to.display(), %why, "the state file cannot be used and was set aside: all sizes are read again");
            Ok(store)
        }
        Ok((store, Opened::Fresh | Opened::Existing)) => Ok(store),
        Err(error @ StoreError::InUse { .. }) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "cannot open the state file: what is read is kept in memory only and lost in a restart; retrying every minute");
            Ok(Store::open_later(path, &error)?)
        }
    }
}

/// Opens the database. While it cannot be used the daemon goes on in memory and the store tries again.
#[cfg(feature = "postgres")]
fn open_database(url_file: &std::path::Path, shard: crate::target::Shard) -> anyhow::Result<Store> {
    let (store, error) = Store::database(url_file, shard)?;
    if let Some(error) = error {
        tracing::error!(%error, "cannot use the database of the state: what is read is kept in memory only until it can be written");
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_that_hangs_ends_at_its_deadline_and_not_before() {
        let stop = CancellationToken::new();
        let hanging = tokio::spawn({
            let stop = stop.clone();
            async move { within_deadline(std::future::pending(), &stop).await }
        });
        tokio::time::sleep(SHUTDOWN_MAX * 10).await;
        assert!(!hanging.is_finished(), "it was not asked to stop");
        stop.cancel();
        tokio::time::sleep(SHUTDOWN_MAX.saturating_sub(Duration::from_millis(1))).await;
        assert!(!hanging.is_finished(), "it still has time");
        let error = hanging.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with("the shutdown did not finish within 20s"), "{error}");
    }
}
