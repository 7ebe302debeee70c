//! Why there is no configuration.

use std::path::PathBuf;

/// Why a file is no configuration. The text names file, key and remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "{}: no such file: write one, or name another with --config.file; `image-size-exporter demo` needs none",
        .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{}: cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It is longer than any configuration.
    #[error("{}: longer than {} bytes, which is no configuration: name another with --config.file", .0.display(), .1)]
    TooLong(PathBuf, u64),
    /// It is no TOML.
    #[error("{}: {}", .0.display(), .1)]
    Syntax(PathBuf, String),
    /// It says something that cannot be. One line for each problem, with file (or environment variable) and key.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}
