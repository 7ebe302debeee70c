//! Requests to one registry: at its pace, within its limits, tried again where that may help, sent on where the
//! registry says, and counted. Who is asking is `auth`'s affair; what the answer means is the verbs'.

pub(crate) mod api_error;
pub(crate) mod body;
pub(crate) mod circuit_breaker;
pub(crate) mod connect;
pub(crate) mod link;
pub(crate) mod ratelimit;
pub(crate) mod redact;
pub(crate) mod redirect;
pub(crate) mod retry;
pub(crate) mod throttle;
pub(crate) mod tls;
pub(crate) mod warnings;

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use super::error::{RegistryError, chain};
use super::settings::Settings;
use crate::metrics::Telemetry;
use crate::oci::{Operation, Reason, Registry};
use body::BodyError;
use circuit_breaker::{CircuitBreaker, Closed};
use connect::Connections;
use ratelimit::Metering;
use redact::Secrets;
use redirect::REDIRECTS_MAX;
use retry::{PATIENCE_MAX, TRIES_MAX};
use throttle::Throttle;
use warnings::Warnings;

/// The way to one registry.
pub(crate) struct Transport {
    pub(crate) registry: Registry,
    pub(crate) metering: Metering,
    pub(crate) home: Url,
    connections: Connections,
    /// For one request; for streams, without progress.
    pub(crate) timeout: Duration,
    permits: Arc<Semaphore>,
    pace: Throttle,
    gate: CircuitBreaker,
    warnings: Warnings,
    telemetry: Arc<Telemetry>,
    /// Reported where a certificate is not trusted.
    trust_hint: &'static str,
    /// What every request to a proxy has in it.
    proxy_secrets: Secrets,
}

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// What an error is about.
    pub(crate) what: &'a (dyn Display + Sync),
    pub(crate) accept: Option<&'static str>,
    pub(crate) range: Option<HeaderValue>,
    /// Sent as `application/x-www-form-urlencoded`.
    pub(crate) form: Option<String>,
    pub(crate) take: Take,
}

/// What becomes of a good answer's body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// There is none, or it does not matter.
    Nothing,
    /// It is read, up to so many bytes.
    Whole(u64),
    /// It is read, up to so many bytes, if it is the part that was asked for; else it is given up.
    Part(u64),
    /// It is left for the caller to read.
    Stream,
}

/// An answer that is neither a redirect nor a failure of the registry itself.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Read whole, or the beginning of it where it says what went wrong.
    pub(crate) body: Bytes,
    /// Where `Take::Stream` was asked and the status is a good one.
    pub(crate) open: Option<Open>,
    /// Who answered in the end.
    pub(crate) url: Url,
    /// Whether somebody else than the registry answered, who got no credentials.
    pub(crate) elsewhere: bool,
    /// What its words must not repeat to anybody.
    pub(crate) secrets: Secrets,
}

/// A body that is still to be read. It is no request under way any more: whoever reads layers bounds how many are read
/// at once, and a long one must not keep scans from asking.
pub(crate) struct Open {
    pub(crate) response: reqwest::Response,
}

/// Why one try came to nothing.
struct Failure {
    reason: Reason,
    problem: String,
    again: bool,
}

impl Answer {
    /// A header's text; absent where it is no text.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Type`, empty where it is missing.
    pub(crate) fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE).unwrap_or_default()
    }

    /// `Content-Length` as it was said, also where there is no body.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.trim().parse().ok()
    }
}

impl Transport {
    pub(crate) fn new(
        registry: Registry,
        home: Url,
        connections: Connections,
        settings: &Settings,
        telemetry: Arc<Telemetry>,
        trust_hint: &'static str,
    ) -> Self {
        Self {
            registry,
            home,
            connections,
            timeout: settings.timeout,
            permits: Arc::new(Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            pace: Throttle::new(settings.requests_per_second),
            gate: CircuitBreaker::default(),
            metering: Metering::default(),
            warnings: Warnings::default(),
            telemetry,
            trust_hint,
            proxy_secrets: connect::proxy_secrets(settings),
        }
    }

    /// Sends a request until it is answered, or has failed as often as it may. Statuses that say what the registry
    /// thinks of the request (4xx) are answers; 429 and failures of the registry are errors.
    pub(crate) async fn send(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        self.send_while(ask, authorization, || Ok(())).await
    }

    /// The same for as long as `may` has nothing against it: others may have learnt something while this request waited
    /// for its turn.
    pub(crate) async fn send_while(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
        may: impl Fn() -> Result<(), RegistryError>,
    ) -> Result<Answer, RegistryError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let permit = self.admitted(ask).await?;
            may()?;
            let started = Instant::now();
            let outcome = self.attempt(ask, authorization).await;
            drop(permit);
            self.telemetry.request(&self.registry, ask.operation, started.elapsed());
            let failure = match outcome.and_then(|answer| self.judged(ask, answer)) {
                Ok(answer) => return Ok(answer),
                Err((failure, wait)) => {
                    let again = failure.again && tried < TRIES_MAX && !self.gate.is_out_of_reach();
                    self.failed(ask.operation, failure.reason);
                    tracing::debug!(registry = %self.registry, operation = ask.operation.as_str(), tried, again, problem = %failure.problem, "request failed");
                    if again {
                        tokio::time::sleep(wait.unwrap_or_else(|| retry::backoff(tried))).await;
                        continue;
                    }
                    failure
                }
            };
            return Err(RegistryError::new(failure.reason, ask.what, failure.problem));
        }
    }

    /// Counts a failure that the caller found in an answer.
    pub(crate) fn failed(&self, operation: Operation, reason: Reason) {
        self.telemetry.request_failed(&self.registry, operation, reason);
    }

    /// Waits for this request's turn. Tokens are asked of another server, on behalf of a request that waits: they
    /// take no place of their own.
    async fn admitted(&self, ask: &Ask<'_>) -> Result<Option<OwnedSemaphorePermit>, RegistryError> {
        let closed = |closed: Closed| RegistryError::new(closed.reason, ask.what, closed.problem);
        if ask.operation == Operation::GetToken {
            self.gate.enter().await.map_err(closed)?;
            return Ok(None);
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        // Before the turn, which may be long in coming, and after it, when more is known.
        self.gate.look().map_err(closed)?;
        self.pace.turn().await;
        self.gate.enter().await.map_err(closed)?;
        Ok(Some(permit))
    }

    /// Sends once, and on to where the answer leads.
    async fn attempt(
        &self,
        ask: &Ask<'_>,
        authorized: Option<&HeaderValue>,
    ) -> Result<Answer, (Failure, Option<Duration>)> {
        let deadline = Instant::now() + self.timeout;
        let mut url = ask.url.clone();
        let mut authorization = authorized;
        // A redirected list goes on where it was found.
        let mut elsewhere = ask.operation != Operation::GetToken && !redirect::shares_credentials(&self.home, &ask.url);
        let own_host = redirect::is_own_host(&self.home, &url);
        for _ in 0..=REDIRECTS_MAX {
            let request = request(ask, url.clone(), authorization);
            let client = self.connections.to(own_host && !elsewhere);
            let sent = tokio::time::timeout_at(deadline, client.execute(request)).await;
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err((self.unreachable(&url, error), None)),
                Err(_) => {
                    let failure = self.late(&url);
                    self.gate.failed(&failure.problem);
                    return Err((failure, None));
                }
            };
            self.gate.answered();
            if !is_redirect(response.status()) {
                let read = tokio::time::timeout_at(deadline, take(ask, response, url.clone(), elsewhere)).await;
                return match read {
                    Ok(Ok(answer)) => Ok(Answer { secrets: self.secrets(ask, &answer.url, authorized), ..answer }),
                    Ok(Err(error)) => Err((broken(error), None)),
                    Err(_) => Err((self.late(&url), None)),
                };
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = redirect::target(&ask.url, &url, location).map_err(|refusal| {
                let problem =
                    format!("{} answered with a redirect that is not followed: {refusal}", redirect::authority(&url));
                (Failure { reason: Reason::Server, problem, again: false }, None)
            })?;
            if !redirect::shares_credentials(&ask.url, &next) {
                if ask.form.is_some() {
                    let (from, to) = (redirect::authority(&url), redirect::authority(&next));
                    let problem = format!("{from} redirects a request with credentials to {to}, which is not followed");
                    return Err((Failure { reason: Reason::Server, problem, again: false }, None));
                }
                authorization = None;
                elsewhere = true;
            }
            url = next;
        }
        let problem = format!("more than {REDIRECTS_MAX} redirects, the last to {}", redirect::authority(&url));
        Err((Failure { reason: Reason::Limit, problem, again: false }, None))
    }

    /// Tells answers from failures by their status, and takes note of what the headers say about limits.
    fn judged(&self, ask: &Ask<'_>, answer: Answer) -> Result<Answer, (Failure, Option<Duration>)> {
        if !answer.elsewhere {
            if let Some(limit) = self.metering.note(&answer.headers) {
                self.telemetry.ratelimit(&self.registry, limit);
            }
            self.warnings.note(&self.registry, &answer);
        }
        let status = answer.status;
        let retry_after = retry::retry_after(&answer.headers, SystemTime::now());
        if status == StatusCode::TOO_MANY_REQUESTS
            && ask.operation == Operation::GetManifest
            && self.metering.remaining() == Some(0)
        {
            // Pulls are used up, and only those: HEADs are free, and tell when there are some again.
            let problem = format!(
                "no pulls are left on {}{}; a login or a longer interval may help",
                self.registry,
                api_error::detail(&answer)
            );
            return Err((Failure { reason: Reason::RateLimited, problem, again: false }, None));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let quiet = self.gate.rate_limited(retry_after);
            let problem = format!(
                "{} says that it was asked too often{} and is left alone for {}s; a login, a longer interval or `requests_per_second` may help",
                redirect::authority(&answer.url),
                api_error::detail(&answer),
                quiet.as_secs()
            );
            // The gate itself does the waiting.
            let again = quiet <= PATIENCE_MAX;
            let failure = Failure { reason: Reason::RateLimited, problem, again };
            return Err((failure, Some(Duration::ZERO)));
        }
        if retry::is_transient(status) || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            let problem = format!(
                "{} failed with {}{}",
                redirect::authority(&answer.url),
                api_error::status(status),
                api_error::detail(&answer)
            );
            let again = retry::is_transient(status) && retry_after.is_none_or(|wait| wait <= PATIENCE_MAX);
            return Err((Failure { reason: Reason::Server, problem, again }, retry_after));
        }
        Ok(answer)
    }

    /// What the request had in it that nobody may read, up to its end at `url`.
    fn secrets(&self, ask: &Ask<'_>, url: &Url, authorization: Option<&HeaderValue>) -> Secrets {
        let secrets = self.proxy_secrets.clone().header(authorization).form(ask.form.as_deref());
        if *url == ask.url { secrets } else { secrets.redirect(url) }
    }

    fn unreachable(&self, url: &Url, error: reqwest::Error) -> Failure {
        let timed_out = error.is_timeout();
        let text = chain(error);
        let untrusted = text.contains("invalid peer certificate");
        let hint = if untrusted && !text.contains("not valid for") && !text.contains("expired") {
            self.trust_hint
        } else if text.contains("InvalidContentType") {
            "; if it speaks plain HTTP, set `plain_http = true`"
        } else if text.contains("CertificateRequired") {
            "; it wants a client certificate: `cert_file` and `key_file`, which no other host than the registry's own is shown"
        } else {
            ""
        };
        let problem = format!("cannot reach {}: {text}{hint}", redirect::authority(url));
        self.gate.failed(&problem);
        let reason = if timed_out { Reason::Timeout } else { Reason::Network };
        Failure { reason, problem, again: true }
    }

    fn late(&self, url: &Url) -> Failure {
        let problem =
            format!("no answer from {} within {}", redirect::authority(url), humantime::format_duration(self.timeout));
        Failure { reason: Reason::Timeout, problem, again: false }
    }
}

fn request(ask: &Ask<'_>, url: Url, authorization: Option<&HeaderValue>) -> reqwest::Request {
    let mut request = reqwest::Request::new(ask.method.clone(), url);
    let headers = request.headers_mut();
    if let Some(accept) = ask.accept {
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    }
    if let Some(range) = &ask.range {
        headers.insert(header::RANGE, range.clone());
    }
    if let Some(authorization) = authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    if let Some(form) = &ask.form {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.clone().into());
    }
    request
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn take(ask: &Ask<'_>, mut response: reqwest::Response, url: Url, elsewhere: bool) -> Result<Answer, BodyError> {
    let status = response.status();
    let (body, open) = match ask.take {
        // What went wrong is worth reading; if it cannot be read, the status says enough.
        _ if !status.is_success() => (body::read(&mut response, body::ERROR_BYTES_MAX).await.unwrap_or_default(), None),
        // The whole where a part was asked for is what nobody wants to wait for.
        Take::Part(_) if status != StatusCode::PARTIAL_CONTENT => (Bytes::new(), None),
        Take::Nothing => (Bytes::new(), None),
        Take::Whole(max) | Take::Part(max) => (body::read(&mut response, max).await?, None),
        Take::Stream => (Bytes::new(), Some(())),
    };
    let headers = std::mem::take(response.headers_mut());
    let open = open.map(|()| Open { response });
    Ok(Answer { status, headers, body, open, url, elsewhere, secrets: Secrets::default() })
}

fn broken(error: BodyError) -> Failure {
    let (reason, problem, again) = match error {
        BodyError::TooLong(max) => (Reason::Limit, format!("the answer is longer than {max} bytes"), false),
        BodyError::Broken(problem) => {
            (Reason::Network, format!("the connection broke within the answer: {problem}"), true)
        }
        BodyError::Encoding(encoding) => (
            Reason::Server,
            format!("the answer is compressed with `{encoding}` although that was not asked for"),
            false,
        ),
    };
    Failure { reason, problem, again }
}
