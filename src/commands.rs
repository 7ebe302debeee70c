//! The commands, each a file or folder.

pub mod cli;
pub mod run;

pub mod check;
pub mod history;
pub mod inspect;
pub mod plan;

pub mod demo;
pub mod health;
pub mod manual;

mod columns;
pub mod logging;
mod output;
pub mod signals;
mod units;

use std::process::ExitCode;

use clap::CommandFactory as _;
use cli::{Cli, Command};

/// Runs the command that the command line names, or the daemon. A failure is printed on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let (_, format) = cli.log();
    let daemon = cli.daemon;
    let result = match cli.command {
        None if daemon.config_schema => output::print_line(&crate::config::json_schema()).map_err(Into::into),
        None if let Some(check) = daemon.config_check => {
            run::check(&daemon.config.config_file, &daemon.web, check, format)
        }
        None => run::daemon(daemon.config.config_file, daemon.web, format).await,
        Some(Command::Demo(flags)) => run::demo(&flags.web, format).await,
        Some(Command::Plan(flags)) => plan::run(&flags.config.config_file, &flags.arguments, format).await,
        Some(Command::Inspect(flags)) => inspect::run(&flags.config.config_file, &flags.arguments).await,
        Some(Command::Check(flags)) => check::run(&flags.config.config_file, &flags.arguments).await,
        Some(Command::History(flags)) => history::run(&flags.config.config_file, &flags.arguments, format).await,
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
