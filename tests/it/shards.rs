//! Several daemons that share the repositories of one configuration: each figure is published once and is that of one daemon,
//! nothing is asked for others, and what changes with their number.

use std::collections::BTreeMap;

use image_size_exporter::commands::inspect::Terminal;
use image_size_exporter::commands::plan;
use image_size_exporter::config::Config;
use image_size_exporter::oci::Repository;
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::target::Shard;

use crate::support::daemon::{Daemon, LAST_SCAN, Metrics, ask, ask_with};
use crate::support::files::Files;
use crate::support::images::*;
use crate::support::registry::{Reply, Seen, TestRegistry};

/// What needs the images of all repositories: no shard of several has it.
const WITHHELD: [&str; 13] = [
    "container_image_unique_size_bytes",
    "container_image_proportional_size_bytes",
    "container_image_repository_unique_size_bytes",
    "container_image_repository_proportional_size_bytes",
    "container_image_repository_reclaimable_size_bytes",
    "container_image_registry_stored_size_bytes",
    "container_image_registry_reclaimable_size_bytes",
    "container_image_group_stored_size_bytes",
    "container_image_group_unique_size_bytes",
    "container_image_group_proportional_size_bytes",
    // By layers alone; by annotations they are below.
    "container_image_base_size_bytes",
    "container_image_base_info",
    "container_image_base_current",
];

const TARGETS: usize = 4;
const REPOSITORIES: usize = 24;
const TAGS: &str = "image_size_exporter_target_tags";

/// What counts up or down at any first scan, while lists and tags are read.
const COUNTING: [&str; 2] = ["container_image_repository_tags", "container_image_repository_tags_unknown"];

/// A registry with repositories that share layers, and a configuration with all kinds of targets and a source.
struct World {
    registry: TestRegistry,
    files: Files,
}

/// Names with which each of up to four shards has several repositories, wherever the registry listens.
fn name(number: usize) -> String {
    format!("acme/app-{number}")
}

impl World {
    fn new() -> Self {
        let (registry, files) = (TestRegistry::start(), Files::new());
        let base = Blob::named("base", 1000);
        registry.push("lone/base", "v1", &image("linux/amd64", &[&base]));
        registry.push("lone/other", "v1", &image("linux/amd64", &[&base, &Blob::named("other", 7)]));
        for number in 0..REPOSITORIES {
            for release in 1..=3_u64 {
                let own = Blob::named(&name(number), 10 * release);
                let (amd, arm) = (image("linux/amd64", &[&base, &own]), image("linux/arm64", &[&own]));
                let pushed = if number % 3 == 0 { index(&[("linux/amd64", &amd), ("linux/arm64", &arm)]) } else { amd };
                registry.push(&name(number), &format!("v{release}.0.0"), &pushed);
            }
            registry.push(&name(number), "latest", &image("linux/amd64", &[&base]));
        }
        let line = |name: &str| format!("{}/{name}\n", registry.name());
        let running: String =
            (0..REPOSITORIES).step_by(2).map(|number| line(&format!("{}:latest", name(number)))).collect();
        files.write("images.txt", &format!("{running}{}sha256:{}\n", line("lone/base:v1"), "0".repeat(64)));
        Self { registry, files }
    }

    fn toml(&self) -> String {
        r"
[scan]
interval = '1h'
[state]
path = 'state.redb'
[[targets]]
name = 'all'
repository = 'REGISTRY/acme/*'
semver = '>=1'
newest = 'semver'
group_by = '^acme/(app-\d)'
labels = { team = 'blue' }
[[targets]]
name = 'latest'
repository = 'REGISTRY/acme/*'
tags = ['latest']
budget = '1KiB'
[[targets]]
name = 'lone'
repository = ['REGISTRY/lone/base', 'REGISTRY/lone/other']
tags = ['v1']
[[sources]]
name = 'runs'
file = 'FILES/*.txt'
interval = '1h'
[[policies]]
name = 'two'
keep_newest = 2
targets = ['all']
"
        .replace("REGISTRY", self.registry.name().as_str())
        .replace("FILES", &self.files.path().display().to_string())
    }

    async fn start(&self, directory: tempfile::TempDir, shard: Shard) -> Daemon {
        Daemon::start_shard(directory, &self.toml(), shard).await
    }

    /// Runs a shard until all is read that it has; returns what it publishes then, with its state.
    async fn run(&self, directory: tempfile::TempDir, shard: Shard) -> (Metrics, tempfile::TempDir) {
        let daemon = self.start(directory, shard).await;
        let metrics = daemon.until("all is scanned", |m| m.count(LAST_SCAN) == TARGETS && is_read(m)).await;
        (metrics, daemon.stop().await)
    }

    /// What one daemon publishes.
    async fn whole(&self) -> Metrics {
        self.run(tempfile::tempdir().unwrap(), Shard::default()).await.0
    }

    fn repository(&self, name: &str) -> Repository {
        self.registry.repository(name)
    }

    /// The repositories of others that were asked of since the last call.
    fn asked_of_others(&self, shard: Shard) -> Vec<Seen> {
        let of_others = |seen: &Seen| {
            let name = seen.resource().and_then(|resource| resource.repository().map(str::to_owned));
            name.is_some_and(|name| !shard.holds(&self.repository(&name)))
        };
        let others = self.registry.requests().into_iter().filter(of_others).collect();
        self.registry.take_counts();
        others
    }
}

/// Whether each tag was read, and each target's tags were counted.
fn is_read(metrics: &Metrics) -> bool {
    metrics.all_up("container_image_tag_up", &[])
        && metrics.count(TAGS) == TARGETS
        && metrics.count("container_image_tag_info") == metrics.count("container_image_tag_up")
        && metrics.count("image_size_exporter_source_images") == 1
}

fn shard(number: u32, total: u32) -> Shard {
    Shard::new(number, total).unwrap()
}

fn family(series: &str) -> &str {
    series.split('{').next().unwrap()
}

/// The series with their values, without those that are withheld; times of readings differ from run to run.
fn exact(metrics: &Metrics) -> BTreeMap<String, String> {
    let series = metrics.series().into_iter().filter(|(series, _)| !WITHHELD.contains(&family(series)));
    let value = |series: &str, value: &str| if series.contains("_last_success_") { "" } else { value }.to_owned();
    series.map(|(series, text)| (series.to_owned(), value(series, text))).collect()
}

/// The series of a shard alone.
fn of_shard(all: &BTreeMap<String, String>, world: &World, shard: Shard) -> BTreeMap<String, String> {
    let name = |series: &str| series.split_once(r#"repository=""#).unwrap().1.split('"').next().unwrap().to_owned();
    let own = all.iter().filter(|(series, _)| shard.holds(&world.repository(&name(series))));
    own.map(|(series, value)| (series.clone(), value.clone())).collect()
}

#[tokio::test]
async fn three_shards_publish_each_series_once_as_one_daemon_would_and_ask_nothing_for_others() {
    let world = World::new();
    let whole = world.whole().await;
    let expected = exact(&whole);
    for family in WITHHELD {
        assert!(whole.count(family) > 0, "{family} is in this test");
    }
    world.registry.take_counts();

    let mut union = BTreeMap::new();
    let (mut tags, mut repositories, mut images, mut skipped) = (0.0, 0.0, 0.0, 0.0);
    for number in 0..3 {
        let shard = shard(number, 3);
        let (metrics, _) = world.run(tempfile::tempdir().unwrap(), shard).await;
        let asked = world.asked_of_others(shard);
        assert!(asked.is_empty(), "shard {shard}: {asked:#?}");
        for family in WITHHELD {
            assert_eq!(metrics.count(family), 0, "{family} is not known in shard {shard}");
        }
        let series = exact(&metrics);
        assert_eq!(series, of_shard(&expected, &world, shard), "shard {shard}");
        for (series, value) in series {
            assert!(union.insert(series.clone(), value).is_none(), "{series} is published twice");
        }
        let sum = |family: &str| metrics.all(family, &[]).values().sum::<f64>();
        tags += sum(TAGS);
        repositories += sum("image_size_exporter_target_repositories");
        images += sum("image_size_exporter_source_images");
        skipped += sum("image_size_exporter_source_skipped_containers");
        assert_eq!(metrics.count("image_size_exporter_source_skipped_containers"), usize::from(number == 0));
        assert!(metrics.all_up("image_size_exporter_target_up", &[]), "{}", metrics.text());
        let ordinal = [("shard_ordinal", &*number.to_string())];
        assert_eq!(metrics.one("image_size_exporter_shard_ordinal", &ordinal), Some(f64::from(number)));
        assert_eq!(metrics.one("image_size_exporter_total_shards", &[]), Some(3.0));
    }
    assert_eq!(union, expected);
    let sum = |family: &str| whole.all(family, &[]).values().sum::<f64>();
    let (of_repositories, of_images) =
        (sum("image_size_exporter_target_repositories"), sum("image_size_exporter_source_images"));
    assert_eq!((tags, repositories, images), (sum(TAGS), of_repositories, of_images));
    assert_eq!((skipped, sum("image_size_exporter_source_skipped_containers")), (1.0, 1.0));
}

#[tokio::test]
async fn from_three_shards_to_four_only_what_moves_is_read_again_and_nothing_else_is_lost() {
    let world = World::new();
    let expected = exact(&world.whole().await);
    let mut states = Vec::new();
    for number in 0..3 {
        states.push(world.run(tempfile::tempdir().unwrap(), shard(number, 3)).await.1);
    }
    world.registry.take_counts();

    // The further one reads what it takes over, while the others publish it still.
    let (further, _) = world.run(tempfile::tempdir().unwrap(), shard(3, 4)).await;
    let mut union = exact(&further);
    assert_eq!(union, of_shard(&expected, &world, shard(3, 4)));
    assert!(world.asked_of_others(shard(3, 4)).is_empty());

    // No registry answers: what stays is there at once, all of it.
    world.registry.always("* /v2/", Reply::status(503));
    let mut kept = Vec::new();
    for (number, state) in (0..3).zip(states) {
        let daemon = world.start(state, shard(number, 4)).await;
        let metrics = daemon.metrics().await;
        let (before, after) = (of_shard(&expected, &world, shard(number, 4)), exact(&metrics));
        // What runs, its source says again at once, but not before.
        let running = |series: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let others = series.iter().filter(|(series, _)| !series.starts_with("container_image_running_"));
            others.map(|(series, value)| (series.clone(), value.clone())).collect()
        };
        assert_eq!(running(&after), running(&before), "shard {number} of 4");
        union.extend(before);
        kept.push(daemon.stop().await);
    }
    assert_eq!(union, expected, "each series has a shard");
    let asked = world.registry.requests();
    let named = asked.iter().filter_map(|seen| seen.resource()?.repository());
    let moved: Vec<&str> = named.filter(|name| shard(3, 4).holds(&world.repository(name))).collect();
    assert!(moved.is_empty(), "{moved:?}");
    world.registry.always("* /v2/", Reply::Usual);
    world.registry.take_counts();

    // Back to three: nothing false is published before what comes back is read.
    let mut union = BTreeMap::new();
    for (number, state) in (0..3).zip(kept) {
        let daemon = world.start(state, shard(number, 3)).await;
        let own = of_shard(&expected, &world, shard(number, 3));
        let is_so = |m: &Metrics| {
            let series = exact(m);
            let differ = series.iter().filter(|(series, value)| own.get(*series) != Some(value));
            let wrong: Vec<_> = differ.filter(|(series, _)| !COUNTING.contains(&family(series))).collect();
            assert!(wrong.is_empty(), "shard {number} of 3: {wrong:#?}");
            series == own
        };
        let metrics = daemon.until("all is there again", is_so).await;
        union.extend(exact(&metrics));
        daemon.stop().await;
    }
    assert_eq!(union, expected);
}

#[tokio::test]
async fn a_state_of_another_number_gives_nothing_away_and_is_of_no_harm() {
    let world = World::new();
    let expected = exact(&world.whole().await);
    let (_, state) = world.run(tempfile::tempdir().unwrap(), shard(1, 3)).await;
    world.registry.always("* /v2/", Reply::status(503));
    let daemon = world.start(state, shard(2, 3)).await;
    let first = daemon.metrics().await;
    let others = of_shard(&expected, &world, shard(1, 3));
    let kept: Vec<String> = exact(&first).into_keys().filter(|series| others.contains_key(series)).collect();
    assert!(kept.is_empty(), "{kept:#?}");
    let state = daemon.stop().await;
    world.registry.always("* /v2/", Reply::Usual);
    // Its own number again: it knows that it knows nothing any more.
    let (metrics, state) = world.run(state, shard(1, 3)).await;
    assert_eq!(exact(&metrics), others);
    // Alone again.
    let daemon = world.start(state, Shard::default()).await;
    let registry_bytes = "container_image_registry_stored_size_bytes";
    let early = daemon.metrics().await;
    assert!(early.count(registry_bytes) == 0 || exact(&early) == expected, "a part of it is published as all");
    let whole = daemon.until("all is known", |m| exact(m) == expected && m.count(registry_bytes) == 1).await;
    assert_eq!(whole.all(registry_bytes, &[]), world.whole().await.all(registry_bytes, &[]));
    daemon.stop().await;
}

#[tokio::test]
async fn a_notification_reaches_every_shard_and_is_read_by_one() {
    let world = World::new();
    let token = world.files.write("token", "a token of some length\n");
    let toml = world.toml() + &format!("[notifications]\ntoken_file = '{}'\n", token.display());
    // A new repository has no tag `latest`, which a target names.
    world.registry.missing("/v2/acme/");
    let mut read = Vec::new();
    for number in 0..2 {
        let (directory, shard) = (tempfile::tempdir().unwrap(), shard(number, 2));
        let daemon = Daemon::start_shard(directory, &toml, shard).await;
        daemon.until("all is scanned", |m| m.count(LAST_SCAN) == TARGETS && is_read(m)).await;
        world.registry.take_counts();
        // Of a known repository and a new one, one of each shard's; the last one is this shard's.
        let named = |prefix: &str, other: bool| {
            let mut names = (0..200).map(|number| format!("acme/{prefix}-{number}"));
            names.find(|name| shard.holds(&world.repository(name)) != other).unwrap()
        };
        let names = [named("app", true), named(&format!("new-{number}"), true), named("app", false)];
        let tag = format!("v9.{number}.0");
        for name in &names {
            world.registry.push(name, &tag, &image("linux/amd64", &[&Blob::named("pushed", 77)]));
        }
        let event = |name: &String| {
            format!(
                r#"{{"action":"push","target":{{"repository":"{name}","tag":"{tag}"}},"request":{{"host":"{}"}}}}"#,
                world.registry.name()
            )
        };
        let body = format!(r#"{{"events":[{}]}}"#, names.iter().map(event).collect::<Vec<_>>().join(","));
        let headers =
            format!("authorization: Bearer a token of some length\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let answer = ask_with(&daemon.address, "POST /-/notify/distribution", &headers).await.unwrap();
        assert!(answer.contains(" 202 "), "{answer}");
        let labels = [("repository", names[2].as_str()), ("tag", tag.as_str())];
        let metrics =
            daemon.until("it is read", |m| m.one("container_image_compressed_size_bytes", &labels) == Some(77.0));
        let metrics = metrics.await;
        assert!(world.asked_of_others(shard).is_empty());
        assert_eq!(metrics.all("container_image_tag_up", &[("repository", &names[1])]).len(), 0);
        assert_eq!(metrics.one("image_size_exporter_notifications_total", &[("kind", "distribution")]), Some(1.0));
        read.push(names[2].clone());
        daemon.stop().await;
    }
    assert_ne!(read[0], read[1]);
}

#[tokio::test]
async fn a_reload_stays_in_its_shard() {
    let world = World::new();
    let shard = shard(0, 2);
    let daemon = world.start(tempfile::tempdir().unwrap(), shard).await;
    let metrics = daemon.until("all is scanned", |m| m.count(LAST_SCAN) == TARGETS && is_read(m)).await;
    let before = exact(&metrics);
    let scanned = |m: &Metrics| m.one(LAST_SCAN, &[("target", "all")]);
    let toml = world.toml().replace("blue", "red").replace("semver = '>=1'", "semver = '>=2'");
    assert!(daemon.reload(&toml).await.contains(" 200 "));
    let expected: BTreeMap<String, String> = before
        .into_iter()
        .filter(|(series, _)| !series.contains(r#"tag="v1.0.0""#))
        .map(|(series, value)| (series.replace("blue", "red"), value))
        .collect();
    let tags = |series: &BTreeMap<String, String>| -> Vec<String> {
        let of_tags = |series: &&String| {
            ["container_image_tag_up", "container_image_repository_labels"].contains(&family(series))
        };
        series.keys().filter(of_tags).cloned().collect()
    };
    let is_so = |m: &Metrics| scanned(m) > scanned(&metrics) && tags(&exact(m)) == tags(&expected);
    daemon.until("the reload has taken effect, and a scan has ended since", is_so).await;
    assert!(world.asked_of_others(shard).is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn a_shard_without_any_repository_is_up_and_quiet() {
    let registry = TestRegistry::start();
    registry.push("acme/only", "v1", &image("linux/amd64", &[&Blob::named("layer", 100)]));
    let toml = "[scan]\ninterval = '1h'\n[state]\npath = 'state.redb'\n[[targets]]\nname = 'wild'\nrepository = 'REGISTRY/acme/*'\nmatch = ['']\n[[targets]]\nname = 'named'\nrepository = 'REGISTRY/acme/only'\ntags = ['v1']\n"
        .replace("REGISTRY", registry.name().as_str());
    let only = registry.repository("acme/only");
    let empty = (0..2).map(|number| shard(number, 2)).find(|shard| !shard.holds(&only)).unwrap();
    let mut directory = tempfile::tempdir().unwrap();
    for is_restart in [false, true] {
        let daemon = Daemon::start_shard(directory, &toml, empty).await;
        // Of what it restored, it knows that there is nothing.
        let scans = if is_restart { 1 } else { 2 };
        let metrics = daemon.until("it has scanned", |m| m.count(LAST_SCAN) == scans && m.count(TAGS) == 2).await;
        assert!(metrics.all_up("image_size_exporter_target_up", &[]));
        assert_eq!(metrics.series().len(), 0);
        assert!(metrics.all(TAGS, &[]).values().all(|tags| *tags <= 0.0));
        let page = ask(&daemon.address, "GET /").await.unwrap();
        let overview = ask(&daemon.address, "GET /api/v1/overview").await.unwrap();
        assert!(overview.contains(r#""stored_bytes":null"#), "{overview}");
        assert!(page.contains(&format!("This is shard {} of 2", empty.number())), "{page}");
        assert!(!page.contains("matches"), "nothing is wrong with the targets: {page}");
        let shown = ask(&daemon.address, "GET /config").await.unwrap();
        assert!(shown.contains(&format!("# --shard={} --total-shards=2: ", empty.number())), "{shown}");
        directory = daemon.stop().await;
    }
    assert_eq!(registry.take_counts(), "catalog 1");
}

#[tokio::test]
async fn pages_of_a_shard_say_where_the_others_are_and_withhold_what_it_cannot_know() {
    let world = World::new();
    let shard = shard(0, 2);
    let daemon = world.start(tempfile::tempdir().unwrap(), shard).await;
    daemon.until("all is scanned", |m| m.count(LAST_SCAN) == TARGETS && is_read(m)).await;
    let get = async |path: &str| ask(&daemon.address, &format!("GET {path}")).await.unwrap();
    let json = async |path: &str| -> serde_json::Value {
        serde_json::from_str(get(&format!("/api/v1{path}")).await.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let named = |is_own: bool| {
        let mut names = (0..REPOSITORIES).map(|number| world.repository(&name(number)));
        names.find(|name| shard.holds(name) == is_own).unwrap().to_string()
    };
    let (own, other) = (&named(true), &named(false));
    for path in [
        "/",
        "/search",
        &format!("/repository/{own}"),
        &format!("/image/{own}:latest"),
        "/compare",
        &format!("/image/{own}:none"),
    ] {
        assert!(get(path).await.contains("This is shard 0 of 2, counted from 0"), "{path}");
    }
    let elsewhere = "shard 1 of 2 has the repository, if it is watched";
    for path in [format!("/repository/{other}"), format!("/image/{other}:latest")] {
        let (page, json) = (get(&path).await, get(&format!("/api/v1{path}")).await);
        assert!(page.contains(" 404 ") && page.contains(elsewhere), "{page}");
        assert!(json.contains(" 404 ") && json.contains(elsewhere), "{json}");
    }
    let absent = get(&format!("/image/{own}:none")).await;
    assert!(absent.contains(" 404 ") && absent.contains("No tag of this name is watched."), "{absent}");
    let compared = get(&format!("/compare?a={own}:latest&b={other}:latest")).await;
    assert!(compared.contains(elsewhere), "{compared}");
    let compared = get(&format!("/api/v1/compare?a={own}:latest&b={other}:latest")).await;
    assert!(compared.contains("two watched images of this shard"), "{compared}");

    let overview = json("/overview").await;
    assert!(overview["totals"]["stored_bytes"].is_null(), "{overview}");
    assert!(get("/").await.contains("what a policy would free is not known"));
    let repository = json(&format!("/repository/{own}")).await;
    let parts = repository["stacks"].as_array().unwrap().iter().flat_map(|stack| stack["parts"].as_array().unwrap());
    let image = json(&format!("/image/{own}:v1.0.0")).await;
    let layers = image["image"]["layers"].as_array().unwrap().iter();
    let reaches: Vec<&serde_json::Value> = parts.chain(layers).map(|of| &of["reach"]).collect();
    assert!(reaches.iter().all(|reach| reach.is_null() || *reach == "registry"), "{reaches:?}");
    assert!(reaches.iter().any(|reach| reach.is_null()) && reaches.iter().any(|reach| *reach == "registry"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_plan_counts_what_one_shard_costs() {
    let world = World::new();
    let file = world.files.write("config.toml", &world.toml());
    let plan = async |shard: Shard| {
        let mut config = Config::load(&file).unwrap();
        config.keep_shard(shard);
        let registries = Registries::new(config.registries.clone(), Settings::default()).unwrap();
        let plan = plan::plan(&config, &registries).await;
        assert!(world.asked_of_others(shard).is_empty());
        assert!(plan.targets.iter().all(|target| target.empty.is_empty() && target.errors.is_empty()));
        let mut text = Vec::new();
        plan::write(&plan, &mut text, Terminal::default()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let figures = |target: &plan::TargetPlan| [target.repositories, target.tags];
        (plan.targets.iter().map(figures).collect::<Vec<_>>(), text)
    };
    let (whole, text) = plan(Shard::default()).await;
    assert!(!text.contains("shard"), "{text}");
    let mut sum = vec![[0, 0]; whole.len()];
    for number in 0..3 {
        let (figures, text) = plan(shard(number, 3)).await;
        assert!(text.contains(&format!("shard {number} of 3: without the repositories of the others")), "{text}");
        for (sum, figures) in sum.iter_mut().zip(figures) {
            (sum[0], sum[1]) = (sum[0] + figures[0], sum[1] + figures[1]);
        }
    }
    assert_eq!(sum, whole);
}
