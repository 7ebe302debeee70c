//! Sends a request until it is answered or has failed for good: admission, retries, and what each outcome says about
//! the registry.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::admission::{Admission, Admitted};
use super::connect::{self, Connections};
use super::exchange::{Exchange, Failure, Request, Response};
use super::ratelimit::Metering;
use super::retry::{self, PATIENCE_MAX, TRIES_MAX};
use super::warnings::Warnings;
use super::{api_error, redirect};
use crate::oci::{Operation, Reason, Registry};
use crate::registry::counters::Counters;
use crate::registry::error::RegistryError;
use crate::registry::settings::Settings;

/// The layer between one registry's endpoints and its connections.
pub(crate) struct Transport {
    pub(crate) registry: Registry,
    /// The address of the registry's API.
    pub(crate) home: Url,
    /// For one request; for streams, the longest time without progress.
    pub(crate) timeout: Duration,
    pub(crate) metering: Metering,
    exchange: Exchange,
    admission: Admission,
    warnings: Warnings,
    counters: Arc<Counters>,
    /// Whether what the host says of its limits is published as the registry's.
    has_gauges: bool,
}

impl Transport {
    pub(crate) fn new(
        registry: Registry,
        home: Url,
        connections: Connections,
        settings: &Settings,
        counters: Arc<Counters>,
        trust_hint: &'static str,
    ) -> Self {
        let (timeout, proxy_secrets) = (settings.timeout, connect::proxy_secrets(settings));
        Self {
            registry,
            home: home.clone(),
            timeout,
            metering: Metering::default(),
            exchange: Exchange { home, connections, timeout, trust_hint, proxy_secrets },
            admission: Admission::new(settings),
            warnings: Warnings::default(),
            counters,
            has_gauges: true,
        }
    }

    /// To a host that is not the registry's: its limits are not published.
    pub(crate) fn without_gauges(self) -> Self {
        Self { has_gauges: false, ..self }
    }

    /// Sends a request until it is answered or the tries are used up. A 4xx status is an answer; 429 and failures of
    /// the registry are errors.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        self.send_while(request, authorization, || Ok(())).await
    }

    /// As [`Self::send`], but calls `check` before each try: another request may have learnt something while this one
    /// waited.
    pub(crate) async fn send_while(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
        check: impl Fn() -> Result<(), RegistryError>,
    ) -> Result<Response, RegistryError> {
        let mut tried = 0;
        self.admission.save_retries();
        loop {
            tried += 1;
            let admitted = self.admitted(request).await?;
            check()?;
            let started = Instant::now();
            let outcome = self.exchange.run(request, authorization).await;
            let took = started.elapsed();
            self.counters.request(&self.registry, request.operation, took);
            let status = outcome.as_ref().ok().map(|response| response.status.as_u16());
            match &outcome {
                Err(failure) if !failure.answered => self.admission.unanswered(&failure.problem),
                _ => self.admission.answered(),
            }
            let failure = match outcome.and_then(|response| self.check_status(request, response, admitted.as_ref())) {
                Ok(response) => {
                    self.log(request, status, took, "answered");
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            drop(admitted);
            self.failed(request.operation, failure.reason);
            let again = failure.is_retryable
                && tried < TRIES_MAX
                && if failure.reason == Reason::RateLimited {
                    !self.admission.is_unreachable()
                } else {
                    self.admission.may_retry()
                };
            let (reason, problem, sent) = (failure.reason, failure.problem, failure.sent);
            if !again {
                self.log(request, status, took, format_args!("gives up, {reason}: {problem}"));
                let error = RegistryError::new(reason, request.subject, problem);
                return Err(if sent { error } else { error.unsent() });
            }
            let wait = failure.retry_after.unwrap_or_else(|| retry::backoff(tried));
            self.log(request, status, took, format_args!("asks again in {} ms, {reason}: {problem}", wait.as_millis()));
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits while all requests fail because the registry was unreachable a moment ago, until one may be tried.
    pub(crate) async fn reachable_again(&self) {
        self.admission.reachable_again().await;
    }

    /// Counts a failure that the caller found in an answer.
    pub(crate) fn failed(&self, operation: Operation, reason: Reason) {
        self.counters.request_failed(&self.registry, operation, reason);
    }

    /// Publishes when the registry's login ends, in seconds since the epoch.
    pub(crate) fn credential_expires(&self, at: f64) {
        self.counters.credential_expires(&self.registry, at);
    }

    /// One line for each request: what was asked, what came, and what was made of it.
    fn log(&self, request: &Request<'_>, status: Option<u16>, took: Duration, decided: impl Display) {
        tracing::debug!(
            registry = %self.registry,
            operation = request.operation.as_str(),
            about = %request.subject,
            status,
            seconds = (took.as_secs_f64() * 1e3).round() / 1e3,
            %decided,
            "request"
        );
    }

    async fn admitted(&self, request: &Request<'_>) -> Result<Option<Admitted>, RegistryError> {
        let admitted = if request.operation == Operation::GetToken {
            self.admission.admit_token().await.map(|()| None)
        } else {
            self.admission.admit().await.map(Some)
        };
        admitted.map_err(|rejection| {
            let (reason, problem) = (rejection.reason, rejection.problem);
            self.log(request, None, Duration::ZERO, format_args!("not sent, {reason}: {problem}"));
            RegistryError::new(reason, request.subject, problem).unsent()
        })
    }

    /// Distinguishes answers from failures by status, and notes the limits in the headers.
    fn check_status(
        &self,
        request: &Request<'_>,
        response: Response,
        admitted: Option<&Admitted>,
    ) -> Result<Response, Failure> {
        if !response.other_host {
            if let Some(limit) = self.metering.note(&response.headers).filter(|_| self.has_gauges) {
                self.counters.ratelimit(&self.registry, limit);
            }
            self.warnings.log(&self.registry, &response);
        }
        let status = response.status;
        let retry_after = retry::retry_after(&response.headers, SystemTime::now());
        let detail = || api_error::detail(&response);
        if status == StatusCode::TOO_MANY_REQUESTS {
            let pulls_are_used_up = request.operation == Operation::GetManifest && self.metering.remaining() == Some(0);
            return Err(if pulls_are_used_up {
                // Only pulls: HEAD is not metered, and its headers show when pulls are available again.
                let problem = format!(
                    "no pulls are left on {}{}; a login or a longer interval may help",
                    self.registry,
                    detail()
                );
                Failure::definite(Reason::RateLimited, problem)
            } else {
                self.rate_limited(&response, retry_after, admitted)
            });
        }
        if let Some(rate) = admitted.and_then(|admitted| self.admission.accepted(admitted)).filter(|_| self.has_gauges)
        {
            self.counters.learnt_rate(&self.registry, rate);
        }
        let is_transient = retry::is_transient(status);
        if is_transient || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            let host = redirect::authority(&response.url);
            let problem = format!("{host} failed with {}{}", api_error::status(status), detail());
            let is_retryable = is_transient && retry_after.is_none_or(|wait| wait <= PATIENCE_MAX);
            return Err(Failure { is_retryable, retry_after, ..Failure::definite(Reason::Server, problem) });
        }
        Ok(response)
    }

    fn rate_limited(&self, response: &Response, retry_after: Option<Duration>, admitted: Option<&Admitted>) -> Failure {
        let (pause, rate) = self.admission.refused(admitted, retry_after);
        if let Some(rate) = rate {
            tracing::debug!(registry = %self.registry, requests_per_second = rate, "sending requests at a lower rate");
            if self.has_gauges {
                self.counters.learnt_rate(&self.registry, rate);
            }
        }
        let problem = format!(
            "{} answered 429{}: requests pause for {}s; a login, a longer interval or `requests_per_second` may help",
            redirect::authority(&response.url),
            api_error::detail(response),
            pause.as_secs()
        );
        // All requests to this registry wait this long.
        let is_retryable = pause <= PATIENCE_MAX;
        let failure = Failure::definite(Reason::RateLimited, problem);
        Failure { is_retryable, retry_after: Some(Duration::ZERO), ..failure }
    }
}
