//! `history`: what the creation dates of a registry's images say, and what they do not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use image_size_exporter::commands::history::history;
use image_size_exporter::commands::inspect::Terminal;
use image_size_exporter::config::{Config, Environment};
use image_size_exporter::registry::{Registries, Settings};
use serde_json::{Value, json};

use crate::support::configured::{Configured, text};
use crate::support::images::{Blob, dated, index};
use crate::support::registry::Reply;

const BY_VERSION: &str =
    "[[targets]]\nname = 'api'\nrepository = 'REGISTRY/acme/app'\nmatch = ['^v']\nnewest = 'semver'\n";

/// An image of a base of 100 bytes and a layer of its own.
fn release(fixture: &Configured, tag: &str, created: &str, own: u64) {
    let (base, own) = (Blob::named("base", 100), Blob::named(tag, own));
    fixture.registry.push("acme/app", tag, &dated("linux/amd64", created, &[&base, &own]));
}

/// Four releases, of which the last is one of an older line; and what has no usable date.
fn fixture() -> Configured {
    let fixture = Configured::new("history", BY_VERSION);
    release(&fixture, "v1.0.0", "2020-01-01T00:00:00Z", 10);
    release(&fixture, "v1.1.0", "2020-01-03T12:00:00Z", 20);
    release(&fixture, "v2.0.0", "2020-01-05T00:00:00.5Z", 50);
    release(&fixture, "v1.1.1", "2020-01-06T00:00:00Z", 25);
    fixture
}

/// `at tag bytes (previous tag, bytes)` of each point.
fn points(newest: &Value) -> Vec<String> {
    let point = |point: &Value| {
        let release = |release: &Value| format!("{} {}", release["tag"].as_str().unwrap(), release["compressed_bytes"]);
        let previous = if point["previous"].is_null() { String::new() } else { release(&point["previous"]) };
        format!("{} {} ({previous})", point["at"].as_str().unwrap(), release(point))
    };
    newest["points"].as_array().unwrap().iter().map(point).collect()
}

#[test]
fn at_each_date_the_newest_release_is_what_the_daemon_would_have_picked() {
    let fixture = fixture();
    let history = fixture.json(&[]);
    let repository = &history["repositories"][0];
    assert_eq!(
        (&repository["registry"], &repository["repository"]),
        (&json!(fixture.registry.name().as_str()), &json!("acme/app"))
    );
    let newest = &repository["newest"][0];
    assert_eq!((&newest["target"], &newest["platform"]), (&json!("api"), &json!("linux/amd64")));
    assert_eq!(
        points(newest),
        [
            "2020-01-01T00:00:00Z v1.0.0 110 ()",
            "2020-01-03T12:00:00Z v1.1.0 120 (v1.0.0 110)",
            "2020-01-05T00:00:00.5Z v2.0.0 150 (v1.1.0 120)",
            "2020-01-06T00:00:00Z v2.0.0 150 (v1.1.1 125)",
        ]
    );
    let stored: Vec<(u64, u64)> = repository["stored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["tags"].as_u64().unwrap(), point["bytes"].as_u64().unwrap()))
        .collect();
    assert_eq!(stored, [(1, 110), (2, 130), (3, 180), (4, 205)]);
    // One manifest and one config for each tag, as a first scan.
    assert_eq!(fixture.registry.counts(), "get_blob 4, get_manifest 4, list_tags 1");
}

#[test]
fn samples_have_the_dates_and_are_repeated_until_the_next_release() {
    let fixture = fixture();
    let arguments = ["--format", "openmetrics", "--step", "1d", "--until", "2020-01-06", "--label", "job=sizes"];
    let output = fixture.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let labels = format!("registry=\"{}\",repository=\"acme/app\"", fixture.registry.name());
    let of_release = format!("{{{labels},target=\"api\",platform=\"linux/amd64\",job=\"sizes\"}}");
    let samples = |name: &str| -> Vec<String> {
        let name = format!("container_image_{name}{{");
        let lines = out.lines().filter(|line| line.starts_with(&name));
        lines.map(|line| line[line.find("} ").unwrap() + 2..].to_owned()).collect()
    };
    assert!(
        out.contains(&format!("container_image_newest_compressed_size_bytes{of_release} 110 1577836800\n")),
        "{out}"
    );
    assert!(
        out.contains(&format!(
            "container_image_repository_stored_size_bytes{{{labels},job=\"sizes\"}} 110 1577836800\n"
        ))
    );
    assert_eq!(
        samples("newest_compressed_size_bytes"),
        [
            "110 1577836800",
            "110 1577923200",
            "110 1578009600",
            "120 1578052800",
            "120 1578096000",
            "120 1578182400",
            "150 1578182400.500",
            "150 1578268800"
        ]
    );
    assert_eq!(
        samples("newest_previous_compressed_size_bytes"),
        ["110 1578052800", "110 1578096000", "110 1578182400", "120 1578182400.500", "125 1578268800"]
    );
    assert_eq!(samples("repository_stored_size_bytes").last().unwrap(), "205 1578268800");
    // Each family once, in one piece, and the end that OpenMetrics asks for.
    let families: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        families,
        [
            "newest_compressed_size_bytes gauge",
            "newest_previous_compressed_size_bytes gauge",
            "repository_stored_size_bytes gauge"
        ]
        .map(|family| format!("container_image_{family}"))
    );
    assert!(out.ends_with("\n# EOF\n") && out.matches("# EOF").count() == 1);
    // From a date on, it begins with what held then.
    let since = text(&fixture.run(&[&arguments[..], &["--since", "2020-01-04T01:00:00Z"]].concat()).stdout);
    let first = since.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(first.ends_with("} 120 1578099600"), "{since}");
    // Up to three hours ago where nothing else is said: a Prometheus still writes what is younger.
    let all = text(&fixture.run(&["--format", "openmetrics", "--step", "1h"]).stdout);
    let last: i64 = all.lines().rev().nth(1).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    assert!((now - 4 * 3600 - 60..=now - 3 * 3600).contains(&last), "{last} {now}");
}

#[test]
fn what_a_date_does_not_say_is_said_and_never_invented() {
    let fixture = fixture();
    release(&fixture, "v0.1.0", "1970-01-01T00:00:00Z", 1000);
    release(&fixture, "v0.2.0", "0001-01-01T00:00:00Z", 1000);
    release(&fixture, "v0.3.0", "1980-01-01T00:00:01Z", 1000);
    release(&fixture, "v9.0.0", "2999-01-01T00:00:00Z", 1000);
    release(&fixture, "v1.0.1", "2020-01-01T00:00:00Z", 11);
    let output = fixture.run(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let history: Value = serde_json::from_slice(&output.stdout).unwrap();
    let repository = &history["repositories"][0];
    assert_eq!(points(&repository["newest"][0])[0], "2020-01-01T00:00:00Z v1.0.1 111 (v1.0.0 110)");
    assert_eq!(points(&repository["newest"][0]).last().unwrap(), "2020-01-06T00:00:00Z v2.0.0 150 (v1.1.1 125)");
    assert_eq!(repository["stored"].as_array().unwrap().last().unwrap()["bytes"], 216);
    let name = format!("{}/acme/app", fixture.registry.name());
    assert_eq!(
        text(&output.stderr),
        format!(
            "{name}: 2 tags have no creation date, or the epoch: left out: v0.1.0, v0.2.0\n\
             {name}: 1 tag is dated before the first container image of 2013: left out: v0.3.0 (1980-01-01)\n\
             {name}: 1 tag is dated in the future: left out: v9.0.0 (2999-01-01)\n\
             {name}, target api: 1 tag has the date of a newer release: never the newest: v1.0.0 (2020-01-01)\n\
             {name}, target api: 1 tag is dated after a higher version: a maintenance release, or rebuilt, and then what \
             the tag was before is unknown: v1.1.1 (2020-01-06)\n"
        )
    );
    let reasons: Vec<&str> =
        repository["notes"].as_array().unwrap().iter().map(|note| note["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["undated", "too_old", "future", "same_date", "after_higher_version"]);
}

/// By date a release that was rebuilt is the newest, as the daemon says too, and what it was before is said to be unknown.
#[test]
fn a_release_that_was_rebuilt_is_newest_by_date_and_is_noted() {
    let fixture = Configured::new("history", &BY_VERSION.replace("semver", "created"));
    release(&fixture, "v2.0.0", "2020-01-05T00:00:00Z", 50);
    release(&fixture, "v1.0.0", "2021-01-01T00:00:00Z", 10);
    let output = fixture.run(&["--json"]);
    let history: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        points(&history["repositories"][0]["newest"][0]),
        ["2020-01-05T00:00:00Z v2.0.0 150 ()", "2021-01-01T00:00:00Z v1.0.0 110 (v2.0.0 150)"]
    );
    assert!(text(&output.stderr).contains("dated after a higher version"), "{}", text(&output.stderr));
}

#[test]
fn a_platform_that_the_newest_release_lacks_has_no_sample_from_then_on() {
    let fixture = Configured::new("history", BY_VERSION);
    let image = |platform, created, size| dated(platform, created, &[&Blob::named(platform, size)]);
    let first = |platform| image(platform, "2020-01-01T00:00:00Z", 10);
    fixture.registry.push(
        "acme/app",
        "v1.0.0",
        &index(&[("linux/amd64", &first("linux/amd64")), ("linux/arm64", &first("linux/arm64"))]),
    );
    fixture.registry.push("acme/app", "v2.0.0", &image("linux/amd64", "2020-01-02T00:00:00Z", 20));
    let history = fixture.json(&[]);
    let newest = history["repositories"][0]["newest"].as_array().unwrap();
    assert_eq!(points(&newest[0]), ["2020-01-01T00:00:00Z v1.0.0 10 ()", "2020-01-02T00:00:00Z v2.0.0 20 (v1.0.0 10)"]);
    assert_eq!(points(&newest[1]), ["2020-01-01T00:00:00Z v1.0.0 10 ()", "2020-01-02T00:00:00Z v2.0.0 null ()"]);
    let out = text(&fixture.run(&["--format", "openmetrics", "--step", "1d", "--until", "2020-01-05"]).stdout);
    let arm64 = out.lines().filter(|line| line.contains("platform=\"linux/arm64\""));
    assert_eq!(arm64.map(|line| line.rsplit(' ').next().unwrap()).collect::<Vec<_>>(), ["1577836800"]);
}

#[test]
fn the_table_shows_growth_and_since_when_it_crept() {
    let fixture = fixture();
    let output = fixture.run(&[]);
    let out = text(&output.stdout);
    let squeezed: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let name = format!("{}/acme/app", fixture.registry.name());
    assert_eq!(
        squeezed,
        [
            &format!("{name} api linux/amd64 compressed ▁▂█"),
            "CREATED SIZE GROWTH SHARE TAG",
            "2020-01-01 00:00 110 B v1.0.0",
            "2020-01-03 12:00 120 B +10 B +9.1 % v1.1.0",
            "2020-01-05 00:00 150 B +30 B +25.0 % v2.0.0",
            "since v1.0.0 of 2020-01-01, the smallest: +40 B (+36.4 %) in 2 releases, most of it by v2.0.0: +30 B",
            "",
            &format!("{name} stored ▁▂▆█"),
            "205 B in 4 tags since 2020-01-01, +95 B of it since then",
        ]
    );
    let since = text(&fixture.run(&["--since", "2020-01-04", "--until", "2020-01-05T12:00:00Z"]).stdout);
    assert!(since.contains("v2.0.0") && !since.contains("v1.1.0") && since.contains("150 B"), "{since}");
}

#[test]
fn what_cannot_be_read_leaves_its_repository_out_and_has_an_exit_code() {
    let fixture = fixture();
    let denied = json!({"errors": [{"code": "DENIED", "message": "no"}]}).to_string();
    fixture.registry.always("GET /v2/acme/app/manifests/v1.1.0", Reply::Answer(403, vec![], denied));
    let output = fixture.run(&["--format", "openmetrics"]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), "# EOF\n"), "{said}");
    assert!(said.ends_with("not everything could be read (denied): 1 repository is left out\n"), "{said}");
    let code = |fixture: &Configured, arguments: &[&str]| fixture.run(arguments).status.code();
    assert_eq!(code(&fixture, &["--target", "nothing"]), Some(64));
    for wrong in [
        &["--since", "yesterday"][..],
        &["--step", "0s"],
        &["--label", "registry=x"],
        &["--format", "xml"],
        &["--json", "--format", "table"],
    ] {
        assert_eq!(code(&fixture, wrong), Some(2), "{wrong:?}");
    }
    let nothing = Configured::new("history", BY_VERSION);
    release(&nothing, "v1.0.0", "1970-01-01T00:00:00Z", 1);
    assert_eq!(code(&nothing, &[]), Some(4));
    // A tag that is no image, and stays none, is left out alone.
    let fixture = self::fixture();
    fixture.registry.always("GET /v2/acme/app/manifests/v1.1.0", Reply::Answer(200, vec![], "{}".to_owned()));
    let output = fixture.run(&["--json"]);
    let history: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert_eq!(points(&history["repositories"][0]["newest"][0]).len(), 3, "{history}");
}

#[test]
fn only_the_named_targets_are_read() {
    let other = BY_VERSION.replace("'api'", "'other'").replace("acme/app", "acme/other");
    let fixture = Configured::new("history", &format!("{BY_VERSION}{other}"));
    release(&fixture, "v1.0.0", "2020-01-01T00:00:00Z", 10);
    let history = fixture.json(&["--target", "api"]);
    assert_eq!(history["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(fixture.registry.counts(), "get_blob 1, get_manifest 1, list_tags 1");
}

#[tokio::test]
async fn a_terminal_shows_how_many_tags_are_read() {
    let fixture = fixture();
    let config = Config::load_with(&fixture.directory.path().join("config.toml"), &Environment::new()).unwrap();
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    let mut shown = Vec::new();
    for progress in [true, false] {
        let mut err = Vec::new();
        let terminal = Terminal { progress, ..Terminal::default() };
        history(&registries, &config.targets, i64::MAX, terminal, &mut err).await;
        shown.push(text(&err));
    }
    let [on, off] = &shown[..] else { panic!("two") };
    assert!(
        on.contains("api: listing tags") && on.contains("/acme/app: 4 of 4 tags") && on.ends_with("\r\u{1b}[K"),
        "{on:?}"
    );
    assert_eq!(off, "");
}

/// The documented keys, no more and no fewer.
#[test]
fn the_json_is_what_the_page_says() {
    let fixture = fixture();
    release(&fixture, "v0.1.0", "1970-01-01T00:00:00Z", 1);
    fixture.registry.always("GET /v2/acme/app/manifests/v1.1.0", Reply::Answer(200, vec![], "{}".to_owned()));
    let history = fixture.json(&[]);
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/history.md")).unwrap();
    let schema = page.split("## JSON").nth(1).unwrap().split("```").nth(1).unwrap();
    let documented: BTreeSet<&str> = schema
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| !word.is_empty() && *word != "null")
        .collect();
    let mut keys = BTreeSet::new();
    collect(&history, &mut keys);
    assert_eq!(keys.iter().map(String::as_str).collect::<BTreeSet<_>>(), documented);
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            keys.extend(object.keys().cloned());
            object.values().for_each(|value| collect(value, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}
