//! An embedded registry with sample images, for a first look without any registry and without network.
//!
//! The registry is the one in memory, over HTTP on loopback; the ordinary daemon scans it like any other. Its manifests,
//! configs and layers have the digests of their bytes. A release is pushed every few seconds.

mod images;
mod layers;
mod releases;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::memory_registry::{Contents, Payload, serve};
use releases::Releases;

/// Time between two releases.
pub const RELEASE_EVERY: Duration = Duration::from_secs(5);

/// A running registry, which ends, and whose configuration file goes, when this is dropped.
pub struct DemoRegistry {
    address: SocketAddr,
    config: PathBuf,
    _tasks: JoinSet<()>,
}

/// Fills a registry with sample images, serves it on `listener`, and goes on to release.
///
/// The configuration that watches it is written to a file among the system's temporary ones, so that a person can
/// look at it, change it and have it read again.
///
/// # Errors
///
/// When the listener has no address or the file cannot be written.
pub async fn start(listener: TcpListener) -> io::Result<DemoRegistry> {
    let address = listener.local_addr()?;
    let contents = Arc::<Mutex<Contents>>::default();
    let filled = Arc::clone(&contents);
    // Compressing some 150 MB of sample layers takes a moment.
    let releases = tokio::task::spawn_blocking(move || Releases::begin(&filled)).await.map_err(io::Error::other)?;
    let config = write_config(address)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(answer_all(listener, Arc::clone(&contents)));
    tasks.spawn(release_for_ever(releases, contents));
    Ok(DemoRegistry { address, config, _tasks: tasks })
}

impl DemoRegistry {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the configuration that watches it.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// What to open, for a person who has just started it. `exporter` is where the daemon listens.
    pub fn banner(&self, exporter: SocketAddr) -> String {
        let Self { address, config, .. } = self;
        let every = RELEASE_EVERY.as_secs();
        let config = config.display();
        // Nobody can open 0.0.0.0.
        let host = if exporter.ip().is_unspecified() {
            format!("localhost:{}", exporter.port())
        } else {
            exporter.to_string()
        };
        format!(
            "A registry with sample images runs on {address}; every {every} seconds somebody pushes a release,\n\
             and now and then one is 40 % bigger than the one before.\n\
             \n\
             \x20 http://{host}/metrics   the sizes, as Prometheus scrapes them\n\
             \x20 http://{host}/          what is stored, what grew and what fails, to look at\n\
             \x20 {config}   the configuration: change it and send SIGHUP\n\
             \n\
             Watch a bigger release become the newest, and pass its budget:\n\
             \n\
             \x20 watch -n 2 \"curl -s http://{host}/metrics | grep -E '^container_image_(newest.*_bytes|size_budget)'\"\n\
             \n\
             Ctrl-C ends both.\n"
        )
    }
}

impl Drop for DemoRegistry {
    fn drop(&mut self) {
        // Best effort: what is left is one small file among the system's temporary ones.
        drop(std::fs::remove_file(&self.config));
    }
}

async fn answer_all(listener: TcpListener, contents: Arc<Mutex<Contents>>) {
    let answer = move |request: http::Request<hyper::body::Incoming>| {
        let (request, _) = request.into_parts();
        let answer = contents.lock().answer(&request.method, &request.uri, &request.headers);
        std::future::ready(Ok::<_, Infallible>(answer.map(Payload::into_body)))
    };
    serve(listener, answer).await;
}

async fn release_for_ever(mut releases: Releases, contents: Arc<Mutex<Contents>>) {
    let mut clock = tokio::time::interval(RELEASE_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once.
    clock.tick().await;
    loop {
        clock.tick().await;
        let contents = Arc::clone(&contents);
        let released = tokio::task::spawn_blocking(move || {
            let name = releases.release(&contents);
            (releases, name)
        });
        let Ok((next, name)) = released.await else {
            tracing::error!("the demo's releases have stopped");
            return;
        };
        releases = next;
        tracing::info!(release = name, "pushed");
    }
}

/// The configuration of a daemon that watches the registry at `address`.
fn config_text(address: SocketAddr) -> String {
    format!(
        r#"# What `image-size-exporter demo` watches: a registry of its own, gone when it ends.

[web]
listen = "127.0.0.1:10048"

[scan]
interval = "2s"

[[targets]]
name = "shop"
repository = "{address}/shop/*"
tags = ["latest"]
match = ['^v\d+\.\d+\.\d+$']
newest = "semver"
uncompressed = "exact"
budget = "80MB"
labels = {{ team = "shop" }}
group = "shop"

[[targets]]
name = "base"
repository = "{address}/base/runtime"
tags = ["3", "2"]
uncompressed = "exact"
labels = {{ team = "platform" }}
group = "platform"

[[targets]]
name = "charts"
repository = "{address}/charts/shop"
match = ['.']
"#
    )
}

fn write_config(address: SocketAddr) -> io::Result<PathBuf> {
    let name = format!("image-size-exporter-demo-{}-{}.toml", std::process::id(), address.port());
    let path = std::env::temp_dir().join(name);
    // Only a new file: the directory is everybody's.
    let mut file = std::fs::File::options().write(true).create_new(true).open(&path)?;
    io::Write::write_all(&mut file, config_text(address).as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests;
