//! Reloads: reads the configuration again when asked to, and hands it to the state loop.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::messages::ReloadRequest;
use crate::clock::unix_now;
use crate::config::{Config, Overrides};
use crate::metrics::Telemetry;
use crate::web;
use crate::web::ReloadReply;

/// How many reloads may wait at once.
pub const RELOADS_WAITING_MAX: usize = 4;

/// What a reload reads, and what it is compared with.
pub(super) struct Source {
    /// Without one a reload is refused.
    pub(super) file: Option<PathBuf>,
    pub(super) overrides: Overrides,
    /// What the daemon was started with: `[web]` and `[state]` stay so.
    pub(super) started: Config,
}

/// Serves one reload at a time. An invalid configuration changes nothing.
pub(super) async fn serve(
    mut requests: mpsc::Receiver<ReloadReply>,
    state_loop: mpsc::Sender<ReloadRequest>,
    source: Source,
    web: Arc<web::ServerState>,
    telemetry: Arc<Telemetry>,
) {
    while let Some(reply) = requests.recv().await {
        let result = reload(&state_loop, &source, &web).await;
        telemetry.reloaded(result.as_ref().copied().map_err(String::as_str), unix_now());
        match &result {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "cannot reload the configuration: the previous one stays in use"),
        }
        let _ = reply.send(result);
    }
}

async fn reload(
    state_loop: &mpsc::Sender<ReloadRequest>,
    source: &Source,
    web: &web::ServerState,
) -> Result<(), String> {
    let file = source.file.clone().ok_or("there is no configuration file to read again")?;
    let mut config = tokio::task::spawn_blocking(move || Config::load(&file))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    config.apply(&source.overrides);
    let text = config.redacted_since(&source.started);
    let (reply, answer) = oneshot::channel();
    let ending = "the daemon is shutting down";
    state_loop.send(ReloadRequest { config, reply }).await.map_err(|_| ending)?;
    answer.await.map_err(|_| ending)??;
    web.set_config(text);
    Ok(())
}
