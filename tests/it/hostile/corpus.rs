//! One daemon watches many hostile registries at once: what it publishes of each, as one line of text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use image_size_exporter::oci::text::is_unprintable;

use super::site::{Server, Site};
use super::{MEMORY_BYTES_MAX, SERIES_BYTES_MAX};
use crate::support::daemon::Program;
use crate::support::images::{Blob, image};
use crate::support::registry::TestRegistry;

/// The longest that a scrape may take while registries are scanned.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(1);

/// Longer than a corpus takes on a busy machine. Nothing waits for it but a failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// For how long a published line may differ from the expected one once all targets were scanned: sizes of layers come
/// later than scans.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// The longest line of a log.
const LOG_BYTES_MAX: usize = 8 << 10;

/// A registry, how it is configured, and what the daemon publishes of its repository `acme/app`.
pub(super) struct Scenario {
    name: String,
    site: Site,
    /// Keys of its section under `[registries]`.
    registry: String,
    /// Keys of the target beside `name` and `repository`.
    target: String,
    repository: &'static str,
    /// Whether `acme/good` on the same registry can be read.
    has_neighbour: bool,
    /// An operation, and how many such requests come before the line is final.
    asked: (&'static str, u32),
    /// What the log says of the registry, sooner or later.
    logs: String,
    expected: String,
}

impl Scenario {
    pub(super) fn new(name: &str, site: Site, expected: &str) -> Self {
        Self {
            name: name.to_owned(),
            site,
            registry: String::new(),
            target: "tags = ['v1']".to_owned(),
            repository: "acme/app",
            has_neighbour: true,
            asked: ("", 0),
            logs: String::new(),
            expected: expected.to_owned(),
        }
    }

    /// Other keys of the target.
    pub(super) fn target(self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self }
    }

    /// Another repository, or a pattern of some.
    pub(super) fn repository(self, repository: &'static str) -> Self {
        Self { repository, ..self }
    }

    /// Keys of the registry's section.
    pub(super) fn registry(self, registry: &str) -> Self {
        Self { registry: registry.to_owned(), ..self }
    }

    /// What is published is final once `acme/app` was asked so often.
    pub(super) fn asked(self, operation: &'static str, times: u32) -> Self {
        Self { asked: (operation, times), ..self }
    }

    /// A line of the log that names the registry has this text in it.
    pub(super) fn logs(self, text: &str) -> Self {
        Self { logs: text.to_owned(), ..self }
    }

    /// The fault is one of the whole registry: its other repository cannot be read either.
    pub(super) fn alone(self) -> Self {
        Self { has_neighbour: false, ..self }
    }
}

/// Runs one daemon against all registries of a kind until each was scanned. Fails with all lines that are not as
/// expected; if a scrape takes more than a second; if a healthy repository's figures are ever wrong once they are there;
/// if a body or a log line is longer than they may be or has something unprintable in it; if memory exceeds the limit
/// that is shipped.
pub(super) fn run(scenarios: Vec<Scenario>) {
    run_with(SCRAPE_PATIENCE, scenarios);
}

/// The same with another limit on a scrape.
#[expect(
    clippy::disallowed_methods,
    reason = "this thread runs nothing but the test, and leaves the machine to the program"
)]
pub(super) fn run_with(scrape_patience: Duration, mut scenarios: Vec<Scenario>) {
    let names: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names.len(), scenarios.len(), "names are unique");
    let started = Instant::now();
    let sites = scenarios.iter_mut().map(|scenario| std::mem::take(&mut scenario.site)).collect();
    let (_server, addresses) = Server::start(sites);
    let registries: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let healthy = TestRegistry::start();
    healthy.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("healthy", 77)]));

    let healthy_name = healthy.name().to_string();

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), configuration(&scenarios, &registries, &healthy)).unwrap();
    let daemon = block_on(Program::start(directory.path()));

    let has_log = scenarios.iter().any(|scenario| !scenario.logs.is_empty());
    let mut all_scanned = None;
    loop {
        let body = daemon.body(scrape_patience);
        let published = Published::new(&body);
        let size = published.values("container_image_compressed_size_bytes", &healthy_name);
        assert!(size.is_empty() || size.values().all(|value| *value == "77"), "the healthy registry: {size:?}");
        let unscanned = scenarios.iter().filter(|scenario| !published.is_scanned(&scenario.name)).count();
        let (mut wrong, log) = (String::new(), if has_log { daemon.log() } else { String::new() });
        for (scenario, registry) in scenarios.iter().zip(&registries) {
            let line = published.line(&scenario.name, registry);
            if line != scenario.expected {
                write!(wrong, "\n{}\n  expected: {}\n  is:       {line}", scenario.name, scenario.expected).unwrap();
            }
            if !scenario.logs.is_empty()
                && !log.lines().any(|line| line.contains(registry) && line.contains(&scenario.logs))
            {
                write!(wrong, "\n{}: the log does not say {:?}", scenario.name, scenario.logs).unwrap();
            }
            let (operation, times) = scenario.asked;
            if published.requests(registry, operation) < times {
                write!(wrong, "\n{}: fewer than {times} {operation}", scenario.name).unwrap();
            }
            let good = published.neighbour(registry);
            if scenario.has_neighbour && good != "up 100" {
                write!(wrong, "\n{}: its neighbour is {good:?}", scenario.name).unwrap();
            }
        }
        if unscanned == 0 && size.len() == 1 {
            let since = *all_scanned.get_or_insert_with(Instant::now);
            if wrong.is_empty() {
                check_body(&body);
                break;
            }
            assert!(since.elapsed() < SETTLES_WITHIN, "{wrong}\n{}", daemon.log());
        }
        assert!(started.elapsed() < PATIENCE, "{unscanned} targets were never scanned{wrong}\n{}", daemon.log());
        // Beside the scans, not instead of them.
        std::thread::sleep(Duration::from_millis(100));
    }
    check_log(&daemon.log());
    let memory = daemon.memory_bytes_max().unwrap_or_default();
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes of memory");
    assert!(block_on(daemon.end()).success());
}

/// Waits for a future in a test that blocks its thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn configuration(scenarios: &[Scenario], registries: &[String], healthy: &TestRegistry) -> String {
    let mut toml = "[scan]\ninterval = '1h'\n".to_owned();
    for (scenario, registry) in scenarios.iter().zip(registries) {
        let Scenario { name, registry: keys, target, repository, .. } = scenario;
        write!(toml, "[registries.'{registry}']\nanonymous = true\n{keys}\n").unwrap();
        write!(toml, "[[targets]]\nname = '{name}'\nrepository = '{registry}/{repository}'\n{target}\n").unwrap();
        if scenario.has_neighbour {
            write!(toml, "[[targets]]\nrepository = '{registry}/acme/good'\ntags = ['v1']\n").unwrap();
        }
    }
    write!(toml, "[[targets]]\nrepository = '{}/acme/app'\ntags = ['v1']\n", healthy.name()).unwrap();
    toml
}

/// The samples of a body.
pub(super) fn samples(body: &str) -> impl Iterator<Item = &str> {
    body.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Fails if a body is longer than its number of series allows, or has anything in it that a reader cannot see.
pub(super) fn check_body(body: &str) {
    let bytes: usize = samples(body).map(|line| line.len() + 1).sum();
    let most = samples(body).count() * SERIES_BYTES_MAX;
    assert!(bytes <= most, "{bytes} bytes, more than {most}");
    let longest = samples(body).map(str::len).max().unwrap_or_default();
    assert!(longest < SERIES_BYTES_MAX, "a series of {longest} bytes");
    let hidden: Vec<&str> = body.lines().filter(|line| line.contains(is_unprintable)).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

fn check_log(log: &str) {
    for line in log.lines() {
        assert!(line.len() <= LOG_BYTES_MAX, "a line of {} bytes: {}…", line.len(), &line[..200]);
        assert!(!line.contains(is_unprintable), "{line:?}");
    }
}

/// Samples by what the tests ask for: family, then registry or target.
struct Published<'a>(BTreeMap<(&'a str, &'a str), Vec<(&'a str, &'a str)>>);

impl<'a> Published<'a> {
    fn new(body: &'a str) -> Self {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (series, value) in samples(body).filter_map(|line| line.rsplit_once(' ')) {
            let family = series.split('{').next().unwrap_or_default();
            let of = label(series, "registry").or_else(|| label(series, "target")).unwrap_or_default();
            all.entry((family, of)).or_default().push((series, value));
        }
        Self(all)
    }

    fn of(&self, family: &'a str, of: &'a str) -> &[(&'a str, &'a str)] {
        self.0.get(&(family, of)).map_or(&[], Vec::as_slice)
    }

    fn is_scanned(&self, target: &'a str) -> bool {
        !self.of("image_size_exporter_target_last_scan_timestamp_seconds", target).is_empty()
    }

    /// `tag platform` to value, without the healthy neighbour's.
    fn values(&self, family: &'a str, registry: &'a str) -> BTreeMap<String, &'a str> {
        let of_others = self.of(family, registry).iter().filter(|(series, _)| !is_good(series));
        let name = |series| [label(series, "tag"), label(series, "platform")].into_iter().flatten().collect::<Vec<_>>();
        of_others.map(|(series, value)| (name(series).join(" "), *value)).collect()
    }

    /// Requests of an operation so far.
    fn requests(&self, registry: &'a str, operation: &str) -> u32 {
        let all = self.of("image_size_exporter_registry_requests_total", registry).iter();
        let mut counts = all.filter(|(series, _)| label(series, "operation") == Some(operation));
        counts.next().map_or(0, |(_, value)| value.parse().unwrap())
    }

    fn neighbour(&self, registry: &'a str) -> String {
        let value = |family| {
            let good = self.of(family, registry).iter().find(|(series, _)| is_good(series));
            good.map_or("nothing", |(_, value)| *value)
        };
        let up = if value("container_image_tag_up") == "1" { "up" } else { "down" };
        format!("{up} {}", value("container_image_compressed_size_bytes"))
    }

    /// What is published of a scenario: whether its target is up, its images, the repository's sum, the tags that could
    /// not be read, and what failed for which reason.
    fn line(&self, target: &'a str, registry: &'a str) -> String {
        let up = self.of("image_size_exporter_target_up", target);
        let mut words = vec![if up.iter().any(|(_, value)| *value == "1") { "up" } else { "down" }.to_owned()];
        let uncompressed = self.values("container_image_uncompressed_size_bytes", registry);
        let mut images = Vec::new();
        for (name, value) in self.values("container_image_compressed_size_bytes", registry) {
            let uncompressed =
                uncompressed.get(&name).map(|bytes| format!(" uncompressed {bytes}")).unwrap_or_default();
            images.push(format!("{name} {value}{uncompressed}"));
        }
        let count = images.len();
        words.extend(if count > 4 { vec![format!("{count} images")] } else { images });
        words.extend(
            self.values("container_image_repository_stored_size_bytes", registry)
                .values()
                .map(|value| format!("stored {value}")),
        );
        let down: Vec<String> = self
            .values("container_image_tag_up", registry)
            .into_iter()
            .filter(|(_, value)| *value == "0")
            .map(|(tag, _)| format!("{tag} down"))
            .collect();
        let count = down.len();
        words.extend(if count > 4 { vec![format!("{count} down")] } else { down });
        let failures = self.of("image_size_exporter_registry_request_failures_total", registry).iter();
        let mut failures: Vec<String> = failures
            .filter(|(_, value)| *value != "0")
            .map(|(series, _)| format!("{} {}", label(series, "operation").unwrap(), label(series, "reason").unwrap()))
            .collect();
        failures.sort();
        words.extend(failures);
        words.join(", ")
    }
}

fn is_good(series: &str) -> bool {
    label(series, "repository") == Some("acme/good")
}

fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let (_, value) = labels.split_once(&format!("{name}=\""))?;
    value.split('"').next()
}
