//! A daemon, in this process ([`Daemon`]) or in one of its own ([`Program`]), and what it publishes ([`Metrics`]).
//!
//! A daemon in this process starts and ends faster. One of its own is for signals, kills, the environment and the log.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use image_size_exporter::config::{Config, Overrides};
use image_size_exporter::daemon;
use image_size_exporter::daemon::Start;
use image_size_exporter::target::Shard;
use image_size_exporter::web::{Listener, Options, WebConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod metrics;
mod program;

pub(crate) use metrics::Metrics;
pub(crate) use program::{Program, command};

use super::registry::TestRegistry;

/// When a target's last scan ended.
pub(crate) const LAST_SCAN: &str = "image_size_exporter_target_last_scan_timestamp_seconds";

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Some targets on a registry, scanned several times a second.
pub(crate) fn config(registry: &TestRegistry, targets: &[&str]) -> String {
    let mut toml = "[scan]\ninterval = '100ms'\n".to_owned();
    for target in targets {
        toml.push_str("[[targets]]\n");
        toml.push_str(&target.replace("REGISTRY", registry.name().as_str()));
        toml.push('\n');
    }
    toml
}

pub(crate) struct Daemon {
    pub(crate) address: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Daemon {
    pub(crate) async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    /// In a directory that may contain an earlier state.
    pub(crate) async fn start_in(directory: tempfile::TempDir, toml: &str) -> Self {
        Self::start_shard(directory, toml, Shard::default()).await
    }

    /// One of several that share a configuration.
    pub(crate) async fn start_shard(directory: tempfile::TempDir, toml: &str, shard: Shard) -> Self {
        let file = directory.path().join("config.toml");
        std::fs::write(&file, toml).unwrap();
        let config = Config::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let start = Start {
            listeners: vec![listener],
            options: Options { enable_lifecycle: true, ..Options::default() },
            web_config: WebConfig::none(),
            config_file: Some(file),
            overrides: Overrides { shard, ..Overrides::default() },
            reloads: mpsc::channel(daemon::RELOADS_WAITING_MAX),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(daemon::run(config, start, stop.clone()));
        let daemon = Self { address, directory, stop, running };
        daemon.until("it answers", |_| true).await;
        daemon
    }

    /// Stops it gracefully; its directory stays.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.directory
    }

    /// Writes another configuration and has it read; the answer's status line and body.
    pub(crate) async fn reload(&self, toml: &str) -> String {
        std::fs::write(self.file(), toml).unwrap();
        ask(&self.address, "POST /-/reload").await.unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(&self.address).await.expect("it answers")
    }

    /// Polls until the published values satisfy `is_so`.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
        let what = format!("{what} ({})", if self.running.is_finished() { "it has ended" } else { "it runs" });
        until(&self.address, &what, is_so).await
    }

    /// Waits until a target's scan has begun and ended after now.
    pub(crate) async fn scanned(&self, target: &str) -> Metrics {
        let mut last = 0.0;
        // The first may be under way already.
        for _ in 0..3 {
            let ended = |metrics: &Metrics| metrics.one(LAST_SCAN, &[("target", target)]).unwrap_or(0.0);
            let metrics = self.until("a scan ends", |metrics| ended(metrics) > last).await;
            last = ended(&metrics);
        }
        self.metrics().await
    }
}

/// Polls an exporter until its published values satisfy `is_so`.
pub(crate) async fn until(address: &str, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    while Instant::now() < deadline {
        if let Some(metrics) = scrape(address).await {
            if is_so(&metrics) {
                return metrics;
            }
            last = Some(metrics);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}\n{}", last.as_ref().map_or("no answer", Metrics::text));
}

async fn scrape(address: &str) -> Option<Metrics> {
    let answer = ask(address, "GET /metrics").await?;
    // Nothing at all, if it has just ended.
    answer.contains("\r\n\r\n").then(|| Metrics::of_answer(&answer))
}

/// One request over a connection of its own, and its whole answer; `None` if nothing listens.
pub(crate) async fn ask(address: &str, request: &str) -> Option<String> {
    ask_with(address, request, "").await
}

/// The same with more lines of headers, each with its end.
pub(crate) async fn ask_with(address: &str, request: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("{request} HTTP/1.0\r\nhost: {address}\r\n{headers}\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
