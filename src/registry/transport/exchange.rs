//! One exchange with a registry: a request sent once, its redirects followed, its answer read within limits.

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
use crate::registry::error::describe;

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The subject of error messages.
    pub(crate) what: &'a (dyn Display + Sync),
    pub(crate) accept: Option<&'static str>,
    pub(crate) range: Option<HeaderValue>,
    /// Sent as `application/x-www-form-urlencoded`.
    pub(crate) form: Option<String>,
    pub(crate) take: Take,
}

/// How the body of a successful answer is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Not at all.
    Nothing,
    /// Up to this many bytes; a longer body is an error.
    Whole(u64),
    /// Up to this many bytes if it is the requested part (206); otherwise not at all.
    Part(u64),
    /// The caller reads it.
    Stream,
}

/// An answer that is neither a redirect nor a failure of the registry.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The whole body, or the beginning of an error's.
    pub(crate) body: Bytes,
    /// The unread body, for `Take::Stream` and a successful status.
    pub(crate) open: Option<Open>,
    /// The address that answered, after redirects.
    pub(crate) url: Url,
    /// Whether a host other than the registry answered, which received no credentials.
    pub(crate) elsewhere: bool,
    /// What must be redacted from the answer's texts.
    pub(crate) secrets: Secrets,
}

/// A body that is still to be read. It holds no place among the concurrent requests: the reader of layers limits how
/// many it reads at once, and a long one must not keep scans waiting.
pub(crate) struct Open {
    pub(crate) response: reqwest::Response,
}

/// Why one exchange failed.
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) problem: String,
    /// Whether a retry may help.
    pub(crate) is_retryable: bool,
    /// Whether any server answered, if only with a redirect.
    pub(crate) answered: bool,
    /// How long the registry wants to wait for a retry.
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

impl<'a> Ask<'a> {
    pub(crate) fn new(
        operation: Operation,
        method: Method,
        url: Url,
        what: &'a (dyn Display + Sync),
        take: Take,
    ) -> Self {
        Self { operation, method, url, what, accept: None, range: None, form: None, take }
    }

    /// Requests bytes `first..=last`, or everything from `first` on.
    pub(crate) fn bytes(mut self, first: u64, last: Option<u64>) -> Self {
        let range = last.map_or_else(|| format!("bytes={first}-"), |last| format!("bytes={first}-{last}"));
        self.range = Some(HeaderValue::from_str(&range).expect("digits and dashes are valid in a header"));
        self
    }
}

impl Answer {
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
    /// A failure of a server that answered, which a retry does not mend.
    pub(crate) fn definite(reason: Reason, problem: String) -> Self {
        Self { reason, problem, is_retryable: false, answered: true, retry_after: None }
    }
}

impl Exchange {
    /// Sends the request once and follows its redirects. Credentials go to the registry's own host only.
    pub(crate) async fn run(&self, ask: &Ask<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut url = ask.url.clone();
        let mut allowed = authorization;
        // A redirected list continues where it was found, without the registry's credentials.
        let mut elsewhere = ask.operation != Operation::GetToken && !redirect::shares_credentials(&self.home, &ask.url);
        let own_host = redirect::is_own_host(&self.home, &url);
        for hop in 0..=REDIRECTS_MAX {
            let client = self.connections.to(own_host && !elsewhere);
            let sent = tokio::time::timeout_at(deadline, client.execute(request(ask, url.clone(), allowed))).await;
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.unreachable(&url, error, hop > 0)),
                Err(_) => return Err(self.late(&url, hop > 0)),
            };
            if !is_redirect(response.status()) {
                let read = tokio::time::timeout_at(deadline, read(ask, response, url.clone(), elsewhere)).await;
                return match read {
                    Ok(Ok(answer)) => Ok(Answer { secrets: self.secrets(ask, &answer.url, authorization), ..answer }),
                    Ok(Err(error)) => Err(unreadable(error)),
                    Err(_) => Err(self.late(&url, true)),
                };
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = redirect::target(&ask.url, &url, location).map_err(|refusal| {
                let host = redirect::authority(&url);
                let problem = format!("{host} answered with a redirect that is not followed: {refusal}");
                Failure::definite(Reason::Server, problem)
            })?;
            if !redirect::shares_credentials(&ask.url, &next) {
                if ask.form.is_some() {
                    let (from, to) = (redirect::authority(&url), redirect::authority(&next));
                    let problem = format!("{from} redirects a request with credentials to {to}, which is not followed");
                    return Err(Failure::definite(Reason::Server, problem));
                }
                allowed = None;
                elsewhere = true;
            }
            url = next;
        }
        let problem = format!("more than {REDIRECTS_MAX} redirects, the last to {}", redirect::authority(&url));
        Err(Failure::definite(Reason::Limit, problem))
    }

    /// The secrets that the request carried on its way to `url`.
    fn secrets(&self, ask: &Ask<'_>, url: &Url, authorization: Option<&HeaderValue>) -> Secrets {
        let secrets = self.proxy_secrets.clone().header(authorization).form(ask.form.as_deref());
        if *url == ask.url { secrets } else { secrets.redirect(url) }
    }

    fn unreachable(&self, url: &Url, error: reqwest::Error, answered: bool) -> Failure {
        let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Network };
        let text = describe(error);
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
        Failure { reason, problem, is_retryable: true, answered, retry_after: None }
    }

    fn late(&self, url: &Url, answered: bool) -> Failure {
        let waited = humantime::format_duration(self.timeout);
        let problem = format!("no answer from {} within {waited}", redirect::authority(url));
        Failure { reason: Reason::Timeout, problem, is_retryable: false, answered, retry_after: None }
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

async fn read(ask: &Ask<'_>, mut response: reqwest::Response, url: Url, elsewhere: bool) -> Result<Answer, BodyError> {
    let status = response.status();
    let (body, open) = match ask.take {
        // The body says more about a failure; if it cannot be read, the status is enough.
        _ if !status.is_success() => (body::read(&mut response, body::ERROR_BYTES_MAX).await.unwrap_or_default(), None),
        // The server sends the whole although a part was requested: it may be gigabytes.
        Take::Part(_) if status != StatusCode::PARTIAL_CONTENT => (Bytes::new(), None),
        Take::Nothing => (Bytes::new(), None),
        Take::Whole(max) | Take::Part(max) => (body::read(&mut response, max).await?, None),
        Take::Stream => (Bytes::new(), Some(())),
    };
    let headers = std::mem::take(response.headers_mut());
    let open = open.map(|()| Open { response });
    Ok(Answer { status, headers, body, open, url, elsewhere, secrets: Secrets::default() })
}

fn unreadable(error: BodyError) -> Failure {
    let definite = |reason, problem| Failure::definite(reason, problem);
    match error {
        BodyError::TooLong(max) => definite(Reason::Limit, format!("the answer is longer than {max} bytes")),
        BodyError::Broken(problem) => Failure {
            is_retryable: true,
            ..definite(Reason::Network, format!("the connection broke within the answer: {problem}"))
        },
        BodyError::Encoding(encoding) => definite(
            Reason::Server,
            format!("the answer is compressed with `{encoding}` although that was not asked for"),
        ),
    }
}
