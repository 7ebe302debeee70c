//! The command line: flags in exporter-toolkit's manner, and the subcommands.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};

use super::health;
use super::inspect;
use super::logging::{LogFormat, LogLevel};
use super::manual;
use super::run::WebFlags;
use crate::config::DEFAULT_FILE;
use crate::metrics::own;

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
    /// Check the configuration and exit, without any network access
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
    #[arg(long = "config.file", value_name = "FILE", default_value = DEFAULT_FILE, global = true)]
    pub config_file: PathBuf,
    /// Only log messages of at least this severity
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info, global = true)]
    pub log_level: LogLevel,
    /// Format of log messages
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Logfmt, global = true)]
    pub log_format: LogFormat,
}

/// What to do instead of running as a daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run against an embedded registry with sample images: needs no network and no registry
    Demo,
    /// Run the first scan without publishing anything, and show its requests and the number of series
    Plan,
    /// Show one image as the daemon sees it, layer by layer; or compare two to see why it grew
    Inspect(inspect::Arguments),
    /// Ask a running daemon whether it is healthy, for containers without a shell; exits 0 or 1
    Health(health::HealthArguments),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write one for each command into a folder
    Man(manual::ManArguments),
}

/// As Prometheus programs print it: version, branch, revision, compiler.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| own::BUILD.to_string());
    &VERSION
}
