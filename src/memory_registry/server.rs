//! Serves HTTP/1 on a listener.

use std::error::Error;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers all requests that arrive at `listener` with `answer`. It never returns; when its future is dropped, all
/// connections are closed. An error of `answer` closes its connection.
pub async fn serve<A, F, B, E>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Without a free file descriptor, say: the connections that exist come first.
                let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                let answer = answer.clone();
                connections.spawn(async move {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                    // A client may close its connection at any time.
                    drop(connection.await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
