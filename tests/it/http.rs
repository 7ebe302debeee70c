//! The endpoint with good and bad clients, over real connections.

mod client;
mod hostile;
mod http2;
mod server;
mod web_config;

use std::io::Read as _;

use client::{Answer, answer, ask, get, to_end};
use image_size_exporter::metrics::Format;
use image_size_exporter::web::Options;
use server::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::exposition_reader::Exposition;
use crate::snapshots;
use image_size_exporter::inventory::Snapshot;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// A server that shows a snapshot.
pub async fn published(snapshot: Snapshot) -> Server {
    let mut server = Server::start(Options::default()).await;
    server.publish(snapshot).await;
    server
}

fn gunzip(answer: &Answer) -> String {
    let (mut decoder, mut text) = (flate2::bufread::GzDecoder::new(&answer.body[..]), String::new());
    decoder.read_to_string(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "more than one member");
    text
}

#[tokio::test]
async fn a_scrape_gets_the_format_and_encoding_that_it_asks_for() {
    let mut server = Server::start(Options::default()).await;
    server.publish(snapshots::large(100)).await;
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let cases = [
        ("", "", text, Format::Text),
        ("", "gzip", text, Format::Text),
        (OPEN_METRICS, "", open_metrics, Format::OpenMetrics),
        (OPEN_METRICS, "gzip", open_metrics, Format::OpenMetrics),
    ];
    for (accept, encoding, content_type, format) in cases {
        let headers = [("accept", accept), ("accept-encoding", encoding)];
        let answer = ask(server.address, "GET", "/metrics", &headers).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let text = if encoding == "gzip" { gunzip(&answer) } else { answer.text().to_owned() };
        let exposition = Exposition::parse(&text, format).unwrap();
        assert_eq!(exposition.all("container_image_info", &[]).len(), 200);
        let series = exposition.samples.iter().filter(|sample| sample.name.starts_with("container_image_")).count();
        assert!(text.lines().any(|line| line == format!("image_size_exporter_series {series}")));
    }
}

#[tokio::test]
async fn every_path_answers_reading_methods_and_refuses_others() {
    let server = Server::start(Options::default()).await;
    server.state.set_config("[scan]\ninterval = \"5m\"\n".to_owned());
    let cases = [
        ("/", 200, "text/html; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/config", 200, "text/plain; charset=utf-8"),
        ("/-/healthy", 200, "text/plain; charset=utf-8"),
        ("/-/ready", 200, "text/plain; charset=utf-8"),
        ("/metrics?x=y", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/metrics/", 404, "text/plain; charset=utf-8"),
        ("/nothing", 404, "text/plain; charset=utf-8"),
    ];
    for (path, status, content_type) in cases {
        let get = get(server.address, path).await;
        assert_eq!((get.status, get.header("content-type")), (status, content_type), "{path}");
        let head = ask(server.address, "HEAD", path, &[]).await;
        assert_eq!((head.status, head.header("content-type")), (status, content_type), "{path}");
        assert!(head.body.is_empty() && client::announced(&head) > 0, "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = ask(server.address, method, path, &[]).await;
            let expected = if status == 404 { (404, "") } else { (405, "GET, HEAD") };
            assert_eq!((answer.status, answer.header("allow")), expected, "{method} {path}");
        }
    }
    assert_eq!(get(server.address, "/config").await.text(), "[scan]\ninterval = \"5m\"\n");
    server.state.set_ready(false);
    assert_eq!(get(server.address, "/-/ready").await.status, 503);
    assert_eq!(get(server.address, "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn the_metrics_may_have_another_path_even_the_landing_page_s() {
    let server = Server::start(Options { telemetry_path: "/probe".into(), ..Options::default() }).await;
    assert_eq!(get(server.address, "/metrics").await.status, 404);
    assert!(get(server.address, "/probe").await.text().starts_with("# HELP "));
    assert!(get(server.address, "/").await.text().contains("href=\"/probe\""));
    let server = Server::start(Options { telemetry_path: "/".into(), ..Options::default() }).await;
    assert!(get(server.address, "/").await.text().starts_with("# HELP "));
}

#[tokio::test]
async fn reloading_is_asked_for_by_post_or_put_where_it_is_enabled() {
    let server = Server::start(Options::default()).await;
    assert_eq!(ask(server.address, "POST", "/-/reload", &[]).await.status, 403);
    let mut server = Server::start(Options { enable_lifecycle: true, ..Options::default() }).await;
    let refused = get(server.address, "/-/reload").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST, PUT"));
    for (method, result, status, text) in [
        ("POST", Ok(()), 200, ""),
        ("PUT", Ok(()), 200, ""),
        ("POST", Err("config.toml: no".to_owned()), 500, "failed to reload: config.toml: no\n"),
    ] {
        let (answer, ()) = tokio::join!(ask(server.address, method, "/-/reload", &[]), async {
            server.reloads.recv().await.unwrap().send(result).unwrap();
        });
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    server.reloads.close();
    assert_eq!(ask(server.address, "POST", "/-/reload", &[]).await.status, 503);
}

#[tokio::test]
async fn http_1_0_is_spoken_and_a_connection_serves_many_requests() {
    let server = Server::start(Options::default()).await;
    let mut old = TcpStream::connect(server.address).await.unwrap();
    old.write_all(b"GET /-/healthy HTTP/1.0\r\n\r\n").await.unwrap();
    let bytes = to_end(&mut old).await;
    assert!(bytes.starts_with(b"HTTP/1.0 200 OK\r\n"), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(answer(&bytes).text(), "image-size-exporter is healthy.\n");

    let mut pipelined = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET /-/ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    pipelined.write_all(format!("{request}{request}{last}").as_bytes()).await.unwrap();
    let text = String::from_utf8(to_end(&mut pipelined).await).unwrap();
    assert_eq!((text.matches("is healthy.").count(), text.matches("is ready.").count()), (2, 1));
}

#[tokio::test]
async fn both_kinds_of_addresses_are_listened_on() {
    for address in ["[::1]:0", "localhost:0", ":0"] {
        let server = Server::with(Options::default(), image_size_exporter::web::WebConfig::none(), address).await;
        let port = server.address.port();
        let reached = if address == "[::1]:0" { format!("[::1]:{port}") } else { format!("127.0.0.1:{port}") };
        assert_eq!(get(reached.parse().unwrap(), "/-/healthy").await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn an_answer_under_way_is_finished_when_the_program_ends() {
    let mut server = Server::start(Options::default()).await;
    server.publish(snapshots::large(5_000)).await;
    let mut reader = hostile::slow_reader(server.address).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    hostile::first_bytes(&mut reader).await;
    server.stop.cancel();
    assert!(to_end(&mut idle).await.is_empty());
    let whole = answer(&[b"HTTP/1.1 2".to_vec(), to_end(&mut reader).await].concat());
    assert_eq!(whole.body.len(), client::announced(&whole));
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
