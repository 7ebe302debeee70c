//! HTTP/2, as Prometheus speaks it over TLS.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use image_size_exporter::web::{ConnectionLimits, Options};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::client::to_end;
use super::server::Server;
use super::web_config::{BOTH, Certificates, TLS};
use crate::snapshots;

/// Short enough to wait for, long enough for a request.
const SHORT: Duration = Duration::from_millis(300);

/// A client, which may ping so often while it has nothing to ask.
async fn client(certificates: &Certificates, server: &Server, pings: Option<Duration>) -> SendRequest<Empty<Bytes>> {
    let stream = certificates.connect(server.address, None, &BOTH, &[b"h2"]).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(pings).keep_alive_while_idle(true);
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

async fn server(certificates: &Certificates, limits: ConnectionLimits) -> Server {
    let options = Options { limits, max_requests: 4, ..Options::default() };
    let mut server = Server::with(options, certificates.web_config(TLS), "127.0.0.1:0").await;
    server.publish(snapshots::large(4_000)).await;
    server
}

#[tokio::test]
async fn pings_between_requests_do_not_count_as_an_unfinished_request() {
    let certificates = Certificates::new();
    let server = server(&certificates, ConnectionLimits { header: SHORT, ..ConnectionLimits::default() }).await;
    let mut client = client(&certificates, &server, Some(SHORT / 10)).await;
    let mut waits = tokio::time::interval(SHORT * 2);
    for _ in 0..3 {
        waits.tick().await;
        let answer = client.send_request(request("/-/healthy")).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        answer.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_reads_none_of_its_many_streams_is_disconnected_and_does_not_block_others() {
    let certificates = Certificates::new();
    let server = server(&certificates, ConnectionLimits { answer: SHORT * 3, ..ConnectionLimits::default() }).await;
    let mut greedy = client(&certificates, &server, None).await;
    // The bodies are not read: their windows stay full.
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(greedy.send_request(request("/metrics")).await.unwrap());
    }
    let mut other = client(&certificates, &server, None).await;
    let answer = other.send_request(request("/metrics")).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::OK);
    answer.into_body().collect().await.unwrap();
    let mut waits = tokio::time::interval(SHORT * 4);
    waits.tick().await;
    waits.tick().await;
    for answer in unread {
        assert!(answer.into_body().collect().await.is_err(), "the answer was kept");
    }
}

#[tokio::test]
async fn a_client_that_does_not_finish_the_handshake_is_disconnected() {
    let certificates = Certificates::new();
    let server = server(&certificates, ConnectionLimits { header: SHORT, ..ConnectionLimits::default() }).await;
    // Nothing; the beginning of a record; a record of 512 bytes that does not come.
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        assert!(to_end(&mut stream).await.is_empty(), "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_resets_its_requests_does_not_block_others() {
    let certificates = Certificates::new();
    let server = server(&certificates, ConnectionLimits::default()).await;
    let mut rapid = client(&certificates, &server, None).await;
    for _ in 0..500 {
        // Dropping the response future resets the stream.
        if rapid.ready().await.is_err() {
            break;
        }
        drop(rapid.send_request(request("/metrics")));
    }
    let mut other = client(&certificates, &server, None).await;
    let answer = other.send_request(request("/metrics")).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::OK);
    answer.into_body().collect().await.unwrap();
}
