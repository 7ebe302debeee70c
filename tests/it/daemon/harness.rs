//! A daemon in this process, read as Prometheus reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use image_size_exporter::config::Config;
use image_size_exporter::daemon;
use image_size_exporter::daemon::Start;
use image_size_exporter::web::{Listener, Options, WebConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{LAST_SCAN, TestRegistry};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Some targets on a registry, scanned several times a second.
pub(super) fn config(registry: &TestRegistry, targets: &[&str]) -> String {
    let mut toml = "[scan]\ninterval = '100ms'\n".to_owned();
    for target in targets {
        toml.push_str("[[targets]]\n");
        toml.push_str(&target.replace("REGISTRY", registry.name().as_str()));
        toml.push('\n');
    }
    toml
}

pub(super) struct Daemon {
    pub(super) address: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Daemon {
    pub(super) async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    /// In a directory that may contain an earlier state.
    pub(super) async fn start_in(directory: tempfile::TempDir, toml: &str) -> Self {
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
            reloads: mpsc::channel(daemon::RELOADS_WAITING_MAX),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(daemon::run(config, start, stop.clone()));
        let daemon = Self { address, directory, stop, running };
        daemon.until("it answers", |_| true).await;
        daemon
    }

    /// Stops it gracefully; its directory stays.
    pub(super) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.directory
    }

    /// Writes another configuration and has it read; the answer's status line and body.
    pub(super) async fn reload(&self, toml: &str) -> String {
        std::fs::write(self.file(), toml).unwrap();
        ask(&self.address, "POST /-/reload").await.unwrap()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    pub(super) async fn metrics(&self) -> Metrics {
        metrics(&self.address).await.expect("it answers")
    }

    /// Polls until the published values satisfy `is_so`.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
        let what = format!("{what} ({})", if self.running.is_finished() { "it has ended" } else { "it runs" });
        until(&self.address, &what, is_so).await
    }

    /// Waits until a target's scan has begun and ended after now.
    pub(super) async fn scanned(&self, target: &str) -> Metrics {
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
pub(super) async fn until(address: &str, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    while Instant::now() < deadline {
        if let Some(metrics) = metrics(address).await {
            if is_so(&metrics) {
                return metrics;
            }
            last = Some(metrics);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}\n{}", last.map_or("no answer".to_owned(), |metrics| metrics.0.join("\n")));
}

async fn metrics(address: &str) -> Option<Metrics> {
    let answer = ask(address, "GET /metrics").await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.contains(" 200 "), "{head}");
    let lines = body.lines().filter(|line| line.starts_with("container_image_") || line.starts_with("image_size_"));
    Some(Metrics(lines.map(str::to_owned).collect()))
}

/// One request over a connection of its own; `None` if nothing listens.
pub(super) async fn ask(address: &str, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("{request} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// One answer of `/metrics`: the lines of samples.
pub(super) struct Metrics(Vec<String>);

impl Metrics {
    /// The series of a family that have these labels, and their values.
    pub(super) fn all(&self, family: &str, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let has = |series: &str, (name, value): &(&str, &str)| {
            let label = format!("{name}=\"{value}\"");
            series.contains(&format!("{{{label}")) || series.contains(&format!(",{label}"))
        };
        self.0
            .iter()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(family))
            .filter(|(series, _)| labels.iter().all(|label| has(series, label)))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// The value of the one series that has these labels, if there is any.
    pub(super) fn one(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let all = self.all(family, labels);
        assert!(all.len() <= 1, "more than one: {all:#?}");
        all.into_values().next()
    }

    /// Whether each series of the family that has these labels is at 1.
    pub(super) fn all_up(&self, family: &str, labels: &[(&str, &str)]) -> bool {
        self.all(family, labels).values().all(|value| *value > 0.0)
    }

    /// The value of one series of a tag.
    pub(super) fn tag(&self, family: &str, tag: &str) -> Option<f64> {
        self.one(family, &[("tag", tag)])
    }

    /// Whether anything is published about images, apart from `tag_up` and how many tags there are.
    pub(super) fn has_sizes(&self) -> bool {
        self.0.iter().any(|line| line.starts_with("container_image_") && line.contains("size_bytes"))
    }

    pub(super) fn text(&self) -> String {
        self.0.join("\n")
    }
}
