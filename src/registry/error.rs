//! Errors of requests to registries, and of their settings.

use std::fmt::Display;
use std::sync::Arc;

use crate::oci::text::shown;
use crate::oci::{Reason, Registry};

/// Longer messages are cut.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// A request to a registry failed. The message names the registry and the request, the cause and, where possible, what
/// the operator can do. It holds no secret, no query of an address, and only the host of a redirect's target.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    reason: Reason,
    message: Arc<str>,
    was_sent: bool,
}

impl RegistryError {
    /// A request about `subject` failed because of `problem`, which may repeat what a server sent: hosts, header values,
    /// the words of an error.
    pub(crate) fn new(reason: Reason, subject: impl Display, problem: impl Display) -> Self {
        Self { reason, message: shown(&format!("{subject}: {problem}"), MESSAGE_BYTES_MAX).into(), was_sent: true }
    }

    /// The same error, followed by what the operator can do about it.
    pub(crate) fn followed_by(self, advice: &str) -> Self {
        Self { message: format!("{}; {advice}", self.message).into(), ..self }
    }

    /// The same error, of a request that was never sent.
    pub(crate) fn unsent(self) -> Self {
        Self { was_sent: false, ..self }
    }

    /// Whether the request was sent: a server may have seen it.
    pub fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// The value of the `reason` label.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the same request may succeed later without any change by a person.
    pub fn is_transient(&self) -> bool {
        self.reason.is_transient()
    }
}

/// A registry's settings name something that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{registry}: {key}: {value}: {problem}")]
pub struct SetupError {
    /// The registry, or the defaults for all.
    pub registry: String,
    /// The configuration's key.
    pub key: &'static str,
    /// The file or address that the key names.
    pub value: String,
    /// Why it cannot be used.
    pub problem: String,
}

/// How a setup error names its registry.
pub(crate) fn named(registry: Option<&Registry>) -> String {
    registry.map_or_else(|| "all registries".to_owned(), |registry| format!("registry {registry}"))
}

/// Why a connection failed: first in the words that people look for, where they are known, then with all causes.
pub(crate) fn describe(error: reqwest::Error) -> String {
    let text = chain(error);
    match essence(&text) {
        Some(essence) => format!("{essence} ({text})"),
        None => text,
    }
}

/// What matters in the texts of the system, of its resolvers (glibc, musl) and of rustls.
fn essence(text: &str) -> Option<&'static str> {
    const SAID: [(&str, &str); 16] = [
        ("Name or service not known", "no such host"),
        ("Name does not resolve", "no such host"),
        ("No address associated with hostname", "no such host"),
        (" has no address", "no such host"),
        ("Temporary failure in name resolution", "the name server does not answer"),
        ("Try again", "the name server does not answer"),
        ("Connection refused", "connection refused"),
        ("Connection reset", "connection reset"),
        ("Network is unreachable", "network unreachable"),
        ("No route to host", "no route to host"),
        ("UnknownIssuer", "certificate of an unknown authority"),
        ("certificate expired", "certificate expired"),
        ("certificate not valid for name", "certificate of another name"),
        ("InvalidContentType", "it does not speak TLS"),
        ("connection closed before message completed", "connection closed"),
        ("timed out", "timed out"),
    ];
    SAID.iter().find(|(said, _)| text.contains(said)).map(|(_, essence)| *essence)
}

/// An error with its causes, in one line and without addresses: reqwest's own text has the whole URL in it, whose query
/// may hold a signature.
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
