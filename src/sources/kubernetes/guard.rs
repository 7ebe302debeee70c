//! Bounds what `kube` reads from the API server, which it does not do itself: how long an answer may take, how much of it may
//! come, how often a watch may begin. And hears bookmarks, with which the server says that nothing has changed.

use std::future::ready;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tower::{BoxError, Service};

/// Time for the beginning of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a whole page of a list.
const PAGE_TIMEOUT: Duration = Duration::from_mins(2);

/// Time without a byte of a watch. The API server sends a bookmark about once a minute.
const SILENCE_MAX: Duration = Duration::from_secs(150);

/// The most pages of a list: with 500 pods each, more than Kubernetes is built for.
const PAGES_MAX: usize = 1000;

/// The most bytes of a page of a list: 500 pods have about 5 MiB.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// The most bytes of an event of a watch. etcd stores at most 1.5 MiB of an object unless it is told otherwise.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// Time between the beginnings of two watches: a server that ends each at once is not asked all the time.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Time between two times that the server is said to be heard from.
const HEARD_PAUSE: Duration = Duration::from_secs(1);

/// What went wrong beyond what `kube` notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbounded {
    #[error("no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    #[error("a page of the list of pods has more than {} MiB", PAGE_BYTES_MAX >> 20)]
    Page,
    #[error("the list of pods has more than {PAGES_MAX} pages")]
    List,
    #[error("an event has more than {} MiB", EVENT_BYTES_MAX >> 20)]
    Event,
}

/// Whether the watch is alive: changes whenever the API server is heard from while a watch is under way.
pub(super) type Heard = watch::Receiver<Option<Instant>>;

/// The service below `kube`'s client.
pub(super) struct Guard<S> {
    inner: S,
    heard: Arc<watch::Sender<Option<Instant>>>,
    /// When the last watch began. Held for no longer than it takes to read or write it.
    begun: Arc<Mutex<Option<Instant>>>,
    /// Pages of the list so far. The client has copies of this service, and reads one list at a time.
    pages: Arc<AtomicUsize>,
}

impl<S> Guard<S> {
    pub(super) fn new(inner: S, heard: watch::Sender<Option<Instant>>) -> Self {
        Self { inner, heard: Arc::new(heard), begun: Arc::default(), pages: Arc::default() }
    }
}

impl<S, Q, B> Service<Request<Q>> for Guard<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Unpin + Send + 'static,
{
    type Response = Response<Bounded<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let has = |is: &dyn Fn(&str) -> bool| request.uri().query().is_some_and(|query| query.split('&').any(is));
        let is_watch = has(&|part| part == "watch=true");
        if has(&|part| part.starts_with("continue=")) {
            if self.pages.fetch_add(1, Ordering::Relaxed) + 1 >= PAGES_MAX {
                return Box::pin(ready(Err(Unbounded::List.into())));
            }
        } else {
            self.pages.store(0, Ordering::Relaxed);
        }
        let answer = self.inner.call(request);
        let (heard, begun) = (Arc::clone(&self.heard), Arc::clone(&self.begun));
        Box::pin(async move {
            let response = timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| Unbounded::Late(ANSWER_TIMEOUT))??;
            let watched = is_watch && response.status().is_success();
            if watched {
                let last = begun.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now());
                if let Some(last) = last {
                    sleep_until(last + WATCH_PAUSE).await;
                }
                heard.send_replace(Some(Instant::now()));
            }
            Ok(response.map(|body| Bounded::new(body, watched.then_some(heard))))
        })
    }
}

/// A body that ends when it takes too long, and fails when it becomes too big.
pub(super) struct Bounded<B> {
    inner: B,
    /// Of a watch: whom to tell of each part.
    heard: Option<Arc<watch::Sender<Option<Instant>>>>,
    /// Bytes of the page, or of the event, so far.
    bytes: usize,
    /// Until when something must come.
    patience: Pin<Box<Sleep>>,
}

impl<B> Bounded<B> {
    fn new(inner: B, heard: Option<Arc<watch::Sender<Option<Instant>>>>) -> Self {
        let patience = if heard.is_some() { SILENCE_MAX } else { PAGE_TIMEOUT };
        Self { inner, heard, bytes: 0, patience: Box::pin(sleep(patience)) }
    }

    fn count(&mut self, data: &[u8]) -> Result<(), Unbounded> {
        let Some(heard) = &self.heard else {
            self.bytes += data.len();
            return if self.bytes > PAGE_BYTES_MAX { Err(Unbounded::Page) } else { Ok(()) };
        };
        let now = Instant::now();
        heard.send_if_modified(|last| {
            let is_worth_saying = last.is_none_or(|last| now.duration_since(last) >= HEARD_PAUSE);
            if is_worth_saying {
                *last = Some(now);
            }
            is_worth_saying
        });
        self.patience.as_mut().reset(now + SILENCE_MAX);
        self.bytes = match data.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => data.len() - at - 1,
            None => self.bytes + data.len(),
        };
        if self.bytes > EVENT_BYTES_MAX { Err(Unbounded::Event) } else { Ok(()) }
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.heard.is_none() && self.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Unbounded::Late(PAGE_TIMEOUT).into())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            let counted = frame.map(|frame| {
                let frame = frame?;
                self.count(frame.data_ref().map_or(&[][..], |data| &data[..]))?;
                Ok(frame)
            });
            return Poll::Ready(counted);
        }
        // A watch that is silent for too long has most likely lost its connection: it ends here, and begins again where it was.
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::combinators::UnsyncBoxBody;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn watched() -> Arc<watch::Sender<Option<Instant>>> {
        Arc::new(watch::channel(None).0)
    }

    fn silent() -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        StreamBody::new(stream::pending())
    }

    fn text(bytes: usize) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        Full::new(Bytes::from(vec![b'x'; bytes])).map_err(|never| match never {})
    }

    async fn failure(body: impl Body<Data = Bytes, Error = BoxError>) -> Option<Unbounded> {
        body.collect().await.err().and_then(|error| error.downcast_ref().copied())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_watch_ends_and_a_silent_list_fails() {
        assert_eq!(failure(Bounded::new(silent(), Some(watched()))).await, None);
        assert_eq!(failure(Bounded::new(silent(), None)).await, Some(Unbounded::Late(PAGE_TIMEOUT)));
    }

    /// Answers every request.
    struct Server;

    impl Service<Request<()>> for Server {
        type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            let body = Full::new(Bytes::new()).map_err(|never| match never {});
            ready(Ok(Response::new(UnsyncBoxBody::new(body))))
        }
    }

    #[tokio::test]
    async fn a_list_has_a_limit_of_pages() {
        let mut server = Guard::new(Server, watch::channel(None).0);
        let mut page = async |query: &str| {
            let request = Request::builder().uri(format!("/api/v1/pods?limit=500{query}")).body(()).unwrap();
            server.call(request).await.err().and_then(|error| error.downcast_ref().copied())
        };
        for _ in 0..2 {
            assert_eq!(page("").await, None);
            for _ in 1..PAGES_MAX {
                assert_eq!(page("&continue=x").await, None);
            }
            assert_eq!(page("&continue=x").await, Some(Unbounded::List));
        }
    }

    #[tokio::test]
    async fn a_page_and_an_event_have_a_limit() {
        assert_eq!(failure(Bounded::new(text(EVENT_BYTES_MAX + 1), Some(watched()))).await, Some(Unbounded::Event));
        assert_eq!(failure(Bounded::new(text(EVENT_BYTES_MAX + 1), None)).await, None);
        assert_eq!(failure(Bounded::new(text(PAGE_BYTES_MAX + 1), None)).await, Some(Unbounded::Page));
    }
}
