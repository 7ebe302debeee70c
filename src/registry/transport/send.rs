//! A request until it is answered or has failed for good: when it may be sent, what its outcome teaches about the
//! registry, and whether it is sent again.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::admission::{Admission, Admitted};
use super::connect::{self, Connections};
use super::exchange::{Answer, Ask, Exchange, Failure};
use super::ratelimit::Metering;
use super::retry::{self, PATIENCE_MAX, TRIES_MAX};
use super::warnings::Warnings;
use super::{api_error, redirect};
use crate::oci::{Operation, Reason, Registry};
use crate::registry::counters::Counters;
use crate::registry::error::RegistryError;
use crate::registry::settings::Settings;

/// Everything between one registry's endpoints and its connections.
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
        }
    }

    /// Sends a request until it is answered, or has failed as often as it may. A status of the registry's judgement of
    /// the request (4xx) is an answer; 429 and failures of the registry are errors.
    pub(crate) async fn send(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        self.send_while(ask, authorization, || Ok(())).await
    }

    /// As [`Self::send`], but checks `may` before each try: another request may have learnt something while this one
    /// waited.
    pub(crate) async fn send_while(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
        may: impl Fn() -> Result<(), RegistryError>,
    ) -> Result<Answer, RegistryError> {
        let mut tried = 0;
        self.admission.save_retries();
        loop {
            tried += 1;
            let admitted = self.admitted(ask).await?;
            may()?;
            let started = Instant::now();
            let outcome = self.exchange.run(ask, authorization).await;
            let took = started.elapsed();
            self.counters.request(&self.registry, ask.operation, took);
            let status = outcome.as_ref().ok().map(|answer| answer.status.as_u16());
            match &outcome {
                Err(failure) if !failure.answered => self.admission.unanswered(&failure.problem),
                _ => self.admission.answered(),
            }
            let failure = match outcome.and_then(|answer| self.judged(ask, answer, admitted.as_ref())) {
                Ok(answer) => {
                    self.log(ask, status, took, "answered");
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            drop(admitted);
            self.failed(ask.operation, failure.reason);
            let again = failure.is_retryable
                && tried < TRIES_MAX
                && if failure.reason == Reason::RateLimited {
                    !self.admission.is_out_of_reach()
                } else {
                    self.admission.may_retry()
                };
            let (reason, problem) = (failure.reason, failure.problem);
            if !again {
                self.log(ask, status, took, format_args!("gives up, {reason}: {problem}"));
                return Err(RegistryError::new(reason, ask.what, problem));
            }
            let wait = failure.retry_after.unwrap_or_else(|| retry::backoff(tried));
            self.log(ask, status, took, format_args!("asks again in {} ms, {reason}: {problem}", wait.as_millis()));
            tokio::time::sleep(wait).await;
        }
    }

    /// Counts a failure that the caller found in an answer.
    pub(crate) fn failed(&self, operation: Operation, reason: Reason) {
        self.counters.request_failed(&self.registry, operation, reason);
    }

    /// One line for each request: what was asked, what came, and what was made of it.
    fn log(&self, ask: &Ask<'_>, status: Option<u16>, took: Duration, decided: impl Display) {
        tracing::debug!(
            registry = %self.registry,
            operation = ask.operation.as_str(),
            about = %ask.what,
            status,
            seconds = (took.as_secs_f64() * 1e3).round() / 1e3,
            %decided,
            "request"
        );
    }

    async fn admitted(&self, ask: &Ask<'_>) -> Result<Option<Admitted>, RegistryError> {
        let admitted = if ask.operation == Operation::GetToken {
            self.admission.admit_token().await.map(|()| None)
        } else {
            self.admission.admit().await.map(Some)
        };
        admitted.map_err(|rejection| {
            let (reason, problem) = (rejection.reason, rejection.problem);
            self.log(ask, None, Duration::ZERO, format_args!("not sent, {reason}: {problem}"));
            RegistryError::new(reason, ask.what, problem)
        })
    }

    /// Tells answers from failures by their status, and notes what the headers say about limits.
    fn judged(&self, ask: &Ask<'_>, answer: Answer, admitted: Option<&Admitted>) -> Result<Answer, Failure> {
        if !answer.elsewhere {
            if let Some(limit) = self.metering.note(&answer.headers) {
                self.counters.ratelimit(&self.registry, limit);
            }
            self.warnings.log(&self.registry, &answer);
        }
        let status = answer.status;
        let retry_after = retry::retry_after(&answer.headers, SystemTime::now());
        let detail = || api_error::detail(&answer);
        if status == StatusCode::TOO_MANY_REQUESTS {
            let pulls_are_used_up = ask.operation == Operation::GetManifest && self.metering.remaining() == Some(0);
            return Err(if pulls_are_used_up {
                // Only pulls: HEAD is not metered, and its headers tell when there are pulls again.
                let problem = format!(
                    "no pulls are left on {}{}; a login or a longer interval may help",
                    self.registry,
                    detail()
                );
                Failure::definite(Reason::RateLimited, problem)
            } else {
                self.rate_limited(&answer, retry_after, admitted)
            });
        }
        if let Some(rate) = admitted.and_then(|admitted| self.admission.accepted(admitted)) {
            self.counters.learnt_rate(&self.registry, rate);
        }
        let is_transient = retry::is_transient(status);
        if is_transient || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            let host = redirect::authority(&answer.url);
            let problem = format!("{host} failed with {}{}", api_error::status(status), detail());
            let is_retryable = is_transient && retry_after.is_none_or(|wait| wait <= PATIENCE_MAX);
            return Err(Failure { is_retryable, retry_after, ..Failure::definite(Reason::Server, problem) });
        }
        Ok(answer)
    }

    fn rate_limited(&self, answer: &Answer, retry_after: Option<Duration>, admitted: Option<&Admitted>) -> Failure {
        let (quiet, rate) = self.admission.refused(admitted, retry_after);
        if let Some(rate) = rate {
            tracing::debug!(registry = %self.registry, requests_per_second = rate, "asks the registry at a lower rate");
            self.counters.learnt_rate(&self.registry, rate);
        }
        let problem = format!(
            "{} says that it was asked too often{} and is left alone for {}s; a login, a longer interval or `requests_per_second` may help",
            redirect::authority(&answer.url),
            api_error::detail(answer),
            quiet.as_secs()
        );
        // The wait is that of every request to this registry.
        let is_retryable = quiet <= PATIENCE_MAX;
        let failure = Failure::definite(Reason::RateLimited, problem);
        Failure { is_retryable, retry_after: Some(Duration::ZERO), ..failure }
    }
}
