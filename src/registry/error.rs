//! Why a registry could not be asked, or what was wrong with its answer.

use std::fmt::Display;
use std::sync::Arc;

use crate::oci::{Reason, Registry};

/// A request to a registry failed. Shown, it says what was asked of whom, what went wrong and, where a person can do
/// something about it, what. It holds no secret, no query of any address, and nothing of a redirect's target but its
/// host.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    reason: Reason,
    message: Arc<str>,
}

impl RegistryError {
    /// What `what` names failed because of `problem`.
    pub(crate) fn new(reason: Reason, what: impl Display, problem: impl Display) -> Self {
        Self { reason, message: format!("{what}: {problem}").into() }
    }

    /// The label's word for it.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether asking again later may well succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        self.reason.is_transient()
    }
}

/// The configuration of a registry names something that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{registry}: {key}: {value}: {problem}")]
pub struct SetupError {
    /// The registry, or the defaults for all.
    pub registry: String,
    /// The configuration's key.
    pub key: &'static str,
    /// The file that it names, or the address.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Of which registry a setup error speaks.
pub(crate) fn named(registry: Option<&Registry>) -> String {
    registry.map_or_else(|| "all registries".to_owned(), |registry| format!("registry {registry}"))
}

/// An error and what caused it, in one line and without addresses: reqwest's own text has the whole URL in it, whose
/// query may be a presigned address.
pub(crate) fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
