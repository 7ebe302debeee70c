//! A Docker engine's API: one image, as `docker save` writes it, streamed and never stored (Docker Engine API,
//! `ImageInspect` and `ImageGet`).

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::archive::Archive;
use super::blob::Depth;
use super::connection;
use super::connection::{EngineAddress, EngineError};
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

/// The archive of one image.
pub(super) async fn save(engine: &EngineAddress, name: &str) -> Result<Archive, LocalError> {
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
        Archive::read(Pieces::new(std::iter::from_fn(|| queue.blocking_recv())), Depth::Whole)
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
    connection::get(engine, path).await.map_err(|error| match error {
        EngineError::Denied(_) => LocalError::Denied(error.to_string()),
        EngineError::Unreachable(..) => LocalError::Unreachable(format!("{error}; DOCKER_HOST names another one")),
        EngineError::Silent(_) => LocalError::Unreachable(error.to_string()),
    })
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
