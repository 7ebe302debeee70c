//! Why `inspect` shows nothing, and its exit codes.

use std::io;

use crate::commands::units;
use crate::oci::Platform;
use crate::scan::ReadError;

/// Why `inspect` shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It could not be read.
    #[error("{source}{}", on_a_line(remedy.as_deref().unwrap_or_else(|| hint(source))))]
    Read {
        /// Why.
        source: ReadError,
        /// What to do about it, where more is known than the error says.
        remedy: Option<String>,
    },
    /// It was read and does not have the platform.
    #[error("{reference} has no image for {platform}: {}", others(existing))]
    Platform {
        /// The reference.
        reference: String,
        /// What was asked for.
        platform: Platform,
        /// What it has, as far as its index says.
        existing: Vec<Platform>,
    },
    /// Two images without a platform in common.
    #[error("{old} and {new} have no platform in common: name one image of each by its digest to compare them")]
    Incomparable {
        /// The first reference.
        old: String,
        /// The second.
        new: String,
    },
    /// Neither tag nor digest: impossible with parsed references.
    #[error("the reference has neither a tag nor a digest")]
    Nameless,
    /// It could not be printed.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl InspectError {
    /// The program's exit code: see the module.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } => source.reason().exit_code(),
            Self::Platform { .. } => 4,
            Self::Incomparable { .. } | Self::Nameless | Self::Output(_) => 1,
        }
    }
}

impl From<ReadError> for InspectError {
    fn from(source: ReadError) -> Self {
        Self::Read { source, remedy: None }
    }
}

/// On a line of its own, if there is anything.
fn on_a_line(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}

fn others(existing: &[Platform]) -> String {
    if existing.is_empty() {
        return "leave out --platform to see its platforms".to_owned();
    }
    let names: Vec<&str> = existing.iter().map(Platform::as_str).collect();
    format!("it has {}", units::plain(&names.join(", ")))
}

/// What to do about an error, where the message does not say it.
fn hint(error: &ReadError) -> &'static str {
    match error.reason().exit_code() {
        3 => {
            "the registry requires other credentials: log in with `docker login` or `podman login`, or configure them under \
             [registries.\"HOST\"] in the configuration; a misspelt or private repository gives the same answer"
        }
        4 => "check the repository's and the tag's spelling",
        5 => {
            "check the registry's name, the network and the proxy; for plain HTTP set plain_http = true in the configuration"
        }
        _ => "",
    }
}
