//! Log lines: to stderr, one for each event that an operator wants.

use tracing::Level;

use crate::cli::{LogFormat, LogLevel};

/// Sets up logging for the whole process. Only the first call counts.
pub fn init(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Logfmt => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
