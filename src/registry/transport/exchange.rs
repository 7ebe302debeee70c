//! One HTTP exchange with a registry: sends a request once, follows redirects, and reads the response within limits.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use super::body::{self, BodyError};
use super::connect::Connections;
use super::redact::Secrets;
use super::redirect::{self, REDIRECTS_MAX};
use crate::oci::{Operation, Reason};
use crate::registry::auth::secret::Secret;
use crate::registry::error::describe;

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The subject of error messages.
    pub(crate) subject: &'a (dyn Display + Sync),
    pub(crate) accept: Option<&'static str>,
    pub(crate) range: Option<HeaderValue>,
    pub(crate) content: Option<Content>,
    pub(crate) read_body: ReadBody,
}

/// What a request sends: credentials, in both forms.
pub(crate) enum Content {
    /// As `application/x-www-form-urlencoded`.
    Form(String),
    /// As `application/json`, with this secret in it.
    Json { text: String, secret: Secret },
}

/// How much of a successful response's body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadBody {
    /// Nothing.
    Nothing,
    /// Up to this many bytes; a longer body is an error.
    Whole(u64),
    /// Up to this many bytes if it is the requested part (206); otherwise not at all.
    Part(u64),
    /// The caller reads it.
    Stream,
}

/// A response that is neither a redirect nor a failure of the registry.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The whole body, or the beginning of an error's.
    pub(crate) body: Bytes,
    /// The unread body, for `ReadBody::Stream` and a successful status.
    pub(crate) unread: Option<UnreadBody>,
    /// The address that answered, after redirects.
    pub(crate) url: Url,
    /// Whether a host other than the registry answered, which received no credentials.
    pub(crate) other_host: bool,
    /// What must be redacted from the answer's texts.
    pub(crate) secrets: Secrets,
}

/// A body that is still to be read. It does not count as a concurrent request: the layer worker limits how many it
/// reads at once, and a long one must not delay scans.
pub(crate) struct UnreadBody {
    pub(crate) response: reqwest::Response,
}

/// Why one exchange failed.
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) problem: String,
    /// Whether a retry may help.
    pub(crate) is_retryable: bool,
    /// Whether the request was sent, as far as is known.
    pub(crate) sent: bool,
    /// Whether any server answered, if only with a redirect.
    pub(crate) answered: bool,
    /// How long to wait for a retry, by `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

/// What every exchange with one registry needs.
pub(crate) struct Exchange {
    /// The address of the registry's API.
    pub(crate) home: Url,
    pub(crate) connections: Connections,
    /// For one request with its redirects; for streams, the longest time without progress.
    pub(crate) timeout: Duration,
    /// Appended to errors about certificates of unknown authorities.
    pub(crate) trust_hint: &'static str,
    /// The credentials that every request to a proxy carries.
    pub(crate) proxy_secrets: Secrets,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        operation: Operation,
        method: Method,
        url: Url,
        subject: &'a (dyn Display + Sync),
        read_body: ReadBody,
    ) -> Self {
        Self { operation, method, url, subject, accept: None, range: None, content: None, read_body }
    }

    /// Requests bytes `first..=last`, or everything from `first` on.
    pub(crate) fn bytes(mut self, first: u64, last: Option<u64>) -> Self {
        let range = last.map_or_else(|| format!("bytes={first}-"), |last| format!("bytes={first}-{last}"));
        self.range = Some(HeaderValue::from_str(&range).expect("digits and dashes are valid in a header"));
        self
    }
}

impl Response {
    /// A header's value; `None` where it is absent or not ASCII text.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Type`, empty where it is missing.
    pub(crate) fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE).unwrap_or_default()
    }

    /// `Content-Length` as sent, also of an answer to HEAD.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.trim().parse().ok()
    }
}

impl Failure {
    /// A failure of a server that answered, for which a retry does not help.
    pub(crate) fn definite(reason: Reason, problem: String) -> Self {
        Self { reason, problem, is_retryable: false, sent: true, answered: true, retry_after: None }
    }
}

impl Exchange {
    /// Sends the request once and follows its redirects. Credentials go to the registry's own host only.
    pub(crate) async fn run(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut url = request.url.clone();
        let mut allowed = authorization;
        // A redirected list continues on the host that has it, without the registry's credentials.
        let mut other_host =
            request.operation != Operation::GetToken && !redirect::shares_credentials(&self.home, &request.url);
        let own_host = redirect::is_own_host(&self.home, &url);
        for hop in 0..=REDIRECTS_MAX {
            let client = self.connections.to(own_host && !other_host);
            let sent = tokio::time::timeout_at(deadline, client.execute(build(request, url.clone(), allowed))).await;
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.unreachable(&url, error, hop > 0)),
                Err(_) => return Err(self.timed_out(&url, hop > 0)),
            };
            if !is_redirect(response.status()) {
                let read = tokio::time::timeout_at(deadline, read(request, response, url.clone(), other_host)).await;
                return match read {
                    Ok(Ok(response)) => {
                        Ok(Response { secrets: self.secrets(request, &response.url, authorization), ..response })
                    }
                    Ok(Err(error)) => Err(unreadable(error)),
                    Err(_) => Err(self.timed_out(&url, true)),
                };
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = redirect::target(&request.url, &url, location).map_err(|refusal| {
                let host = redirect::authority(&url);
                let problem = format!("{host} answered with a redirect that is not followed: {refusal}");
                Failure::definite(Reason::Server, problem)
            })?;
            if !redirect::shares_credentials(&request.url, &next) {
                if request.content.is_some() {
                    let (from, to) = (redirect::authority(&url), redirect::authority(&next));
                    let problem = format!("{from} redirects a request with credentials to {to}, which is not followed");
                    return Err(Failure::definite(Reason::Server, problem));
                }
                allowed = None;
                other_host = true;
            }
            url = next;
        }
        let problem = format!("more than {REDIRECTS_MAX} redirects, the last to {}", redirect::authority(&url));
        Err(Failure::definite(Reason::Limit, problem))
    }

    /// The secrets that the request carried on its way to `url`.
    fn secrets(&self, request: &Request<'_>, url: &Url, authorization: Option<&HeaderValue>) -> Secrets {
        let secrets = self.proxy_secrets.clone().header(authorization);
        let secrets = match &request.content {
            Some(Content::Form(form)) => secrets.form(form),
            Some(Content::Json { secret, .. }) => secrets.secret(secret),
            None => secrets,
        };
        if *url == request.url { secrets } else { secrets.redirect(url) }
    }

    fn unreachable(&self, url: &Url, error: reqwest::Error, answered: bool) -> Failure {
        let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Network };
        let sent = !error.is_connect();
        let text = describe(error);
        let untrusted = text.contains("invalid peer certificate");
        let hint = if untrusted && !text.contains("not valid for") && !text.contains("expired") {
            self.trust_hint
        } else if text.contains("InvalidContentType") {
            "; if it speaks plain HTTP, set `plain_http = true`"
        } else if text.contains("CertificateRequired") {
            "; it requires a client certificate: set `cert_file` and `key_file`, which are shown to the registry's own host only"
        } else {
            ""
        };
        let problem = format!("cannot reach {}: {text}{hint}", redirect::authority(url));
        Failure { reason, problem, is_retryable: true, sent, answered, retry_after: None }
    }

    fn timed_out(&self, url: &Url, answered: bool) -> Failure {
        let waited = humantime::format_duration(self.timeout);
        let problem = format!("no answer from {} within {waited}", redirect::authority(url));
        Failure { reason: Reason::Timeout, problem, is_retryable: false, sent: true, answered, retry_after: None }
    }
}

fn build(request: &Request<'_>, url: Url, authorization: Option<&HeaderValue>) -> reqwest::Request {
    let mut built = reqwest::Request::new(request.method.clone(), url);
    let headers = built.headers_mut();
    if let Some(accept) = request.accept {
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    }
    if let Some(range) = &request.range {
        headers.insert(header::RANGE, range.clone());
    }
    if let Some(authorization) = authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    if let Some(content) = &request.content {
        let (media_type, text) = match content {
            Content::Form(text) => ("application/x-www-form-urlencoded", text),
            Content::Json { text, .. } => ("application/json", text),
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        *built.body_mut() = Some(text.clone().into());
    }
    built
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn read(
    request: &Request<'_>,
    mut response: reqwest::Response,
    url: Url,
    other_host: bool,
) -> Result<Response, BodyError> {
    let status = response.status();
    let (body, unread) = match request.read_body {
        // The body explains a failure; if it cannot be read, the status is enough.
        _ if !status.is_success() => (body::read(&mut response, body::ERROR_BYTES_MAX).await.unwrap_or_default(), None),
        // The server sends the whole blob although a part was requested: that may be gigabytes.
        ReadBody::Part(_) if status != StatusCode::PARTIAL_CONTENT => (Bytes::new(), None),
        ReadBody::Nothing => (Bytes::new(), None),
        ReadBody::Whole(max) | ReadBody::Part(max) => (body::read(&mut response, max).await?, None),
        ReadBody::Stream => (Bytes::new(), Some(())),
    };
    let headers = std::mem::take(response.headers_mut());
    let unread = unread.map(|()| UnreadBody { response });
    Ok(Response { status, headers, body, unread, url, other_host, secrets: Secrets::default() })
}

fn unreadable(error: BodyError) -> Failure {
    let definite = |reason, problem| Failure::definite(reason, problem);
    match error {
        BodyError::TooLong(max) => definite(Reason::Limit, format!("the answer is longer than {max} bytes")),
        BodyError::Broken(problem) => Failure {
            is_retryable: true,
            ..definite(Reason::Network, format!("the connection broke within the answer: {problem}"))
        },
        BodyError::Encoding(encoding) => {
            definite(Reason::Server, format!("the answer is compressed with `{encoding}`, which was not requested"))
        }
    }
}
