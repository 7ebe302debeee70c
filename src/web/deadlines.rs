//! The deadlines of a connection, enforced where its bytes pass, and the progress of its answers.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::options::ConnectionLimits;
use super::scrape_limit::ScrapePermit;

/// A client that has made the server wait for this long is stalled: its connection is closed first.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// An answer of which the client read bytes within this time makes progress: its connection is not closed.
const MOVING_WITHIN: Duration = Duration::from_millis(100);

/// The state of a connection, and its deadline.
#[derive(Debug)]
pub(super) struct Deadlines {
    limits: ConnectionLimits,
    /// Never held across an await.
    inner: Mutex<ConnectionState>,
}

#[derive(Debug)]
struct ConnectionState {
    /// When the header that is being read began: the first with the connection, later ones with their first byte.
    header_since: Option<Instant>,
    /// When the last answer ended.
    idle_since: Instant,
    /// Since when the client has read no bytes.
    blocked_since: Option<Instant>,
    /// The answers under way, by number. At most one in HTTP/1.
    answers: BTreeMap<u64, AnswerProgress>,
    /// When the last request arrived, the last answer began, or the client last read some of one.
    moved: Instant,
    /// The number of requests so far.
    requests: u64,
    is_http2: bool,
}

#[derive(Debug)]
struct AnswerProgress {
    at: Instant,
    /// Whether it is ready: before, the client waits for the program; afterwards the program for the client.
    is_made: bool,
}

/// Which connections are closed first when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionClass {
    /// It has sent no request, or has not read its answer, for longer than well-behaved clients need.
    Stalled,
    /// It was answered and has not sent another request.
    Idle,
    /// It may be about to send a request or to read an answer.
    Slow,
}

/// An answer under way: from the end of the request's header until the guard is dropped.
#[derive(Debug)]
pub(super) struct AnswerGuard {
    deadlines: Arc<Deadlines>,
    number: u64,
    /// Of a scrape.
    permit: Option<ScrapePermit>,
}

impl Deadlines {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let now = Instant::now();
        let inner = ConnectionState {
            header_since: Some(now),
            idle_since: now,
            blocked_since: None,
            answers: BTreeMap::new(),
            moved: now,
            requests: 0,
            is_http2: false,
        };
        Arc::new(Self { limits, inner: Mutex::new(inner) })
    }

    /// The connection speaks HTTP/2, where bytes between requests are pings and acknowledgements rather than the start
    /// of a header: after the first request only the idle time counts.
    pub(super) fn set_http2(&self) {
        self.inner.lock().is_http2 = true;
    }

    /// A request's header is complete: its answer begins.
    pub(super) fn answer(self: &Arc<Self>) -> AnswerGuard {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.header_since = None;
        inner.requests += 1;
        inner.moved = now;
        let number = inner.requests;
        inner.answers.insert(number, AnswerProgress { at: now, is_made: false });
        drop(inner);
        AnswerGuard { deadlines: Arc::clone(self), number, permit: None }
    }

    /// The connection's rank when connections are closed for others: by class, then by waiting time. `None` while an
    /// answer is being made or makes progress.
    pub(super) fn eviction_order(&self) -> Option<(EvictionClass, Instant)> {
        let inner = self.inner.lock();
        let since = if !inner.answers.is_empty() {
            let allowed =
                if inner.answers.values().any(|answer| !answer.is_made) { STALLED_AFTER } else { MOVING_WITHIN };
            Some(inner.moved).filter(|moved| moved.elapsed() >= allowed)?
        } else if let Some(since) = inner.blocked_since.or(inner.header_since) {
            since
        } else {
            return Some((EvictionClass::Idle, inner.idle_since));
        };
        Some((if since.elapsed() >= STALLED_AFTER { EvictionClass::Stalled } else { EvictionClass::Slow }, since))
    }

    /// When the connection is closed if nothing happens before.
    fn deadline(&self) -> Instant {
        let inner = self.inner.lock();
        let deadline = match (inner.answers.values().next(), inner.header_since) {
            (Some(answer), _) => answer.at + self.limits.answer,
            (None, Some(since)) => since + self.limits.header,
            (None, None) => inner.idle_since + self.limits.idle,
        };
        inner.blocked_since.map_or(deadline, |since| deadline.min(since + self.limits.answer))
    }

    fn bytes_came(&self) {
        let mut inner = self.inner.lock();
        let may_begin_a_header = inner.answers.is_empty() && !(inner.is_http2 && inner.requests > 0);
        if may_begin_a_header {
            inner.header_since.get_or_insert_with(Instant::now);
        }
    }

    fn blocked(&self, is_blocked: bool) {
        let mut inner = self.inner.lock();
        if is_blocked {
            inner.blocked_since.get_or_insert_with(Instant::now);
        } else {
            inner.blocked_since = None;
        }
    }
}

impl AnswerGuard {
    /// Holds a scrape's permit until the answer ends or stalls.
    pub(super) fn hold(&mut self, permit: ScrapePermit) {
        self.permit = Some(permit);
    }

    /// Notes that the answer is ready and waits for the client.
    pub(super) fn made(&self) {
        let mut inner = self.deadlines.inner.lock();
        inner.moved = Instant::now();
        if let Some(answer) = inner.answers.get_mut(&self.number) {
            answer.is_made = true;
        }
    }

    /// Notes that the client read some of the answer.
    pub(super) fn progress(&self) {
        self.deadlines.inner.lock().moved = Instant::now();
        if let Some(permit) = &self.permit {
            permit.progress();
        }
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        let mut inner = self.deadlines.inner.lock();
        inner.answers.remove(&self.number);
        inner.idle_since = Instant::now();
    }
}

/// A connection whose reads and writes fail with [`io::ErrorKind::TimedOut`] past the deadline.
pub(super) struct TimedIo<Io> {
    io: Io,
    deadlines: Arc<Deadlines>,
    sleep: Pin<Box<Sleep>>,
}

impl<Io> TimedIo<Io> {
    pub(super) fn new(io: Io, deadlines: Arc<Deadlines>) -> Self {
        let sleep = Box::pin(sleep_until(deadlines.deadline()));
        Self { io, deadlines, sleep }
    }

    /// Called when the program waits for the client. The timer is moved forward only when it fires: deadlines change
    /// with every request and are rarely reached.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.deadlines.deadline();
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
        self.deadlines.blocked(result.is_pending());
        if result.is_pending() { self.wait(context) } else { result }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for TimedIo<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_pending() {
            return self.wait(cx);
        }
        if buf.filled().len() > before {
            self.deadlines.bytes_came();
        }
        result
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for TimedIo<Io> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn class(deadlines: &Deadlines) -> Option<EvictionClass> {
        deadlines.eviction_order().map(|(class, _)| class)
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_connections_are_closed_before_slow_and_idle_ones() {
        let deadlines = Deadlines::new(ConnectionLimits::default());
        assert_eq!(class(&deadlines), Some(EvictionClass::Slow), "it is about to send a request");
        tokio::time::advance(SECOND).await;
        assert_eq!(class(&deadlines), Some(EvictionClass::Stalled), "it sends no request");
        let guard = deadlines.answer();
        tokio::time::advance(MOVING_WITHIN).await;
        assert_eq!(class(&deadlines), None, "its answer is being made");
        guard.made();
        assert_eq!(class(&deadlines), None, "its answer begins");
        tokio::time::advance(MOVING_WITHIN).await;
        assert_eq!(class(&deadlines), Some(EvictionClass::Slow));
        guard.progress();
        assert_eq!(class(&deadlines), None, "it took some of the answer");
        tokio::time::advance(SECOND).await;
        assert_eq!(class(&deadlines), Some(EvictionClass::Stalled), "it takes no more");
        deadlines.blocked(true);
        drop(guard);
        tokio::time::advance(SECOND).await;
        assert_eq!(class(&deadlines), Some(EvictionClass::Stalled), "the answer's last bytes are not taken either");
        deadlines.blocked(false);
        assert_eq!(class(&deadlines), Some(EvictionClass::Idle));
        deadlines.bytes_came();
        assert_eq!(class(&deadlines), Some(EvictionClass::Slow), "it begins another request");
    }

    #[tokio::test(start_paused = true)]
    async fn in_http_2_the_header_deadline_applies_only_to_the_first_request() {
        let limits = ConnectionLimits::default();
        let deadlines = Deadlines::new(limits);
        deadlines.set_http2();
        deadlines.bytes_came();
        assert_eq!(deadlines.deadline() - Instant::now(), limits.header);
        drop(deadlines.answer());
        let answered = Instant::now();
        tokio::time::advance(SECOND).await;
        deadlines.bytes_came();
        assert_eq!(deadlines.deadline() - answered, limits.idle);
    }
}
