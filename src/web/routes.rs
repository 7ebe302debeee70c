//! The answer to each request.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answers::{not_allowed, plain};
use super::body::ResponseBody;
use super::deadlines::AnswerGuard;
use super::notifications::NotificationBody;
use super::state::ServerState;
use super::web_config::Verdict;
use super::{negotiate, notifications, pages};
use crate::metrics::Encoding;
use crate::page;

/// How long a client waits for a reload before it is referred to the log.
const RELOAD_WAIT: Duration = Duration::from_secs(50);

const READING: &str = "GET, HEAD";

/// Bytes of a request's header, from the method to the empty line.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Answers one request under the current web configuration. Only the body of a notification is read.
pub(super) async fn answer<B: NotificationBody>(
    state: &ServerState,
    request: Request<B>,
    mut guard: AnswerGuard,
) -> Response<ResponseBody> {
    let web = state.web_config.current();
    let mut response = if header_bytes(&request) > HEADER_BYTES_MAX {
        plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's header has more than 32 KiB\n")
    } else if !names_one_host(&request) {
        plain(StatusCode::BAD_REQUEST, "one Host header is required\n")
    } else if !web.passes_rate() {
        plain(StatusCode::TOO_MANY_REQUESTS, "too many requests\n")
    } else if let Some(source) = notifications::source(state, request.uri().path()) {
        // A registry has the token of notifications and none of the users of the web configuration.
        notifications::receive(state, &source, request).await
    } else {
        match state.web_config.authenticate(&web, request.headers().get(AUTHORIZATION)).await {
            Verdict::Allowed => route(state, &request, &mut guard).await,
            Verdict::Denied => unauthorized(),
            Verdict::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to check, try again\n"),
        }
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("deny"));
    headers.insert(CONTENT_SECURITY_POLICY, pages::CONTENT_SECURITY_POLICY);
    for (name, value) in web.headers() {
        headers.insert(name, value.clone());
    }
    response.map(|body| body.with_guard(guard))
}

/// The header's length in HTTP/1.1. hyper limits its buffer, which may hold most of a second header, and not the
/// header.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let target = uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
}

/// HTTP/1.1 requires exactly one `Host` (RFC 9112, section 3.2): of several, a proxy and this server could use
/// different ones.
fn names_one_host<B>(request: &Request<B>) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

fn unauthorized() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::UNAUTHORIZED, "unauthorized\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"image-size-exporter\""));
    response
}

async fn route<B>(state: &ServerState, request: &Request<B>, guard: &mut AnswerGuard) -> Response<ResponseBody> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_page = path != state.options.telemetry_path && page::is_page(path);
    match path {
        "/-/reload" => match *request.method() {
            Method::POST | Method::PUT => reload(state).await,
            _ => not_allowed("POST, PUT"),
        },
        _ if path == state.options.telemetry_path && is_read => metrics(state, request, guard).await,
        _ if path == state.options.telemetry_path => not_allowed(READING),
        _ if (is_page || path == "/config") && !is_expected_host(&state.options.hosts, request) => {
            plain(StatusCode::MISDIRECTED_REQUEST, "this host name is not among those of `[web] hosts`\n")
        }
        _ if is_page && is_read => pages::answer(state, request.uri(), request.headers()).await,
        _ if is_page => not_allowed(READING),
        "/config" => read(is_read, || plain(StatusCode::OK, state.config.load().as_str().to_owned())),
        "/-/healthy" => read(is_read, || plain(StatusCode::OK, "image-size-exporter is healthy.\n")),
        "/-/ready" => read(is_read, || ready(state)),
        _ => match pages::asset(path) {
            Some(file) => read(is_read, || file),
            None => plain(StatusCode::NOT_FOUND, "not found\n"),
        },
    }
}

/// Whether the request names an expected host, if any are configured. A page of another site whose name an attacker
/// points at this address (DNS rebinding) sends its own name.
fn is_expected_host<B>(hosts: &[String], request: &Request<B>) -> bool {
    if hosts.is_empty() {
        return true;
    }
    // The target of the request counts before `Host` (RFC 9112, section 3.2.2); in HTTP/2 there is only the former.
    let header = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let Some(authority) = request.uri().authority().cloned().or_else(header) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches([']', '.']);
    hosts.iter().any(|expected| expected.eq_ignore_ascii_case(host))
}

fn read(is_read: bool, answer: impl FnOnce() -> Response<ResponseBody>) -> Response<ResponseBody> {
    if is_read { answer() } else { not_allowed(READING) }
}

async fn metrics<B>(state: &ServerState, request: &Request<B>, guard: &mut AnswerGuard) -> Response<ResponseBody> {
    let Some(permit) = state.scrapes.acquire().await else {
        let limit = state.options.max_requests;
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("limit of {limit} concurrent scrapes reached, try again\n"),
        );
    };
    guard.hold(permit);
    let accepted = negotiate::format(request.headers());
    let encoding = negotiate::encoding(request.headers());
    let rendered = Arc::clone(&state.rendered.borrow());
    let mut tail = state.telemetry.encode(accepted.format);
    tail.extend_from_slice(accepted.format.end().as_bytes());
    let tail = rendered.tail(encoding, tail);
    let mut response = Response::new(ResponseBody::scrape(&rendered, encoding, tail));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(accepted.content_type));
    headers.insert(VARY, HeaderValue::from_static(negotiate::VARY));
    if encoding == Encoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn ready(state: &ServerState) -> Response<ResponseBody> {
    if state.is_ready() {
        plain(StatusCode::OK, "image-size-exporter is ready.\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "image-size-exporter is not ready.\n")
    }
}

async fn reload(state: &ServerState) -> Response<ResponseBody> {
    if !state.options.enable_lifecycle {
        return plain(StatusCode::FORBIDDEN, "reloading is not enabled: start with --web.enable-lifecycle\n");
    }
    let (answer, answered) = oneshot::channel();
    let asked = async {
        state.reload.send(answer).await.ok()?;
        answered.await.ok()
    };
    match timeout(RELOAD_WAIT, asked).await {
        Ok(Some(Ok(()))) => plain(StatusCode::OK, ""),
        Ok(Some(Err(error))) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload: {error}\n")),
        Ok(None) => plain(StatusCode::SERVICE_UNAVAILABLE, "the program is shutting down\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the reload is still running: see the log\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::sync::mpsc;

    use super::*;
    use crate::metrics;
    use crate::metrics::Telemetry;
    use crate::web::deadlines::Deadlines;
    use crate::web::{ConnectionLimits, Options, WebConfig};

    #[tokio::test(start_paused = true)]
    async fn a_scrape_is_refused_when_clients_that_do_read_hold_all_permits() {
        let telemetry = Arc::new(Telemetry::default());
        let (_publisher, rendered) = metrics::channel(Arc::clone(&telemetry));
        let options = Options { max_requests: 1, ..Options::default() };
        let state = Arc::new(ServerState::new(rendered, telemetry, mpsc::channel(1).0, WebConfig::none(), options));
        for _ in 0..10 {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let permit = state.scrapes.acquire().await;
                let mut reads = tokio::time::interval(Duration::from_millis(5));
                while let Some(permit) = &permit {
                    reads.tick().await;
                    permit.progress();
                }
            });
        }
        tokio::task::yield_now().await;
        let request = |path: &str| Request::get(path).header(HOST, "a").body(Empty::<Bytes>::new()).expect("a request");
        let guard = || Deadlines::new(ConnectionLimits::default()).answer();
        let refused = answer(&state, request("/metrics"), guard()).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = refused.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(text, "limit of 1 concurrent scrapes reached, try again\n");
        assert_eq!(answer(&state, request("/-/healthy"), guard()).await.status(), StatusCode::OK);
    }
}
