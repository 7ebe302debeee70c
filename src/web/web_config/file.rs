//! The file's format. No type here has `Debug`: some values are secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

use crate::oci::json::or_default;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebConfigFile {
    pub(super) tls_server_config: TlsServerConfig,
    pub(super) http_server_config: HttpServerConfig,
    /// Name to bcrypt hash.
    pub(super) basic_auth_users: BTreeMap<String, String>,
    pub(super) rate_limit: RequestRateLimit,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsServerConfig {
    #[serde(deserialize_with = "or_default")]
    pub(super) cert: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) key: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client_ca: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) cert_file: PathBuf,
    #[serde(deserialize_with = "or_default")]
    pub(super) key_file: PathBuf,
    #[serde(deserialize_with = "or_default")]
    pub(super) client_auth_type: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client_ca_file: PathBuf,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<TlsVersion>,
    pub(super) max_version: Option<TlsVersion>,
    pub(super) cipher_suites: Vec<String>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Vec<String>,
}

/// From oldest to newest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum TlsVersion {
    #[serde(rename = "TLS10")]
    V1_0,
    #[serde(rename = "TLS11")]
    V1_1,
    #[serde(rename = "TLS12")]
    V1_2,
    #[serde(rename = "TLS13")]
    V1_3,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpServerConfig {
    #[serde(deserialize_with = "or_true")]
    pub(super) http2: bool,
    pub(super) headers: BTreeMap<String, String>,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self { http2: true, headers: BTreeMap::new() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestRateLimit {
    #[serde(deserialize_with = "or_default")]
    interval: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) burst: u32,
}

/// A key without a value counts as absent, as in Go.
fn or_true<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Option::deserialize(value).map(|value| value.unwrap_or(true))
}

/// The headers that may be configured, and their allowed values; empty: any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

impl WebConfigFile {
    /// Errors name the place in the file, and quote nothing of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Option<Self> =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
        Ok(file.unwrap_or_default())
    }

    /// Resolves relative paths against the file's directory.
    pub(super) fn relative_to(mut self, directory: &Path) -> Self {
        let tls = &mut self.tls_server_config;
        for path in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file] {
            if !path.as_os_str().is_empty() {
                *path = directory.join(&path);
            }
        }
        self
    }
}

impl TlsServerConfig {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.cert_file, &self.key_file, &self.client_ca_file].into_iter().filter(|path| !path.as_os_str().is_empty())
    }
}

impl HttpServerConfig {
    /// The headers of every answer. Empty ones are not sent.
    pub(super) fn response_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let wanted = self.headers.iter().filter(|(_, value)| !value.is_empty());
        wanted.map(|(name, value)| header(name, value)).collect()
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((_, allowed)) = HEADERS.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)) else {
        let names: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
        return Err(format!("http_server_config.headers: `{name}` cannot be configured, only {}", names.join(", ")));
    };
    if !allowed.is_empty() && !allowed.contains(&value) {
        let allowed = allowed.join("` or `");
        return Err(format!("http_server_config.headers.{name}: expected `{allowed}`, got `{value}`"));
    }
    let invalid = |what: String| format!("http_server_config.headers.{name}: {what}");
    Ok((
        HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(error.to_string()))?,
        HeaderValue::from_str(value).map_err(|_| invalid("not text that a header can have".to_owned()))?,
    ))
}

impl RequestRateLimit {
    /// The time in which one more request is allowed; `None`: no limit.
    pub(super) fn interval(&self) -> Result<Option<Duration>, String> {
        if self.interval.is_empty() || self.interval == "0" {
            return Ok(None);
        }
        let interval = humantime::parse_duration(&self.interval)
            .map_err(|_| format!("rate_limit.interval: expected a duration as in `100ms`, got `{}`", self.interval))?;
        Ok(Some(interval).filter(|interval| !interval.is_zero()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error, or the number of headers and the rate limit's interval.
    fn check(text: &str) -> Result<(usize, Option<Duration>), String> {
        let file = WebConfigFile::parse(text)?;
        Ok((file.http_server_config.response_headers()?.len(), file.rate_limit.interval()?))
    }

    #[test]
    fn invalid_files_are_refused_and_secrets_are_not_quoted() {
        let cases = [
            ("tls_server_confg: {}", "unknown field `tls_server_confg`"),
            ("tls_server_config:\n  cert_fil: x\n", "unknown field `cert_fil`"),
            ("tls_server_config: {min_version: SSL3}", "unknown variant `SSL3`"),
            ("http_server_config: {http3: true}", "unknown field `http3`"),
            ("http_server_config: {headers: {X-Powered-By: me}}", "`X-Powered-By` cannot be configured"),
            ("http_server_config: {headers: {X-Frame-Options: allow}}", "expected `deny` or `sameorigin`, got `allow`"),
            ("http_server_config: {headers: {Content-Security-Policy: \"a\\nb\"}}", "not text that a header can have"),
            ("rate_limit: {interval: soon}", "expected a duration as in `100ms`, got `soon`"),
            ("basic_auth_users: {a: secret, a: secret}", "duplicate"),
            ("basic_auth_users: [secret]", ""),
        ];
        for (text, expected) in cases {
            let error = check(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn files_that_the_toolkit_accepts_are_accepted() {
        let cases = [
            ("", (0, None)),
            ("# nothing\n", (0, None)),
            ("{}", (0, None)),
            ("http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: ''\n", (1, None)),
            ("rate_limit: {interval: 100ms, burst: 5}", (0, Some(Duration::from_millis(100)))),
            ("rate_limit: {interval: 0s}", (0, None)),
            ("tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n", (0, None)),
            (
                "tls_server_config: {cert: , client_auth_type: , client_ca_file: , min_version: , cipher_suites: }",
                (0, None),
            ),
            ("http_server_config: {http2: , headers: }\nrate_limit: {interval: , burst: }", (0, None)),
            ("rate_limit: {interval: 0}", (0, None)),
            ("tls_server_config: {min_version: TLS10, max_version: TLS13, curve_preferences: [CurveP256]}", (0, None)),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text).as_ref(), Ok(&expected), "{text}");
        }
    }
}
