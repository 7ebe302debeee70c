//! The command line: flags in exporter-toolkit's manner, and the subcommands. Each takes the flags that mean something
//! to it, and no others.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::check;
use super::health;
use super::history;
use super::inspect;
use super::logging;
use super::logging::{LogFlags, LogFormat, LogFormatFlag, LogLevel};
use super::manual;
use super::plan;
use super::retain;
use super::run::{Check, WebFlags};
use super::shard::ShardFlags;
use crate::config::DEFAULT_FILE;
use crate::metrics::own;

const EXAMPLES: &str = "\
Examples:
  image-size-exporter demo
      a first look, without any registry
  image-size-exporter inspect alpine:3.20
      one image, layer by layer
  image-size-exporter check ghcr.io/acme/api:v2 --against ghcr.io/acme/api:v1 --max-growth 10%
      a gate for pipelines
  image-size-exporter plan --config.file=config.toml
      what a configuration selects and costs
  image-size-exporter --config.file=config.toml
      the daemon; its metrics are at http://localhost:10048/metrics";

/// Prometheus exporter for the sizes of container images, read from registries without pulling.
#[derive(Debug, Parser)]
#[command(name = "image-size-exporter", version = version(), after_help = EXAMPLES)]
pub struct Cli {
    /// Flags of the daemon. A subcommand has its own.
    #[command(flatten)]
    pub daemon: DaemonFlags,
    /// What to do instead of running as a daemon
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of the daemon.
#[derive(Debug, Args)]
pub struct DaemonFlags {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigFlag,
    /// Check the configuration and exit, without any network access
    #[arg(
        long = "config.check",
        value_name = "HOW",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "lenient"
    )]
    pub config_check: Option<Check>,
    /// Print the JSON schema of the configuration, for editors, and exit
    #[arg(long = "config.schema")]
    pub config_schema: bool,
    /// Its web server.
    #[command(flatten)]
    pub web: WebFlags,
    /// Which of several exporters it is.
    #[command(flatten)]
    pub shard: ShardFlags,
    /// Its log.
    #[command(flatten)]
    pub log: LogFlags,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigFlag {
    /// Configuration file
    #[arg(long = "config.file", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config_file: PathBuf,
}

/// The flags of a subcommand that uses a configuration and logs.
#[derive(Debug, Args)]
pub struct Configured<A: Args> {
    /// Its own.
    #[command(flatten)]
    pub arguments: A,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigFlag,
    /// Its log.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoFlags {
    /// The daemon's web server.
    #[command(flatten)]
    pub web: WebFlags,
    /// Its log.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The flags of `health`.
#[derive(Debug, Args)]
pub struct HealthFlags {
    /// Which daemon.
    #[command(flatten)]
    pub arguments: health::HealthArguments,
    /// The daemon's configuration, which says where it listens.
    #[command(flatten)]
    pub config: ConfigFlag,
    /// How an error is printed.
    #[command(flatten)]
    pub format: LogFormatFlag,
}

/// What to do instead of running as a daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run against an embedded registry with sample images: needs no network and no registry
    #[command(after_help = "\
Examples:
  image-size-exporter demo
  image-size-exporter demo --web.listen-address=:10048
      where other machines can look, or from a container")]
    Demo(DemoFlags),
    /// Run the first scan without publishing anything, and show its requests and the number of series
    #[command(after_help = "\
Examples:
  image-size-exporter plan --config.file=config.toml
  image-size-exporter plan --strict --json > plan.json
      in a pipeline: fails where a target cannot be read or selects nothing
  image-size-exporter plan --log.level=debug
      also says why each tag that is left out is not selected
  image-size-exporter plan --shard=0 --total-shards=3
      what one of three exporters selects and costs")]
    Plan(Configured<plan::Arguments>),
    /// Show one image as the daemon sees it, layer by layer; or compare two to see why it grew
    #[command(after_help = "\
Examples:
  image-size-exporter inspect alpine:3.20
  image-size-exporter inspect ghcr.io/acme/api:v1 ghcr.io/acme/api:v2
      layer by layer, why v2 is bigger
  image-size-exporter inspect ghcr.io/acme/api:v1 ghcr.io/acme/api:v2 --files
      and file by file
  image-size-exporter inspect ghcr.io/acme/api:v2 --platform linux/arm64 --uncompressed exact
  image-size-exporter inspect ghcr.io/acme/api:v2 --json | jq '.images[].compressed_bytes'

Without --config.file, and without a config.toml in the current directory,
credentials come from docker's and podman's own files.")]
    Inspect(Configured<inspect::Arguments>),
    /// Fail if an image is too big, or grew too much against the one before it: a gate for pipelines
    #[command(after_help = "\
Examples:
  image-size-exporter check ghcr.io/acme/api:v2 --against ghcr.io/acme/api:v1 --max-growth 10% --max-growth-floor 20MiB
  image-size-exporter check docker-archive:api.tar --max-size 500MiB --max-wasted 20MiB
      before it is pushed
  image-size-exporter check oci:dist --as ghcr.io/acme/api:v2 --against newest:api --config.file=config.toml
      against the newest release that a target selects, and with its budget
  image-size-exporter check ghcr.io/acme/api:v2 --against ghcr.io/acme/api:v1 --format text --format markdown=size.md

It exits with 0 if the image is fine and with 7 if it is too big. An image to compare with that does not exist yet is no
failure, unless --require-baseline asks for it: then it exits with 8.")]
    Check(Box<Configured<check::Arguments>>),
    /// Show how releases grew, from the creation dates of the images that are there; or write it for Prometheus
    #[command(after_help = "\
Examples:
  image-size-exporter history
      each release with its size and growth, and since when it crept
  image-size-exporter history --target api --since 2024-01-01 --json
  image-size-exporter history --format openmetrics --label job=image-size-exporter > history.txt
  promtool tsdb create-blocks-from --max-block-duration=744h openmetrics history.txt /var/lib/prometheus/data
      a board with years of data on its first day

Dates that cannot be those of an image are left out and said on standard error.")]
    History(Box<Configured<history::Arguments>>),
    /// Show which tags a policy keeps, and how many bytes the registry would free without the others; deletes nothing
    #[command(after_help = "\
Examples:
  image-size-exporter retain
      every policy of the configuration: each tag with its reason, and what is freed
  image-size-exporter retain registry.internal:5000/acme/api --keep-newest 10 --keep-match '^latest$'
  image-size-exporter retain 'registry.internal:5000/acme/*' --keep-younger 30d --json
  image-size-exporter retain --policy old-releases --format digests
      what to delete, in this order, one a line: registry/repository@digest")]
    Retain(Box<Configured<retain::Arguments>>),
    /// Ask a running daemon whether it is healthy, for containers without a shell; exits 0 or 1
    #[command(after_help = "\
Examples:
  image-size-exporter health --config.file=/etc/image-size-exporter/config.toml
  image-size-exporter health localhost:10048")]
    Health(HealthFlags),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  image-size-exporter completions bash > ~/.local/share/bash-completion/completions/image-size-exporter")]
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write one for each command into a folder
    #[command(after_help = "\
Example:
  image-size-exporter man ~/.local/share/man/man1")]
    Man(manual::ManArguments),
}

impl Cli {
    /// Parses a command line. Flags may stand before the subcommand as well as behind it.
    ///
    /// # Errors
    /// Its message is for people, or is the help or the version that was asked for.
    pub fn from_arguments(argv: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(command_first(argv)).map_err(|mut error| {
            if error.kind() != ErrorKind::UnknownArgument {
                return error;
            }
            if let Some(flag) = single_dash(argv) {
                let problem = format!("`-{flag}` has one dash: flags have two, write `--{flag}`");
                return Self::command().error(ErrorKind::UnknownArgument, problem);
            }
            // How to pass it as a value: no command takes a value that begins with a dash.
            error.remove(ContextKind::Suggested);
            error
        })
    }

    /// What is logged, and how.
    pub fn log(&self) -> (LogLevel, LogFormat) {
        let flags = match &self.command {
            None => &self.daemon.log,
            Some(Command::Demo(flags)) => &flags.log,
            Some(Command::Plan(flags)) => &flags.log,
            Some(Command::Inspect(flags)) => &flags.log,
            Some(Command::Check(flags)) => &flags.log,
            Some(Command::History(flags)) => &flags.log,
            Some(Command::Retain(flags)) => &flags.log,
            Some(Command::Health(flags)) => return (LogLevel::Info, flags.format.log_format),
            Some(Command::Completions(_) | Command::Man(_)) => return (LogLevel::Info, LogFormat::Logfmt),
        };
        (flags.log_level, flags.format.log_format)
    }
}

/// Prints why a command line was not run, and returns the exit code: 0 for help and version, 2 for a wrong one.
pub fn refuse(error: &clap::Error, argv: &[OsString]) -> ExitCode {
    let exit_code = u8::try_from(error.exit_code()).unwrap_or(2);
    if error.use_stderr() && wants_json(argv) {
        logging::init(LogLevel::Info, LogFormat::Json);
        tracing::error!(exit_code, error = error.to_string().trim_end(), "exiting");
    } else {
        // Nobody reads what a closed pipe refuses.
        let _ = error.print();
    }
    ExitCode::from(exit_code)
}

/// Whether a command line that could not be parsed asks for a log in JSON.
fn wants_json(argv: &[OsString]) -> bool {
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().to_lowercase()).collect();
    words.iter().any(|word| word == "--log.format=json")
        || words.windows(2).any(|pair| pair == ["--log.format", "json"])
}

/// Moves the flags before a subcommand behind it, where it takes those that mean something to it and refuses the others.
/// A line that is wrong before the subcommand stays as it is.
fn command_first(argv: &[OsString]) -> Vec<OsString> {
    let front = DaemonFlags::augment_args(clap::Command::new("front")).allow_external_subcommands(true);
    let Ok(matches) = front.try_get_matches_from(argv) else { return argv.to_vec() };
    let Some((_, rest)) = matches.subcommand() else { return argv.to_vec() };
    let behind = rest.get_many::<OsString>("").map_or(0, Iterator::count);
    let at = argv.len() - behind - 1;
    [&argv[..1], &argv[at..=at], &argv[1..at], &argv[at + 1..]].concat()
}

/// The first flag that is written with one dash, as Go's programs allow it, and would be known with two.
fn single_dash(argv: &[OsString]) -> Option<String> {
    let cli = Cli::command();
    let commands = std::iter::once(&cli).chain(cli.get_subcommands());
    let known: Vec<&str> = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long).collect();
    let name = |word: &OsString| Some(word.to_str()?.strip_prefix('-')?.split('=').next()?.to_owned());
    argv.iter().skip(1).filter_map(name).find(|name| known.contains(&name.as_str()))
}

/// As Prometheus programs print it: version, branch, revision, compiler.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| own::BUILD.to_string());
    &VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, String> {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Cli::from_arguments(&argv).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_a_subcommand_or_behind_it() {
        for line in [
            "x --config.file=a.toml --log.level debug plan",
            "x --config.file a.toml plan --log.level=DEBUG",
            "x plan --log.level Debug --config.file=a.toml",
        ] {
            let cli = parsed(line).unwrap();
            assert_eq!(cli.log().0, LogLevel::Debug, "{line}");
            let Some(Command::Plan(flags)) = cli.command else { panic!("{line}") };
            assert_eq!(flags.config.config_file, PathBuf::from("a.toml"), "{line}");
        }
    }

    #[test]
    fn a_subcommand_takes_only_flags_that_mean_something_to_it() {
        for line in [
            "x inspect alpine --web.listen-address=:1",
            "x --web.listen-address=:1 inspect alpine",
            "x --config.check plan",
            "x plan --web.telemetry-path=/x",
            "x demo --config.file=a.toml",
            "x health --log.level=debug",
            "x health --web.max-requests=1",
            "x --json",
        ] {
            let flag = line.split(' ').find(|word| word.starts_with("--")).unwrap().split('=').next().unwrap();
            let said = parsed(line).unwrap_err();
            assert!(said.contains(&format!("unexpected argument '{flag}'")), "{line}: {said}");
            assert!(!said.contains("as a value"), "{line}: {said}");
        }
        for line in [
            "x --config.file=a.toml health --web.listen-address=:1 --web.config.file=w.yml",
            "x --web.listen-address=:1 demo",
            "x --web.enable-lifecycle --log.format=JSON",
            "x inspect a b --config.file=a.toml --log.format=json --json --no-trunc",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
        }
    }

    #[test]
    fn one_dash_is_explained() {
        for (line, flag) in [
            ("x -config.file=a.toml", "config.file"),
            ("x -log.level debug plan", "log.level"),
            ("x inspect a -json", "json"),
        ] {
            let said = parsed(line).unwrap_err();
            let expected = format!("error: `-{flag}` has one dash: flags have two, write `--{flag}`\n");
            assert!(said.starts_with(&expected), "{line}: {said}");
        }
        assert!(!parsed("x -x").unwrap_err().contains("one dash"));
    }

    #[test]
    fn help_is_a_command_too_and_has_examples() {
        for line in [
            "x help",
            "x help inspect",
            "x inspect --help",
            "x help check",
            "x help plan",
            "x help demo",
            "x help health",
            "x help history",
            "x help retain",
        ] {
            let said = parsed(line).unwrap_err();
            assert!(said.contains("Usage: ") && said.contains("Examples:\n  image-size-exporter "), "{line}: {said}");
        }
        let inspect = parsed("x help inspect").unwrap_err();
        assert!(!inspect.contains("--web.") && !inspect.contains("--config.check"), "{inspect}");
    }
}
