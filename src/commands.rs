//! The commands, each a file or folder.

pub mod cli;
pub mod run;
pub mod shard;

pub mod check;
pub mod history;
pub mod inspect;
pub mod plan;
pub mod retain;

pub mod demo;
pub mod health;
pub mod manual;

mod columns;
pub mod logging;
mod output;
mod signals;
mod units;

use std::process::ExitCode;

use clap::CommandFactory as _;
use cli::{Cli, Command};

/// While one thread is stuck in a file operation, another one still handles signals.
const THREADS_MIN: usize = 2;

/// Scans wait for registries, not for CPU: more threads would cost memory and gain nothing.
const THREADS_MAX: usize = 4;

/// The whole program: reads the command line of this process, does what it says, and returns the exit code.
///
/// The library drives its own futures: the code of a future is compiled where it is driven, and `main.rs` would compile
/// most of the program once more.
///
/// # Panics
///
/// If the machine cannot start threads.
pub fn main() -> ExitCode {
    signals::end_at_once();
    let argv: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::from_arguments(&argv) {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error, &argv),
    };
    let (level, format) = cli.log();
    logging::init(level, format);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(THREADS_MIN, THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime can be built wherever threads can be started");
    let code = runtime.block_on(run(cli));
    // Without waiting for blocking tasks, such as the measurement of a layer.
    runtime.shutdown_background();
    code
}

/// Runs the command that the command line names, or the daemon. A failure is printed on standard error.
async fn run(cli: Cli) -> ExitCode {
    let (_, format) = cli.log();
    let daemon = cli.daemon;
    let result = match cli.command {
        None if daemon.config_schema => output::print_line(&crate::config::json_schema()).map_err(Into::into),
        None if let Some(check) = daemon.config_check => {
            run::check(&daemon.config.config_file, &daemon.web, &daemon.shard, check, format)
        }
        None => run::daemon(daemon.config.config_file, daemon.web, &daemon.shard, format).await,
        Some(Command::Demo(flags)) => run::demo(&flags.web, format).await,
        Some(Command::Plan(flags)) => plan::run(&flags.config.config_file, &flags.arguments, format).await,
        Some(Command::Inspect(flags)) => inspect::run(&flags.config.config_file, &flags.arguments).await,
        Some(Command::Check(flags)) => check::run(&flags.config.config_file, &flags.arguments).await,
        Some(Command::History(flags)) => history::run(&flags.config.config_file, &flags.arguments, format).await,
        Some(Command::Retain(flags)) => retain::run(&flags.config.config_file, &flags.arguments, format).await,
        Some(Command::Health(flags)) => health::run(&flags.config.config_file, &flags.arguments).await,
        Some(Command::Completions(arguments)) => manual::completions(&arguments, Cli::command()),
        Some(Command::Man(arguments)) => manual::man(&arguments, Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(format);
            ExitCode::from(failure.exit_code)
        }
    }
}
