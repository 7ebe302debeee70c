//! `plan` against real scans: requests of the first scan and of later ones, and the number of series.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::commands::inspect::Terminal;
use image_size_exporter::commands::plan;
use image_size_exporter::commands::plan::{Layers, Plan, Pulls, Requests};
use image_size_exporter::config::Config;
use image_size_exporter::inventory::Inventory;
use image_size_exporter::layer;
use image_size_exporter::layer::Limits;
use image_size_exporter::metrics::Rendered;
use image_size_exporter::oci::Reason;
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::scan;
use image_size_exporter::scan::discovery;
use image_size_exporter::store::Store;
use image_size_exporter::tag::Observation;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::images::{Blob, OCI_LAYER, artifact, image, image_of_tars, index, index_with_attestations};
use crate::support::registry::{Reply, TestRegistry};
use crate::support::tar::{Tar, gzip};

const TARGETS: &str = r#"
[[targets]]
repository = "REGISTRY/team/app"
match = ["^v"]
semver = ">=1"
newest = "semver"
platforms = ["linux/amd64", "linux/arm64"]
budget = "1MiB"

[[targets]]
repository = "REGISTRY/team/*"
tags = ["latest"]
labels = { team = "a" }

[[targets]]
name = "typing error"
repository = "REGISTRY/team/other"
tags = ["lastet"]
"#;

/// Two releases with two platforms each, an alias, and a single image. The releases may share one platform's manifest.
fn fill(registry: &TestRegistry, shared: bool) {
    let base = Blob::named("base", 1000);
    let arm = image("linux/arm64", &[&base]);
    let new_arm = if shared { image("linux/arm64", &[&base]) } else { image("linux/arm64", &[&base, &base]) };
    let old = image("linux/amd64", &[&base, &Blob::named("old", 10)]);
    let new = image("linux/amd64", &[&base, &Blob::named("new", 20)]);
    registry.push("team/app", "v1.0.0", &index_with_attestations(&[("linux/amd64", &old), ("linux/arm64", &arm)]));
    let newest = index_with_attestations(&[("linux/amd64", &new), ("linux/arm64", &new_arm)]);
    registry.push("team/app", "v1.1.0", &newest);
    registry.push("team/app", "latest", &newest);
    registry.push("team/app", "vnext", &newest);
    registry.push("team/other", "latest", &image("linux/amd64", &[&base]));
}

fn configured(registry: &TestRegistry, targets: &str) -> (Config, Registries) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, targets.replace("REGISTRY", registry.name().as_str())).unwrap();
    let config = Config::load(&file).unwrap();
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    (config, registries)
}

async fn planned(registry: &TestRegistry, targets: &str) -> (Config, Registries, Plan) {
    let (config, registries) = configured(registry, targets);
    let plan = plan::plan(&config, &registries).await;
    registry.take_counts();
    (config, registries, plan)
}

/// One scan of each target, one after the other, and what it asked.
async fn scan(
    registry: &TestRegistry,
    config: &Config,
    registries: &Registries,
    store: &Store,
    inventory: &mut Inventory,
) -> Vec<String> {
    let mut asked = Vec::new();
    for target in &config.targets {
        let client = registries.client(target.repositories.registry().unwrap());
        let found = discovery::discover(&client, target).await;
        inventory.select(&target.name, found.discovered);
        for wanted in inventory.assign(&target.name) {
            let outcome = scan::read_tag(&client, store, &wanted).await.outcome;
            let (repository, tag) = (wanted.repository, wanted.tag);
            inventory.record(&Observation { repository, tag, at: 1.0, outcome });
        }
        inventory.scan_ended(&target.name);
        asked.push(registry.take_counts());
    }
    asked
}

/// In the words of the registry's own counts, kinds in alphabetical order.
fn words(requests: Requests, catalog: bool) -> String {
    let kinds = [
        ("catalog", u64::from(catalog)),
        ("get_blob", requests.configs),
        ("get_manifest", requests.manifests),
        ("head_blob", requests.layer_heads),
        ("head_manifest", requests.heads),
        ("list_tags", requests.lists - u64::from(catalog)),
    ];
    let named = kinds.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{kind} {count}"));
    named.collect::<Vec<_>>().join(", ")
}

async fn check(registry: &TestRegistry) {
    let (config, registries, plan) = planned(registry, TARGETS).await;
    let store = Store::memory();
    let mut inventory = Inventory::new(&config.targets, Duration::from_hours(1));
    let first = scan(registry, &config, &registries, &store, &mut inventory).await;
    let later = scan(registry, &config, &registries, &store, &mut inventory).await;
    // The typing error costs a GET, or a HEAD and a GET to confirm it.
    for number in 0..2 {
        let predicted = &plan.targets[number];
        let catalog = number == 1;
        assert_eq!(words(predicted.first, catalog), first[number], "first scan of {}", predicted.name);
        assert_eq!(words(predicted.later, catalog), later[number], "later scan of {}", predicted.name);
    }
    let series = Rendered::render(&inventory.snapshot(), &BTreeSet::new()).series();
    assert_eq!((plan.series, plan.pulls.len()), (series, 0));
}

fn written(plan: &Plan, registry: &TestRegistry) -> String {
    let mut text = Vec::new();
    plan::write(plan, &mut text, Terminal::default()).unwrap();
    String::from_utf8(text).unwrap().replace(registry.name().as_str(), "REGISTRY")
}

#[tokio::test]
async fn the_plan_equals_the_scans_that_follow() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    registry.missing("/v2/team/other/manifests/lastet");
    check(&registry).await;
}

#[tokio::test]
async fn where_pulls_are_metered_the_plan_pulls_nothing_and_gives_lower_bounds() {
    let registry = TestRegistry::start();
    fill(&registry, false);
    registry.always("* /v2/", Reply::With("ratelimit-remaining", "90;w=21600".to_owned()));
    let (targets, _) = TARGETS.split_once("\n[[targets]]\nname").unwrap();
    let (config, registries) = configured(&registry, targets);
    let plan = plan::plan(&config, &registries).await;
    assert_eq!(registry.take_counts(), "catalog 1, head_manifest 4, list_tags 1");
    assert_eq!(plan.pulls.values().collect::<Vec<_>>(), [&Pulls { at_least: 3, indexes: 2 }]);
    let text = written(&plan, &registry);
    let line = "REGISTRY meters pulls: the first scan makes at least 3, and one more for each selected platform of 2 indexes; \
                later scans make none for unchanged tags\n";
    assert!(text.contains(line) && text.contains("series: at least "), "{text}");

    let store = Store::memory();
    let mut inventory = Inventory::new(&config.targets, Duration::from_hours(1));
    let first = scan(&registry, &config, &registries, &store, &mut inventory).await;
    let later = scan(&registry, &config, &registries, &store, &mut inventory).await;
    let mut pulls = 0;
    for (number, predicted) in plan.targets.iter().enumerate() {
        let asked: BTreeMap<&str, u64> = first[number]
            .split(", ")
            .filter_map(|kind| kind.split_once(' '))
            .map(|(k, n)| (k, n.parse().unwrap()))
            .collect();
        let lists = asked.get("list_tags").unwrap_or(&0) + asked.get("catalog").unwrap_or(&0);
        assert_eq!((predicted.first.heads, predicted.first.lists), (asked["head_manifest"], lists));
        assert!(predicted.first.manifests <= asked["get_manifest"], "{}", first[number]);
        assert_eq!(words(predicted.later, number == 1), later[number]);
        pulls += asked["get_manifest"];
    }
    assert_eq!(pulls, 3 + 2 * 2, "two platforms in each of two indexes");
    assert!(plan.series <= Rendered::render(&inventory.snapshot(), &BTreeSet::new()).series());
}

#[tokio::test]
async fn the_plan_holds_for_children_whose_type_the_index_does_not_state() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    let arm = image("linux/arm64", &[&Blob::named("arm", 30)]);
    let chart = artifact("application/vnd.example.chart", &[&Blob::named("chart", 3)]);
    let nested = index(&[("", &arm), ("windows/amd64", &image("windows/amd64", &[]))]);
    let amd = image("linux/amd64", &[&Blob::named("amd", 40)]);
    registry.push("team/app", "v2.0.0", &index(&[("", &nested), ("", &chart), ("linux/amd64", &amd)]));
    registry.missing("/v2/team/other/manifests/lastet");
    check(&registry).await;
}

#[tokio::test]
async fn the_plan_holds_where_head_has_no_digest() {
    for reply in [Reply::Without("docker-content-digest"), Reply::status(405)] {
        let registry = TestRegistry::start();
        fill(&registry, true);
        registry.missing("/v2/team/other/manifests/lastet");
        registry.always("HEAD *", reply);
        check(&registry).await;
    }
}

#[tokio::test]
async fn the_plan_lists_tags_that_are_not_versions_and_errors() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    registry.missing("/v2/team/other/manifests/lastet");
    let (_, _, plan) = planned(&registry, TARGETS).await;
    let text = written(&plan, &registry);
    assert!(text.contains("not versions, so left out by `semver`: REGISTRY/team/app:vnext"), "{text}");
    assert!(text.contains("typing error: REGISTRY/team/other:lastet: not found on the registry"), "{text}");
    assert!(text.lines().next().unwrap().starts_with("target "), "{text}");
}

/// Only tags that are read can be the newest. Otherwise a missing comparison would show only in an alert that never
/// fires.
#[tokio::test]
async fn the_plan_reports_where_limit_leaves_newest_nothing_to_compare_with() {
    let one = image("linux/amd64", &[&Blob::named("one", 1)]);
    let two = image("linux/amd64", &[&Blob::named("two", 2)]);
    let registry = TestRegistry::start();
    for (repository, tags) in [
        ("team/plain", &[("v2.0.0", &two), ("v1.0.0", &one)][..]),
        ("team/aliases", &[("v2.0.0", &two), ("v2.0", &two), ("v1.0.0", &one)]),
        ("team/candidates", &[("v3.0.0-rc.2", &one), ("v3.0.0-rc.1", &two), ("v2.0.0", &two), ("v1.0.0", &one)]),
        ("team/single", &[("v3.0.0-rc.2", &one), ("v3.0.0-rc.1", &two), ("v2.0.0", &two)]),
        ("team/no-versions", &[("main", &two), ("latest", &one), ("stable", &one)]),
    ] {
        for (tag, image) in tags {
            registry.push(repository, tag, image);
        }
    }
    for (settings, expected) in [
        ("newest = 'semver'\nlimit = 1", "aliases candidates plain single"),
        ("newest = 'semver'\nlimit = 2", "aliases candidates single"),
        ("newest = 'semver'\nlimit = 3", "candidates"),
        ("newest = 'semver'\nlimit = 4", ""),
        ("newest = 'semver'\nlimit = 2\nexclude = ['-rc', '^v\\d+\\.\\d+$']", ""),
        ("newest = 'semver'", ""),
        ("limit = 1", ""),
    ] {
        let target = format!("[[targets]]\nname = 't'\nrepository = 'REGISTRY/team/*'\n{settings}\n");
        let (_, _, plan) = planned(&registry, &target).await;
        let named: Vec<&str> =
            plan.targets[0].without_newest.iter().map(|one| one.name().trim_start_matches("team/")).collect();
        assert_eq!(named.join(" "), expected, "{settings}");
        let line = "t: within `limit` there are no two releases for `newest` to compare; raise it or `exclude` other tags: REGISTRY/team/";
        assert_eq!(written(&plan, &registry).contains(line), !expected.is_empty(), "{settings}");
    }
}

#[tokio::test]
async fn the_plan_reports_targets_that_select_nothing() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    for (settings, expected) in [
        (
            "repository = 'REGISTRY/team/app'\nmatch = ['^release-']",
            "t: selects no tag of the 4 that the repository has: look at `match`, `exclude` and `semver`\n",
        ),
        (
            "repository = 'REGISTRY/team/*'\nsemver = '>=7'",
            "t: selects no tag of the 5 that its 2 repositories have: look at `match`, `exclude` and `semver`\n",
        ),
        (
            "repository = 'REGISTRY/taem/*'\ntags = ['v1.0.0']",
            "t: no repository of those that the registry lists (2) matches `REGISTRY/taem/*`\n",
        ),
        (
            "repository = 'REGISTRY/team/app'\nmatch = ['^v1']\nplatforms = ['linux/adm64']",
            "t: none of the platforms of REGISTRY/team/app:v1.0.0 (linux/amd64, linux/arm64) is among the target's \
             `platforms`, nor is one of another tag's\n",
        ),
    ] {
        let (_, _, plan) = planned(&registry, &format!("[[targets]]\nname = 't'\n{settings}\n")).await;
        let text = written(&plan, &registry);
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(plan::failure(&plan, false), None);
        assert_eq!(plan::failure(&plan, true), Some((4, "1 of 1 targets select nothing".to_owned())));
    }
    registry.always("GET /v2/team/app/tags/list", Reply::json(r#"{"name": "team/app", "tags": null}"#));
    let target = "[[targets]]\nname = 't'\nrepository = 'REGISTRY/team/app'\nlimit = 3\n";
    let (_, _, plan) = planned(&registry, target).await;
    assert!(written(&plan, &registry).ends_with("t: the repository has no tag\n"));
}

#[tokio::test]
async fn a_tag_that_not_every_repository_has_costs_nothing_in_the_plan() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    registry.missing("/v2/team/other/manifests/v1.0.0");
    let target = "[[targets]]\nrepository = 'REGISTRY/team/*'\ntags = ['v1.0.0']\n";
    let (config, registries, plan) = planned(&registry, target).await;
    assert_eq!((&plan.targets[0].errors, plan.failure, plan::failure(&plan, true)), (&vec![], None, None));
    let mut inventory = Inventory::new(&config.targets, Duration::from_hours(1));
    scan(&registry, &config, &registries, &Store::memory(), &mut inventory).await;
    assert_eq!(plan.series, Rendered::render(&inventory.snapshot(), &BTreeSet::new()).series());
}

/// The plan's figures for layers against the layer worker, and the resulting series.
#[tokio::test]
async fn the_plan_of_uncompressed_sizes_equals_the_workers_requests() {
    let registry = TestRegistry::start();
    let [base, one, two, three, other] = [20, 40, 60, 80, 100].map(|blocks| Tar::new(&vec![0; blocks * 512]));
    let compressed_otherwise = [gzip(&[]), gzip(&vec![0; 80 * 512])].concat();
    let three_again = Tar { diff_id: three.diff_id.clone(), gzip: Blob::new(OCI_LAYER, compressed_otherwise) };
    registry.push("team/exact", "v1", &image_of_tars(&[&base, &one]));
    registry.push("team/cheap", "v1", &image_of_tars(&[&base, &two]));
    registry.push("team/cheap", "v2", &image_of_tars(&[&two, &three, &three_again]));
    registry.push("team/off", "v1", &image_of_tars(&[&other]));
    let target = |name: &str| {
        format!("[[targets]]\nrepository = 'REGISTRY/team/{name}'\ntags = ['v1', 'v2']\nuncompressed = '{name}'\n")
    };
    registry.missing("/v2/team/exact/manifests/v2");
    registry.missing("/v2/team/off/manifests/v2");
    let targets = ["exact", "cheap", "off"].map(target).concat();
    let (config, registries, plan) = planned(&registry, &targets).await;
    let streamed_bytes = base.gzip.size + one.gzip.size;
    assert_eq!(plan.layers, Layers { asked: 3, streamed: 2, streamed_bytes, unread_manifests: 0 });
    let text = written(&plan, &registry);
    assert!(text.contains("uncompressed = \"cheap\" fetches a few bytes of 3 layers, each once\n"), "{text}");
    let streams = format!("streams 2 layers of {streamed_bytes} B, each once, at most 10.0 GiB an hour\n");
    assert!(text.contains(&format!("uncompressed = \"exact\" {streams}")), "{text}");

    let store = Store::memory();
    let mut inventory = Inventory::new(&config.targets, Duration::from_hours(1));
    scan(&registry, &config, &registries, &store, &mut inventory).await;
    let (work, wanted) = mpsc::channel(1);
    let (found, mut contents) = mpsc::channel(64);
    work.send(inventory.layer_requests()).await.unwrap();
    drop(work);
    layer::run(wanted, Arc::new(registries), store, found, Limits::default(), CancellationToken::new()).await;
    let mut learnt = Vec::new();
    while let Some(one) = contents.recv().await {
        learnt.push(one);
    }
    assert_eq!(registry.take_counts(), "get_blob 2, get_range 3");
    inventory.learn_layers(learnt);
    let series = Rendered::render(&inventory.snapshot(), &BTreeSet::new()).series();
    assert_eq!(plan.series, series);
}

#[tokio::test]
async fn the_plan_requests_no_layers_from_a_pull_through_registry() {
    let registry = TestRegistry::start();
    registry.push("team/app", "v1", &image_of_tars(&[&Tar::new(&[0; 512])]));
    let target = "[[targets]]\nrepository = 'REGISTRY/team/app'\ntags = ['v1']\n";
    let (_, _, without) = planned(&registry, target).await;
    let cheap = format!("{target}uncompressed = 'cheap'\n");
    let (_, _, plan) = planned(&registry, &cheap).await;
    assert_eq!((plan.layers.asked, plan.series), (1, without.series + 2));
    let (_, _, plan) = planned(&registry, &format!("{cheap}[registries.'REGISTRY']\npull_through = true\n")).await;
    assert_eq!((plan.layers, plan.series), (Layers::default(), without.series));
}

#[tokio::test]
async fn where_pulls_are_metered_the_plan_reports_that_layers_are_unknown() {
    let registry = TestRegistry::start();
    fill(&registry, false);
    registry.always("* /v2/", Reply::With("ratelimit-remaining", "90;w=21600".to_owned()));
    let target = "[[targets]]\nrepository = 'REGISTRY/team/app'\ntags = ['v1.0.0']\nuncompressed = 'exact'\n";
    let (_, _, plan) = planned(&registry, target).await;
    assert_eq!(plan.layers, Layers { unread_manifests: 1, ..Layers::default() });
    assert!(written(&plan, &registry).contains("each layer is asked or streamed once"));
}

#[tokio::test]
async fn an_error_makes_the_figures_lower_bounds_and_only_errors_make_a_failure() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    let target =
        |name: &str, tag: &str| format!("[[targets]]\nrepository = 'REGISTRY/team/{name}'\ntags = ['{tag}']\n");
    let both = target("app", "v1.0.0") + &target("other", "latest");
    registry.always("* /v2/team/other/", Reply::status(403));
    let (_, _, plan) = planned(&registry, &both).await;
    assert_eq!((plan.failure, plan.is_partial(), plan.is_empty), (Some(Reason::Denied), true, false));
    let (exit_code, message) = plan::failure(&plan, false).unwrap();
    assert_eq!((exit_code, message.as_str()), (3, "1 of 2 targets cannot be read wholly (denied)"));
    let text = written(&plan, &registry);
    assert!(text.contains("series: at least ") && text.contains("  at least 1 GET manifest"), "{text}");
    registry.always("* /v2/", Reply::status(403));
    let (_, _, plan) = planned(&registry, &both).await;
    assert_eq!((plan.failure, plan.is_empty), (Some(Reason::Denied), true));
    let (exit_code, message) = plan::failure(&plan, false).unwrap();
    assert_eq!((exit_code, message.as_str()), (3, "no tag could be read (denied): the figures predict nothing"));
    registry.always("* /v2/", Reply::Usual);
    registry.missing("/v2/team/app/manifests/v9");
    let (_, _, plan) = planned(&registry, &target("app", "v9")).await;
    assert_eq!((plan.failure, plan.is_partial()), (Some(Reason::NotFound), false));
}

/// Each key of the schema in docs/plan.md is written, and no other.
#[tokio::test]
async fn the_plan_as_json_has_what_its_schema_says() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    registry.missing("/v2/team/other/manifests/lastet");
    let denied = "\n[[targets]]\nname = 'denied'\nrepository = 'REGISTRY/team/secret'\ntags = ['v1']\n";
    registry.always("* /v2/team/secret/", Reply::status(403));
    let (_, _, plan) = planned(&registry, &format!("{TARGETS}{denied}")).await;
    let mut text = Vec::new();
    plan::write_json(&plan, &mut text).unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    let [app, _, slip, denied] = &json["targets"].as_array().unwrap()[..] else { panic!("{json:#}") };
    let first = plan.targets[0].first;
    assert_eq!(app["first_scan"]["manifests"], first.manifests);
    assert_eq!(app["first_scan"]["total"], first.total());
    assert_eq!(app["not_versions"], serde_json::json!([format!("{}/team/app:vnext", registry.name())]));
    assert_eq!((&slip["name"], &slip["errors"][0]["reason"]), (&"typing error".into(), &"not_found".into()));
    assert_eq!((&denied["is_partial"], &denied["errors"][0]["reason"]), (&true.into(), &"denied".into()));
    assert_eq!((&json["is_lower_bound"], &json["series"]), (&true.into(), &plan.series.into()));

    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.md")).unwrap();
    let schema = page.split("## JSON").nth(1).unwrap().split("```\n").nth(1).unwrap();
    let named: BTreeSet<&str> = schema
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| !["", "null"].contains(word))
        .collect();
    let mut written = BTreeSet::new();
    keys(&json, &mut written);
    // Metered registries are in another test.
    written.extend(["registry", "at_least", "indexes"].map(str::to_owned));
    assert_eq!(named, written.iter().map(String::as_str).collect());
}

fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn a_narrow_terminal_has_numbers_instead_of_kinds_and_cuts_names_last() {
    let registry = TestRegistry::start();
    fill(&registry, true);
    let name = "a target with a rather long name, as wildcards make them";
    let target = format!("[[targets]]\nname = '{name}'\nrepository = 'REGISTRY/team/app'\nmatch = ['^v1']\n");
    let (_, _, plan) = planned(&registry, &target).await;
    let table = |width, whole| {
        let mut text = Vec::new();
        plan::write(&plan, &mut text, Terminal { width, whole, ..Terminal::default() }).unwrap();
        String::from_utf8(text).unwrap().lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    for (width, whole, expected) in [
        (Some(200), false, " GET manifest + "),
        (None, false, " GET manifest + "),
        (Some(70), true, " GET manifest + "),
        (Some(120), false, " requests  "),
        (Some(70), false, " requests  "),
    ] {
        let lines = table(width, whole);
        assert!(lines[1].contains(expected), "{width:?}: {lines:?}");
        assert!(whole || lines.iter().all(|line| line.chars().count() <= width.unwrap_or(200)), "{lines:?}");
        assert_eq!(lines[1].starts_with(name), width != Some(70) || whole, "{lines:?}");
    }
}
