//! The requests of an identity: to metadata servers and to a cloud's own endpoints. They have bounds of their own, follow
//! no redirects, and no answer that repeats one of their secrets is shown.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header;
use url::{Host, Url};

use crate::registry::error::describe;
use crate::registry::transport::body::{self, BodyError, ERROR_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::registry::transport::connect::IdentityConnections;
use crate::registry::transport::redact::Secrets;
use crate::registry::transport::{Response, api_error, redirect, retry};

/// The longest that one request may take.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(5);
/// The most times that one request is sent.
const TRIES_MAX: u32 = 2;

/// Sends requests.
#[derive(Clone)]
pub(crate) struct IdentityHttp {
    connections: IdentityConnections,
}

/// Why there is no answer.
pub(super) struct NoAnswer {
    pub(super) problem: String,
    pub(super) timed_out: bool,
}

impl IdentityHttp {
    pub(crate) fn new(connections: IdentityConnections) -> Self {
        Self { connections }
    }

    /// Sends a request within `limit`. A redirect is no answer.
    pub(super) async fn send(
        &self,
        request: reqwest::Request,
        secrets: Secrets,
        limit: Duration,
    ) -> Result<Response, NoAnswer> {
        let host = redirect::authority(request.url());
        match tokio::time::timeout(limit, self.exchange(request, secrets)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer {
                problem: format!("no answer from {host} within {}", humantime::format_duration(limit)),
                timed_out: true,
            }),
        }
    }

    /// As [`Self::send`], once more where the server fails or cannot be reached.
    pub(super) async fn send_again(&self, request: reqwest::Request, secrets: Secrets) -> Result<Response, NoAnswer> {
        let mut tried = 0;
        loop {
            tried += 1;
            let copy = request.try_clone().expect("bodies are in memory");
            let answer = self.send(copy, secrets.clone(), REQUEST_MAX).await;
            let is_final = match &answer {
                Ok(response) => !retry::is_transient(response.status),
                Err(failure) => failure.timed_out,
            };
            if is_final || tried >= TRIES_MAX {
                return answer;
            }
            tokio::time::sleep(retry::backoff(tried)).await;
        }
    }

    async fn exchange(&self, request: reqwest::Request, secrets: Secrets) -> Result<Response, NoAnswer> {
        let url = request.url().clone();
        let host = redirect::authority(&url);
        let failed = |problem: String| NoAnswer { problem, timed_out: false };
        let client = if is_near(&url) { &self.connections.direct } else { &self.connections.proxied };
        let mut answer = client.execute(request).await.map_err(|error| NoAnswer {
            timed_out: error.is_timeout(),
            problem: format!("cannot reach {host}: {}", describe(error)),
        })?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(failed(format!("{host} redirects a request with an identity, which is not followed")));
        }
        let body = if status.is_success() {
            body::read(&mut answer, TOKEN_BYTES_MAX).await.map_err(|error| {
                failed(match error {
                    BodyError::TooLong(max) => format!("the answer of {host} is longer than {max} bytes"),
                    BodyError::Broken(problem) => format!("the connection to {host} broke: {problem}"),
                    BodyError::Encoding(encoding) => format!("the answer of {host} is compressed with `{encoding}`"),
                })
            })?
        } else {
            body::read(&mut answer, ERROR_BYTES_MAX).await.unwrap_or_default()
        };
        let headers = std::mem::take(answer.headers_mut());
        Ok(Response { status, headers, body, unread: None, url, other_host: false, secrets })
    }
}

/// A request with a form.
#[cfg(any(feature = "azure", feature = "gcp"))]
pub(super) fn form(method: http::Method, url: Url, fields: &[(&str, &str)]) -> reqwest::Request {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut request = reqwest::Request::new(method, url);
    let kind = http::HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    *request.body_mut() = Some(body.into());
    request
}

/// Whether a server is this machine, its link, or one of the addresses at which clouds have their metadata servers: no
/// proxy can reach them.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv6(v6)) if v6.segments()[..2] == [0xfd00, 0x0ec2] => true,
        Some(Host::Ipv4(v4)) => redirect::is_local_address(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => redirect::is_local_address(IpAddr::V6(v6)),
        Some(Host::Domain(name)) => name == "metadata.google.internal" || redirect::is_loopback(&Host::Domain(name)),
        None => false,
    }
}

/// The server's time, by its `Date` header.
pub(super) fn server_time(response: &Response) -> Option<SystemTime> {
    httpdate::parse_http_date(response.header(header::DATE)?).ok()
}

/// What a refusal says: `sts.example refused SUBJECT: 403 Forbidden (its own words)`.
pub(super) fn refusal(response: &Response, subject: &str) -> String {
    let host = redirect::authority(&response.url);
    let verb = if response.status.is_client_error() { "refused" } else { "failed for" };
    format!("{host} {verb} {subject}: {}{}", api_error::status(response.status), api_error::detail(response))
}

/// The body as JSON; the error says where it came from and quotes nothing.
pub(super) fn json<T: serde::de::DeserializeOwned>(response: &Response) -> Result<T, String> {
    let body: &Bytes = &response.body;
    serde_json::from_slice(body)
        .map_err(|_| format!("the answer of {} is not the JSON that was expected", redirect::authority(&response.url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_servers_are_reached_without_a_proxy() {
        for (url, near) in [
            ("http://169.254.169.254/latest/api/token", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::254]/latest/", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://metadata.google.internal/computeMetadata/v1/", true),
            ("http://127.0.0.1:9000/", true),
            ("http://localhost:40342/metadata/identity/oauth2/token", true),
            ("https://sts.eu-central-1.amazonaws.com/", false),
            ("https://[fd00:ec3::1]/", false),
            ("https://10.0.0.1/", false),
        ] {
            assert_eq!(is_near(&url.parse().unwrap()), near, "{url}");
        }
    }
}
