//! What the registry holds, and how it answers: usually as the registry in memory does.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use image_size_exporter::memory_registry::{self, Contents, Payload, Resource, StoredBlob, error_body};

use super::access::Guard;
use super::replies::{Sent, echo, send};
use super::{Kind, Reply, Seen};
use crate::support::images::{Blob, Pushed};

#[derive(Default)]
pub(super) struct State {
    pub(super) contents: Contents,
    /// Repositories with the tags and digests that were there at some time: a 404 for one is no surprise.
    pub(super) once: HashSet<(String, String)>,
    pub(super) guard: Guard,
    pub(super) rules: Vec<Rule>,
    pub(super) missing: Vec<String>,
    pub(super) seen: Vec<Seen>,
    pub(super) counted_from: usize,
    pub(super) unexpected: Vec<String>,
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
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    address.send(listener.local_addr().unwrap()).unwrap();
    let state = Arc::clone(state);
    tokio::select! {
        () = memory_registry::serve(listener, move |request| answer(Arc::clone(&state), request)) => {}
        _ = stopped => {}
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
    let (reply, usual) = {
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
    send(reply, usual, &seen).await
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
            return self.guard.token(seen).unwrap_or_else(|| self.unsupported(seen));
        }
        if let Some(refusal) = self.guard.refusal(seen) {
            return refusal;
        }
        // Declared missing, the referrers API is one that this registry does not have.
        if seen.kind == Kind::Other && (self.is_missing(seen) || !self.has_referrers(seen)) {
            return self.unsupported(seen);
        }
        let answer = self.contents.answer(&seen.method, &seen.uri.parse().unwrap(), &seen.headers);
        if answer.status() == 404 && !self.was_there(seen) {
            self.expect_missing(seen);
        }
        let (head, payload) = answer.into_parts();
        match payload {
            Payload::Kept(bytes) => Response::from_parts(head, bytes),
            Payload::Made { .. } => {
                self.unexpected.push(format!("{} {}: this layer has no bytes", seen.method, seen.uri));
                response(500, "text/plain", "this layer has no bytes")
            }
        }
    }

    fn has_referrers(&self, seen: &Seen) -> bool {
        let Some(Resource::Referrers { repository, digest }) = seen.resource() else { return false };
        self.contents.referrers(repository, digest).next().is_some()
    }

    fn was_there(&self, seen: &Seen) -> bool {
        let Some(Resource::Manifest { repository, reference }) = seen.resource() else { return false };
        self.once.contains(&(repository.to_owned(), reference.to_owned()))
    }

    fn unsupported(&mut self, seen: &Seen) -> Response<Bytes> {
        self.expect_missing(seen);
        response(404, "application/json", &error_body("UNSUPPORTED"))
    }

    fn is_missing(&self, seen: &Seen) -> bool {
        self.missing.iter().any(|path| seen.uri.starts_with(path.as_str()))
    }

    fn expect_missing(&mut self, seen: &Seen) {
        if !self.is_missing(seen) {
            self.unexpected.push(format!("{} {}", seen.method, seen.uri));
        }
    }

    /// Stores a manifest, the blobs that it names and the manifests below it.
    pub(super) fn store(&mut self, repository: &str, pushed: &Pushed) {
        let manifest = &pushed.manifest;
        let bytes = manifest.bytes.clone().expect("manifests have bytes");
        let digest = self.contents.put_manifest(repository, &manifest.media_type, bytes);
        assert_eq!(digest, manifest.digest, "a manifest has the digest of its bytes");
        for Blob { digest, size, bytes, .. } in &pushed.blobs {
            let blob = match bytes.clone() {
                Some(bytes) => StoredBlob::Kept(bytes.into()),
                None => StoredBlob::Made { size: *size, make: Arc::new(|_: &mut dyn FnMut(Bytes) -> bool| {}) },
            };
            self.contents.put_blob_as(repository, digest.clone(), blob);
        }
        for child in &pushed.children {
            self.store(repository, child);
        }
    }
}

pub(super) fn response(status: u16, content_type: &str, body: &str) -> Response<Bytes> {
    let response = Response::builder().status(status).header("content-type", content_type);
    response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}
