//! What a connection is doing, and until when it may: the limits, enforced where its bytes pass.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    limits: Limits,
    /// Never held across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// When the header began that is being read: at first with the connection, later with its first byte.
    header_since: Option<Instant>,
    /// When the last answer ended.
    idle_since: Instant,
    /// Since when the client takes no bytes.
    blocked_since: Option<Instant>,
    /// When the answers under way began, by number: one, in HTTP/1.
    answering: BTreeMap<u64, Instant>,
    /// How many requests there were.
    requests: u64,
}

/// An answer under way. Its end is its drop.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Arc<Activity>,
    number: u64,
}

impl Activity {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let now = Instant::now();
        let inner = Inner {
            header_since: Some(now),
            idle_since: now,
            blocked_since: None,
            answering: BTreeMap::new(),
            requests: 0,
        };
        Arc::new(Self { limits, inner: Mutex::new(inner) })
    }

    /// A header is complete.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        let mut inner = self.inner();
        inner.header_since = None;
        inner.requests += 1;
        let number = inner.requests;
        inner.answering.insert(number, Instant::now());
        drop(inner);
        Answering { activity: Arc::clone(self), number }
    }

    /// Whether the connection may be closed in favour of others, and in what order: those that never asked first,
    /// and of these, or of those that did, the one that waits longest. None while an answer is under way.
    pub(super) fn dispensable(&self) -> Option<(bool, Instant)> {
        let inner = self.inner();
        inner.answering.is_empty().then(|| (inner.requests > 0, inner.header_since.unwrap_or(inner.idle_since)))
    }

    /// When the connection ends unless something happens before.
    fn deadline(&self) -> Instant {
        let inner = self.inner();
        let doing = match (inner.answering.values().next(), inner.header_since) {
            (Some(since), _) => *since + self.limits.answer,
            (None, Some(since)) => since + self.limits.header,
            (None, None) => inner.idle_since + self.limits.idle,
        };
        inner.blocked_since.map_or(doing, |since| doing.min(since + self.limits.answer))
    }

    fn bytes_came(&self) {
        let mut inner = self.inner();
        if inner.answering.is_empty() {
            inner.header_since.get_or_insert_with(Instant::now);
        }
    }

    fn blocked(&self, is_blocked: bool) {
        let mut inner = self.inner();
        if is_blocked {
            inner.blocked_since.get_or_insert_with(Instant::now);
        } else {
            inner.blocked_since = None;
        }
    }

    /// A panic elsewhere leaves nothing half done here: the state is usable.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut inner = self.activity.inner();
        inner.answering.remove(&self.number);
        inner.idle_since = Instant::now();
    }
}

/// A connection's bytes, which fail with [`io::ErrorKind::TimedOut`] past the deadline.
pub(super) struct Guarded<Io> {
    io: Io,
    activity: Arc<Activity>,
    sleep: Pin<Box<Sleep>>,
}

impl<Io> Guarded<Io> {
    pub(super) fn new(io: Io, activity: Arc<Activity>) -> Self {
        let sleep = Box::pin(sleep_until(activity.deadline()));
        Self { io, activity, sleep }
    }

    /// Called when the client makes the program wait. The timer is moved forward only when it fires: deadlines
    /// change with every request and nearly never pass.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.activity.deadline();
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn written<T>(&mut self, result: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.activity.blocked(result.is_pending());
        if result.is_pending() { self.wait(context) } else { result }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Guarded<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_pending() {
            return self.wait(cx);
        }
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        result
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Guarded<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(cx);
        if result.is_pending() { self.wait(cx) } else { result }
    }
}
