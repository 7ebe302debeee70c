//! What a connection is doing, and until when it may: the limits, enforced where its bytes pass.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// Who has made the program wait for so long can be done without before anybody else.
const HANGING: Duration = Duration::from_secs(1);

/// An answer some of which was taken within this is moving.
const MOVING: Duration = Duration::from_millis(100);

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
    /// The answers under way, by number: one, in HTTP/1.
    answering: BTreeMap<u64, Begun>,
    /// When a request came, or an answer began, or some of one was taken.
    moved: Instant,
    /// How many requests there were.
    requests: u64,
    is_http2: bool,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    /// Not before it is does it wait for the client, rather than for the program.
    is_made: bool,
}

/// How well a connection can be done without, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dispensable {
    /// It sends no request, or does not take its answer, for longer than anybody takes who means well.
    Hanging,
    /// It has had its answers, and waits to ask again.
    Idle,
    /// It is about to send a request, or to take an answer.
    Slow,
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
            moved: now,
            requests: 0,
            is_http2: false,
        };
        Arc::new(Self { limits, inner: Mutex::new(inner) })
    }

    /// It speaks HTTP/2, where what comes between requests is no part of a header but says that pings and answers came:
    /// once there was a request, only the idle time counts.
    pub(super) fn is_http2(&self) {
        self.inner().is_http2 = true;
    }

    /// A header is complete.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        let mut inner = self.inner();
        let now = Instant::now();
        inner.header_since = None;
        inner.requests += 1;
        inner.moved = now;
        let number = inner.requests;
        inner.answering.insert(number, Begun { at: now, is_made: false });
        drop(inner);
        Answering { activity: Arc::clone(self), number }
    }

    /// Whether the connection may be closed in favour of others, and in what order: the kind first, and of one kind
    /// whoever has waited longest. None while an answer is being made or is moving.
    pub(super) fn dispensable(&self) -> Option<(Dispensable, Instant)> {
        let inner = self.inner();
        let since = if !inner.answering.is_empty() {
            let patience = if inner.answering.values().any(|begun| !begun.is_made) { HANGING } else { MOVING };
            Some(inner.moved).filter(|moved| moved.elapsed() >= patience)?
        } else if let Some(since) = inner.blocked_since.or(inner.header_since) {
            since
        } else {
            return Some((Dispensable::Idle, inner.idle_since));
        };
        Some((if since.elapsed() >= HANGING { Dispensable::Hanging } else { Dispensable::Slow }, since))
    }

    /// When the connection ends unless something happens before.
    fn deadline(&self) -> Instant {
        let inner = self.inner();
        let doing = match (inner.answering.values().next(), inner.header_since) {
            (Some(begun), _) => begun.at + self.limits.answer,
            (None, Some(since)) => since + self.limits.header,
            (None, None) => inner.idle_since + self.limits.idle,
        };
        inner.blocked_since.map_or(doing, |since| doing.min(since + self.limits.answer))
    }

    fn bytes_came(&self) {
        let mut inner = self.inner();
        let may_begin_a_header = inner.answering.is_empty() && !(inner.is_http2 && inner.requests > 0);
        if may_begin_a_header {
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
        self.inner.lock()
    }
}

impl Answering {
    /// From now on it waits for the client.
    pub(super) fn made(&self) {
        let mut inner = self.activity.inner();
        inner.moved = Instant::now();
        if let Some(begun) = inner.answering.get_mut(&self.number) {
            begun.is_made = true;
        }
    }

    /// The client took some of the answer.
    pub(super) fn progress(&self) {
        self.activity.inner().moved = Instant::now();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn kind(activity: &Activity) -> Option<Dispensable> {
        activity.dispensable().map(|(kind, _)| kind)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_dispensable_by_what_it_keeps_the_program_waiting_for() {
        let activity = Activity::new(Limits::default());
        assert_eq!(kind(&activity), Some(Dispensable::Slow), "it is about to ask");
        tokio::time::advance(SECOND).await;
        assert_eq!(kind(&activity), Some(Dispensable::Hanging), "it does not ask");
        let answering = activity.answer();
        tokio::time::advance(MOVING).await;
        assert_eq!(kind(&activity), None, "its answer is being made");
        answering.made();
        assert_eq!(kind(&activity), None, "its answer begins");
        tokio::time::advance(MOVING).await;
        assert_eq!(kind(&activity), Some(Dispensable::Slow));
        answering.progress();
        assert_eq!(kind(&activity), None, "it took some of the answer");
        tokio::time::advance(SECOND).await;
        assert_eq!(kind(&activity), Some(Dispensable::Hanging), "it takes no more");
        activity.blocked(true);
        drop(answering);
        tokio::time::advance(SECOND).await;
        assert_eq!(kind(&activity), Some(Dispensable::Hanging), "the answer's last bytes are not taken either");
        activity.blocked(false);
        assert_eq!(kind(&activity), Some(Dispensable::Idle));
        activity.bytes_came();
        assert_eq!(kind(&activity), Some(Dispensable::Slow), "it begins to ask again");
    }

    #[tokio::test(start_paused = true)]
    async fn in_http_2_only_the_first_request_has_a_time_to_come() {
        let limits = Limits::default();
        let activity = Activity::new(limits);
        activity.is_http2();
        activity.bytes_came();
        assert_eq!(activity.deadline() - Instant::now(), limits.header);
        drop(activity.answer());
        let answered = Instant::now();
        tokio::time::advance(SECOND).await;
        activity.bytes_came();
        assert_eq!(activity.deadline() - answered, limits.idle);
    }
}
