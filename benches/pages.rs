//! What pages cost on the server, for 1,000, 10,000 and 100,000 images in repositories of five releases, ten layers each,
//! of which four are an image's own and six are one of a hundred bases': time from a snapshot to HTML, and bytes as they
//! are and compressed. Then, over a connection, what a scrape takes while nobody and while somebody looks at pages.
//!
//! Prints a table: `cargo bench --bench pages`.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use image_size_exporter::image::{Image, Layer};
use image_size_exporter::inventory::{Inventory, Snapshot};
use image_size_exporter::metrics;
use image_size_exporter::metrics::Telemetry;
use image_size_exporter::oci::{Digest, MediaType, PlatformFilter, Repository, Tag};
use image_size_exporter::page::{Answer, World, answer};
use image_size_exporter::tag::{Discovered, DiscoveredRepository, ListExtent, Observation, Outcome, Reading};
use image_size_exporter::target::{Detail, Listing, NewestBy, Selection, Target, TargetName, Uncompressed};
use image_size_exporter::web::{Listener, Options, ServerState, WebConfig, serve};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
const TAGS: u32 = 5;
const BASES: u32 = 100;
const BASE_LAYERS: u32 = 6;
const OWN_LAYERS: u32 = 4;
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
    let name = TargetName("all".into());
    let target = Target {
        name: name.clone(),
        repositories: "registry.example.com/**".parse().expect("a pattern"),
        selection: Selection { tags: Vec::new(), listing: Some(Listing::default()) },
        newest: Some(NewestBy::Semver),
        platforms: PlatformFilter::all(),
        interval: Duration::from_mins(5),
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: Some(10_500_000),
        labels: std::collections::BTreeMap::new(),
        grouping: None,
        tags_max: 10_000,
    };
    let mut inventory = Inventory::new(&[Arc::new(target)], Duration::from_hours(168));
    let tags = |number: u32| -> Vec<Tag> { (0..TAGS).map(|place| tag(number * TAGS + place)).collect() };
    let one = |number: u32| DiscoveredRepository {
        repository: repository(number * TAGS),
        tags: tags(number),
        candidates: tags(number).into_iter().rev().collect(),
        list: ListExtent::Whole,
    };
    let repositories = (0..images / TAGS).map(one).collect();
    inventory.select(&name, Discovered { repositories, catalog: ListExtent::Whole });
    for image in 0..images {
        inventory.record(&observed(image));
    }
    inventory.scan_ended(&name);
    (*inventory.snapshot()).clone()
}

fn observed(number: u32) -> Observation {
    let layer = |(number, bytes): (u32, u64)| Layer {
        digest: digest("layer", number),
        bytes: Some(bytes),
        foreign: false,
        diff_id: None,
        media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
        hint: None,
    };
    let image = Image {
        digest: digest("manifest", number),
        image_id: Some(digest("config", number)),
        media_type: MediaType::new(MediaType::OCI_MANIFEST),
        artifact_type: "".into(),
        platform: "linux/amd64".parse().expect("a platform"),
        created: Some(1.6e9 + f64::from(number)),
        config_bytes: 7_000,
        manifest_bytes: 2_000,
        layers: layers_of(number).map(layer).collect(),
    };
    let reading = Reading {
        digest: image.digest.clone(),
        header: None,
        media_type: image.media_type.clone(),
        index_bytes: 0,
        images: vec![Arc::new(image)],
        attestations: 0,
        failed: Vec::new(),
        platforms: PlatformFilter::all(),
    };
    let outcome = Outcome::Read(Arc::new(reading));
    Observation { repository: repository(number), tag: tag(number), at: 1.7e9, outcome }
}

/// Numbers and bytes of an image's layers, bottom first.
fn layers_of(image: u32) -> impl Iterator<Item = (u32, u64)> {
    let base = image / TAGS % BASES;
    let shared = (0..BASE_LAYERS).map(move |place| base * BASE_LAYERS + place);
    let own = (0..OWN_LAYERS).map(move |place| BASES * BASE_LAYERS + image * OWN_LAYERS + place);
    shared.chain(own).map(|number| (number, 1_000_000 + u64::from(number)))
}

fn digest(kind: &str, number: u32) -> Digest {
    Digest::sha256_of(format!("{kind} {number}").as_bytes())
}

fn repository(image: u32) -> Repository {
    let number = image / TAGS;
    format!("registry.example.com/team-{}/service-{number}", number % 50).parse().expect("a repository")
}

fn tag(image: u32) -> Tag {
    format!("v1.{}.0", image % TAGS).parse().expect("a tag")
}
