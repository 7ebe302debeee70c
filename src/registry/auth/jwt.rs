//! The times in a token that is a JWT (RFC 7519). Nothing is verified: they only decide when the token is renewed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Seconds since the epoch by the clock of who issued the token.
#[derive(Deserialize)]
pub(crate) struct Times {
    #[serde(rename = "exp")]
    pub(crate) expires_at: f64,
    #[serde(default, rename = "iat")]
    issued_at: Option<f64>,
    #[serde(default, rename = "nbf")]
    not_before: Option<f64>,
}

/// The times of a token; `None` where it is no JWT that has an end.
pub(crate) fn times(token: &str) -> Option<Times> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

impl Times {
    /// From its issue to its end; `None` where it does not say when it was issued.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.expires_at - self.issued_at.or(self.not_before)?).ok()
    }
}
