//! A Docker engine's containers, or Podman's, whose socket answers alike (Docker Engine API, `ContainerList`, `ImageList`,
//! `SystemEvents`).
//!
//! The containers are listed at the start and after each event about one; between them the stream of events is read. One
//! engine is one node.

mod answers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};

use super::{Container, Outbox, SourceError};
use crate::clock::unix_now;
use crate::local::{EngineError, get_from_engine};
use crate::oci::Reason;
use crate::oci::text::shown;

use answers::{EngineContainer, EngineImage, Listed};

pub use crate::local::EngineAddress;

/// Time for a list.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a list.
const LIST_BYTES_MAX: usize = 64 << 20;

/// The most bytes of one container's description.
const CONTAINER_BYTES_MAX: usize = 4 << 20;

/// The most bytes of an event, of which nothing but its end is needed.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Events come in bursts: so long is waited for more of them.
const GATHER: Duration = Duration::from_millis(200);

/// Time between two lists without any event: an engine that hangs sends none.
const LIST_INTERVAL: Duration = Duration::from_mins(1);

/// Bounds of the pause after a failure; it doubles from one to the next.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The most containers of which the name that they were started with is asked, and remembered.
const NAMES_MAX: usize = 10_000;

/// What starts, ends, renames and stops containers.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C%22destroy%22%2C%22rename%22%2C%22pause%22%2C%22unpause%22%5D%7D";

/// Which engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub engine: EngineAddress,
}

/// Watches it; never returns.
pub async fn watch(settings: &Settings, outbox: &Outbox) {
    let mut pause = PAUSE_MIN;
    let mut names = BTreeMap::new();
    loop {
        let since = Instant::now();
        let error = follow(settings, outbox, &mut names).await;
        outbox.failed(error);
        // It answered for a while.
        if since.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Lists after each event until something fails.
async fn follow(settings: &Settings, outbox: &Outbox, names: &mut BTreeMap<String, Arc<str>>) -> SourceError {
    // Before the list, so that no container starts unseen in between.
    let mut events = match open(&settings.engine, EVENTS).await {
        Ok(events) => events,
        Err(error) => return error,
    };
    loop {
        match list(&settings.engine, names).await {
            Ok(containers) => outbox.saw(containers, unix_now()),
            Err(error) => return error,
        }
        // Without an event the list is compared once in a while.
        match timeout(LIST_INTERVAL, event(&mut events)).await {
            Err(_) => {}
            Ok(Err(error)) => return error,
            Ok(Ok(())) => {
                sleep(GATHER).await;
                while let Ok(more) = timeout(Duration::ZERO, event(&mut events)).await {
                    if let Err(error) = more {
                        return error;
                    }
                }
            }
        }
    }
}

/// Everything that runs on the engine. `names`: what was asked of containers before.
async fn list(engine: &EngineAddress, names: &mut BTreeMap<String, Arc<str>>) -> Result<Vec<Container>, SourceError> {
    let (containers, images, node) = tokio::join!(
        ask::<Vec<EngineContainer>>(engine, "/containers/json", LIST_BYTES_MAX),
        ask::<Vec<EngineImage>>(engine, "/images/json", LIST_BYTES_MAX),
        ask::<answers::Info>(engine, "/info", CONTAINER_BYTES_MAX),
    );
    let (containers, images, node) = (containers?, images?, node?);
    names.retain(|id, _| containers.iter().any(|container| container.id == *id));
    for container in containers.iter().filter(|container| container.is_named_by_id()) {
        if names.contains_key(&container.id) || names.len() >= NAMES_MAX {
            continue;
        }
        // It was tagged anew since: only its own description has the name that it was started with.
        let described = ask(engine, &format!("/containers/{}/json", container.id), CONTAINER_BYTES_MAX).await;
        match described {
            Ok(answers::Described { config }) => drop(names.insert(container.id.clone(), config.image.into())),
            // It has ended meanwhile.
            Err(error) if error.reason == Reason::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Listed { containers, images, node: node.name }.containers(names))
}

/// The next event.
async fn event(events: &mut Incoming) -> Result<(), SourceError> {
    let mut bytes = 0;
    loop {
        match events.frame().await {
            Some(Ok(frame)) => {
                let data: Bytes = frame.into_data().unwrap_or_default();
                bytes += data.len();
                // Podman and Docker end each with a line.
                if data.ends_with(b"\n") {
                    return Ok(());
                }
                if bytes > EVENT_BYTES_MAX {
                    return Err(failed(Reason::Limit, "the engine sends an event that does not end"));
                }
            }
            Some(Err(error)) => {
                return Err(failed(Reason::Network, &format!("the engine's events break off: {error}")));
            }
            None => return Err(failed(Reason::Network, "the engine ends its events: is it being restarted?")),
        }
    }
}

async fn open(engine: &EngineAddress, path: &str) -> Result<Incoming, SourceError> {
    let answer = timeout(ANSWER_TIMEOUT, get_from_engine(engine, path)).await;
    let answer = answer.map_err(|_| failed(Reason::Timeout, &format!("{engine} does not answer in time")))?;
    let (status, body) = answer.map_err(|error| {
        let reason = if matches!(error, EngineError::Denied(_)) { Reason::Denied } else { Reason::Network };
        failed(reason, &error.to_string())
    })?;
    let reason = match status {
        StatusCode::OK => return Ok(body),
        StatusCode::NOT_FOUND => Reason::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
        _ => Reason::Server,
    };
    let path = path.split('?').next().unwrap_or_default();
    Err(failed(reason, &format!("{engine} answers {status} to {path}")))
}

async fn ask<T: serde::de::DeserializeOwned + Send + 'static>(
    engine: &EngineAddress,
    path: &str,
    bytes_max: usize,
) -> Result<T, SourceError> {
    let body = open(engine, path).await?;
    let collected = timeout(ANSWER_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    let collected =
        collected.map_err(|_| failed(Reason::Timeout, &format!("{engine} stops in the midst of {path}")))?;
    let body = collected.map_err(|error| {
        let reason = if error.is::<http_body_util::LengthLimitError>() { Reason::Limit } else { Reason::Network };
        failed(reason, &format!("{engine}: the answer to {path}: {error}"))
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| failed(Reason::Invalid, &format!("{engine}: the answer to {path} is not understood: {error}")))
}

fn failed(reason: Reason, message: &str) -> SourceError {
    SourceError { reason, message: shown(message, 500) }
}
