//! Error bodies (distribution specification, "Error Codes").

use http::StatusCode;
use serde::Deserialize;

use super::exchange::Response;
use crate::oci::Reason;
use crate::oci::text::is_unprintable;

/// Longer messages are cut: they end up in the log.
const DETAIL_CHARS_MAX: usize = 300;

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    /// Token servers and some registries: `{"details": "…"}`, `{"message": "…"}`, OAuth 2's `error_description`.
    #[serde(default)]
    details: Option<String>,
    #[serde(default, alias = "Message")]
    message: Option<String>,
    /// The kind of error, beside `message` (AWS JSON protocol, "Operation error serialization").
    #[serde(default, rename = "__type")]
    kind: Option<String>,
    #[serde(default)]
    error: Option<ErrorField>,
    #[serde(default)]
    error_description: Option<String>,
}

/// OAuth 2's code, or the object of Google's APIs.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Code(String),
    Object {
        #[serde(default)]
        message: Option<String>,
    },
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Whether the body is an error of the distribution API: the registry answered, not a proxy in front of it.
pub(crate) fn is_from_the_api(body: &[u8]) -> bool {
    serde_json::from_slice::<ErrorBody>(body).is_ok_and(|body| !body.errors.is_empty())
}

/// Whether the registry does not support the request.
pub(crate) fn is_unsupported(response: &Response) -> bool {
    let has_code = |code: &str| {
        serde_json::from_slice::<ErrorBody>(&response.body)
            .is_ok_and(|body| body.errors.iter().any(|entry| entry.code.as_deref() == Some(code)))
    };
    matches!(response.status.as_u16(), 405 | 501) || has_code("UNSUPPORTED")
}

/// The registry's own message in parentheses, to append to a sentence; empty where the body has none in text or JSON.
pub(crate) fn detail(response: &Response) -> String {
    let text = match serde_json::from_slice::<ErrorBody>(&response.body) {
        Ok(body) => body.text(),
        Err(_) if response.content_type().starts_with("text/plain") => {
            String::from_utf8_lossy(&response.body).into_owned()
        }
        Err(_) => String::new(),
    };
    // Before the text is cut, which could leave part of a secret.
    if response.secrets.appear_in(&text) {
        return " (its message contains a secret and is not shown)".to_owned();
    }
    let text: String =
        text.trim().chars().map(|c| if is_unprintable(c) { ' ' } else { c }).take(DETAIL_CHARS_MAX).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

/// `404 Not Found`, or the number alone for a status without a name.
pub(crate) fn status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The reason for a status alone.
pub(crate) fn reason(response: &Response) -> Reason {
    match response.status.as_u16() {
        401 | 403 => Reason::Denied,
        404 if is_from_the_api(&response.body) => Reason::NotFound,
        405 | 501 => Reason::Unsupported,
        _ => Reason::Server,
    }
}

impl ErrorBody {
    fn text(self) -> String {
        if let Some(entry) = self.errors.into_iter().next() {
            let parts = [entry.code, entry.message].into_iter().flatten().filter(|part| !part.is_empty());
            return parts.collect::<Vec<_>>().join(": ");
        }
        let error = self.error.and_then(|error| match error {
            ErrorField::Code(code) => Some(code),
            ErrorField::Object { message } => message,
        });
        let text = [self.error_description, self.details, self.message, error].into_iter().flatten().next();
        // AWS may put the kind's namespace before it: `com.amazonaws.ecr#ServerException`.
        let kind = self.kind.map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
        [kind, text].into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}
