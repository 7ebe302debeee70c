//! One connection from its accept to its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deadlines::{Deadlines, TimedIo};
use super::listener::Listener;
use super::routes;
use super::state::ServerState;

/// Bytes of the read and write buffers. A header that fills the buffer is refused.
const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a request's header over HTTP/2.
const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;

/// How long to wait when accepting fails, as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The state that connections share.
#[derive(Clone)]
pub(super) struct ConnectionContext {
    pub(super) state: Arc<ServerState>,
    pub(super) connections: Arc<OpenConnections>,
    /// No new requests.
    pub(super) stop: CancellationToken,
    /// Close at once.
    pub(super) kill: CancellationToken,
    pub(super) tracker: TaskTracker,
}

/// Serves the connections of one listener until the server stops.
pub(super) async fn accept(listener: Listener, context: ConnectionContext) {
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &context) => accepted,
            () = context.stop.cancelled() => return,
        };
        match accepted {
            Ok(()) => is_failing = false,
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                // Logged once, however long it lasts: clients must not fill the log.
                if !is_failing {
                    tracing::warn!(%error, "cannot accept connections");
                }
                is_failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether only this connection failed, because its client left before it was accepted.
fn is_client_error(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::TimedOut
    )
}

async fn accept_one(listener: &Listener, context: &ConnectionContext) -> std::io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Answers are written in few large pieces: Nagle's algorithm gains nothing.
            stream.set_nodelay(true)?;
            begin(stream, context);
        }
        Listener::Unix(listener) => begin(listener.accept().await?.0, context),
    }
    Ok(())
}

fn begin<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: Io, context: &ConnectionContext) {
    let deadlines = Deadlines::new(context.state.options.limits);
    let Some(admission) = context.connections.admit(&deadlines) else { return };
    let (context, kill) = (context.clone(), context.kill.clone());
    context.tracker.clone().spawn(async move {
        let closed = admission.closed.clone();
        tokio::select! {
            () = run(TimedIo::new(io, Arc::clone(&deadlines)), deadlines, context) => {}
            () = closed.cancelled() => {}
            () = kill.cancelled() => {}
        }
        drop(admission);
    });
}

async fn run<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: TimedIo<Io>,
    deadlines: Arc<Deadlines>,
    context: ConnectionContext,
) {
    let ended = match context.state.web_config.current().tls() {
        Some(tls) => https(io, tls, deadlines, context).await,
        None => http(io, false, deadlines, context).await.map_err(Into::into),
    };
    if let Err(error) = ended {
        // Timeouts and clients that leave are normal.
        tracing::debug!(%error, "connection ended");
    }
}

async fn https<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: TimedIo<Io>,
    tls: Arc<ServerConfig>,
    deadlines: Arc<Deadlines>,
    context: ConnectionContext,
) -> anyhow::Result<()> {
    let stream = TlsAcceptor::from(tls).accept(io).await.context("TLS handshake")?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if is_http2 {
        deadlines.set_http2();
    }
    Ok(http(stream, is_http2, deadlines, context).await?)
}

async fn http<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    io: Io,
    is_http2: bool,
    deadlines: Arc<Deadlines>,
    context: ConnectionContext,
) -> hyper::Result<()> {
    let ConnectionContext { state, stop, .. } = context;
    let service = service_fn(move |request: http::Request<Incoming>| {
        let guard = deadlines.answer();
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(routes::answer(&state, request, guard).await) }
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
        // `Deadlines` has the timeouts: hyper's for the header would close idle connections too.
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            result = connection.as_mut() => return result,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// The open connections.
pub(super) struct OpenConnections {
    max: usize,
    /// Never held across an await.
    open: Mutex<OpenByNumber>,
}

#[derive(Default)]
struct OpenByNumber {
    next: u64,
    by_number: BTreeMap<u64, (Arc<Deadlines>, CancellationToken)>,
}

/// The permission to stay connected. Released when dropped.
struct ConnectionPermit {
    number: u64,
    /// Cancelled when another connection takes its place.
    closed: CancellationToken,
    connections: Arc<OpenConnections>,
}

impl OpenConnections {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.open.lock().by_number.len()
    }

    /// Admits a connection. Past the maximum it first closes the longest-waiting one: stalled ones first, then idle
    /// ones. `None` if all of them are reading their answers.
    fn admit(self: &Arc<Self>, deadlines: &Arc<Deadlines>) -> Option<ConnectionPermit> {
        let mut open = self.open.lock();
        if open.by_number.len() >= self.max {
            let waiting = open
                .by_number
                .iter()
                .filter_map(|(number, (deadlines, _))| deadlines.eviction_order().map(|order| (order, *number)));
            let (_, number) = waiting.min()?;
            let (_, closed) = open.by_number.remove(&number)?;
            closed.cancel();
        }
        let number = open.next;
        open.next += 1;
        let closed = CancellationToken::new();
        open.by_number.insert(number, (Arc::clone(deadlines), closed.clone()));
        drop(open);
        Some(ConnectionPermit { number, closed, connections: Arc::clone(self) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.open.lock().by_number.remove(&self.number);
    }
}
