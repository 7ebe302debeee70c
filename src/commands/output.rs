//! Output beside commands' results, and their failures.

use crate::config::Config;

/// The configuration is wrong (sysexits.h, `EX_USAGE`).
const EX_USAGE: u8 = 64;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    /// For standard error.
    pub(crate) message: String,
    pub(crate) exit_code: u8,
}

impl CommandFailure {
    /// A configuration that cannot be used.
    pub(crate) fn configuration(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), exit_code: EX_USAGE }
    }
}

/// Any other error, with its sources: exit code 1.
impl<E: Into<anyhow::Error>> From<E> for CommandFailure {
    fn from(error: E) -> Self {
        Self { message: format!("{:#}", error.into()), exit_code: 1 }
    }
}

/// Prints the configuration's warnings, which the daemon logs.
pub(crate) fn print_warnings(config: &Config) {
    for warning in &config.warnings {
        print_error(&format!("warning: {warning}"));
    }
}

#[expect(clippy::print_stdout, reason = "for the person who typed the command")]
pub(crate) fn print_line(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "for the person who typed the command, whatever the log level")]
pub(crate) fn print_error(text: &str) {
    eprintln!("{text}");
}
