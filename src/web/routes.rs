//! What is answered to what.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body::Body;
use super::web_config::Verdict;
use super::{State, negotiate, page};
use crate::metrics::{Encoding, Format, Rendered};

/// How long a reload may take before the client is told that nothing is known of it.
const RELOAD_WAIT: Duration = Duration::from_secs(50);

/// Publications are a second apart, at least: one during a scrape is rare, and two in a row are no reason to go on.
const SWAPS_MAX: usize = 3;

const PLAIN: &str = "text/plain; charset=utf-8";

const READING: &str = "GET, HEAD";

/// Answers one request as the web configuration wants it. Its body, if it has one, is not read.
pub(super) async fn answer<B>(state: &State, request: Request<B>) -> Response<Body> {
    let web = state.web_config.current();
    let mut response = if !names_one_host(&request) {
        plain(StatusCode::BAD_REQUEST, "one Host header is required\n")
    } else if web.passes_rate() {
        match state.web_config.authenticate(&web, request.headers().get(AUTHORIZATION)).await {
            Verdict::Allowed => route(state, &request).await,
            Verdict::Denied => unauthorized(),
            Verdict::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to check, try again\n"),
        }
    } else {
        plain(StatusCode::TOO_MANY_REQUESTS, "too many requests\n")
    };
    response.headers_mut().extend(web.headers().iter().cloned());
    response
}

/// HTTP/1.1 asks for exactly one (RFC 9112, section 3.2): two readers of a request with several may differ in which
/// counts.
fn names_one_host<B>(request: &Request<B>) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

fn unauthorized() -> Response<Body> {
    let mut response = plain(StatusCode::UNAUTHORIZED, "unauthorized\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"image-size-exporter\""));
    response
}

async fn route<B>(state: &State, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/-/reload" => match *request.method() {
            Method::POST | Method::PUT => reload(state).await,
            _ => not_allowed("POST, PUT"),
        },
        _ if path == state.options.telemetry_path && is_read => metrics(state, request).await,
        _ if path == state.options.telemetry_path => not_allowed(READING),
        "/" => read(is_read, || html(page::page(state))),
        "/config" => read(is_read, || plain(StatusCode::OK, state.config.load().as_str().to_owned())),
        "/-/healthy" => read(is_read, || plain(StatusCode::OK, "image-size-exporter is healthy.\n")),
        "/-/ready" => read(is_read, || ready(state)),
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn read(is_read: bool, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if is_read { answer() } else { not_allowed(READING) }
}

/// The rendered bytes, and a tail.
fn current(state: &State, format: Format) -> (Arc<Rendered>, Vec<u8>) {
    let rendered = Arc::clone(&state.rendered.borrow());
    let tail = state.telemetry.encode(format);
    (rendered, tail)
}

async fn metrics<B>(state: &State, request: &Request<B>) -> Response<Body> {
    let Some(slot) = state.slots.take().await else {
        let limit = state.options.max_requests;
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("limit of {limit} concurrent scrapes reached, try again\n"),
        );
    };
    let accepted = negotiate::format(request.headers());
    let encoding = negotiate::encoding(request.headers());
    let (mut rendered, mut tail) = current(state, accepted.format);
    for _ in 0..SWAPS_MAX {
        if Arc::ptr_eq(&rendered, &state.rendered.borrow()) {
            break;
        }
        // Published in between: the tail may belong to the newer bytes.
        (rendered, tail) = current(state, accepted.format);
    }
    tail.extend_from_slice(accepted.format.end().as_bytes());
    let tail = rendered.tail(encoding, tail);
    let mut response = Response::new(Body::scrape(&rendered, encoding, tail, slot));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(accepted.content_type));
    headers.insert(VARY, HeaderValue::from_static(negotiate::VARY));
    if encoding == Encoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn ready(state: &State) -> Response<Body> {
    if state.is_ready.load(Ordering::Relaxed) {
        plain(StatusCode::OK, "image-size-exporter is ready.\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "image-size-exporter is not ready.\n")
    }
}

async fn reload(state: &State) -> Response<Body> {
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
        Ok(None) => plain(StatusCode::SERVICE_UNAVAILABLE, "the program is about to end\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the reload takes long: see the log\n"),
    }
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed: use {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn html(page: String) -> Response<Body> {
    with_type(StatusCode::OK, "text/html; charset=utf-8", page)
}

pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, PLAIN, text)
}

fn with_type(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    use super::*;
    use crate::metrics;
    use crate::metrics::Telemetry;
    use crate::web::{Options, WebConfig};

    #[tokio::test(start_paused = true)]
    async fn a_scrape_is_refused_when_others_that_do_read_keep_it_waiting() {
        let telemetry = Arc::new(Telemetry::new());
        let (_publisher, rendered) = metrics::channel(Arc::clone(&telemetry));
        let options = Options { max_requests: 1, ..Options::default() };
        let state = Arc::new(State::new(rendered, telemetry, mpsc::channel(1).0, WebConfig::none(), options));
        for _ in 0..10 {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let slot = state.slots.take().await;
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                while let Some(slot) = &slot {
                    pace.tick().await;
                    slot.progress();
                }
            });
        }
        tokio::task::yield_now().await;
        let request = |path: &str| Request::get(path).header(HOST, "a").body(()).expect("a request");
        let refused = answer(&state, request("/metrics")).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = refused.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(text, "limit of 1 concurrent scrapes reached, try again\n");
        assert_eq!(answer(&state, request("/-/healthy")).await.status(), StatusCode::OK);
    }
}
