//! What pages cost on the server, for 1,000, 10,000 and 100,000 images in repositories of five releases, ten layers each,
//! of which four are an image's own and six are one of a hundred bases': time from a snapshot to HTML, and bytes as they
//! are and compressed. Then, over a connection, what a scrape takes while nobody and while somebody looks at pages.
//!
//! Prints a table: `cargo bench --bench pages`.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "fixtures/inventory.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixtures::loaded;
use flate2::Compression;
use flate2::write::GzEncoder;
use image_size_exporter::inventory::Snapshot;
use image_size_exporter::metrics;
use image_size_exporter::metrics::Telemetry;
use image_size_exporter::page::{Answer, World, answer};
use image_size_exporter::target::{NewestBy, Shard};
use image_size_exporter::web::{Listener, Options, ServerState, WebConfig, serve};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 9;

const PAGES: [(&str, &str); 6] = [
    ("overview", "/"),
    ("list", "/search"),
    ("search", "/search?q=v1.3"),
    ("repository", "/repository/registry.example.com/team-7/service-7"),
    ("image", "/image/registry.example.com/team-7/service-7:v1.3.0"),
    (
        "comparison",
        "/compare?a=registry.example.com/team-7/service-7:v1.3.0&b=registry.example.com/team-7/service-7:v1.4.0",
    ),
];

fn main() {
    println!("{:>8}  {:<10}  {:>8}  {:>9}  {:>8}  {:>8}", "images", "page", "first ms", "median ms", "KiB", "gzip KiB");
    for images in SIZES {
        let snapshot = snapshot(images);
        for (name, address) in PAGES {
            println!("{images:>8}  {}", row(&snapshot, name, address));
        }
        if images == SIZES[2] {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            println!("{}", runtime.block_on(scrapes(snapshot)));
        }
    }
}

fn row(snapshot: &Snapshot, name: &str, address: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let world = World {
        shard: Shard::default(),
        snapshot,
        targets: &[],
        sources: &[],
        reload: None,
        series: 0,
        now: 1.7e9,
        telemetry_path: "/metrics",
        commands: &|_| None,
    };
    let mut durations = Vec::new();
    let mut html = String::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let made = answer(path, query, &world);
        durations.push(start.elapsed());
        let Some(Answer::Html(text)) = made else { panic!("{address} is no page") };
        html = text;
    }
    let first = durations[0];
    durations.sort();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(html.as_bytes()).expect("memory takes all bytes");
    let compressed = encoder.finish().expect("memory takes all bytes").len();
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    format!(
        "{name:<10}  {:>8.1}  {:>9.1}  {:>8.1}  {:>8.1}",
        ms(first),
        ms(durations[ROUNDS / 2]),
        kib(html.len()),
        kib(compressed)
    )
}

/// Scrapes over loopback: alone, and while two clients ask for one overview after the other.
async fn scrapes(snapshot: Snapshot) -> String {
    let telemetry = Arc::new(Telemetry::default());
    let (mut publisher, reader) = metrics::channel(Arc::clone(&telemetry));
    publisher.publish(Arc::new(snapshot), Vec::new(), Arc::new(BTreeSet::new())).await;
    let state =
        Arc::new(ServerState::new(reader, telemetry, mpsc::channel(1).0, WebConfig::none(), Options::default()));
    let listener = Listener::bind(&"127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(vec![listener], state, stop.clone()));
    let measured = tokio::task::spawn_blocking(move || {
        let alone = scrape_median(address);
        let looking = Arc::new(AtomicBool::new(true));
        let people: Vec<_> = (0..2)
            .map(|_| {
                let looking = Arc::clone(&looking);
                std::thread::spawn(move || {
                    let mut pages = 0;
                    while looking.load(Ordering::Relaxed) {
                        get(address, "/");
                        pages += 1;
                    }
                    pages
                })
            })
            .collect();
        let beside = scrape_median(address);
        looking.store(false, Ordering::Relaxed);
        let pages: u32 = people.into_iter().map(|person| person.join().expect("no panic")).sum();
        format!(
            "a scrape, gzip: {:.1} ms alone, {:.1} ms while {pages} overviews are made one after the other",
            ms(alone),
            ms(beside)
        )
    });
    let line = measured.await.expect("no panic");
    stop.cancel();
    serving.await.expect("no panic");
    line
}

fn scrape_median(address: SocketAddr) -> Duration {
    let mut durations: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            get(address, "/metrics");
            start.elapsed()
        })
        .collect();
    durations.sort();
    durations[durations.len() / 2]
}

fn get(address: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.0\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    assert!(bytes.starts_with(b"HTTP/1.0 200 "), "{path}");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn snapshot(images: u32) -> Snapshot {
    let mut inventory = loaded(images, |target| {
        target.newest = Some(NewestBy::Semver);
        target.budget_bytes = Some(10_500_000);
    });
    (*inventory.snapshot()).clone()
}
