//! Measures one layer of a registry: streamed, never written to disk, resumed where the connection broke.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::MeasureError;
use super::measure::{Measure, Measured};
use super::unpack::Wanted;
use crate::oci::Reason;
use crate::registry::{Client, RegistryError};
use crate::tag::LayerRequest;

/// Chunks that may wait for decompression; a chunk is one read of the connection, about 16 to 64 KiB.
const PIECES: usize = 8;

/// The most requests for one layer in a row without progress.
const ATTEMPTS_MAX: u32 = 5;

/// The bytes that count as progress.
const ADVANCE_BYTES_MIN: u64 = 1 << 20;

/// The most requests for one layer.
const TRIES_MAX: u32 = 50;

/// The wait before a broken stream is resumed; doubled each time.
const WAIT: Duration = Duration::from_secs(1);

/// Why a layer was not measured.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The request failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It was read, and is broken.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// It is longer than its manifest says.
    #[error("the registry sends more than the {0} bytes in its manifest")]
    TooLong(u64),
    /// The stream ended early, each time.
    #[error("the registry ends the stream after {received} of {expected} bytes each time; try again later")]
    TooShort {
        /// Bytes received.
        received: u64,
        /// Bytes by the manifest.
        expected: u64,
    },
}

impl StreamError {
    /// Whether the layer itself is the cause, so that another try would fail too.
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Measure(error) if error.is_definite())
    }

    /// Whether the registry may give the layer soon although nobody changes anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_transient() && error.reason() != Reason::Denied,
            Self::TooShort { .. } => true,
            Self::Measure(_) | Self::TooLong(_) => false,
        }
    }

    /// Whether the layer contradicts its manifest, so that another try fails too unless the manifest changes.
    pub fn contradicts_manifest(&self) -> bool {
        matches!(self, Self::TooLong(_) | Self::Measure(MeasureError::Unverifiable(_)))
    }
}

/// Measures a layer. `listed`: what of its files is listed. `can_resume`: whether the registry supports ranges, updated
/// here. `progress` is called with the compressed bytes received, repeated ones included.
pub(crate) async fn measure(
    client: &Client,
    layer: &LayerRequest,
    listed: Option<Wanted>,
    can_resume: &mut bool,
    mut progress: impl FnMut(u64),
) -> Result<Measured, StreamError> {
    let mut measuring = Measuring::start(layer, listed)?;
    let (mut attempts, mut tries) = (0, 0);
    loop {
        if measuring.received > 0 && !*can_resume {
            measuring = Measuring::start(layer, listed)?;
        }
        let before = measuring.received;
        let error = match receive(client, layer, &mut measuring, &mut progress).await {
            Ok(()) => return Ok(measuring.finish().await?),
            Err(StreamError::Registry(error)) if before > 0 && error.reason() == Reason::Unsupported => {
                *can_resume = false;
                continue;
            }
            Err(error) => error,
        };
        let advanced = *can_resume && measuring.received - before >= ADVANCE_BYTES_MIN;
        attempts = if advanced { 1 } else { attempts + 1 };
        tries += 1;
        if !error.is_transient() || attempts >= ATTEMPTS_MAX || tries >= TRIES_MAX {
            return Err(error);
        }
        tokio::time::sleep(WAIT * 2_u32.pow(attempts - 1)).await;
    }
}

async fn receive(
    client: &Client,
    layer: &LayerRequest,
    measuring: &mut Measuring,
    progress: &mut impl FnMut(u64),
) -> Result<(), StreamError> {
    let expected = layer.bytes;
    if measuring.received == expected {
        return Ok(());
    }
    let mut stream = client.stream_blob(&layer.repository, &layer.digest, measuring.received).await?;
    while let Some(piece) = stream.chunk().await? {
        progress(piece.len() as u64);
        measuring.feed(piece).await;
        if measuring.received > expected {
            return Err(StreamError::TooLong(expected));
        }
    }
    let received = measuring.received;
    if received < expected { Err(StreamError::TooShort { received, expected }) } else { Ok(()) }
}

/// A layer that is being measured, on a thread that may block.
struct Measuring {
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<Measured, MeasureError>>,
    received: u64,
}

impl Measuring {
    fn start(layer: &LayerRequest, listed: Option<Wanted>) -> Result<Self, MeasureError> {
        let measure = Measure::new(&layer.digest, layer.diff_id.as_ref())?.with_files(listed);
        let (pieces, mut queue) = mpsc::channel(PIECES);
        let thread =
            tokio::task::spawn_blocking(move || measure.read_files(std::iter::from_fn(|| queue.blocking_recv())));
        Ok(Self { pieces, thread, received: 0 })
    }

    async fn feed(&mut self, piece: Bytes) {
        self.received += piece.len() as u64;
        // Fails only if the thread panicked, which `finish` reports.
        let _ = self.pieces.send(piece).await;
    }

    async fn finish(self) -> Result<Measured, MeasureError> {
        drop(self.pieces);
        self.thread.await.expect("the measuring thread does not panic")
    }
}
