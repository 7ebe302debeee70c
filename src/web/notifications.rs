//! `POST /-/notify/KIND`: authorizes a registry's notification, reads it, and queues what it names.
//!
//! Nothing here sends a request to a registry. The token stands in a header, or in the query for vendors that can set no
//! header: the query is never logged.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::timeout;

use super::answers::{not_allowed, plain};
use super::body::ResponseBody;
use super::state::ServerState;
use crate::notify::payload::{Attributes, parse};
use crate::notify::{Failure, Kind, Token, TokenSource};

const PREFIX: &str = "/-/notify/";

/// Bytes of a notification. A batch of 1,000 events of the distribution project's registry has about 1 MiB.
const BODY_BYTES_MAX: usize = 4 << 20;

/// From the end of the header to the end of the body.
const BODY_WAIT: Duration = Duration::from_secs(10);

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const CLOUD_EVENT_TYPE: HeaderName = HeaderName::from_static("ce-type");
const CLOUD_EVENT_SOURCE: HeaderName = HeaderName::from_static("ce-source");

/// Where the token is, if the path is the endpoint's and the endpoint exists.
pub(super) fn source(state: &ServerState, path: &str) -> Option<Arc<TokenSource>> {
    if path.starts_with(PREFIX) { state.notifications.source() } else { None }
}

/// Answers a notification and counts it.
pub(super) async fn receive<B: NotificationBody>(
    state: &ServerState,
    source: &TokenSource,
    request: Request<B>,
) -> Response<ResponseBody> {
    let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let Some(kind) = Kind::parse(name) else {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        return plain(StatusCode::NOT_FOUND, format!("no such kind of notification: use one of {kinds}\n"));
    };
    if *request.method() != Method::POST {
        return not_allowed("POST");
    }
    let taken = take(state, source, kind, request).await;
    state.telemetry.notified(kind, taken.as_ref().err().map(|(failure, _)| *failure));
    match taken {
        Ok(()) => plain(StatusCode::ACCEPTED, ""),
        Err((failure, why)) => {
            // At debug, since anybody can cause it; the counters show it.
            tracing::debug!(kind = kind.as_str(), reason = failure.as_str(), %why, "notification refused");
            let mut response = plain(status(failure), format!("{why}\n"));
            if failure == Failure::Denied {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

fn status(failure: Failure) -> StatusCode {
    match failure {
        Failure::Denied => StatusCode::UNAUTHORIZED,
        Failure::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        Failure::Invalid => StatusCode::BAD_REQUEST,
        Failure::Network => StatusCode::REQUEST_TIMEOUT,
        Failure::Busy | Failure::Token => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn take<B: NotificationBody>(
    state: &ServerState,
    source: &TokenSource,
    kind: Kind,
    request: Request<B>,
) -> Result<(), (Failure, String)> {
    let endpoint = &state.notifications;
    // Reading a small local file takes no longer than taking a lock.
    let token = source.read().map_err(|error| {
        tracing::error!(%error, "cannot read the token of notifications");
        (Failure::Token, "the token of notifications cannot be read: see the log".to_owned())
    })?;
    let (parts, body) = request.into_parts();
    let signature = parts.headers.get(SIGNATURE).map(|value| value.as_bytes().to_owned());
    let is_authorized = is_authorized(&token, &parts.headers, parts.uri.query());
    if !is_authorized && signature.is_none() {
        return Err(denied());
    }
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bodies = if is_authorized { &endpoint.authorized } else { &endpoint.signed };
    let reading = async {
        let permit = bodies.acquire().await;
        (read(body).await, permit)
    };
    let late = |_| (Failure::Network, "the body did not arrive in time".to_owned());
    let (body, _permit) = timeout(BODY_WAIT, reading).await.map_err(late)?;
    let body = body?;
    if !is_authorized && !signature.is_some_and(|signature| token.signs(&signature, &body)) {
        return Err(denied());
    }
    let text = |name| parts.headers.get(name)?.to_str().ok();
    let attributes =
        Attributes { cloud_event_type: text(CLOUD_EVENT_TYPE), cloud_event_source: text(CLOUD_EVENT_SOURCE) };
    let events = parse(kind, attributes, &body)
        .map_err(|error| (Failure::Invalid, format!("not a notification of kind {}: {error}", kind.as_str())))?;
    tracing::debug!(kind = kind.as_str(), events = events.len(), "notification");
    endpoint.queue.add(&events).map_err(|_| (Failure::Busy, "too many changes wait: send it again later".to_owned()))
}

/// Whether the token is in the header or in the query.
fn is_authorized(token: &Token, headers: &HeaderMap, query: Option<&str>) -> bool {
    let mut parameters = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    headers.get(AUTHORIZATION).is_some_and(|value| token.authorizes(value.as_bytes()))
        || parameters.any(|(key, value)| key == "token" && token.is(value.as_bytes()))
}

/// A body that can be read within a limit.
pub(super) trait NotificationBody: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> {}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>> NotificationBody for B {}

async fn read<B: NotificationBody>(body: B) -> Result<Bytes, (Failure, String)> {
    match pin!(Limited::new(body, BODY_BYTES_MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err((Failure::Network, "the body broke off".to_owned())),
    }
}

fn denied() -> (Failure, String) {
    let how = "the token of `[notifications]` is required: as bearer token, as password, in ?token=, or as key of \
               X-Hub-Signature-256";
    (Failure::Denied, how.to_owned())
}

fn too_large() -> (Failure, String) {
    (Failure::Limit, "a notification has at most 4 MiB: send fewer events at once".to_owned())
}
