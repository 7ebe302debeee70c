//! Output beside commands' results, and their failures.

use std::io::{self, Write as _};

use super::logging::LogFormat;
use crate::config::Config;

/// The configuration is wrong (sysexits.h, `EX_USAGE`).
const EX_USAGE: u8 = 64;

/// The command line is wrong, as the parser's own exit code says it.
const WRONG_ARGUMENTS: u8 = 2;

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

    /// A command line whose flags are well-formed and mean nothing together.
    pub(crate) fn arguments(message: String) -> Self {
        Self { message, exit_code: WRONG_ARGUMENTS }
    }

    /// Prints it as people read it, or as a line of the log in JSON.
    pub(crate) fn report(&self, format: LogFormat) {
        match format {
            LogFormat::Logfmt => print_error(&self.message),
            LogFormat::Json => tracing::error!(exit_code = self.exit_code, error = self.message, "exiting"),
        }
    }
}

/// Any other error, with its sources: exit code 1.
impl<E: Into<anyhow::Error>> From<E> for CommandFailure {
    fn from(error: E) -> Self {
        Self { message: format!("{:#}", error.into()), exit_code: 1 }
    }
}

/// Prints the configuration's warnings, which the daemon logs.
pub(crate) fn print_warnings(config: &Config, format: LogFormat) {
    for warning in &config.warnings {
        match format {
            LogFormat::Logfmt => print_error(&format!("warning: {warning}")),
            LogFormat::Json => tracing::warn!("{warning}"),
        }
    }
}

/// Prints a line on standard output.
///
/// # Errors
/// Where it cannot be written, for another reason than that nobody reads it.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    unless_closed(writeln!(io::stdout(), "{text}"))
}

/// Whether the result could be written. A reader that has seen enough and closed the pipe, such as `head`, is no failure.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Prints a line on standard error, whatever the log level. Where that is closed there is nobody to tell.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
