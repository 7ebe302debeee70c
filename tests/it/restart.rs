//! The program, killed at any moment and restarted: published values were true, and nothing is read twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::store::closed::needs_repair;
use crate::support::daemon::{LAST_SCAN, Metrics, Program, command};
use crate::support::images::{Blob, image};
use crate::support::registry::{Kind, Reply, TestRegistry};

/// Daemons that are killed in parallel, and how often each: twice for each of its runs under load.
const DAEMONS: u64 = 4;
const LIVES: u64 = 13;

const REPOSITORIES: usize = 3;
const TAGS: usize = 5;

const SIZE: &str = "container_image_compressed_size_bytes";
const LAST_SUCCESS: &str = "container_image_tag_last_success_timestamp_seconds";

/// A repository on the registry, and a tag.
type Name = (String, String);

/// The history of the registry, with which published values are compared.
struct PushedHistory {
    registry: TestRegistry,
    directory: tempfile::TempDir,
    /// When each version of a tag was pushed, in seconds since the epoch.
    pushed: BTreeMap<Name, Vec<f64>>,
    /// The version of each tag that was published right after the last start.
    restored: BTreeMap<Name, usize>,
}

impl PushedHistory {
    fn new(interval: &str) -> Self {
        let registry = TestRegistry::start();
        let directory = tempfile::tempdir().unwrap();
        let mut config = format!("[scan]\ninterval = \"{interval}\"\n[state]\npath = \"state.redb\"\n");
        let tags: Vec<String> = (0..TAGS).map(|tag| format!("v{tag}")).collect();
        for number in 0..REPOSITORIES {
            let repository = format!("{}/acme/app{number}", registry.name());
            writeln!(config, "[[targets]]\nrepository = \"{repository}\"\ntags = {tags:?}").unwrap();
        }
        fs::write(directory.path().join("config.toml"), config).unwrap();
        let mut history = Self { registry, directory, pushed: BTreeMap::new(), restored: BTreeMap::new() };
        (0..REPOSITORIES * TAGS).for_each(|number| history.push(number));
        history
    }

    /// Pushes the next version of a tag. Its size says which tag and which version it is.
    fn push(&mut self, number: usize) {
        let name = name(number);
        let versions = self.pushed.entry(name.clone()).or_default();
        versions.push(now());
        let layer = Blob::named(&format!("layer of {number}"), bytes(number, versions.len() - 1));
        self.registry.push(&name.0, &name.1, &image("linux/amd64", &[&layer]));
    }

    /// The published version of each tag. Fails if a size never was its tag's, or has a time before the push.
    fn versions(&self, published: &Metrics) -> BTreeMap<Name, usize> {
        let last_success = published.by_tag(LAST_SUCCESS);
        let mut versions = BTreeMap::new();
        for (name, size) in published.by_tag(SIZE) {
            let number = (0..REPOSITORIES * TAGS).find(|number| self::name(*number) == name).unwrap();
            let pushed = &self.pushed[&name];
            let version = (0..pushed.len()).find(|version| (bytes(number, *version) as f64 - size).abs() < 0.5);
            let version = version.unwrap_or_else(|| panic!("{name:?} never had {size} bytes"));
            assert!(
                last_success[&name] >= pushed[version],
                "{name:?} was not at version {version} yet when it was read"
            );
            versions.insert(name, version);
        }
        versions
    }

    /// Starts the program while the registry does not answer, so that all published values were restored: no fewer and
    /// none older than the last time.
    async fn restore(&mut self) -> Program {
        self.registry.always("* *", Reply::status(503));
        let daemon = Program::start(self.directory.path()).await;
        let published = daemon.first_metrics();
        let restored = self.versions(&published);
        for (name, version) in &self.restored {
            let now = restored.get(name);
            assert!(now >= Some(version), "{name:?} was restored at version {version} before, and now at {now:?}");
        }
        assert!(published.by_tag(LAST_SUCCESS).values().all(|at| *at < now()));
        self.restored = restored;
        daemon
    }

    /// Pushes one new version after the other, and checks that published values were true and never go back.
    async fn load(&mut self, daemon: &Program, random: &mut Random, until: Instant) -> BTreeMap<Name, usize> {
        let mut seen = self.restored.clone();
        loop {
            self.push(random.below(REPOSITORIES * TAGS));
            let published = self.versions(&daemon.metrics().await);
            for (name, version) in &seen {
                assert!(published.get(name) >= Some(version), "{name:?} went back from version {version}");
            }
            seen = published;
            if Instant::now() >= until {
                return seen;
            }
        }
    }

    fn assert_nothing_was_set_aside(&self, daemon: &Program) {
        let set_aside = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let set_aside: Vec<_> = set_aside.filter(|name| name.to_str().unwrap().contains("redb.")).collect();
        assert!(set_aside.is_empty(), "{set_aside:?}\n{}", daemon.log());
    }
}

fn name(number: usize) -> Name {
    (format!("acme/app{}", number / TAGS), format!("v{}", number % TAGS))
}

fn bytes(number: usize, version: usize) -> u64 {
    (number as u64 + 1) * 10_000_000 + version as u64
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Xorshift: other moments and tags for each daemon, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

async fn kill_again_and_again(seed: u64) {
    let mut history = PushedHistory::new("100ms");
    let mut random = Random(seed);
    let mut end_in_order = BTreeMap::new();
    for life in 0..LIVES {
        history.registry.always("* *", Reply::Usual);
        let daemon = Program::start(history.directory.path()).await;
        // The state file is written about once a second: some runs are too short for a write, some are killed during
        // one.
        let until = Instant::now() + Duration::from_millis(random.below(2_300) as u64);
        let seen = history.load(&daemon, &mut random, until).await;
        if life + 1 < LIVES {
            daemon.kill();
        } else {
            assert!(daemon.end().await.success());
            end_in_order = seen;
        }
        let daemon = history.restore().await;
        history.assert_nothing_was_set_aside(&daemon);
        daemon.kill();
    }
    for (name, version) in &end_in_order {
        assert!(
            history.restored.get(name) >= Some(version),
            "{name:?} was at {version} when the program ended in order"
        );
    }
    assert_eq!(history.restored.len(), REPOSITORIES * TAGS);
}

#[tokio::test]
async fn what_is_published_after_a_hundred_kills_was_true_and_no_older_than_before() {
    let daemons = (1..=DAEMONS).map(|seed| kill_again_and_again(seed * 0x9E37_79B9));
    futures_util::future::join_all(daemons).await;
}

#[tokio::test]
async fn the_first_scan_after_a_kill_asks_for_every_tag_once_and_for_nothing_else() {
    let history = PushedHistory::new("1s");
    let all = REPOSITORIES * TAGS;
    let mut asked = None;
    for _ in 0..50 {
        history.registry.take_counts();
        let daemon = Program::start(history.directory.path()).await;
        let is_restored = history.versions(&daemon.first_metrics()).len() == all;
        let scanned =
            |metrics: &Metrics| metrics.count(LAST_SCAN) == REPOSITORIES && history.versions(metrics).len() == all;
        daemon.until("all is scanned", scanned).await;
        asked = is_restored.then(|| history.registry.requests());
        if asked.is_some() {
            daemon.kill();
            break;
        }
        // What was read reaches the disk about a second later.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        daemon.kill();
    }
    let asked = asked.expect("one of fifty lives is long enough for the state file");
    let first: BTreeSet<String> = asked.iter().take(all).map(|seen| seen.uri.clone()).collect();
    assert_eq!(first.len(), all, "{first:?}");
    assert!(asked.iter().all(|seen| seen.kind == Kind::HeadManifest), "{asked:?}");
}

#[tokio::test]
async fn a_second_daemon_on_one_state_file_exits_with_a_message() {
    let history = PushedHistory::new("1s");
    let first = Program::start(history.directory.path()).await;
    let second = command(history.directory.path()).args(["--web.listen-address", "127.0.0.1:0"]).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("state.redb is in use by another process: stop that one, or give this one its own"),
        "{said}"
    );
    first.until("all is read", |published| history.versions(published).len() == REPOSITORIES * TAGS).await;
    assert!(first.end().await.success());
    let restarted = Program::start(history.directory.path()).await;
    assert_eq!(history.versions(&restarted.first_metrics()).len(), REPOSITORIES * TAGS);
    restarted.kill();
}

#[tokio::test]
async fn an_unusable_state_file_is_reported_and_does_not_stop_the_daemon() {
    type Change<'a> = &'a dyn Fn(&Path);
    let nothing = |_: &Path| {};
    let foreign = |path: &Path| fs::write(path, "no state at all").unwrap();
    let broken = |path: &Path| fs::write(path, "redb\u{1a}\n, and no more of it").unwrap();
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let directory = |path: &Path| fs::create_dir(path.parent().unwrap()).unwrap();
    for (path, before, after, expected) in [
        (
            "state.redb",
            &foreign as Change<'_>,
            &remove as Change<'_>,
            "state.redb is not a state file: it is left as it is",
        ),
        ("state.redb", &broken, &nothing, "state.redb.corrupt-"),
        ("missing/state.redb", &nothing, &directory, "missing/state.redb cannot be written: No such file or directory"),
    ] {
        let history = PushedHistory::new("1s");
        let config = history.directory.path().join("config.toml");
        fs::write(&config, fs::read_to_string(&config).unwrap().replace("state.redb", path)).unwrap();
        before(&history.directory.path().join(path));
        let daemon = Program::start(history.directory.path()).await;
        assert_eq!(history.versions(&daemon.first_metrics()).len(), 0);
        daemon.until("all is read", |published| history.versions(published).len() == REPOSITORIES * TAGS).await;
        assert!(daemon.log().contains(expected), "{}", daemon.log());
        let in_use = if expected.contains("corrupt") { 1.0 } else { 0.0 };
        assert_eq!(daemon.metrics().await.one("image_size_exporter_state_persistent", &[]), Some(in_use));
        after(&history.directory.path().join(path));
        assert!(daemon.end().await.success());
        let daemon = Program::start(history.directory.path()).await;
        assert_eq!(history.versions(&daemon.first_metrics()).len(), REPOSITORIES * TAGS, "{}", daemon.log());
        daemon.kill();
    }
}

/// The header of a state file, which each write changes.
fn beginning(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()[..512].to_vec()
}

#[tokio::test]
async fn a_program_that_ends_in_order_closes_its_state_file_and_one_that_is_killed_leaves_a_usable_one() {
    let history = PushedHistory::new("100ms");
    let path = history.directory.path().join("state.redb");
    let all = REPOSITORIES * TAGS;
    for _ in 0..2 {
        let daemon = Program::start(history.directory.path()).await;
        // Scans are under way at any time.
        daemon.until("all is read", |published| history.versions(published).len() == all).await;
        assert!(daemon.end().await.success());
        assert!(!needs_repair(&path));
        let closed = beginning(&path);
        let daemon = Program::start(history.directory.path()).await;
        assert_eq!(history.versions(&daemon.first_metrics()).len(), all);
        // Its first write, of what it scans.
        let deadline = Instant::now() + Duration::from_secs(30);
        while beginning(&path) == closed {
            assert!(Instant::now() < deadline, "{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        daemon.kill();
        assert!(needs_repair(&path));
    }
    history.assert_nothing_was_set_aside(&Program::start(history.directory.path()).await);
}

/// What version 0.1.0 wrote to its state file, and what it published then.
#[tokio::test]
async fn a_state_file_of_the_released_version_is_published_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = fs::File::create(directory.path().join("state.redb")).unwrap();
    let packed: &[u8] = include_bytes!("store/fixtures/version-2.redb.gz");
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut state).unwrap();
    drop(state);
    // Nothing listens on this port: all that is published was restored.
    let config = "[scan]\ninterval = \"1h\"\nkeep = \"3650d\"\n[state]\npath = \"state.redb\"\n[[targets]]\nname = \"app\"\n\
                  repository = \"127.0.0.1:1/acme/app\"\ntags = [\"v1\", \"v2\", \"chart\", \"old\"]\n";
    fs::write(directory.path().join("config.toml"), config).unwrap();
    let daemon = Program::start(directory.path()).await;
    // Without the sizes of unpacked layers, since its layers do not match their configs.
    let expected = include_str!("store/fixtures/version-2.prom");
    let published = daemon.metrics().await;
    let mut samples = BTreeMap::new();
    for line in expected.lines() {
        assert!(published.text().lines().any(|one| one == line), "{line}\n{}", daemon.log());
        *samples.entry(line.split('{').next().unwrap()).or_insert(0) += 1;
    }
    for (family, count) in samples {
        assert_eq!(published.count(family), count, "{family}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing was set aside");
    daemon.kill();
}
