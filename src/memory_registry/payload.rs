//! The body of an answer: bytes that are kept, or a part of a blob that is made while it is sent.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::contents::MakeBlob;

/// What an answer carries.
#[derive(Clone)]
pub enum Payload {
    /// These bytes.
    Kept(Bytes),
    /// These bytes of a blob that is made on request.
    Made {
        /// Makes the whole blob.
        make: Arc<MakeBlob>,
        /// The first byte that is wanted, and the one after the last.
        range: Range<u64>,
    },
}

/// The body of an answer, as hyper sends it.
pub type PayloadBody = Either<Full<Bytes>, StreamBody<MadePieces>>;

impl Payload {
    /// The body that carries it. A blob begins to be made, on a blocking thread, so this needs tokio's runtime.
    pub fn into_body(self) -> PayloadBody {
        match self {
            Self::Kept(bytes) => Either::Left(Full::new(bytes)),
            Self::Made { make, range } => Either::Right(StreamBody::new(MadePieces::start(make, range))),
        }
    }
}

/// Pieces of a blob while it is made: memory holds only the few that wait to be sent.
pub struct MadePieces(mpsc::Receiver<Bytes>);

impl MadePieces {
    /// Pieces that may wait to be sent.
    const WAITING_MAX: usize = 4;

    fn start(make: Arc<MakeBlob>, range: Range<u64>) -> Self {
        let (pieces, made) = mpsc::channel(Self::WAITING_MAX);
        // Making a blob needs a processor, and waits for the client.
        tokio::task::spawn_blocking(move || {
            let mut at = 0;
            make(&mut |piece| {
                let start = at;
                at += piece.len() as u64;
                let index = |bytes: u64| usize::try_from(bytes - start).expect("within the piece");
                let (first, end) = (range.start.clamp(start, at), range.end.clamp(start, at));
                let is_sent = first == end || pieces.blocking_send(piece.slice(index(first)..index(end))).is_ok();
                is_sent && at < range.end
            });
        });
        Self(made)
    }
}

impl futures_util::Stream for MadePieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
