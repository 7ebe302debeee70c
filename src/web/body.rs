//! The body of an answer: a few bytes, or what is rendered and a tail, without copies.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::deadlines::AnswerGuard;
use super::pieces::Pieces;
use crate::metrics::{Encoding, Rendered};

/// The body of an answer.
pub(super) struct ResponseBody {
    content: BodyContent,
    /// Not sent yet.
    remaining_bytes: u64,
    /// Dropped with the body: the answer ends.
    guard: Option<AnswerGuard>,
}

enum BodyContent {
    Bytes(Option<Bytes>),
    Scrape {
        /// Weak, so that a client that does not read keeps no old generation in memory.
        rendered: Weak<Rendered>,
        encoding: Encoding,
        next: usize,
        tail: Option<Bytes>,
    },
}

/// The generation of bytes that was being sent is gone: the answer is cut off.
#[derive(Debug, thiserror::Error)]
#[error("the client read so slowly that the answer was replaced twice")]
pub(super) struct Superseded;

impl ResponseBody {
    /// The rendered series and a tail.
    pub(super) fn scrape(rendered: &Arc<Rendered>, encoding: Encoding, tail: Bytes) -> Self {
        let remaining_bytes = rendered.pieces_bytes(encoding) + tail.len() as u64;
        let rendered = Arc::downgrade(rendered);
        let content = BodyContent::Scrape { rendered, encoding, next: 0, tail: Some(tail) };
        Self { content, remaining_bytes, guard: None }
    }

    /// Holds `guard` until the body ends.
    pub(super) fn with_guard(mut self, guard: AnswerGuard) -> Self {
        guard.made();
        self.guard = Some(guard);
        self
    }

    fn next(&mut self) -> Option<Result<Pieces, Superseded>> {
        match &mut self.content {
            BodyContent::Bytes(bytes) => bytes.take().map(|bytes| Ok(bytes.into())),
            BodyContent::Scrape { rendered, encoding, next, tail } => {
                tail.as_ref()?;
                let Some(rendered) = rendered.upgrade() else { return Some(Err(Superseded)) };
                if let Some(guard) = &self.guard {
                    guard.progress();
                }
                let mut frame: Pieces = rendered.frame(*encoding, *next).map(Pieces::from).unwrap_or_default();
                *next += 1;
                if *next >= rendered.frames_count(*encoding) {
                    frame.push(tail.take()?);
                }
                Some(Ok(frame))
            }
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self { remaining_bytes: bytes.len() as u64, content: BodyContent::Bytes(Some(bytes)), guard: None }
    }
}

impl Body for ResponseBody {
    type Data = Pieces;
    type Error = Superseded;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Superseded>>> {
        let next = self.next();
        if let Some(Ok(pieces)) = &next {
            self.remaining_bytes -= pieces.remaining() as u64;
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}
