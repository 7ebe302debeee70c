//! Runs the daemon, as configured or against the demo's registry: binds the listeners, maps signals to a reload or a
//! graceful shutdown.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::demo;
use super::logging::{LogFormat, panic_as_json};
use super::output::{CommandFailure, print_line, print_warnings};
use super::shard::ShardFlags;
use super::signals;
use crate::config::{Config, Overrides, Purpose};
use crate::target::Shard;
use crate::web::ListenAddress;
use crate::{daemon, web};

/// Flags that say where and how the daemon's web server listens.
#[derive(Debug, Args)]
pub struct AddressFlags {
    /// Address to listen on, instead of the configuration's; repeatable: `:10048`, `127.0.0.1:10048`, `[::1]:10048`
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen_address: Vec<ListenAddress>,
    /// File with the web server's TLS and authentication, in exporter-toolkit's format
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
}

/// Flags of the daemon's web server.
#[derive(Debug, Args)]
pub struct WebFlags {
    /// Where it listens.
    #[command(flatten)]
    pub address: AddressFlags,
    /// Path under which metrics are exposed
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// Allow a reload by `POST /-/reload`
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// Scrapes answered at the same time, 0 for no limit; further ones wait, and get 503 after 5 s
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub max_requests: usize,
    /// Listen on the sockets that systemd passes, instead of any address
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
}

/// Metrics are served at any path that serves nothing else and that a client can request.
fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with a slash: write `/{text}`"));
    }
    if text.contains(['?', '#']) || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a path has no `?`, no `#` and no spaces: write for example `/metrics`".to_owned());
    }
    if text == "/config" || text.starts_with("/-/") {
        return Err("something else is served at this path: write another one, such as `/metrics`".to_owned());
    }
    Ok(text.to_owned())
}

/// How strictly `--config.check` judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Files and environment variables that are missing are warnings: a configuration is also judged where its secrets are
    /// not
    Lenient,
    /// They are errors, as they are for a start
    Strict,
}

/// Checks the flags, the configuration and the web configuration, without any network access.
pub(super) fn check(
    config_file: &Path,
    flags: &WebFlags,
    shard: &ShardFlags,
    check: Check,
    format: LogFormat,
) -> Result<(), CommandFailure> {
    shard.check()?;
    let purpose = match check {
        Check::Lenient => Purpose::Check,
        Check::Strict => Purpose::StrictCheck,
    };
    let mut config = Config::load_for(config_file, purpose).map_err(CommandFailure::configuration)?;
    match web_config(flags, &config) {
        Err(error) if check == Check::Lenient && error.is_missing_file() => config.warnings.push(error.to_string()),
        result => drop(result.map_err(CommandFailure::configuration)?),
    }
    print_warnings(&config, format);
    Ok(print_line(&format!("{}: the configuration is valid", config_file.display()))?)
}

/// Runs the daemon until a signal ends it.
///
/// Handles SIGTERM and SIGINT before anything that can block. Until the daemon runs there is nothing to shut down: a
/// signal ends the program even while reading a file or resolving a name hangs.
pub(super) async fn daemon(
    config_file: PathBuf,
    flags: WebFlags,
    shard: &ShardFlags,
    format: LogFormat,
) -> Result<(), CommandFailure> {
    end_on_panic(format);
    let shard = shard.shard()?;
    let stop = stop_on_signals()?;
    let starting = async {
        let loading = tokio::task::spawn_blocking(move || {
            let (config, web_config) = load(&config_file, &flags)?;
            Ok::<_, CommandFailure>((config_file, flags, config, web_config))
        });
        let (config_file, flags, config, web_config) = loading.await??;
        let listeners = bind(&flags, &config).await?;
        Ok::<_, CommandFailure>((config_file, flags, config, web_config, listeners))
    };
    match stop.run_until_cancelled(starting).await {
        None => Ok(()),
        Some(started) => {
            let (config_file, flags, config, web_config, listeners) = started?;
            Ok(serve(&config_file, &flags, shard, config, web_config, listeners, stop).await?)
        }
    }
}

fn load(config_file: &Path, flags: &WebFlags) -> Result<(Config, web::WebConfig), CommandFailure> {
    let config = Config::load(config_file).map_err(CommandFailure::configuration)?;
    let web_config = web_config(flags, &config).map_err(CommandFailure::configuration)?;
    Ok((config, web_config))
}

/// Runs the daemon against a registry that this process serves.
pub(super) async fn demo(flags: &WebFlags, format: LogFormat) -> Result<(), CommandFailure> {
    end_on_panic(format);
    let stop = stop_on_signals()?;
    print_line("Making sample images, which takes a moment…")?;
    let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let registry = demo::start(loopback).await.context("cannot serve the demo's registry on loopback")?;
    let config_file = registry.config_file();
    let config = Config::load(config_file)?;
    let listeners = bind(flags, &config).await?;
    if let Some(Ok(address)) = listeners.first().map(web::Listener::local_addr) {
        print_line(&registry.banner(address))?;
    }
    let web_config = web_config(flags, &config)?;
    Ok(serve(config_file, flags, Shard::default(), config, web_config, listeners, stop).await?)
}

fn end_on_panic(format: LogFormat) {
    daemon::end_on_panic(match format {
        LogFormat::Logfmt => None,
        LogFormat::Json => Some(panic_as_json),
    });
}

async fn serve(
    config_file: &Path,
    flags: &WebFlags,
    shard: Shard,
    config: Config,
    web_config: web::WebConfig,
    listeners: Vec<web::Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (reload, reloads) = mpsc::channel(daemon::RELOADS_WAITING_MAX);
    tokio::spawn(reload_on_hangup(signal(SignalKind::hangup())?, reload.clone()));
    let options = web::Options {
        telemetry_path: flags.telemetry_path.clone(),
        enable_lifecycle: flags.enable_lifecycle,
        max_requests: flags.max_requests,
        hosts: config.web.hosts.clone(),
        ..web::Options::default()
    };
    let config_file = Some(config_file.to_owned());
    let overrides = Overrides {
        listen: flags.address.listen_address.clone(),
        systemd_socket: flags.systemd_socket,
        web_config_file: flags.address.web_config_file.clone(),
        shard,
    };
    let reloads = (reload, reloads);
    let start = daemon::Start { listeners, options, web_config, config_file, overrides, reloads };
    daemon::run(config, start, stop).await
}

async fn bind(flags: &WebFlags, config: &Config) -> Result<Vec<web::Listener>, web::BindError> {
    if flags.systemd_socket {
        return web::Listener::from_systemd();
    }
    let addresses =
        if flags.address.listen_address.is_empty() { &config.web.listen } else { &flags.address.listen_address };
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(web::Listener::bind(address).await?);
    }
    Ok(listeners)
}

fn web_config(flags: &WebFlags, config: &Config) -> Result<web::WebConfig, web::WebConfigError> {
    match flags.address.web_config_file.as_ref().or(config.web.config_file.as_ref()) {
        Some(path) => web::WebConfig::open(path),
        None => Ok(web::WebConfig::none()),
    }
}

/// The first SIGTERM or SIGINT shuts the daemon down gracefully, the second one exits at once.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    signals::take_over();
    let token = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                std::process::exit(1);
            }
            tracing::info!("shutting down");
            token.cancel();
        }
    });
    Ok(stop)
}

/// SIGHUP reloads. The daemon logs the result.
async fn reload_on_hangup(mut hangup: Signal, reloads: mpsc::Sender<daemon::ReloadReply>) {
    while hangup.recv().await.is_some() {
        let (reply, answer) = oneshot::channel();
        if reloads.send(reply).await.is_err() {
            return;
        }
        let _ = answer.await;
    }
}
