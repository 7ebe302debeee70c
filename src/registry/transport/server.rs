//! A server that is no registry, such as a Prometheus, reached like one: with the same authorities, proxies and bounds.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use rustls::RootCertStore;
use url::Url;

use super::body::{self, BodyError, ERROR_BYTES_MAX};
use super::connect::Connections;
use super::redirect;
use super::tls::{Tls, system_roots};
use crate::oci::Reason;
use crate::registry::error::{SetupError, describe};
use crate::registry::settings::Settings;

/// A server, and the connections to it.
pub struct Server {
    connections: Connections,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// The label's value.
    pub reason: Reason,
    /// What happened, and with which host.
    pub problem: String,
}

impl Server {
    /// The server of `home`, of which each answer may take `timeout`. `ca_file` has authorities that are trusted beside the
    /// system's.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(home: &Url, ca_file: Option<PathBuf>, timeout: Duration) -> Result<Self, SetupError> {
        let owner = redirect::authority(home);
        let settings = Settings { ca_file, timeout, ..Settings::default() };
        let tls = Tls::read(&owner, &settings)?;
        let roots = if home.scheme() == "https" { system_roots() } else { RootCertStore::empty().into() };
        Ok(Self { connections: Connections::new(&owner, home, &settings, &tls, &roots)?, timeout })
    }

    /// Sends a GET and reads at most `bytes_max` of the answer, or of an error's text as much as is worth showing.
    ///
    /// # Errors
    /// There is no answer in time, or it is longer. Redirects are not followed: they would take the password along.
    pub async fn get(
        &self,
        url: Url,
        authorization: Option<HeaderValue>,
        bytes_max: u64,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let host = redirect::authority(&url);
        let mut request = reqwest::Request::new(http::Method::GET, url);
        if let Some(authorization) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        match tokio::time::timeout(self.timeout, self.exchange(&host, request, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer {
                reason: Reason::Timeout,
                problem: format!("no answer from {host} within {}", humantime::format_duration(self.timeout)),
            }),
        }
    }

    async fn exchange(
        &self,
        host: &str,
        request: reqwest::Request,
        bytes_max: u64,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let failed = |reason, problem| NoAnswer { reason, problem };
        let mut answer = self.connections.to(true).execute(request).await.map_err(|error| {
            let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Network };
            failed(reason, format!("cannot reach {host}: {}", describe(error)))
        })?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(failed(Reason::Server, format!("{host} answers {status}: redirects are not followed")));
        }
        if !status.is_success() {
            return Ok((status, body::read(&mut answer, ERROR_BYTES_MAX).await.unwrap_or_default()));
        }
        let body = body::read(&mut answer, bytes_max).await.map_err(|error| match error {
            BodyError::TooLong(max) => {
                failed(Reason::Limit, format!("the answer of {host} is longer than {max} bytes"))
            }
            BodyError::Broken(problem) => failed(Reason::Network, format!("the connection to {host} broke: {problem}")),
            BodyError::Encoding(encoding) => {
                failed(Reason::Invalid, format!("the answer of {host} is compressed with `{encoding}`"))
            }
        })?;
        Ok((status, body))
    }
}
