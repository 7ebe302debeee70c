//! Hostile and broken clients.

use std::net::SocketAddr;
use std::time::Duration;

use image_size_exporter::web::{ConnectionLimits, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::client::{announced, answer, get, to_end};
use super::server::Server;
use crate::snapshots;

/// Short enough to wait for, long enough for a request.
const SHORT: Duration = Duration::from_millis(300);

fn limited(limits: ConnectionLimits) -> Options {
    Options { limits, ..Options::default() }
}

/// Requests the metrics with a small receive buffer.
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
async fn a_client_that_sends_nothing_or_half_a_request_is_disconnected() {
    let server = Server::start(limited(ConnectionLimits { header: SHORT, ..ConnectionLimits::default() })).await;
    for sent in ["", "G", "GET /metrics HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert!(to_end(&mut stream).await.is_empty(), "{sent}");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_byte_at_a_time_is_disconnected() {
    let server = Server::start(limited(ConnectionLimits { header: SHORT, ..ConnectionLimits::default() })).await;
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
    let limits = ConnectionLimits { header: SHORT / 10, idle: SHORT, ..ConnectionLimits::default() };
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
async fn a_client_that_does_not_read_is_disconnected() {
    let mut server = Server::start(limited(ConnectionLimits { answer: SHORT, ..ConnectionLimits::default() })).await;
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
async fn clients_that_do_not_read_do_not_block_others() {
    let limits = ConnectionLimits { connections_max: 64, ..ConnectionLimits::default() };
    let mut server = Server::start(Options { max_requests: 4, limits, ..Options::default() }).await;
    server.publish(snapshots::large(4_000)).await;
    let mut crowd = Vec::new();
    for number in 0..200 {
        crowd.push(slow_reader(server.address).await);
        if number % 50 == 0 {
            assert_eq!(get(server.address, "/metrics").await.status, 200, "after {number}");
        }
    }
    for path in ["/metrics", "/-/healthy", "/metrics"] {
        let whole = get(server.address, path).await;
        assert_eq!((whole.status, whole.body.len()), (200, announced(&whole)), "{path}");
    }
}

#[tokio::test]
async fn with_too_many_connections_waiting_ones_are_closed_and_requests_are_answered() {
    let server =
        Server::start(limited(ConnectionLimits { connections_max: 2, header: SHORT, ..ConnectionLimits::default() }))
            .await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        first_bytes(&mut idle).await;
        waiting.push(idle);
        waiting.push(TcpStream::connect(server.address).await.unwrap());
    }
    for _ in 0..2 {
        assert_eq!(get(server.address, "/-/healthy").await.status, 200);
    }
    for stream in &mut waiting {
        assert!(to_end(stream).await.len() < 1000);
    }
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

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::start(Options::default()).await;
    let cases = [
        ("GET /-/healthy HTTP/1.1\r\n", 400),
        ("GET /-/healthy HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        ("GET http://a/-/healthy HTTP/1.1\r\nhost: a\r\n", 200),
        ("GET /-/healthy HTTP/1.0\r\n", 200),
    ];
    for (head, status) in cases {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(answer(&to_end(&mut stream).await).status, status, "{head}");
    }
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_and_ends_the_connection() {
    let server = Server::start(Options::default()).await;
    let next = "GET /config HTTP/1.1\r\nhost: a\r\n\r\n";
    let cases = [
        ("content-length: 4\r\ncontent-length: 5\r\n\r\n", "HTTP/1.1 400"),
        ("content-length: +4\r\n\r\n", "HTTP/1.1 400"),
        ("transfer-encoding: xchunked\r\n\r\n", "HTTP/1.1 400"),
        ("x : y\r\n\r\n", "HTTP/1.1 400"),
        ("x: y\r\n z\r\n\r\n", "HTTP/1.1 400"),
        ("x: a\0b\r\n\r\n", "HTTP/1.1 400"),
        ("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200"),
    ];
    for (rest, expected) in cases {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /-/healthy HTTP/1.1\r\nhost: a\r\n{rest}{next}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = String::from_utf8(to_end(&mut stream).await).unwrap();
        assert!(text.starts_with(expected) && text.matches("HTTP/1.1").count() == 1, "{rest}: {text}");
    }
}

#[tokio::test]
async fn a_header_may_have_32_kib_and_not_a_byte_more() {
    let server = Server::start(Options::default()).await;
    for (bytes, status) in [(32 << 10, 200), ((32 << 10) + 1, 431), (48 << 10, 431)] {
        let (start, end) = ("GET /-/healthy HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: ", "\r\n\r\n");
        let header = format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()));
        assert_eq!(header.len(), bytes);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(header.as_bytes()).await.unwrap();
        assert_eq!(answer(&to_end(&mut stream).await).status, status, "{bytes}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_not_to_guess_run_or_frame_anything() {
    let server = Server::start(Options::default()).await;
    for path in
        ["/", "/config", "/metrics", "/nothing", "/-/reload", "/-/style.css", "/-/script.js", "/api/v1/overview"]
    {
        let answer = get(server.address, path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "deny", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    }
}

#[tokio::test]
async fn pages_answer_only_under_the_expected_names() {
    let hosts = vec!["exporter.example.com".to_owned(), "::1".to_owned()];
    let server = Server::start(Options { hosts, ..Options::default() }).await;
    let cases = [
        ("/", "host: exporter.example.com", 200),
        ("/config", "host: EXPORTER.example.com:10048", 200),
        ("/config", "host: exporter.example.com.", 200),
        ("/", "host: [::1]:10048", 200),
        ("/", "host: rebound.example.net", 421),
        ("/search", "host: rebound.example.net", 421),
        ("/api/v1/overview", "host: rebound.example.net", 421),
        ("/repository/a/b", "host: rebound.example.net", 421),
        ("/config", "host: rebound.example.net:10048", 421),
        ("/config", "host: exporter.example.com.example.net", 421),
        ("/config", "host: ", 421),
        ("http://rebound.example.net/config", "host: exporter.example.com", 421),
        ("http://exporter.example.com/config", "host: rebound.example.net", 200),
        ("/metrics", "host: rebound.example.net", 200),
        ("/-/healthy", "host: rebound.example.net", 200),
        ("/-/ready", "host: 192.0.2.7", 200),
    ];
    for (target, host, status) in cases {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\n{host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = answer(&to_end(&mut stream).await);
        assert_eq!(answer.status, status, "{target} {host}");
        if status == 421 {
            assert_eq!(answer.text(), "this host name is not among those of `[web] hosts`\n");
        }
    }
}
