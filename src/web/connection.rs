//! One connection from its accept to its end.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deadlines::{Activity, Guarded};
use super::listener::Listener;
use super::{State, routes};

/// Bytes of a request's header, and of what is put together for one write.
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a request's header over HTTP/2.
const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;

/// How long to wait when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) state: Arc<State>,
    pub(super) connections: Arc<Connections>,
    /// No new requests.
    pub(super) stop: CancellationToken,
    /// No more time.
    pub(super) kill: CancellationToken,
    pub(super) tracker: TaskTracker,
}

/// Serves the connections of one listener until the program stops.
pub(super) async fn accept(listener: Listener, context: Context) {
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &context) => accepted,
            () = context.stop.cancelled() => return,
        };
        match accepted {
            Ok(()) => is_failing = false,
            Err(error) if is_the_client_s(&error) => {}
            Err(error) => {
                // Once, however long it lasts: clients must not fill the log.
                if !is_failing {
                    tracing::warn!(%error, "cannot accept connections");
                }
                is_failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether only this connection failed, because its client went before it was accepted.
fn is_the_client_s(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::TimedOut
    )
}

async fn accept_one(listener: &Listener, context: &Context) -> std::io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Answers are written in few large pieces: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            begin(stream, context);
        }
        Listener::Unix(listener) => begin(listener.accept().await?.0, context),
    }
    Ok(())
}

fn begin<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: Io, context: &Context) {
    let activity = Activity::new(context.state.options.limits);
    let Some(place) = context.connections.enter(&activity) else { return };
    let (context, kill) = (context.clone(), context.kill.clone());
    context.tracker.clone().spawn(async move {
        let closed = place.closed.clone();
        tokio::select! {
            () = run(Guarded::new(io, Arc::clone(&activity)), activity, context) => {}
            () = closed.cancelled() => {}
            () = kill.cancelled() => {}
        }
        drop(place);
    });
}

async fn run<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: Guarded<Io>,
    activity: Arc<Activity>,
    context: Context,
) {
    let ended = match context.state.web_config.current().tls() {
        Some(tls) => https(io, tls, activity, context).await,
        None => http(io, false, activity, context).await.map_err(Into::into),
    };
    if let Err(error) = ended {
        // Timeouts and clients that go are everyday life.
        tracing::debug!(%error, "connection ended");
    }
}

async fn https<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: Guarded<Io>,
    tls: Arc<ServerConfig>,
    activity: Arc<Activity>,
    context: Context,
) -> anyhow::Result<()> {
    let stream = TlsAcceptor::from(tls).accept(io).await.context("TLS handshake")?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if is_http2 {
        activity.is_http2();
    }
    Ok(http(stream, is_http2, activity, context).await?)
}

async fn http<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: Io,
    is_http2: bool,
    activity: Arc<Activity>,
    context: Context,
) -> hyper::Result<()> {
    let Context { state, stop, .. } = context;
    let service = service_fn(move |request: http::Request<Incoming>| {
        let answering = activity.answer();
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(routes::answer(&state, request).await.map(|body| body.holding(answering))) }
    });
    let io = TokioIo::new(io);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEADER_BYTES_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    } else {
        let mut builder = http1::Builder::new();
        // Timeouts are `Activity`'s: hyper's for the header would end idle connections too.
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// The connections there are.
pub(super) struct Connections {
    max: usize,
    /// Never held across an await.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_number: BTreeMap<u64, (Arc<Activity>, CancellationToken)>,
}

/// A connection's place among them. Free again when dropped.
struct Place {
    number: u64,
    /// Another connection needs the place.
    closed: CancellationToken,
    connections: Arc<Connections>,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.open().by_number.len()
    }

    /// A place, if need be that of the connection that can best be done without; none if all of them are taking their
    /// answers.
    fn enter(self: &Arc<Self>, activity: &Arc<Activity>) -> Option<Place> {
        let mut open = self.open();
        if open.by_number.len() >= self.max {
            let waiting = open
                .by_number
                .iter()
                .filter_map(|(number, (activity, _))| activity.dispensable().map(|order| (order, *number)));
            let (_, number) = waiting.min()?;
            let (_, closed) = open.by_number.remove(&number)?;
            closed.cancel();
        }
        let number = open.next;
        open.next += 1;
        let closed = CancellationToken::new();
        open.by_number.insert(number, (Arc::clone(activity), closed.clone()));
        drop(open);
        Some(Place { number, closed, connections: Arc::clone(self) })
    }

    /// A panic elsewhere leaves nothing half done here: the map is usable.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}
