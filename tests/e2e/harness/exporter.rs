//! The real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image_size_exporter::metrics::Format;

use super::exposition::Exposition;
use super::{Program, free_port, http, scratch, wait_for};

/// The built binary.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_image-size-exporter"))
}

/// A running exporter with a configuration and a directory of its own.
pub struct Exporter {
    built: PathBuf,
    program: Option<Program>,
    address: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    directory: tempfile::TempDir,
}

impl Exporter {
    /// Starts one with this configuration, which needs no `[web]`.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts one with this configuration and more flags.
    pub fn start_with(config: &str, arguments: &[&str]) -> Self {
        Self::start_as(config, arguments, Vec::new())
    }

    /// Starts one with more variables in its environment too.
    pub fn start_as(config: &str, arguments: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let mut exporter = Self::new(config, arguments, environment);
        exporter.restart();
        exporter
    }

    /// Starts one that was built earlier.
    pub fn start_built(built: &Path, config: &str, arguments: &[&str]) -> Self {
        let mut exporter = Self::new(config, arguments, Vec::new());
        exporter.restart_as(built);
        exporter
    }

    fn new(config: &str, arguments: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let directory = scratch();
        let address = format!("127.0.0.1:{}", free_port());
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let built = command().get_program().into();
        let exporter = Self { built, program: None, address, arguments, environment, directory };
        exporter.configure(config);
        exporter
    }

    /// Writes the configuration that the next start, or reload, reads.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.config_file(), config).expect("the configuration can be written");
    }

    /// The configuration's path.
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    /// `host:port` of its endpoint.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The running program.
    pub fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs")
    }

    /// Its output so far.
    pub fn output(&self) -> String {
        self.program.as_ref().map(Program::output).unwrap_or_default()
    }

    /// Starts it (again) on the same port, configuration and state; waits until it is ready.
    pub fn restart(&mut self) {
        self.program = None;
        let mut command = Command::new(&self.built);
        command
            .current_dir(self.directory.path())
            .arg("--config.file")
            .arg(self.config_file())
            .arg("--web.listen-address")
            .arg(&self.address)
            .args(&self.arguments)
            // Results must not depend on the user who runs the tests.
            .env("HOME", self.directory.path())
            .env("DOCKER_CONFIG", self.directory.path().join("no-docker-config"))
            .env_remove("XDG_RUNTIME_DIR")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        let mut program = Program::start(&command, self.directory.path());
        let address = self.address.clone();
        program.wait_until_ready(|| (http::get(&address, "/-/ready").ok()?.status == 200).then_some(()));
        self.program = Some(program);
    }

    /// The same with another build of the program, from now on.
    pub fn restart_as(&mut self, built: &Path) {
        built.clone_into(&mut self.built);
        self.restart();
    }

    /// One scrape, in the text format.
    pub fn scrape(&self) -> Exposition {
        let answer = http::get(&self.address, "/metrics").expect("the exporter answers").expect(&[200]);
        assert!(answer.headers["content-type"].starts_with("text/plain"), "{:?}", answer.headers);
        Exposition::parse(&answer.text(), Format::Text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Scrapes until `found` returns something.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Exposition) -> Option<T>) -> T {
        wait_for(
            what,
            || found(&self.scrape()),
            || {
                let body = http::get(&self.address, "/metrics").map(|answer| answer.text());
                format!("{}\n{}", body.unwrap_or_default(), self.output())
            },
        )
    }

    /// The exposition after the next scan of each target has ended.
    pub fn after_a_scan(&self) -> Exposition {
        let ends = |exposition: &Exposition| -> Vec<(String, f64)> {
            let mut ends: Vec<_> = exposition
                .all("image_size_exporter_target_last_scan_timestamp_seconds", &[])
                .iter()
                .map(|sample| (sample.label("target").to_owned(), sample.value))
                .collect();
            ends.sort_by(|a, b| a.0.cmp(&b.0));
            ends
        };
        let targets =
            |exposition: &Exposition| exposition.all("image_size_exporter_target_interval_seconds", &[]).len();
        let before = ends(&self.scrape());
        self.wait_for("a scan of each target to end", |exposition| {
            let now = ends(exposition);
            let scanned = now.len() == targets(exposition)
                && now.iter().all(|(target, at)| {
                    before.iter().find(|(name, _)| name == target).is_none_or(|(_, before)| at > before)
                });
            (scanned && !now.is_empty()).then(|| self.scrape())
        })
    }
}
