//! Three shards on one PostgreSQL: `DATABASE=postgres://… cargo bench --bench fleet -- IMAGES` against a scripted registry, with
//! one image a tag, in repositories of twenty releases with ten layers each, of which four are an image's own and six are one
//! of two hundred bases'. The database must be empty and run on this machine alone.
//!
//! Prints what the first scan took and left behind, then minutes of 1 % churn: each second a part of the tags is pushed again,
//! and the shards are notified. CPU is user and system time, of the shards together and of all processes named `postgres`.
//! At last single pushes: the time until each shard shows the registry's exact sum.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[expect(dead_code, reason = "these daemons are neither reloaded nor stopped in order")]
#[path = "fixtures/daemon.rs"]
mod daemon;
#[expect(dead_code, reason = "the daemons are other processes")]
#[path = "fixtures/process.rs"]
mod process;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use daemon::Daemon;
use http::{Method, Request, Response};
use http_body_util::Full;
use image_size_exporter::memory_registry::serve;
use image_size_exporter::oci::Digest;
use parking_lot::Mutex;
use process::{cpu_of, kib_of};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

const SHARDS: u32 = 3;
/// Tags of a repository: so many that a million images need no more repositories than one wildcard takes.
const TAGS: u32 = 20;
const OWN_LAYERS: u32 = 4;
const BASE_LAYERS: u32 = 6;
const BASES: u32 = 200;
const MINUTES: u32 = 3;
const PUSHES: u32 = 10;
const PATIENCE: Duration = Duration::from_hours(1);
const TOKEN: &str = "fleet";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[tokio::main]
async fn main() -> Result<()> {
    let images: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30_000);
    #[expect(clippy::disallowed_methods, reason = "which database is used")]
    let url = std::env::var("DATABASE").context("DATABASE is the URL of an empty database")?;
    let registry = Arc::new(Registry::new(images));
    let address = start(Arc::clone(&registry)).await?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("url"), &url)?;
    std::fs::write(directory.path().join("token"), TOKEN)?;
    let config = format!(
        "[scan]\ninterval = \"6h\"\n[state]\nurl_file = \"url\"\n[notifications]\ntoken_file = \"token\"\n\
         [[targets]]\nname = \"all\"\nrepository = \"{address}/**\"\nmatch = [\".\"]\n"
    );
    std::fs::write(directory.path().join("config.toml"), config)?;
    let (before, started) = (postgres_cpu()?, Instant::now());
    let shards: Vec<Daemon> = (0..SHARDS)
        .map(|number| {
            let arguments = [format!("--shard={number}"), format!("--total-shards={SHARDS}")];
            Daemon::start(directory.path(), &arguments, PATIENCE)
        })
        .collect::<Result<_>>()?;
    let fleet = Fleet { shards, registry, address };
    fleet.wait_until_exact()?;
    let first = (fleet.cpu()?, postgres_cpu()?.saturating_sub(before));
    println!("{images} images, first scan and sums: {:.0} s", started.elapsed().as_secs_f64());
    println!("CPU: shards {:.0} s, PostgreSQL {:.0} s", first.0.as_secs_f64(), first.1.as_secs_f64());
    println!("resident: {}", fleet.resident());
    print_tables(&url).await?;

    for minute in 1..=MINUTES {
        let before = (fleet.cpu()?, postgres_cpu()?);
        let (mut pushed, start) = (0_u64, Instant::now());
        for second in 0..60 {
            while pushed < u64::from(images) * (second + 1) / 6_000 {
                fleet.push(fleet.registry.next())?;
                pushed += 1;
            }
            tokio::time::sleep_until((start + Duration::from_secs(second + 1)).into()).await;
        }
        let (took, shards, postgres) =
            (start.elapsed(), fleet.cpu()?.saturating_sub(before.0), postgres_cpu()?.saturating_sub(before.1));
        let caught_up = Instant::now();
        fleet.wait_until_exact()?;
        println!(
            "minute {minute}: {pushed} pushes in {:.0} s; CPU: shards {:.1} s, PostgreSQL {:.1} s; exact after {:.1} s more",
            took.as_secs_f64(),
            shards.as_secs_f64(),
            postgres.as_secs_f64(),
            caught_up.elapsed().as_secs_f64()
        );
    }
    println!("resident: {}", fleet.resident());
    print_tables(&url).await?;
    let mut times = Vec::new();
    for _ in 0..PUSHES {
        fleet.push(fleet.registry.next())?;
        let start = Instant::now();
        fleet.wait_until_exact()?;
        times.push(format!("{:.1}", start.elapsed().as_secs_f64()));
    }
    println!("seconds from a push until all shards are exact: {}", times.join(" "));
    Ok(())
}

/// The shards, and the registry that they watch.
struct Fleet {
    shards: Vec<Daemon>,
    registry: Arc<Registry>,
    address: SocketAddr,
}

impl Fleet {
    fn cpu(&self) -> Result<Duration> {
        self.shards.iter().map(Daemon::cpu).sum()
    }

    fn resident(&self) -> String {
        let mib = |shard: &Daemon, field| kib_of(&shard.id(), field) / 1024;
        let shown = self.shards.iter().map(|shard| format!("{} (peak {})", mib(shard, "VmRSS"), mib(shard, "VmHWM")));
        format!("{} MiB", shown.collect::<Vec<String>>().join(", "))
    }

    /// Pushes an image's next version, and notifies all shards.
    fn push(&self, image: u32) -> Result<()> {
        self.registry.push(image);
        let event = json!({ "events": [{
            "action": "push",
            "target": { "repository": repository(image / TAGS), "tag": tag(image) },
            "request": { "host": self.address.to_string() },
        }] })
        .to_string();
        let request = format!(
            "POST /-/notify/distribution HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
            event.len()
        );
        self.shards.iter().try_for_each(|shard| shard.request(&request, " 202 ").map(drop))
    }

    /// Waits until each shard shows what the registry stores.
    fn wait_until_exact(&self) -> Result<()> {
        let start = Instant::now();
        let expected = self.registry.stored();
        for shard in &self.shards {
            while stored(shard)? != Some(expected) {
                ensure!(start.elapsed() < PATIENCE, "the sums do not become exact: {:?} {expected}", stored(shard)?);
                for _ in 0..10 {
                    daemon::pause();
                }
            }
        }
        Ok(())
    }
}

/// What a shard shows as stored on the registry.
fn stored(shard: &Daemon) -> Result<Option<u64>> {
    let answer = shard.get("/api/v1/overview", "identity")?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").context("an answer has a body")?;
    let overview: serde_json::Value = serde_json::from_slice(&answer[body..])?;
    Ok(overview["registries"][0]["stored_bytes"].as_u64())
}

/// Of all processes of that name.
fn postgres_cpu() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.trim() == "postgres" {
            // It may have ended meanwhile.
            sum += cpu_of(&process.file_name().to_string_lossy()).unwrap_or_default();
        }
    }
    Ok(sum)
}

async fn print_tables(url: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    for table in ["facts", "tags", "layers"] {
        let counted = format!(
            "SELECT count(*), pg_total_relation_size('image_size_exporter.{table}') FROM image_size_exporter.{table}"
        );
        let row = client.query_one(&counted, &[]).await?;
        let (rows, bytes): (i64, i64) = (row.get(0), row.get(1));
        println!("{table}: {rows} rows, {} MB", bytes / 1_000_000);
    }
    Ok(())
}

/// Makes its documents when it is asked for them.
struct Registry {
    images: u32,
    /// The names of repositories, in the order of the catalog.
    catalog: Vec<String>,
    /// By image, how often it was pushed again.
    versions: Vec<AtomicU32>,
    /// By the digests of manifests and configs that were named, image and version.
    named: Mutex<HashMap<Digest, (u32, u32)>>,
    pushes: AtomicU64,
}

impl Registry {
    fn new(images: u32) -> Self {
        let images = images / TAGS * TAGS;
        let mut catalog: Vec<String> = (0..images / TAGS).map(repository).collect();
        catalog.sort_unstable();
        let versions = (0..images).map(|_| AtomicU32::new(0)).collect();
        Self { images, catalog, versions, named: Mutex::default(), pushes: AtomicU64::new(0) }
    }

    /// The image that is pushed next.
    fn next(&self) -> u32 {
        let push = self.pushes.fetch_add(1, Ordering::Relaxed);
        u32::try_from(push * 2_654_435_761 % u64::from(self.images)).expect("below the number of images")
    }

    fn push(&self, image: u32) {
        self.versions[image as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn version(&self, image: u32) -> u32 {
        self.versions[image as usize].load(Ordering::Relaxed)
    }

    /// Bytes of all distinct layers.
    fn stored(&self) -> u64 {
        let own: u64 =
            (0..self.images).map(|image| u64::from(OWN_LAYERS * own_bytes(image, self.version(image)))).sum();
        let base: u64 = (0..BASE_LAYERS).map(|place| u64::from(base_bytes(place))).sum();
        own + base * u64::from(BASES.min(self.images / TAGS))
    }

    fn answer(&self, method: &Method, path: &str, query: &str) -> Option<Response<Full<Bytes>>> {
        let path = path.strip_prefix("/v2/")?;
        if path.is_empty() {
            return Some(Response::new(Full::default()));
        }
        if path == "_catalog" {
            return Some(self.catalog(query));
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            let tags: Vec<String> = (0..TAGS).map(tag).collect();
            return Some(Response::new(Full::from(json!({ "name": name, "tags": tags }).to_string())));
        }
        let (name, rest) = path.rsplit_once("/manifests/").or_else(|| path.rsplit_once("/blobs/"))?;
        let (image, version) = if let Ok(digest) = rest.parse() {
            *self.named.lock().get(&digest)?
        } else {
            let number: u32 = name.rsplit_once('-')?.1.parse().ok()?;
            let place: u32 = rest.strip_prefix("v1.")?.strip_suffix(".0")?.parse().ok()?;
            let image = number * TAGS + place;
            (image, self.version(image))
        };
        let (config, manifest) = documents(image, version);
        let [of_config, of_manifest] = [&config, &manifest].map(|document| Digest::sha256_of(document.as_bytes()));
        let (document, digest, media_type) = if path.contains("/blobs/") {
            (config, of_config, CONFIG)
        } else {
            let mut named = self.named.lock();
            named.insert(of_config, (image, version));
            named.insert(of_manifest.clone(), (image, version));
            (manifest, of_manifest, MANIFEST)
        };
        let answer = Response::builder()
            .header("content-type", media_type)
            .header("docker-content-digest", digest.to_string())
            .header("content-length", document.len());
        let body = if method == Method::HEAD { Full::default() } else { Full::from(document) };
        answer.body(body).ok()
    }

    fn catalog(&self, query: &str) -> Response<Full<Bytes>> {
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let page = value("n").and_then(|n| n.parse().ok()).unwrap_or(1_000);
        let last = value("last").map(|last| last.replace("%2F", "/").replace("%2f", "/"));
        let from = last.map_or(0, |last| self.catalog.partition_point(|name| *name <= last));
        let names: Vec<&String> = self.catalog[from..].iter().take(page).collect();
        let body = Full::from(json!({ "repositories": names }).to_string());
        let mut response = Response::new(body);
        if from + names.len() < self.catalog.len()
            && let Some(last) = names.last()
        {
            let link = format!("</v2/_catalog?last={last}&n={page}>; rel=\"next\"");
            response.headers_mut().insert("link", link.parse().expect("a header"));
        }
        response
    }
}

async fn start(registry: Arc<Registry>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = move |request: Request<hyper::body::Incoming>| {
        let (method, uri) = (request.method(), request.uri());
        let answer = registry.answer(method, uri.path(), uri.query().unwrap_or_default());
        let not_found = || Response::builder().status(404).body(Full::default()).expect("an answer");
        std::future::ready(Ok::<_, Infallible>(answer.unwrap_or_else(not_found)))
    };
    tokio::spawn(serve(listener, answer));
    Ok(address)
}

fn repository(number: u32) -> String {
    format!("team-{}/service-{number}", number % 50)
}

fn tag(image: u32) -> String {
    format!("v1.{}.0", image % TAGS)
}

fn own_bytes(image: u32, version: u32) -> u32 {
    200_000 + (image + version) % 1_000
}

fn base_bytes(place: u32) -> u32 {
    5_000_000 + place
}

/// An image's config and manifest.
fn documents(image: u32, version: u32) -> (String, String) {
    let layer = |name: String, bytes: u32| {
        let digest = Digest::sha256_of(name.as_bytes()).to_string();
        json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": bytes })
    };
    let base = image / TAGS % BASES;
    let base = (0..BASE_LAYERS).map(|place| layer(format!("base {base} {place}"), base_bytes(place)));
    let own = (0..OWN_LAYERS).map(|place| layer(format!("own {image} {version} {place}"), own_bytes(image, version)));
    let layers: Vec<serde_json::Value> = base.chain(own).collect();
    let history: Vec<serde_json::Value> = (0..layers.len())
        .map(|step| json!({ "created_by": format!("RUN step {step} of many {}", "x".repeat(60)) }))
        .collect();
    let diff_ids: Vec<String> = (0..layers.len())
        .map(|place| Digest::sha256_of(format!("tar {image} {version} {place}").as_bytes()).to_string())
        .collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z",
        "config": { "Env": [format!("RELEASE={image}"), format!("VERSION={version}")] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history,
    })
    .to_string();
    let digest = Digest::sha256_of(config.as_bytes()).to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": { "mediaType": CONFIG, "digest": digest, "size": config.len() },
    });
    (config, manifest.to_string())
}
