//! The program: argv, logging, signals, exit code; binds the listeners.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use image_size_exporter::commands::cli::{Cli, Command, DEFAULT_CONFIG_FILE};
use image_size_exporter::commands::{demo, health, inspect, logging, plan};
use image_size_exporter::config::Config;
use image_size_exporter::registry::Registries;
use image_size_exporter::store::{Opened, Store};
use image_size_exporter::{daemon, web};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The configuration is wrong (sysexits.h, EX_USAGE).
const EX_USAGE: u8 = 64;

/// Scans wait for registries, not for cores: more threads would cost memory and gain nothing.
const THREADS_MAX: usize = 4;

/// While one thread is stuck in a file operation, another one still sees signals.
const THREADS_MIN: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init(cli.common.log_level, cli.common.log_format);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(THREADS_MIN, THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime can be built wherever threads can be started");
    let code = runtime.block_on(dispatch(Arc::new(cli)));
    // What still runs (a stream that is being measured, say) has nothing left to tell.
    runtime.shutdown_background();
    code
}

async fn dispatch(cli: Arc<Cli>) -> ExitCode {
    let result = match &cli.command {
        Some(Command::Health(args)) => {
            health::health(args, &cli.web, || Ok(Config::load(&cli.common.config_file)?)).await
        }
        Some(Command::Demo) => run_demo(&cli).await,
        Some(Command::Inspect(arguments)) => return run_inspect(&cli, arguments).await,
        Some(Command::Plan) => match Config::load(&cli.common.config_file) {
            Ok(config) => {
                warn(&config);
                match run_plan(&config).await {
                    Ok(code) => return code,
                    Err(error) => Err(error),
                }
            }
            Err(error) => return bad_configuration(&error),
        },
        None if cli.config_check => match load(&cli) {
            Ok((config, _)) => {
                warn(&config);
                say(&format!("{}: the configuration is valid", cli.common.config_file.display()));
                Ok(())
            }
            Err(error) => return bad_configuration(&error),
        },
        None => match run_daemon(cli).await {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is allowed but probably not meant, as the daemon does in its log.
fn warn(config: &Config) {
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
}

fn bad_configuration(error: &impl std::fmt::Display) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(EX_USAGE)
}

/// Where nothing at all could be read the exit code says why, as `inspect`'s does.
async fn run_plan(config: &Config) -> anyhow::Result<ExitCode> {
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
    let plan = plan::plan(config, &registries).await;
    plan::write(&plan, &mut std::io::stdout().lock())?;
    let Some(reason) = plan.failure else { return Ok(ExitCode::SUCCESS) };
    complain(&format!("nothing could be read ({reason}): what stands above is no prediction"));
    Ok(ExitCode::from(reason.exit_code()))
}

/// Works without a configuration, too: with the credentials that are found in the usual places.
async fn run_inspect(cli: &Cli, arguments: &inspect::Arguments) -> ExitCode {
    let file = &cli.common.config_file;
    let (registries, defaults, state) = if file.exists() || *file != Path::new(DEFAULT_CONFIG_FILE) {
        match Config::load(file) {
            Ok(config) => (config.registries, config.registry_defaults, config.state),
            Err(error) => return bad_configuration(&error),
        }
    } else {
        Default::default()
    };
    let registries = match Registries::new(registries, defaults) {
        Ok(registries) => registries,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let sharing = state.and_then(|path| sharing(&path));
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    let terminal = inspect::Terminal {
        colour: out.is_terminal() && !no_colour(),
        width: terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| width.into()),
        progress: err.is_terminal(),
    };
    match inspect::inspect(&registries, arguments, sharing.as_ref(), terminal, &mut out, &mut err).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// How many of the watched images share a layer, by a copy of the state file: the file itself is the daemon's, which
/// may be running, and to open one means to repair it or to set it aside.
fn sharing(state: &Path) -> Option<inspect::Sharing> {
    let copy = std::env::temp_dir().join(format!("image-size-exporter-inspect-{}.redb", std::process::id()));
    let mut from = std::fs::File::open(state).ok()?;
    // Made anew, never through somebody else's link.
    let mut to = std::fs::File::create_new(&copy).ok()?;
    let copied = std::io::copy(&mut from, &mut to);
    let opened = copied.ok().and_then(|_| Store::open(&copy).ok());
    let sharing = match &opened {
        Some((store, Opened::Existing)) => Some(inspect::Sharing::of(store)),
        Some((_, Opened::SetAside { moved_to, .. })) => {
            let _ = std::fs::remove_file(moved_to);
            None
        }
        Some((_, Opened::Fresh)) | None => None,
    };
    drop(opened);
    let _ = std::fs::remove_file(&copy);
    sharing
}

/// See no-color.org.
#[expect(clippy::disallowed_methods, reason = "a convention between a terminal's user and every program")]
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Handles signals before anything that can block. Until the daemon runs there is nothing to shut down: a signal ends
/// the program even while a file cannot be read or a name cannot be resolved.
async fn run_daemon(cli: Arc<Cli>) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signals()?;
    let starting = async {
        let loading = tokio::task::spawn_blocking({
            let cli = cli.clone();
            move || load(&cli)
        });
        let (config, web_config) = match loading.await? {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Err(bad_configuration(&error))),
        };
        let listeners = listeners(&cli, &config).await?;
        anyhow::Ok(Ok((config, web_config, listeners)))
    };
    match stop.run_until_cancelled(starting).await.transpose()? {
        None => Ok(ExitCode::SUCCESS),
        Some(Err(code)) => Ok(code),
        Some(Ok((config, web_config, listeners))) => {
            serve(&cli, config, listeners, web_config, &cli.common.config_file, stop).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The configuration and the web configuration. The error is for the operator.
fn load(cli: &Cli) -> Result<(Config, web::WebConfig), String> {
    let config = Config::load(&cli.common.config_file).map_err(|error| error.to_string())?;
    let web_config = web_config(cli, &config).map_err(|error| error.to_string())?;
    Ok((config, web_config))
}

async fn serve(
    cli: &Cli,
    config: Config,
    listeners: Vec<web::Listener>,
    web_config: web::WebConfig,
    file: &Path,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    daemon::end_on_panic();
    let (wants_reload, reloads) = mpsc::channel(daemon::RELOADS_WAITING_MAX);
    tokio::spawn(reload_on_hangup(signal(SignalKind::hangup())?, wants_reload.clone()));
    let start = daemon::Start {
        listeners,
        options: options(cli, &config),
        web_config,
        config_file: Some(file.to_owned()),
        reloads: (wants_reload, reloads),
    };
    daemon::run(config, start, stop).await
}

/// The ordinary daemon, against a registry that this process serves.
async fn run_demo(cli: &Cli) -> anyhow::Result<()> {
    let stop = stop_on_signals()?;
    let loopback = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let registry = demo::start(loopback).await.context("cannot serve the demo's registry on loopback")?;
    let config = Config::load(registry.config_file())?;
    let listeners = listeners(cli, &config).await?;
    if let Some(Ok(address)) = listeners.first().map(web::Listener::local_addr) {
        say(&registry.banner(address));
    }
    let web_config = web_config(cli, &config)?;
    serve(cli, config, listeners, web_config, registry.config_file(), stop).await
}

async fn listeners(cli: &Cli, config: &Config) -> anyhow::Result<Vec<web::Listener>> {
    if cli.web.systemd_socket {
        return Ok(web::Listener::from_systemd()?);
    }
    let flags = &cli.web.listen_address;
    let mut listeners = Vec::new();
    for address in if flags.is_empty() { &config.web.listen } else { flags } {
        listeners.push(web::Listener::bind(address).await?);
    }
    Ok(listeners)
}

fn options(cli: &Cli, config: &Config) -> web::Options {
    web::Options {
        telemetry_path: cli.web.telemetry_path.clone(),
        hosts: config.web.hosts.clone(),
        enable_lifecycle: cli.web.enable_lifecycle,
        max_requests: cli.web.max_requests,
        ..web::Options::default()
    }
}

fn web_config(cli: &Cli, config: &Config) -> Result<web::WebConfig, web::WebConfigError> {
    match cli.web.web_config_file.as_ref().or(config.web.config_file.as_ref()) {
        Some(path) => web::WebConfig::open(path),
        None => Ok(web::WebConfig::none()),
    }
}

/// SIGTERM and SIGINT shut the daemon down gracefully; a second one exits at once.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
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

/// SIGHUP reloads. What came of it is logged where it is done.
async fn reload_on_hangup(mut hangup: tokio::signal::unix::Signal, wants_reload: mpsc::Sender<daemon::WantsReload>) {
    while hangup.recv().await.is_some() {
        let (reply, answer) = oneshot::channel();
        if wants_reload.send(reply).await.is_err() {
            return;
        }
        let _ = answer.await;
    }
}

#[expect(clippy::print_stdout, reason = "for the person who typed the command")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "for the person who typed the command, whatever the log level")]
fn complain(text: &str) {
    eprintln!("{text}");
}
