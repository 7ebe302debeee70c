//! What the program does for the person who typed its name: one command a file or folder.

pub mod cli;
pub mod run;

pub mod inspect;
pub mod plan;

pub mod demo;
pub mod health;
pub mod manual;

mod columns;
pub mod logging;
mod output;
mod units;

use std::process::ExitCode;

use cli::{Cli, Command};

/// Runs the command that the command line names, or the daemon. A failure is printed on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let config_file = &cli.common.config_file;
    let result = match &cli.command {
        None if cli.config_check => run::check(config_file, &cli.web),
        None => run::daemon(cli.common.config_file, cli.web).await,
        Some(Command::Demo) => run::demo(&cli.web).await,
        Some(Command::Plan) => plan::run(config_file).await,
        Some(Command::Inspect(arguments)) => inspect::run(config_file, arguments).await,
        Some(Command::Health(arguments)) => health::run(config_file, &cli.web, arguments).await,
        Some(Command::Completions(arguments)) => manual::completions(arguments),
        Some(Command::Man(arguments)) => manual::man(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}
