//! Connections to a Docker engine's API, or to Podman's, which answers alike: one for each request.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where an engine listens.
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

/// Why an engine does not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its socket may not be opened.
    #[error("{0}; run as root or as a member of the group `docker`")]
    Denied(String),
    /// Nobody listens.
    #[error("no Docker engine answers at {0}: {1}")]
    Unreachable(String, io::Error),
    /// It hangs up.
    #[error("{0}")]
    Silent(String),
}

/// Sends a GET. The caller bounds the time and the body.
///
/// # Errors
/// There is no answer.
pub async fn get(engine: &EngineAddress, path: &str) -> Result<(StatusCode, Incoming), EngineError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => EngineError::Denied(format!("cannot open {engine}: {error}")),
        _ => EngineError::Unreachable(engine.to_string(), error),
    };
    match engine {
        EngineAddress::Unix(socket) => request(UnixStream::connect(socket).await.map_err(failed)?, path).await,
        EngineAddress::Tcp(host) => request(TcpStream::connect(host).await.map_err(failed)?, path).await,
    }
    .map_err(|error| EngineError::Silent(format!("the Docker engine at {engine} does not answer: {error}")))
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
