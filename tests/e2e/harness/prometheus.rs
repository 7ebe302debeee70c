//! A Prometheus that scrapes one exporter every second.

use std::process::Command;

use super::exposition::Sample;
use super::{Program, free_port, http, scratch, wait_for};

/// A running Prometheus.
pub struct Prometheus {
    program: Program,
    address: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `exporter` (`host:port`) as job `image-size`.
    pub fn start(exporter: &str) -> Self {
        Self::start_with(&format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs:\n  - job_name: image-size\n    static_configs: [{{targets: [\"{exporter}\"]}}]\n"
        ))
    }

    /// With a whole `prometheus.yml`.
    pub fn start_with(config: &str) -> Self {
        Self::start_in(scratch(), config)
    }

    /// On the samples in the directory's `data`, however old they are.
    pub fn start_in(directory: tempfile::TempDir, config: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("the configuration can be written");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg("--storage.tsdb.retention.time=100y");
        command.arg(format!("--web.listen-address={address}"));
        let mut program = Program::start(&command, directory.path());
        program.wait_until_ready(|| (http::get(&address, "/-/ready").ok()?.status == 200).then_some(()));
        Self { program, address, _directory: directory }
    }

    /// `host:port` of its API.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The series of a query at a time in seconds since the epoch, as the API answers.
    pub fn query_at(&self, query: &str, at: Option<i64>) -> Vec<serde_json::Value> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let at = at.map(|at| format!("&time={at}")).unwrap_or_default();
        let path = format!("/api/v1/query?query={query}{at}");
        let answer = http::get(&self.address, &path).expect("Prometheus answers").expect(&[200]).json();
        answer["data"]["result"].as_array().expect("a list of series").clone()
    }

    /// The result of an instant query.
    pub fn query(&self, query: &str) -> Vec<Sample> {
        self.query_at(query, None)
            .iter()
            .map(|series| {
                let metric = series["metric"].as_object().expect("labels");
                let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
                Sample {
                    name: metric.get("__name__").map(text).unwrap_or_default(),
                    labels: metric
                        .iter()
                        .filter(|(key, _)| *key != "__name__")
                        .map(|(key, value)| (key.clone(), text(value)))
                        .collect(),
                    value: text(&series["value"][1]).parse().expect("a number"),
                }
            })
            .collect()
    }

    /// Queries until `found` returns something.
    pub fn wait_for<T>(&self, query: &str, mut found: impl FnMut(&[Sample]) -> Option<T>) -> T {
        wait_for(
            &format!("Prometheus to answer {query}"),
            || found(&self.query(query)),
            || format!("{:?}\n{}", self.query(query), self.program.output()),
        )
    }
}
