//! Why a configuration cannot be used.

use std::path::PathBuf;

/// Why a configuration cannot be used. The message names file, key and remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "{}: no such file: write one, or name another with --config.file; `image-size-exporter demo` needs no configuration",
        .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{}: cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It is longer than a configuration may be.
    #[error("{}: longer than {} bytes, too long for a configuration: name another file with --config.file", .0.display(), .1)]
    TooLong(PathBuf, u64),
    /// It is not TOML: the line, perhaps with the column, and why.
    #[error("{}:{}: {}", .0.display(), .1, .2)]
    Syntax(PathBuf, String, String),
    /// It has wrong values. One line for each problem, with file and line (or environment variable) and key.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}
