//! What the registry in this process holds and answers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use image_size_exporter::oci::Digest;

use super::{Access, Kind, Reply, Seen, basic};
use crate::support::images::Pushed;

#[derive(Default)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Content>,
    pub(super) access: Access,
    pub(super) tokens: HashMap<String, Vec<String>>,
    pub(super) issued: usize,
    pub(super) revoked: HashSet<String>,
    pub(super) rules: Vec<Rule>,
    pub(super) page_size: Option<usize>,
    pub(super) missing: Vec<String>,
    pub(super) seen: Vec<Seen>,
    pub(super) counted_from: usize,
    pub(super) unexpected: Vec<String>,
}

#[derive(Default)]
pub(super) struct Content {
    pub(super) tags: BTreeMap<String, Digest>,
    pub(super) once_tagged: HashSet<String>,
    pub(super) manifests: HashMap<Digest, (String, Bytes)>,
    pub(super) once_there: HashSet<Digest>,
    pub(super) blobs: HashMap<Digest, (u64, Option<Bytes>)>,
}

pub(super) struct Rule {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) replies: VecDeque<Reply>,
    pub(super) always: bool,
}

#[tokio::main(flavor = "current_thread")]
pub(super) async fn serve(
    state: &Arc<Mutex<State>>,
    address: &std::sync::mpsc::Sender<SocketAddr>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    address.send(listener.local_addr().unwrap()).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = &mut stopped => return,
        };
        let state = Arc::clone(state);
        let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
        connections.spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Sent>, &'static str> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "the client went away")?.to_bytes();
    let kind = Kind::of(&parts.method, parts.uri.path(), &parts.headers);
    let seen = Seen {
        kind,
        method: parts.method,
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (reply, mut usual) = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        let reply = match state.reply(&seen) {
            Reply::Echo(status, content_type) => echo(status, content_type, &seen),
            reply => reply,
        };
        let usual = match reply {
            Reply::Answer(..) | Reply::Bytes(..) | Reply::Stall | Reply::Cut => Response::new(Bytes::new()),
            _ => state.usual(&seen),
        };
        (reply, usual)
    };
    let (mut cut_after, mut stall_after) = (None, None);
    let reply = match reply {
        Reply::Answer(status, headers, body) => Reply::Bytes(status, headers, body.into_bytes()),
        other => other,
    };
    match reply {
        Reply::Bytes(status, headers, body) => {
            *usual.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                usual.headers_mut().append(name, value.parse().unwrap());
            }
            *usual.body_mut() = body.into();
        }
        Reply::Stall => std::future::pending().await,
        Reply::Cut => return Err("cut"),
        Reply::CutAfter(bytes) => cut_after = Some(bytes),
        Reply::StallAfter(bytes) => stall_after = Some(bytes),
        Reply::Corrupt => {
            let mut body = usual.body().to_vec();
            *body.last_mut().expect("a body") ^= 1;
            *usual.body_mut() = body.into();
        }
        Reply::Without(name) => {
            usual.headers_mut().remove(name);
        }
        Reply::With(name, value) => {
            usual.headers_mut().insert(name, value.parse().unwrap());
        }
        Reply::Usual | Reply::Answer(..) | Reply::Echo(..) => {}
    }
    let (mut parts, body) = usual.into_parts();
    let length = HeaderValue::from(body.len());
    let body = if seen.method == Method::HEAD { Bytes::new() } else { body };
    // A stated length is what shows a client that its body was cut.
    parts.headers.entry(http::header::CONTENT_LENGTH).or_insert(length);
    Ok(Response::from_parts(parts, Sent { body: Some(body), cut_after, stall_after, paused: false }))
}

impl State {
    fn reply(&mut self, seen: &Seen) -> Reply {
        let matches = |rule: &Rule| {
            let method = rule.method == "*" || rule.method == seen.method.as_str();
            method && (rule.path == "*" || seen.uri.starts_with(&rule.path))
        };
        if let Some(at) = self.rules.iter().position(|rule| !rule.always && matches(rule)) {
            let reply = self.rules[at].replies.pop_front().expect("empty rules are removed");
            if self.rules[at].replies.is_empty() {
                self.rules.remove(at);
            }
            return reply;
        }
        let always = self.rules.iter().find(|rule| rule.always && matches(rule));
        always.map_or(Reply::Usual, |rule| rule.replies[0].clone())
    }

    fn usual(&mut self, seen: &Seen) -> Response<Bytes> {
        if seen.kind == Kind::Token {
            return self.token(seen);
        }
        if let Some(refusal) = self.refusal(seen) {
            return refusal;
        }
        let path = seen.path().to_owned();
        let name_and = |marker: &str| {
            path["/v2/".len()..].rsplit_once(marker).map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        };
        match seen.kind {
            Kind::Ping => response(200, "application/json", "{}"),
            Kind::ListTags => {
                let (name, _) = name_and("/tags/list").unwrap();
                match self.repositories.get(&name) {
                    Some(content) => self.page(seen, "tags", content.tags.keys().cloned().collect()),
                    None => self.not_found(seen, "NAME_UNKNOWN"),
                }
            }
            Kind::Catalog => self.page(seen, "repositories", self.repositories.keys().cloned().collect()),
            Kind::HeadManifest | Kind::GetManifest => {
                let (name, at) = name_and("/manifests/").unwrap();
                self.manifest(seen, &name, &at)
            }
            Kind::HeadBlob | Kind::GetBlob | Kind::GetRange => {
                let (name, digest) = name_and("/blobs/").unwrap();
                self.blob(seen, &name, &digest)
            }
            Kind::Token | Kind::Other => self.not_found(seen, "UNSUPPORTED"),
        }
    }

    fn manifest(&mut self, seen: &Seen, name: &str, at: &str) -> Response<Bytes> {
        let content = self.repositories.get(name);
        let digest = match at.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(_) => content.and_then(|content| content.tags.get(at).cloned()),
        };
        let found = digest.as_ref().and_then(|digest| content?.manifests.get(digest));
        if let (Some((media_type, bytes)), Some(digest)) = (found, digest) {
            let mut response = response(200, media_type, "");
            *response.body_mut() = bytes.clone();
            let header = HeaderName::from_static("docker-content-digest");
            response.headers_mut().insert(header, digest.to_string().parse().unwrap());
            return response;
        }
        let was_there = content.is_some_and(|content| {
            content.once_tagged.contains(at) || at.parse().is_ok_and(|digest| content.once_there.contains(&digest))
        });
        if was_there {
            response(404, "application/json", &error_body("MANIFEST_UNKNOWN"))
        } else {
            self.not_found(seen, "MANIFEST_UNKNOWN")
        }
    }

    fn blob(&mut self, seen: &Seen, name: &str, digest: &str) -> Response<Bytes> {
        let found = digest.parse().ok().and_then(|digest: Digest| self.repositories.get(name)?.blobs.get(&digest));
        match found.cloned() {
            Some((size, bytes)) if seen.method == Method::HEAD => {
                let mut response = response(200, "application/octet-stream", "");
                let length = bytes.map_or(size, |bytes| bytes.len() as u64);
                response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
                response
            }
            Some((_, Some(bytes))) => part(seen, &bytes),
            Some((_, None)) => {
                self.unexpected.push(format!("{} {}: this layer has no bytes", seen.method, seen.uri));
                response(500, "text/plain", "this layer has no bytes")
            }
            None => self.not_found(seen, "BLOB_UNKNOWN"),
        }
    }

    fn not_found(&mut self, seen: &Seen, code: &str) -> Response<Bytes> {
        if !self.missing.iter().any(|path| seen.uri.starts_with(path.as_str())) {
            self.unexpected.push(format!("{} {}", seen.method, seen.uri));
        }
        response(404, "application/json", &error_body(code))
    }

    /// One page of a list, and in `Link` where the next one is.
    fn page(&self, seen: &Seen, key: &str, entries: Vec<String>) -> Response<Bytes> {
        let last = seen.parameters("last").pop();
        let asked = seen.parameters("n").pop().and_then(|n| n.parse().ok());
        let size: usize = [self.page_size, asked].into_iter().flatten().min().unwrap_or(usize::MAX);
        let mut entries = entries.into_iter().filter(|entry| last.as_ref().is_none_or(|last| entry > last));
        let page: Vec<String> = entries.by_ref().take(size).collect();
        let more = entries.next().is_some();
        let mut response = response(200, "application/json", &serde_json::json!({"name": "x", key: page}).to_string());
        if let (true, Some(last)) = (more, page.last()) {
            let link = format!("<{}?last={last}&n={size}>; rel=\"next\"", seen.path());
            response.headers_mut().insert(http::header::LINK, link.parse().unwrap());
        }
        response
    }

    /// The answer to somebody who may not ask.
    fn refusal(&self, seen: &Seen) -> Option<Response<Bytes>> {
        let sent = seen.header("authorization");
        let challenge = match &self.access {
            Access::Open => return None,
            Access::Basic(users) if users.iter().any(|(user, password)| sent == basic(user, password)) => return None,
            Access::Basic(_) => "Basic realm=\"test\"".to_owned(),
            Access::Token(server) => {
                let scope = scope(seen);
                let token = sent.strip_prefix("Bearer ").unwrap_or_default();
                let allowed = self.tokens.get(token).is_some_and(|scopes| scopes.contains(&scope) || scope.is_empty());
                if allowed && !self.revoked.contains(token) {
                    return None;
                }
                let usual = r#"Bearer realm="{base}/token",service="test registry",scope="{scope}""#;
                let base = format!("http://{}", seen.header("host"));
                let challenge = server.challenge.unwrap_or(usual).replace("{base}", &base).replace("{scope}", &scope);
                if token.is_empty() { challenge } else { format!("{challenge},error=\"invalid_token\"") }
            }
        };
        let mut response = response(401, "application/json", &error_body("UNAUTHORIZED"));
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(response)
    }

    fn token(&mut self, seen: &Seen) -> Response<Bytes> {
        let Access::Token(server) = &self.access else { return self.not_found(seen, "UNSUPPORTED") };
        let refused = || response(401, "application/json", r#"{"details":"incorrect username or password"}"#);
        let scopes: Vec<String> = if seen.method == Method::POST {
            if server.identities.is_empty() {
                return response(405, "text/plain", "use GET");
            }
            if !server.identities.iter().any(|identity| seen.parameters("refresh_token") == [*identity]) {
                return refused();
            }
            seen.parameters("scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect()
        } else {
            let sent = seen.header("authorization");
            if !server.users.is_empty() && !server.users.iter().any(|(user, password)| sent == basic(user, password)) {
                return refused();
            }
            seen.parameters("scope")
        };
        let expires_in = server.expires_in;
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone(), scopes);
        let mut body = serde_json::json!({ "token": token });
        if let Some(seconds) = expires_in {
            body["expires_in"] = seconds.into();
        }
        response(200, "application/json", &body.to_string())
    }
}

/// What a token must allow for a request; empty for `/v2/`.
fn scope(seen: &Seen) -> String {
    match seen.kind {
        Kind::Catalog => "registry:catalog:*".to_owned(),
        Kind::Ping => String::new(),
        _ => {
            let rest = seen.path().strip_prefix("/v2/").unwrap_or_default();
            let end = ["/manifests/", "/blobs/", "/tags/list"].iter().find_map(|marker| rest.rfind(marker));
            format!("repository:{}:pull", &rest[..end.unwrap_or(rest.len())])
        }
    }
}

/// The whole or, where one range is asked for, that part.
fn part(seen: &Seen, bytes: &Bytes) -> Response<Bytes> {
    let total = bytes.len();
    let Some(range) = seen.header("range").strip_prefix("bytes=") else {
        let mut response = response(200, "application/octet-stream", "");
        *response.body_mut() = bytes.clone();
        return response;
    };
    let (first, last) = range.split_once('-').expect("one range");
    let (first, last): (usize, usize) = (first.parse().expect("a start"), last.parse().unwrap_or(total));
    if first >= total {
        return response(416, "text/plain", "no such range");
    }
    let end = (last + 1).min(total);
    let mut response = response(206, "application/octet-stream", "");
    *response.body_mut() = bytes.slice(first..end);
    let range = format!("bytes {first}-{}/{total}", end - 1);
    response.headers_mut().insert(http::header::CONTENT_RANGE, range.parse().unwrap());
    response
}

/// What nobody proved anything with is answered as usual: so whoever asks for proof gets it first.
fn echo(status: u16, content_type: &'static str, seen: &Seen) -> Reply {
    let credentials = ["authorization", "proxy-authorization"].map(|name| seen.header(name)).join(" ");
    let signed = seen.kind != Kind::Token && seen.uri.contains('?');
    if credentials.trim().is_empty() && seen.body.is_empty() && !signed {
        return Reply::Usual;
    }
    let text = format!("{credentials} {} {}", seen.body, seen.uri);
    let body = if content_type == "application/json" {
        serde_json::json!({"errors": [{"code": "DENIED", "message": text}]}).to_string()
    } else {
        text.clone()
    };
    let warning = format!("299 - \"{}\"", text.trim());
    Reply::Answer(status, vec![("content-type", content_type.to_owned()), ("warning", warning)], body)
}

fn response(status: u16, content_type: &str, body: &str) -> Response<Bytes> {
    let response = Response::builder().status(status);
    let response = if content_type.is_empty() { response } else { response.header("content-type", content_type) };
    response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// A body that may end, or stop, before its end.
struct Sent {
    body: Option<Bytes>,
    cut_after: Option<usize>,
    stall_after: Option<usize>,
    paused: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let limit = self.cut_after.or(self.stall_after);
        match (self.body.take(), limit) {
            (Some(body), None) if body.is_empty() => Poll::Ready(None),
            (Some(body), None) => Poll::Ready(Some(Ok(Frame::data(body)))),
            (Some(body), Some(limit)) if limit > 0 => {
                Poll::Ready(Some(Ok(Frame::data(body.slice(..limit.min(body.len()))))))
            }
            // A pause lets what was sent before the cut go out.
            _ if self.cut_after.is_some() && !std::mem::replace(&mut self.paused, true) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ if self.cut_after.is_some() => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            _ if self.stall_after.is_some() => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

pub(super) fn store(content: &mut Content, pushed: &Pushed) {
    let manifest = &pushed.manifest;
    let bytes = manifest.bytes.clone().expect("manifests have bytes");
    content.manifests.insert(manifest.digest.clone(), (manifest.media_type.clone(), bytes.into()));
    for blob in &pushed.blobs {
        content.blobs.insert(blob.digest.clone(), (blob.size, blob.bytes.clone().map(Bytes::from)));
    }
    for child in &pushed.children {
        store(content, child);
    }
}

pub(super) fn error_body(code: &str) -> String {
    serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase().replace('_', " "), "detail": null}]})
        .to_string()
}
