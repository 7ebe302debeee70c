//! The command line: flags in exporter-toolkit's manner, and the subcommands.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};

use super::health;
use super::inspect;
use super::logging::{LogFormat, LogLevel};
use crate::config::listen_address;
use crate::metrics::own;

/// The configuration file where `--config.file` names none.
pub const DEFAULT_CONFIG_FILE: &str = "config.toml";

/// Prometheus exporter for the sizes of container images, read from registries without pulling.
#[derive(Debug, Parser)]
#[command(name = "image-size-exporter", version = version(), disable_help_subcommand = true)]
pub struct Cli {
    /// Flags that every subcommand takes.
    #[command(flatten)]
    pub common: Common,
    /// Flags of the daemon.
    #[command(flatten)]
    pub web: WebFlags,
    /// Check the configuration and exit, without touching any network
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// What to do instead of running as a daemon
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every subcommand takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file
    #[arg(long = "config.file", value_name = "FILE", default_value = DEFAULT_CONFIG_FILE, global = true)]
    pub config_file: PathBuf,
    /// Only log messages of at least this severity
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info, global = true)]
    pub log_level: LogLevel,
    /// Format of log messages
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt, global = true)]
    pub log_format: LogFormat,
}

/// Flags of the daemon's web server.
#[derive(Debug, Args)]
pub struct WebFlags {
    /// Address to listen on, instead of the configuration's; repeatable: `:10048`, `127.0.0.1:10048`, `[::1]:10048`
    #[arg(global = true, long = "web.listen-address", value_name = "ADDRESS", value_parser = listen_address)]
    pub listen_address: Vec<String>,
    /// File with the web server's TLS and authentication, in exporter-toolkit's format
    #[arg(global = true, long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Path under which metrics are exposed
    #[arg(global = true, long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// Allow a reload by `POST /-/reload`
    #[arg(global = true, long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// Scrapes answered at a time, 0 for no limit; further ones wait, and get 503 after 5 s
    #[arg(global = true, long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub max_requests: usize,
    /// Listen on the sockets that systemd passes, instead of any address
    #[arg(global = true, long = "web.systemd-socket")]
    pub systemd_socket: bool,
}

/// What to do instead of running as a daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run against an embedded registry with sample images: needs no network and no registry
    Demo,
    /// Ask the registries what the configuration means now, and predict its requests and series
    Plan,
    /// Show one image as the daemon sees it, layer by layer; or compare two: why did it grow?
    Inspect(inspect::Arguments),
    /// Ask a running daemon whether it is healthy, for containers without a shell; exits 0 or 1
    Health(health::HealthArgs),
}

/// Where metrics can be: at no path that is something else's, nor at one that no client asks for.
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

/// In the words of Prometheus programs: version, branch, revision, compiler.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| own::BUILD.to_string());
    &VERSION
}
