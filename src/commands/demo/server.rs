//! The reading half of the distribution API over what is on the shelf (OCI distribution specification, "Pull" and
//! "Content Discovery").

use std::convert::Infallible;
use std::future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::layers::Recipe;
use super::shelf::{Blob, Manifest, Shelf};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Answers for ever. Connections end with the task that runs this.
pub(super) async fn serve(listener: TcpListener, shelf: Arc<Shelf>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, say: those who are connected come first.
                let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                let shelf = Arc::clone(&shelf);
                connections.spawn(async move {
                    let service = service_fn(move |request| future::ready(Ok::<_, Infallible>(answer(&shelf, request))));
                    // A client that goes away in the middle is no event.
                    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// An answer, and of a layer what of it is to be made as body.
struct Answer {
    response: Response<Bytes>,
    layer: Option<(Recipe, Range<u64>)>,
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        Self { response, layer: None }
    }
}

type Body = Either<Full<Bytes>, StreamBody<Pieces>>;

fn answer(shelf: &Shelf, request: Request<Incoming>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let Answer { mut response, layer } = respond(shelf, &parts);
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response.map(|body| match layer {
        Some((recipe, range)) => Either::Right(StreamBody::new(Pieces::of(recipe, range))),
        None => Either::Left(Full::new(body)),
    })
}

/// Bytes of a layer while it is made: no more of it is in memory than a connection takes in a moment.
struct Pieces(mpsc::Receiver<Bytes>);

impl Pieces {
    /// Pieces that may wait to be sent; each is some 64 KiB.
    const WAITING_MAX: usize = 4;

    fn of(recipe: Recipe, range: Range<u64>) -> Self {
        let (pieces, made) = mpsc::channel(Self::WAITING_MAX);
        // Making a layer takes a moment of a processor, and waits for the client.
        tokio::task::spawn_blocking(move || {
            let mut at = 0;
            recipe.transfer(|piece| {
                let piece = Bytes::from(piece);
                let start = at;
                at += piece.len() as u64;
                let index = |bytes: u64| usize::try_from(bytes - start).expect("within the piece");
                let (first, end) = (range.start.clamp(start, at), range.end.clamp(start, at));
                let is_sent = first == end || pieces.blocking_send(piece.slice(index(first)..index(end))).is_ok();
                is_sent && at < range.end
            });
        });
        Self(made)
    }
}

impl futures_util::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn respond(shelf: &Shelf, parts: &Parts) -> Answer {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry can only be read").into();
    }
    let path = parts.uri.path().strip_prefix("/v2/");
    let Some(path) = path else {
        return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "the API is under /v2/").into();
    };
    let found = match path.rsplit('/').collect::<Vec<_>>()[..] {
        [""] => json_answer(&json!({})),
        ["_catalog"] => page(parts, "repositories", shelf.repositories(), &json!({})),
        ["list", "tags", ..] => {
            let name = path.trim_end_matches("/tags/list");
            match shelf.tags(name) {
                Some(tags) => page(parts, "tags", tags, &json!({"name": name})),
                None => refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository"),
            }
        }
        [reference, "manifests", ..] => {
            let name = path.trim_end_matches(reference).trim_end_matches("/manifests/");
            match shelf.manifest(name, reference) {
                Some(manifest) => manifest_answer(parts, &manifest),
                None => refusal(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest"),
            }
        }
        [digest, "blobs", ..] => match shelf.blob(digest) {
            Some(blob) => return blob_answer(parts, digest, &blob),
            None => refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob"),
        },
        _ => refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such resource"),
    };
    found.into()
}

fn manifest_answer(parts: &Parts, manifest: &Manifest) -> Response<Bytes> {
    let body = if parts.method == Method::HEAD { Bytes::new() } else { manifest.body.clone() };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(manifest.body.len()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(manifest.media_type));
    response.headers_mut().insert(DIGEST, header(&manifest.digest));
    response
}

fn blob_answer(parts: &Parts, digest: &str, blob: &Blob) -> Answer {
    let total = match blob {
        Blob::TagRecord(bytes) => bytes.len() as u64,
        Blob::Layer { bytes, .. } => *bytes,
    };
    let (mut response, asked) = match range(parts, total) {
        Asked::Everything => (Response::default(), 0..total),
        Asked::Impossible => {
            let mut response = refusal(StatusCode::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", "no such range");
            response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{total}")));
            return response.into();
        }
        Asked::Bytes(first, last) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes {first}-{last}/{total}")));
            (response, first..last + 1)
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(asked.end - asked.start));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().insert(DIGEST, header(digest));
    let index = |at: u64| usize::try_from(at).expect("what is kept fits into memory");
    match blob {
        _ if parts.method == Method::HEAD => response.into(),
        Blob::TagRecord(bytes) => response.map(|_: Bytes| bytes.slice(index(asked.start)..index(asked.end))).into(),
        Blob::Layer { recipe, .. } => Answer { response, layer: Some((*recipe, asked)) },
    }
}

/// What a request wants of a blob.
enum Asked {
    Everything,
    /// From the first to the last one.
    Bytes(u64, u64),
    /// A range outside of the blob.
    Impossible,
}

/// What is no single range of bytes is answered with everything, as a server may (RFC 9110, section 14.2).
fn range(parts: &Parts, total: u64) -> Asked {
    let text = parts.headers.get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let ends = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).and_then(|ends| match ends {
        ("", suffix) => Some((total.saturating_sub(suffix.parse().ok()?), u64::MAX)),
        (first, "") => Some((first.parse().ok()?, u64::MAX)),
        (first, last) => Some((first.parse().ok()?, last.parse().ok()?)),
    });
    match ends {
        None => Asked::Everything,
        Some((first, last)) if first <= last && first < total => Asked::Bytes(first, last.min(total - 1)),
        Some(_) => Asked::Impossible,
    }
}

/// One page of a list, with a link to the next where there is one.
fn page(parts: &Parts, key: &str, names: Vec<String>, fields: &serde_json::Value) -> Response<Bytes> {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let asked = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let last = asked("last").unwrap_or("").to_owned();
    let n = asked("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let rest: Vec<String> = names.into_iter().filter(|name| last.is_empty() || *name > last).collect();
    let names = &rest[..rest.len().min(n)];
    let mut body = fields.clone();
    body[key] = json!(names);
    let mut response = json_answer(&body);
    if let Some(last) = names.last().filter(|_| names.len() < rest.len()) {
        let last: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
        let link = format!("<{}?n={n}&last={last}>; rel=\"next\"", parts.uri.path());
        response.headers_mut().insert(LINK, header(&link));
    }
    response
}

fn json_answer(body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let mut response = json_answer(&json!({"errors": [{"code": code, "message": message}]}));
    *response.status_mut() = status;
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digests and encoded names are visible ASCII")
}
