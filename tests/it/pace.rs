//! Registries that refuse or fail many requests, and how many they receive.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::oci::{Registry, Repository};
use image_size_exporter::registry::{At, Credential, Registries, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::registry::{Reply, TestRegistry, tag};

const OK: &str = "HTTP/1.1 200 OK\r\ndocker-content-digest: sha256:1\r\ncontent-length: 0\r\n\r\n";
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n";

/// A registry that allows 5 requests within a second, and counts those that it refuses with this header.
async fn five_a_second(header: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refused = Arc::new(AtomicU32::new(0));
    let (counted, window) = (Arc::clone(&refused), Arc::new(Mutex::new((Instant::now(), 0))));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, header, Arc::clone(&window), Arc::clone(&counted)));
        }
    });
    (address, refused)
}

async fn answer(stream: TcpStream, header: &str, window: Arc<Mutex<(Instant, u32)>>, refused: Arc<AtomicU32>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if line == "\r\n" {
            let is_allowed = {
                let mut window = window.lock().unwrap();
                if window.0.elapsed() >= Duration::from_secs(1) {
                    *window = (Instant::now(), 0);
                }
                window.1 += 1;
                window.1 <= 5
            };
            refused.fetch_add(u32::from(!is_allowed), Ordering::Relaxed);
            let text = if is_allowed { OK.to_owned() } else { format!("{TOO_MANY}{header}\r\n") };
            if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
        line.clear();
    }
}

#[tokio::test]
async fn after_a_429_requests_keep_to_the_rate_that_the_registry_allows() {
    // As well as if it said how long to wait.
    join_all(["retry-after: 1\r\n", "retry-after: 0.25\r\n", ""].map(keeps_to_the_rate)).await;
}

async fn keeps_to_the_rate(header: &'static str) {
    let (address, refused) = five_a_second(header).await;
    let name: Registry = address.to_string().parse().unwrap();
    let settings = Settings { credential: Credential::Anonymous, ..Settings::default() };
    let registries = Registries::new([].into(), settings).unwrap();
    let client = registries.client(&name);
    let (repository, v1) = (Repository::new(name.clone(), "acme/app").unwrap(), tag("v1"));
    let heads = (0..18).map(|_| client.head_manifest(&repository, At::Tag(&v1)));
    for head in join_all(heads).await {
        head.unwrap();
    }
    // Of the 8 that went together at first, 3; and hardly any of the others.
    let refused = refused.load(Ordering::Relaxed);
    assert!((3..=7).contains(&refused), "{refused} refused, {header:?}");
    let text = String::from_utf8(Telemetry::new(registries.counters()).encode(Format::Text)).unwrap();
    let series = format!("image_size_exporter_registry_requests_per_second_limit{{registry=\"{name}\"}} ");
    let limit: f64 = text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap();
    assert!((3.0..5.0).contains(&limit), "{limit}, {header:?}");
}

#[tokio::test]
async fn a_registry_that_fails_all_requests_is_not_sent_a_multiple_of_them() {
    let registry = TestRegistry::start();
    registry.always("HEAD *", Reply::status(503));
    let client = registry.client();
    let (repository, v1) = (registry.repository("acme/app"), tag("v1"));
    let heads = (0..100).map(|_| client.head_manifest(&repository, At::Tag(&v1)));
    assert!(join_all(heads).await.iter().all(Result::is_err));
    let requests = registry.requests().len();
    assert!((110..=125).contains(&requests), "{requests} requests");
}
