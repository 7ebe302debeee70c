//! Pages and their JSON: made when they are asked for, on a thread that may block, a few at a time.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};

use super::answers::plain;
use super::body::ResponseBody;
use super::negotiate;
use super::state::ServerState;
use crate::clock::unix_now;
use crate::metrics::Encoding;
use crate::page;
use crate::page::{Answer, World};

/// A page is looked at again after each release: nothing keeps it. Style and script change with the program, and so do
/// their addresses.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=86400");

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The policy of everything that is answered: nothing from elsewhere, no style or script inside a page, forms and links
/// to this server only (Content Security Policy Level 3).
pub(super) const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'",
);

/// The files that pages refer to; `None` for any other path.
pub(super) fn asset(path: &str) -> Option<Response<ResponseBody>> {
    let (content_type, text) = match path {
        "/-/style.css" => ("text/css; charset=utf-8", page::STYLE),
        "/-/script.js" => ("text/javascript; charset=utf-8", page::SCRIPT),
        "/-/icon.svg" => ("image/svg+xml", page::ICON),
        _ => return None,
    };
    let mut response = Response::new(ResponseBody::from(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, CACHE);
    Some(response)
}

/// Makes the page of an address. The caller has checked that it is one of a page.
pub(super) async fn answer(state: &ServerState, uri: &Uri, headers: &HeaderMap) -> Response<ResponseBody> {
    let Some(permit) = state.pages.acquire().await else { return busy() };
    let encoding = negotiate::encoding(headers);
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    // Only the snapshot: bytes of a scrape must not stay in memory because of a page.
    let (shown, series) = {
        let rendered = state.rendered.borrow();
        (rendered.shown().clone(), rendered.series())
    };
    let (sources, reload) = (state.telemetry.source_states(), state.telemetry.last_reload());
    let shard = state.telemetry.shard();
    let (telemetry_path, commands) = (state.options.telemetry_path.clone(), state.commands.clone());
    let making = tokio::task::spawn_blocking(move || {
        let world = World {
            shard,
            snapshot: &shown.snapshot,
            targets: &shown.targets,
            sources: &sources,
            reload: reload.as_ref(),
            series,
            now: unix_now(),
            telemetry_path: &telemetry_path,
            commands: &*commands,
        };
        // The permit is given back when there is room for the page: what waits for it is bounded too.
        (page::answer(&path, &query, &world).map(|answer| Made::new(answer, encoding)), permit)
    });
    match making.await {
        Ok((Some(made), _permit)) => match state.pages.unsent(made.bytes).await {
            Some(bytes) => respond(made.status, made.content_type, bytes, encoding),
            None => busy(),
        },
        Ok((None, _)) => plain(StatusCode::NOT_FOUND, "not found\n"),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime shuts down.
        Err(_) => busy(),
    }
}

/// A page, encoded for its client.
struct Made {
    status: StatusCode,
    content_type: &'static str,
    bytes: Vec<u8>,
}

impl Made {
    fn new(answer: Answer, encoding: Encoding) -> Self {
        let (status, content_type, bytes) = match answer {
            Answer::Html(text) => (StatusCode::OK, HTML, text.into_bytes()),
            Answer::Json(bytes) => (StatusCode::OK, JSON, bytes),
            Answer::NoPage(text) => (StatusCode::NOT_FOUND, HTML, text.into_bytes()),
            Answer::NoJson(bytes) => (StatusCode::NOT_FOUND, JSON, bytes),
        };
        let bytes = match encoding {
            Encoding::Identity => bytes,
            Encoding::Gzip => gzip(&bytes),
        };
        Self { status, content_type, bytes }
    }
}

fn respond(status: StatusCode, content_type: &'static str, bytes: Bytes, encoding: Encoding) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, NO_CACHE);
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if encoding == Encoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing into memory does not fail")
}

fn busy() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many pages are being made or sent, try again\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
