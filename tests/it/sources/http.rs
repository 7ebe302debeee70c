//! A server that answers as it is told, over a port or a socket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// What is answered to requests whose path begins with a text.
#[derive(Clone)]
pub(super) enum Answer {
    /// A status and a body.
    Body(u16, String),
    /// Bytes as they are, then the connection is closed.
    Raw(String),
    /// Nothing, ever.
    Silence,
    /// Lines, as they are sent by [`Server::event`]; cut off by [`Server::cut`].
    Events,
}

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Answer>,
    requests: Vec<(String, Option<String>)>,
}

/// See the module. It ends when this is dropped.
pub(super) struct Server {
    script: Arc<Mutex<Script>>,
    events: broadcast::Sender<String>,
    cut: watch::Sender<u64>,
    pub(super) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn on_port() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::new(port, |serve| {
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve.clone().answer(stream));
                }
            })
        })
    }

    pub(super) fn on_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::new(0, |serve| {
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve.clone().answer(stream));
                }
            })
        })
    }

    fn new(port: u16, spawn: impl FnOnce(Serve) -> JoinHandle<()>) -> Self {
        let script = Arc::default();
        let (events, cut) = (broadcast::channel(100).0, watch::channel(0).0);
        let serve = Serve { script: Arc::clone(&script), events: events.clone(), cut: cut.clone() };
        Self { script, events, cut, port, task: spawn(serve) }
    }

    /// From now on requests whose path begins with `path` are answered so; the longest beginning counts.
    pub(super) fn answer(&self, path: &str, answer: Answer) {
        self.script.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// The requests so far: path, and `Authorization`.
    pub(super) fn requests(&self) -> Vec<(String, Option<String>)> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Sends a line to those who wait for events.
    pub(super) fn event(&self, line: &str) {
        let _ = self.events.send(format!("{line}\n"));
    }

    /// Breaks off the streams of events.
    pub(super) fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }
}

#[derive(Clone)]
struct Serve {
    script: Arc<Mutex<Script>>,
    events: broadcast::Sender<String>,
    cut: watch::Sender<u64>,
}

impl Serve {
    async fn answer(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => head.extend_from_slice(&buffer[..read]),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let mut events = self.events.subscribe();
        let mut cut = self.cut.subscribe();
        let answer = {
            let mut script = self.script.lock().unwrap();
            script.requests.push((path.clone(), header("authorization")));
            script.answers.iter().rev().find(|(begin, _)| path.starts_with(*begin)).map(|(_, answer)| answer.clone())
        };
        match answer.unwrap_or(Answer::Body(404, "{\"message\":\"no such thing\"}".to_owned())) {
            Answer::Body(status, body) => {
                let length = body.len();
                let text =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Answer::Raw(text) => drop(stream.write_all(text.as_bytes()).await),
            Answer::Silence => std::future::pending().await,
            Answer::Events => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                loop {
                    let line = tokio::select! {
                        Ok(line) = events.recv() => line,
                        _ = cut.changed() => return,
                    };
                    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
