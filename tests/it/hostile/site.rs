//! Registries that answer byte for byte what a test says. One thread serves all of them, each on a port of its own, so
//! that what the program learns of one does not change how it treats another.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::images::{Blob, Pushed, image};

/// What a registry answers to one request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A status, headers and a body. `Content-Length` is the body's unless the headers have one. `{base}` in a header or a
    /// body stands for the registry's address.
    Http(u16, Vec<(String, String)>, Bytes),
    /// These bytes, and the end of the connection.
    Raw(Bytes),
    /// These bytes, one by one, and then nothing.
    Drip(Bytes),
    /// The first bytes, and then the second ones for ever.
    Endless(Bytes, Bytes),
    /// Nothing, and the connection stays open.
    Stall,
    /// The connection is reset.
    Reset,
    /// The usual one.
    Usual,
}

/// Requests that are answered in another way than usual.
#[derive(Debug)]
struct Fault {
    method: String,
    path: String,
    /// Requests whose head has this text are answered as usual.
    unless: Option<&'static str>,
    /// In this order; the last one again and again.
    answers: Mutex<VecDeque<Answer>>,
}

/// One registry: what it stores, and how it misbehaves.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// By path: content type, digest and bytes.
    content: BTreeMap<String, (String, String, Bytes)>,
    tags: BTreeMap<String, Vec<String>>,
    faults: Vec<Fault>,
}

impl Answer {
    /// The same with one more header.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Http(status, mut headers, body) => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Http(status, headers, body)
            }
            other => other,
        }
    }
}

/// A JSON document.
pub(super) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Http(200, vec![("Content-Type".to_owned(), "application/json".to_owned())], Bytes::from(body.into()))
}

/// A status without a body.
pub(super) fn status(status: u16) -> Answer {
    Answer::Http(status, Vec::new(), Bytes::new())
}

/// A page of some proxy.
pub(super) fn html(status: u16) -> Answer {
    let body = "<!DOCTYPE html><title>Sign in</title>";
    Answer::Http(status, vec![("Content-Type".to_owned(), "text/html".to_owned())], Bytes::from_static(body.as_bytes()))
}

/// An error of the distribution API.
pub(super) fn api(status: u16, code: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": "no"}]}).to_string();
    Answer::Http(status, vec![("Content-Type".to_owned(), "application/json".to_owned())], Bytes::from(body))
}

pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer::Raw(Bytes::from(bytes.into()))
}

impl Site {
    /// A registry with `acme/app:v1` of 1,000 bytes, and beside it `acme/good:v1` of 100 bytes.
    pub(super) fn new() -> Self {
        let mut site = Self::default();
        site.push("acme/good", "v1", &image("linux/amd64", &[&Blob::named("good", 100)]));
        site.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("app", 1000)]));
        site
    }

    /// Stores all of it and points a tag at it.
    pub(super) fn push(&mut self, repository: &str, tag: &str, pushed: &Pushed) {
        self.store(repository, pushed);
        let stored = self.content[&format!("/v2/{repository}/manifests/{}", pushed.digest())].clone();
        self.content.insert(format!("/v2/{repository}/manifests/{tag}"), stored);
        let tags = self.tags.entry(repository.to_owned()).or_default();
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }

    fn store(&mut self, repository: &str, pushed: &Pushed) {
        let mut put = |kind: &str, blob: &Blob| {
            let Some(bytes) = &blob.bytes else { return };
            let (path, digest) = (format!("/v2/{repository}/{kind}/{}", blob.digest), blob.digest.to_string());
            self.content.insert(path, (blob.media_type.clone(), digest, Bytes::from(bytes.clone())));
        };
        put("manifests", &pushed.manifest);
        pushed.blobs.iter().for_each(|blob| put("blobs", blob));
        pushed.children.iter().for_each(|child| self.store(repository, child));
    }

    /// The usual manifest of a tag, as an answer.
    pub(super) fn manifest(&self, tag: &str) -> Answer {
        let (content_type, digest, bytes) = &self.content[&format!("/v2/acme/app/manifests/{tag}")];
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Answer::Http(
            200,
            vec![header("Content-Type", content_type), header("Docker-Content-Digest", digest)],
            bytes.clone(),
        )
    }

    /// Answers requests so that match `"METHOD path"`, either of them `*`, the path by its beginning. Of several faults
    /// that match the first counts.
    pub(super) fn fault(self, matching: &str, answers: impl Into<VecDeque<Answer>>) -> Self {
        self.fault_unless(matching, None, answers)
    }

    /// As [`Self::fault`], but not requests whose head has `unless` in it.
    pub(super) fn fault_unless(
        mut self,
        matching: &str,
        unless: Option<&'static str>,
        answers: impl Into<VecDeque<Answer>>,
    ) -> Self {
        let (method, path) = matching.split_once(' ').unwrap();
        let answers = Mutex::new(answers.into());
        self.faults.push(Fault { method: method.to_owned(), path: path.to_owned(), unless, answers });
        self
    }

    fn answer(&self, method: &str, uri: &str, head: &str) -> Answer {
        for fault in &self.faults {
            let matches = (fault.method == "*" || fault.method == method)
                && (fault.path == "*" || uri.starts_with(&fault.path))
                && fault.unless.is_none_or(|text| !head.contains(text));
            if matches {
                let mut answers = fault.answers.lock().unwrap();
                let first = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                match first.unwrap() {
                    Answer::Usual => break,
                    answer => return answer,
                }
            }
        }
        self.usual(uri, head)
    }

    fn usual(&self, uri: &str, head: &str) -> Answer {
        if uri.is_empty() {
            return raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        let path = uri.split('?').next().unwrap();
        if let Some(tags) = path.strip_prefix("/v2/").and_then(|path| path.strip_suffix("/tags/list")) {
            return ok(json!({"name": tags, "tags": self.tags.get(tags)}).to_string());
        }
        if path == "/v2/_catalog" {
            return ok(json!({"repositories": self.tags.keys().collect::<Vec<_>>()}).to_string());
        }
        if path == "/token" {
            return ok(r#"{"token":"sesame"}"#);
        }
        let Some((content_type, digest, bytes)) = self.content.get(path) else {
            return api(404, if path.contains("/blobs/") { "BLOB_UNKNOWN" } else { "MANIFEST_UNKNOWN" });
        };
        let whole = |status, bytes| {
            Answer::Http(status, vec![("Content-Type".to_owned(), content_type.clone())], bytes)
                .with("Docker-Content-Digest", digest)
        };
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
            return whole(200, bytes.clone());
        };
        let (first, total) = (first.parse::<usize>().unwrap(), bytes.len());
        let end = last.parse::<usize>().map_or(total, |last| (last + 1).min(total));
        whole(206, bytes.slice(first.min(end)..end))
            .with("Content-Range", &format!("bytes {first}-{}/{total}", end.saturating_sub(1)))
    }
}

/// All registries of a test. They end when this is dropped.
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves each site on a port of its own, in their order.
    pub(super) fn start(sites: Vec<Site>) -> (Self, Vec<SocketAddr>) {
        let listeners: Vec<std::net::TcpListener> =
            sites.iter().map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (listener, site) in listeners.into_iter().zip(sites) {
                    listener.set_nonblocking(true).unwrap();
                    tokio::spawn(accept(TcpListener::from_std(listener).unwrap(), Arc::new(site)));
                }
                let _ = stopped.await;
            });
        });
        (Self { stop: Some(stop), thread: Some(thread) }, addresses)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let base = format!("http://{}", listener.local_addr().unwrap());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&site), base.clone()));
    }
}

/// The first byte that a client of TLS sends.
const TLS_HANDSHAKE: u8 = 0x16;

/// Answers one request after the other, until either side ends the connection.
async fn converse(mut stream: TcpStream, site: Arc<Site>, base: String) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            if received[0] == TLS_HANDSHAKE {
                if let Answer::Raw(bytes) = site.answer("TLS", "", "") {
                    stream.write_all(&bytes).await?;
                }
                return stream.shutdown().await;
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        let first = String::from_utf8_lossy(&received[..end]).lines().next().unwrap_or_default().to_owned();
        received.drain(..end);
        let mut words = first.split(' ');
        let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match site.answer(method, uri, &head) {
            Answer::Http(status, headers, body) => {
                stream.write_all(&written(status, &headers, &body, method == "HEAD", &base)).await?;
            }
            Answer::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Answer::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                std::future::pending::<()>().await;
            }
            Answer::Endless(first, again) => {
                stream.write_all(&first).await?;
                loop {
                    stream.write_all(&again).await?;
                }
            }
            Answer::Stall | Answer::Usual => std::future::pending().await,
            Answer::Reset => return stream.set_zero_linger(),
        }
    }
}

fn written(status: u16, headers: &[(String, String)], body: &Bytes, is_head: bool, base: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        let value = value.replace("{base}", base);
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let body = match std::str::from_utf8(body) {
        Ok(text) if text.contains("{base}") => Bytes::from(text.replace("{base}", base)),
        _ => body.clone(),
    };
    let framed = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !framed("content-length") && !framed("transfer-encoding") && status != 204 {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if !is_head {
        bytes.extend_from_slice(&body);
    }
    bytes
}
