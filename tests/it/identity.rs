//! Identities that clouds give. The environment says where they come from, so that each test reads its registry in a process
//! of its own, which it tells what to do, while the cloud's services are scripted here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use image_size_exporter::config::Config;
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::oci::Repository;
use image_size_exporter::registry::{At, Registries};

use crate::support::files::Files;
use crate::support::images::{Blob, image};
use crate::support::registry::{Access, TestRegistry, tag};

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod choice;
#[cfg(feature = "gcp")]
mod gcp;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod proxy;

/// Names the configuration to the process that reads.
const CONFIG: &str = "TEST_IDENTITY_CONFIG";
const CHILD: &str = "identity::reads_in_a_process_of_its_own";
const EXPIRY: &str = "image_size_exporter_registry_credential_expiry_timestamp_seconds";

/// A process that reads registries with an identity, and nothing of this process's environment.
struct Reader {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: std::path::PathBuf,
    _files: Files,
}

impl Reader {
    /// Reads with a configuration and these variables. `DIR` in either is a directory, which `write` filled.
    fn start(toml: &str, variables: &[(&str, &str)], write: impl FnOnce(&Files)) -> Self {
        let files = Files::new();
        write(&files);
        let directory = files.path().display().to_string();
        let config = files.write("config.toml", &toml.replace("DIR", &directory));
        let log = files.path().join("log");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture"])
            .env_clear()
            .env(CONFIG, config)
            .env("HOME", &directory)
            .envs(variables.iter().map(|(name, value)| (*name, value.replace("DIR", &directory))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers, log, _files: files }
    }

    /// Reads the tag `v1` of these repositories at once; their errors, or `ok` for each.
    fn read(&mut self, repositories: &[&Repository]) -> String {
        let names: Vec<String> = repositories.iter().map(ToString::to_string).collect();
        self.order(&format!("read {}", names.join(" ")))
    }

    /// Lets time pass for the process, as far as it counts it by itself.
    fn advance(&mut self, time: Duration) {
        self.order(&format!("advance {}", time.as_secs()));
    }

    /// When the registry's login ends, as it is published.
    fn expiry(&mut self) -> Option<f64> {
        let line = self.order("expiry");
        line.split(' ').next_back().filter(|value| *value != "none").map(|value| value.parse().unwrap())
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "it has ended\n{}", self.log());
            if let Some(answer) = line.trim_end().strip_prefix("ANSWER ") {
                return answer.to_owned();
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Everything that it logged, at any level.
    fn end(mut self) -> String {
        drop(self.orders.take());
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
        self.log()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test: the others run it in a process of its own.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how a test tells its process what to read")]
async fn reads_in_a_process_of_its_own() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let own = tracing_subscriber::filter::Targets::new().with_target("image_size_exporter", tracing::Level::TRACE);
    {
        use tracing_subscriber::layer::SubscriberExt as _;
        use tracing_subscriber::util::SubscriberInitExt as _;
        let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
        tracing_subscriber::registry().with(log).with(own).init();
    }
    let config = Config::load(Path::new(&config)).unwrap_or_else(|error| panic!("{error}"));
    let registries = Registries::new(config.registries, config.registry_defaults).unwrap();
    let telemetry = Telemetry::new(registries.counters());
    let read = async |repository: &str| {
        let repository: Repository = repository.parse().unwrap();
        match registries.client(repository.registry()).head_manifest(&repository, At::Tag(&tag("v1"))).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        let (verb, what) = order.split_once(' ').unwrap_or((&order, ""));
        let answer = match verb {
            "read" => join_all(what.split(' ').map(read)).await.join(" | "),
            "advance" => {
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(what.parse().unwrap())).await;
                tokio::time::resume();
                "ok".to_owned()
            }
            _ => {
                let text = String::from_utf8(telemetry.encode(Format::OpenMetrics)).unwrap();
                text.lines().find(|line| line.starts_with(EXPIRY)).unwrap_or("none").to_owned()
            }
        };
        println!("\nANSWER {answer}");
    }
}

/// A registry with some repositories, which takes one of these passwords.
fn registry(passwords: &[(&'static str, &'static str)]) -> TestRegistry {
    let registry = TestRegistry::start();
    for repository in ["acme/app", "acme/web", "acme/db"] {
        registry.push(repository, "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    }
    registry.require(Access::Basic(passwords.to_vec()));
    registry
}

/// A section of the configuration, and a target, without which there is none.
fn section(registry: &TestRegistry, keys: &str) -> String {
    let name = registry.name();
    format!("[registries.\"{}\"]\n{keys}\n[[targets]]\nrepository = \"{}/acme/app\"\n", name.as_str(), name.as_str())
}
