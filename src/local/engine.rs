//! A Docker engine's API: one image, as `docker save` writes it, streamed and never stored (Docker Engine API,
//! `ImageInspect` and `ImageGet`).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::archive::Archive;
use super::blob::Depth;
use super::error::LocalError;
use crate::layer::Pieces;

/// Time for a connection, and for the engine to say whether it has an image.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time without a byte of an image: the engine first puts the layers together on its disk.
const SAVE_TIMEOUT: Duration = Duration::from_mins(10);

/// The most bytes of an error, and of a description.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Pieces that wait to be read.
const PIECES: usize = 8;

/// Where an engine listens: `DOCKER_HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A socket.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

impl Default for EngineAddress {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

impl FromStr for EngineAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", host)) if host.contains(':') => Ok(Self::Tcp(host.trim_end_matches('/').to_owned())),
            _ => Err(format!("DOCKER_HOST is `{text}`: expected unix:///PATH, or tcp://HOST:PORT without TLS")),
        }
    }
}

impl std::fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// The archive of one image.
pub(super) async fn save(engine: &EngineAddress, name: &str, depth: Depth) -> Result<Archive, LocalError> {
    let unreachable = |why: String| {
        LocalError::Unreachable(format!("no Docker engine answers at {engine}: {why}; DOCKER_HOST names another one"))
    };
    let late = || unreachable("no answer in time".to_owned());
    // Asked first, since a save that has begun cannot say that there is no such image.
    let (description, archive) = (format!("/images/{name}/json"), format!("/images/{name}/get"));
    let (status, body) = timeout(ANSWER_TIMEOUT, get(engine, &description)).await.map_err(|_| late())??;
    let text = timeout(ANSWER_TIMEOUT, Limited::new(body, TEXT_BYTES_MAX).collect());
    let text = text.await.map_err(|_| late())?.map_err(|error| unreachable(error.to_string()))?.to_bytes();
    if status != StatusCode::OK {
        return Err(refused(name, status, &text));
    }
    let (status, body) = timeout(SAVE_TIMEOUT, get(engine, &archive)).await.map_err(|_| late())??;
    if status != StatusCode::OK {
        return Err(refused(name, status, b""));
    }
    let (pieces, mut queue) = mpsc::channel(PIECES);
    let reading = tokio::task::spawn_blocking(move || {
        Archive::read(Pieces::new(std::iter::from_fn(|| queue.blocking_recv())), depth)
    });
    receive(body, pieces).await.map_err(|why| LocalError::Unreachable(format!("docker-daemon:{name}: {why}")))?;
    reading
        .await
        .expect("reading an archive does not panic")
        .map_err(|error| LocalError::Invalid(format!("docker-daemon:{name}: {error}")))
}

/// Passes an answer on until it ends, or until nobody reads it.
async fn receive(mut body: Incoming, pieces: mpsc::Sender<Bytes>) -> Result<(), String> {
    loop {
        let frame =
            timeout(SAVE_TIMEOUT, body.frame()).await.map_err(|_| "the engine sends nothing more".to_owned())?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| format!("the engine breaks off: {error}"))?;
        if let Ok(piece) = frame.into_data()
            && pieces.send(piece).await.is_err()
        {
            // The reader has failed, and says why.
            return Ok(());
        }
    }
}

async fn get(engine: &EngineAddress, path: &str) -> Result<(StatusCode, Incoming), LocalError> {
    let failed = |error: std::io::Error| {
        let message = format!("no Docker engine answers at {engine}: {error}; DOCKER_HOST names another one");
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            LocalError::Denied(format!(
                "cannot open {engine}: {error}; run as root or as a member of the group `docker`"
            ))
        } else {
            LocalError::Unreachable(message)
        }
    };
    match engine {
        EngineAddress::Unix(socket) => request(UnixStream::connect(socket).await.map_err(failed)?, path).await,
        EngineAddress::Tcp(host) => request(TcpStream::connect(host).await.map_err(failed)?, path).await,
    }
    .map_err(|error| LocalError::Unreachable(format!("the Docker engine at {engine} does not answer: {error}")))
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> Result<(StatusCode, Incoming), hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection: an error is reported to the request or its body as well.
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::get(path)
        .header(http::header::HOST, "docker")
        .body(Empty::<Bytes>::new())
        .expect("a location holds no characters that a path does not");
    let answer = sender.send_request(request).await?;
    Ok((answer.status(), answer.into_body()))
}

/// The engine's error: `{"message": "…"}`.
fn refused(name: &str, status: StatusCode, body: &[u8]) -> LocalError {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.as_ref().and_then(|value| value["message"].as_str()).unwrap_or("it says nothing more");
    let message = format!("docker-daemon:{name}: the engine answers {status}: {}", message.trim());
    match status {
        StatusCode::NOT_FOUND => LocalError::NotFound(message),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => LocalError::Denied(message),
        _ => LocalError::Invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_a_socket_or_a_host() {
        for (text, expected) in [
            ("unix:///run/docker.sock", Some("unix:///run/docker.sock")),
            ("tcp://docker:2375", Some("tcp://docker:2375")),
            ("tcp://docker", None),
            ("ssh://host", None),
            ("/run/docker.sock", None),
        ] {
            assert_eq!(text.parse::<EngineAddress>().ok().map(|address| address.to_string()).as_deref(), expected);
        }
    }
}
