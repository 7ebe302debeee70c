//! How far one machine goes: a daemon (`target/dist`, or the program in `EXPORTER`) against a registry in memory with
//! 1,000, 10,000 and 100,000 images, one a tag, in repositories of five releases with ten layers each, of which four are
//! an image's own and six are one of a hundred bases'.
//!
//! Prints a table: `cargo bench --bench capacity [-- IMAGES]`. CPU is that of the daemon's process, user and system, for
//! one tag: of the first scan, which reads manifests and configs, and of a scan in which nothing changed. Memory after the
//! scans and at the peak; the state file; then a restart while the registry is down: milliseconds until the daemon is
//! ready, and until the whole body was read, compressed.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "fixtures/daemon.rs"]
mod daemon;
#[expect(dead_code, reason = "this benchmark needs the shape of an inventory, not one")]
#[path = "fixtures/inventory.rs"]
mod fixtures;
#[expect(dead_code, reason = "the daemon is another process")]
#[path = "fixtures/process.rs"]
mod process;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use daemon::Daemon;
use fixtures::{BASE_LAYERS, BASES, OWN_LAYERS, TAGS};
use image_size_exporter::memory_registry::{Contents, Payload, serve};
use image_size_exporter::oci::Digest;
use parking_lot::Mutex;
use process::kib_of;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// Longer than any of the scans.
const PATIENCE: Duration = Duration::from_mins(10);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::main]
async fn main() -> Result<()> {
    let chosen: Option<u32> = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    println!(
        "{:>8}  {:>8}  {:>17}  {:>15}  {:>15}  {:>12}  {:>12}  {:>9}  {:>9}  {:>8}  {:>8}",
        "images",
        "series",
        "first scan ms/tag",
        "unchanged s",
        "CPU ms/tag",
        "resident MiB",
        "KiB/image",
        "peak MiB",
        "state MiB",
        "ready ms",
        "body ms"
    );
    for images in chosen.map_or(SIZES.to_vec(), |images| vec![images]) {
        println!("{}", row(images).await?);
    }
    Ok(())
}

async fn row(images: u32) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let registry = Registry::start(images).await?;
    let config = directory.path().join("config.toml");
    write_config(&config, registry.address, 0)?;
    let mut daemon = Daemon::start(directory.path(), &[], PATIENCE)?;
    // Manifests and configs, tag lists, the catalog.
    registry.asked(u64::from(2 * images + images / TAGS)).await?;
    let first_cpu = daemon.cpu()?;
    let (before, start) = (registry.requests(), Instant::now());
    // Another configuration of the same target, so that everything is looked at again.
    write_config(&config, registry.address, 1)?;
    daemon.signal("-HUP")?;
    registry.asked(before + u64::from(images + images / TAGS)).await?;
    let unchanged = start.elapsed().saturating_sub(QUIET);
    let cpu = daemon.cpu()?.saturating_sub(first_cpu);
    let body = daemon.get("/metrics", "identity")?;
    let counted = lines(&body, "container_image_compressed_size_bytes{");
    ensure!(counted == images as usize, "{counted} of {images} images are published");
    let (resident, peak) = (kib_of(&daemon.id(), "VmRSS"), kib_of(&daemon.id(), "VmHWM"));
    daemon.stop()?;
    drop(registry);
    let state = std::fs::metadata(directory.path().join("state.redb"))?.len();

    let start = Instant::now();
    let mut daemon = Daemon::start(directory.path(), &[], PATIENCE)?;
    let ready = start.elapsed();
    drop(daemon.get("/metrics", "gzip")?);
    let whole = start.elapsed();
    let restored = lines(&daemon.get("/metrics", "identity")?, "container_image_compressed_size_bytes{");
    ensure!(restored == images as usize, "{restored} of {images} images are restored");
    daemon.stop()?;
    let each = |duration: Duration| duration.as_secs_f64() * 1e3 / f64::from(images);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "{images:>8}  {:>8}  {:>17.3}  {:>15.1}  {:>15.3}  {:>12}  {:>12.1}  {:>9}  {:>9.1}  {:>8.0}  {:>8.0}",
        lines(&body, "container_image_"),
        each(first_cpu),
        unchanged.as_secs_f64(),
        each(cpu),
        resident / 1024,
        resident as f64 / f64::from(images),
        peak / 1024,
        mib(state),
        ready.as_secs_f64() * 1e3,
        whole.as_secs_f64() * 1e3,
    ))
}

/// How many lines begin so.
fn lines(body: &[u8], beginning: &str) -> usize {
    body.split(|&byte| byte == b'\n').filter(|line| line.starts_with(beginning.as_bytes())).count()
}

/// After so long without a request the scan has ended.
const QUIET: Duration = Duration::from_secs(1);

/// A registry in memory that counts what it is asked, until it is dropped.
struct Registry {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Registry {
    async fn start(images: u32) -> Result<Self> {
        let contents = tokio::task::spawn_blocking(move || Arc::new(Mutex::new(contents(images)))).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&requests);
        let answer = move |request: http::Request<hyper::body::Incoming>| {
            counter.fetch_add(1, Ordering::Relaxed);
            let (request, _) = request.into_parts();
            let answer = contents.lock().answer(&request.method, &request.uri, &request.headers);
            std::future::ready(Ok::<_, Infallible>(answer.map(Payload::into_body)))
        };
        let task = tokio::spawn(serve(listener, answer)).abort_handle();
        Ok(Self { address, requests, task })
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits for so many requests, and until no more come.
    async fn asked(&self, least: u64) -> Result<()> {
        let start = Instant::now();
        let mut last = (self.requests(), Instant::now());
        while last.0 < least || last.1.elapsed() < QUIET {
            ensure!(start.elapsed() < PATIENCE, "{} requests of {least}", last.0);
            tokio::time::sleep(QUIET / 20).await;
            if self.requests() != last.0 {
                last = (self.requests(), Instant::now());
            }
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn contents(images: u32) -> Contents {
    let mut contents = Contents::default();
    let layer = |name: String, bytes: u32| {
        let digest = Digest::sha256_of(name.as_bytes()).to_string();
        json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": bytes })
    };
    for image in 0..images {
        let number = image / TAGS;
        let repository = format!("team-{}/service-{number}", number % 50);
        let base = (0..BASE_LAYERS).map(|place| layer(format!("base {} {place}", number % BASES), 5_000_000 + place));
        let own = (0..OWN_LAYERS).map(|place| layer(format!("own {image} {place}"), 200_000 + image % 1_000));
        let layers: Vec<serde_json::Value> = base.chain(own).collect();
        let history: Vec<serde_json::Value> = (0..layers.len())
            .map(|step| json!({ "created_by": format!("RUN step {step} of many {}", "x".repeat(60)) }))
            .collect();
        let diff_ids: Vec<String> = (0..layers.len())
            .map(|place| Digest::sha256_of(format!("tar {image} {place}").as_bytes()).to_string())
            .collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z",
            "config": { "Env": [format!("RELEASE={image}")] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history,
        })
        .to_string();
        let size = config.len();
        let digest = contents.put_blob(&repository, config).to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size },
        });
        let digest = contents.put_manifest(&repository, MANIFEST, manifest.to_string());
        contents.tag(&repository, &format!("v1.{}.0", image % TAGS), digest);
    }
    contents
}

fn write_config(path: &Path, registry: SocketAddr, round: u32) -> Result<()> {
    let text = format!(
        "[scan]\ninterval = \"1h\"\n[state]\npath = \"state.redb\"\n[[targets]]\nname = \"all\"\n\
         repository = \"{registry}/**\"\nmatch = [\".\"]\nexclude = [\"nothing-{round}\"]\n"
    );
    Ok(std::fs::write(path, text)?)
}
