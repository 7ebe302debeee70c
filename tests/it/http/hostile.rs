//! Clients that mean no good, or know no better.

use std::net::SocketAddr;
use std::time::Duration;

use image_size_exporter::http::{Limits, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::client::{announced, answer, get, to_end};
use super::server::Server;
use crate::snapshots;

/// Short enough to wait for, long enough for a request.
const SHORT: Duration = Duration::from_millis(300);

fn limited(limits: Limits) -> Options {
    Options { limits, ..Options::default() }
}

/// Asks for the metrics with little room to put them.
pub async fn slow_reader(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    stream
}

/// Waits until the answer begins: `HTTP/1.1 2`.
pub async fn first_bytes(stream: &mut TcpStream) {
    let mut first = [0; 10];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 2");
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_request_is_let_go() {
    let server = Server::start(limited(Limits { header: SHORT, ..Limits::default() })).await;
    for sent in ["", "G", "GET /metrics HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert!(to_end(&mut stream).await.is_empty(), "{sent}");
    }
}

#[tokio::test]
async fn who_sends_a_byte_at_a_time_is_let_go() {
    let server = Server::start(limited(Limits { header: SHORT, ..Limits::default() })).await;
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        let mut drip = tokio::time::interval(SHORT / 10);
        loop {
            drip.tick().await;
            if writer.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    assert!(to_end(&mut reader).await.is_empty());
    dripping.await.unwrap();
}

#[tokio::test]
async fn between_requests_the_idle_time_counts_and_not_the_header_s() {
    let limits = Limits { header: SHORT / 10, idle: SHORT, ..Limits::default() };
    let server = Server::start(limited(limits)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut first = vec![0; 64];
    stream.read_exact(&mut first).await.unwrap();
    let mut waits = tokio::time::interval(SHORT / 3);
    waits.tick().await;
    waits.tick().await;
    stream.write_all(request).await.unwrap();
    let rest = String::from_utf8(to_end(&mut stream).await).unwrap();
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 1, "{rest}");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let mut server = Server::start(limited(Limits { answer: SHORT, ..Limits::default() })).await;
    server.publish(snapshots::large(4_000)).await;
    let mut stream = slow_reader(server.address).await;
    first_bytes(&mut stream).await;
    // The timeout passes while nothing is read, and nothing else can happen.
    let mut waits = tokio::time::interval(SHORT * 2);
    waits.tick().await;
    waits.tick().await;
    let part = answer(&[b"HTTP/1.1 2".to_vec(), to_end(&mut stream).await].concat());
    assert!(part.body.len() < announced(&part), "{} of {}", part.body.len(), announced(&part));
    assert_eq!(get(server.address, "/metrics").await.status, 200);
}

#[tokio::test]
async fn a_reader_keeps_what_it_reads_when_something_newer_is_published() {
    let mut server = Server::start(Options::default()).await;
    server.publish(snapshots::large(4_000)).await;
    let mut stream = slow_reader(server.address).await;
    first_bytes(&mut stream).await;
    server.publish(snapshots::large(10)).await;
    let small = get(server.address, "/metrics").await;
    let whole = answer(&[b"HTTP/1.1 2".to_vec(), to_end(&mut stream).await].concat());
    assert_eq!(whole.body.len(), announced(&whole));
    assert!(small.body.len() < whole.body.len() / 100);
}

#[tokio::test]
async fn past_the_limit_scrapes_are_refused_and_nothing_else_is() {
    let mut server = Server::start(Options { max_requests: 1, ..Options::default() }).await;
    server.publish(snapshots::large(4_000)).await;
    let mut stream = slow_reader(server.address).await;
    first_bytes(&mut stream).await;
    let refused = get(server.address, "/metrics").await;
    assert_eq!((refused.status, refused.text()), (503, "limit of 1 concurrent scrapes reached, try again\n"));
    assert_eq!(get(server.address, "/-/healthy").await.status, 200);
    to_end(&mut stream).await;
    drop(stream);
    assert_eq!(get(server.address, "/metrics").await.status, 200);
}

#[tokio::test]
async fn when_there_are_too_many_connections_those_that_never_ask_go_first() {
    let server = Server::start(limited(Limits { connections_max: 2, ..Limits::default() })).await;
    let mut useful = TcpStream::connect(server.address).await.unwrap();
    useful.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 64];
    useful.read_exact(&mut first).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(get(server.address, "/-/healthy").await.status, 200);
    for stream in &mut silent {
        assert!(to_end(stream).await.is_empty());
    }
    useful.write_all(b"GET /-/ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(String::from_utf8(to_end(&mut useful).await).unwrap().contains("is ready."));
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let server = Server::start(Options::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let header = format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(1 << 20));
    // The server may close before it has all of it.
    let _ = stream.write_all(header.as_bytes()).await;
    let bytes = to_end(&mut stream).await;
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(get(server.address, "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_request_s_body_is_not_waited_for() {
    let server = Server::start(Options::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx").await.unwrap();
    first_bytes(&mut stream).await;
}
