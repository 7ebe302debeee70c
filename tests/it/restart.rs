//! The program, killed at any moment and restarted: published values were true, and nothing is read twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::images::{Blob, image};
use crate::support::registry::{Kind, Reply, TestRegistry};

mod daemon;

use daemon::{Daemon, Published};

/// Daemons that are killed in parallel, and how often each: twice for each of its runs under load.
const DAEMONS: u64 = 4;
const LIVES: u64 = 13;

const REPOSITORIES: usize = 3;
const TAGS: usize = 5;

const SIZE: &str = "container_image_compressed_size_bytes";
const LAST_SUCCESS: &str = "container_image_tag_last_success_timestamp_seconds";
const LAST_SCAN: &str = "image_size_exporter_target_last_scan_timestamp_seconds";

/// A repository on the registry, and a tag.
type Name = (String, String);

/// The history of the registry, with which published values are compared.
struct World {
    registry: TestRegistry,
    directory: tempfile::TempDir,
    /// When each version of a tag was pushed, in seconds since the epoch.
    pushed: BTreeMap<Name, Vec<f64>>,
    /// The version of each tag that was published right after the last start.
    restored: BTreeMap<Name, usize>,
}

impl World {
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
        let mut world = Self { registry, directory, pushed: BTreeMap::new(), restored: BTreeMap::new() };
        (0..REPOSITORIES * TAGS).for_each(|number| world.push(number));
        world
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
    fn versions(&self, published: &Published) -> BTreeMap<Name, usize> {
        let last_success = published.of_tags(LAST_SUCCESS);
        let mut versions = BTreeMap::new();
        for (name, size) in published.of_tags(SIZE) {
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
    fn restore(&mut self) -> Daemon {
        self.registry.always("* *", Reply::status(503));
        let (daemon, published) = Daemon::start(self.directory.path());
        let restored = self.versions(&published);
        for (name, version) in &self.restored {
            let now = restored.get(name);
            assert!(now >= Some(version), "{name:?} was restored at version {version} before, and now at {now:?}");
        }
        assert!(published.of_tags(LAST_SUCCESS).values().all(|at| *at < now()));
        self.restored = restored;
        daemon
    }

    /// Pushes one new version after the other, and checks that published values were true and never go back.
    fn load(&mut self, daemon: &Daemon, random: &mut Random, until: Instant) -> BTreeMap<Name, usize> {
        let mut seen = self.restored.clone();
        loop {
            self.push(random.below(REPOSITORIES * TAGS));
            let published = self.versions(&daemon.scrape());
            for (name, version) in &seen {
                assert!(published.get(name) >= Some(version), "{name:?} went back from version {version}");
            }
            seen = published;
            if Instant::now() >= until {
                return seen;
            }
        }
    }

    fn assert_nothing_was_set_aside(&self, daemon: &Daemon) {
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

fn kill_again_and_again(seed: u64) {
    let mut world = World::new("100ms");
    let mut random = Random(seed);
    let mut end_in_order = BTreeMap::new();
    for life in 0..LIVES {
        world.registry.always("* *", Reply::Usual);
        let (daemon, _) = Daemon::start(world.directory.path());
        // The state file is written about once a second: some runs are too short for a write, some are killed during
        // one.
        let until = Instant::now() + Duration::from_millis(random.below(2_300) as u64);
        let seen = world.load(&daemon, &mut random, until);
        if life + 1 < LIVES {
            daemon.kill();
        } else {
            assert!(daemon.end().success());
            end_in_order = seen;
        }
        let daemon = world.restore();
        world.assert_nothing_was_set_aside(&daemon);
        daemon.kill();
    }
    for (name, version) in &end_in_order {
        assert!(world.restored.get(name) >= Some(version), "{name:?} was at {version} when the program ended in order");
    }
    assert_eq!(world.restored.len(), REPOSITORIES * TAGS);
}

#[test]
fn what_is_published_after_a_hundred_kills_was_true_and_no_older_than_before() {
    std::thread::scope(|scope| {
        for seed in 1..=DAEMONS {
            scope.spawn(move || kill_again_and_again(seed * 0x9E37_79B9));
        }
    });
}

#[test]
fn the_first_scan_after_a_kill_asks_for_every_tag_once_and_for_nothing_else() {
    let world = World::new("1s");
    let all = REPOSITORIES * TAGS;
    let asked = (0..50).find_map(|_| {
        world.registry.take_counts();
        let (daemon, restored) = Daemon::start(world.directory.path());
        let is_restored = world.versions(&restored).len() == all;
        daemon.wait_for(|published| {
            (published.count(LAST_SCAN) == REPOSITORIES && world.versions(published).len() == all).then_some(())
        });
        let asked = world.registry.requests();
        // What was read reaches the disk about a second later.
        let until = Instant::now() + Duration::from_millis(1_500);
        daemon.wait_for(|_| (Instant::now() > until).then_some(()));
        daemon.kill();
        is_restored.then_some(asked)
    });
    let asked = asked.expect("one of fifty lives is long enough for the state file");
    let first: BTreeSet<String> = asked.iter().take(all).map(|seen| seen.uri.clone()).collect();
    assert_eq!(first.len(), all, "{first:?}");
    assert!(asked.iter().all(|seen| seen.kind == Kind::HeadManifest), "{asked:?}");
}

#[test]
fn a_second_daemon_on_one_state_file_exits_with_a_message() {
    let world = World::new("1s");
    let (first, _) = Daemon::start(world.directory.path());
    let second =
        daemon::command(world.directory.path()).args(["--web.listen-address", "127.0.0.1:0"]).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("state.redb is in use by another process: stop that one, or give this one its own"),
        "{said}"
    );
    first.wait_for(|published| (world.versions(published).len() == REPOSITORIES * TAGS).then_some(()));
    assert!(first.end().success());
    let (restarted, published) = Daemon::start(world.directory.path());
    assert_eq!(world.versions(&published).len(), REPOSITORIES * TAGS);
    restarted.kill();
}

#[test]
fn an_unusable_state_file_is_reported_and_does_not_stop_the_daemon() {
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
        let world = World::new("1s");
        let config = world.directory.path().join("config.toml");
        fs::write(&config, fs::read_to_string(&config).unwrap().replace("state.redb", path)).unwrap();
        before(&world.directory.path().join(path));
        let (daemon, published) = Daemon::start(world.directory.path());
        assert_eq!(world.versions(&published).len(), 0);
        daemon.wait_for(|published| (world.versions(published).len() == REPOSITORIES * TAGS).then_some(()));
        assert!(daemon.log().contains(expected), "{}", daemon.log());
        let in_use = if expected.contains("corrupt") { 1.0 } else { 0.0 };
        assert_eq!(daemon.scrape().one("image_size_exporter_state_persistent"), Some(in_use));
        after(&world.directory.path().join(path));
        assert!(daemon.end().success());
        let (daemon, published) = Daemon::start(world.directory.path());
        assert_eq!(world.versions(&published).len(), REPOSITORIES * TAGS, "{}", daemon.log());
        daemon.kill();
    }
}

/// What version 0.1.0 wrote to its state file, and what it published then.
#[test]
fn a_state_file_of_the_released_version_is_published_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = fs::File::create(directory.path().join("state.redb")).unwrap();
    let packed: &[u8] = include_bytes!("store/fixtures/version-2.redb.gz");
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut state).unwrap();
    drop(state);
    // Nothing listens on this port: all that is published was restored.
    let config = "[scan]\ninterval = \"1h\"\nkeep = \"10y\"\n[state]\npath = \"state.redb\"\n[[targets]]\nname = \"app\"\n\
                  repository = \"127.0.0.1:1/acme/app\"\ntags = [\"v1\", \"v2\", \"chart\", \"old\"]\n";
    fs::write(directory.path().join("config.toml"), config).unwrap();
    let (daemon, _) = Daemon::start(directory.path());
    // Without the sizes of unpacked layers, since its layers do not match their configs.
    let expected = include_str!("store/fixtures/version-2.prom");
    let published = daemon.scrape();
    let mut samples = BTreeMap::new();
    for line in expected.lines() {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(published.one(series), Some(value.parse().unwrap()), "{series}\n{}", daemon.log());
        *samples.entry(series.split('{').next().unwrap()).or_insert(0) += 1;
    }
    for (family, count) in samples {
        assert_eq!(published.count(family), count, "{family}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing was set aside");
    daemon.kill();
}
