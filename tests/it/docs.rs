//! README, boards and rules against what is published: none can drift from the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use image_size_exporter::config::{Config, Environment};
use image_size_exporter::metrics::Family;
use image_size_exporter::metrics::own::ScanEnd;
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::registry::{Counters, RateLimit};

#[test]
fn readmes_table_has_every_family_once_and_in_order() {
    let readme = readme();
    let table = readme.split("<!-- metrics:").nth(1).unwrap().split("<!-- end of metrics -->").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let families: Vec<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    assert_eq!(names, families);
}

/// The table of what the program says about itself: each name is one that a daemon publishes, and none is missing.
#[test]
fn readmes_table_about_itself_has_every_metric() {
    let readme = readme();
    let table = readme.split("About itself").nth(1).unwrap().split("and the usual `process_*`").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<String> = rows
        .flat_map(|row| row.split(" |").next().unwrap().split(", ").map(|name| name.trim_matches('`').to_owned()))
        .collect();
    let counters = Arc::new(Counters::default());
    let telemetry = Telemetry::new(Arc::clone(&counters));
    let config = Config::load_with(&root().join("config.toml"), &Environment::new()).unwrap();
    telemetry.set_targets(&config.targets);
    let target = &config.targets[0];
    telemetry.scan_ended(&target.name, ScanEnd { at: 1.0, duration: Duration::ZERO, up: true });
    counters.ratelimit(
        target.repositories.registry(),
        RateLimit { limit: Some(1), remaining: Some(1), window_secs: Some(1) },
    );
    counters.learnt_rate(target.repositories.registry(), 1.0);
    telemetry.reloaded(true, 1.0);
    telemetry.rendered(Duration::ZERO, 1);
    telemetry.set_store_documents(1);
    telemetry.watch_state(Some(Arc::new(AtomicBool::new(true))));
    let text = String::from_utf8(telemetry.encode(Format::Text)).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE image_size_exporter_"));
    let exposed: BTreeSet<String> = types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(named, exposed);
}

#[test]
fn metrics_named_in_documents_boards_and_rules_exist() {
    let known: BTreeSet<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    let mut wrong = Vec::new();
    for place in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "grafana", "deploy"] {
        for file in files(&root().join(place)) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            for name in words(&text, "container_image_").iter().filter(|name| !known.contains(name.as_str())) {
                wrong.push(format!("{}: `{name}` is no metric", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_quick_start_is_two_commands() {
    let readme = readme();
    let quick = readme.split("## Quick start").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<&str> =
        quick.split("```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap()).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "tests/run"]);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// The names in a text that begin with `prefix` and go on.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let starts = text.match_indices(prefix).map(|(at, _)| at);
    let starts =
        starts.filter(|at| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let word =
        |at: usize| text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    // What ends in `_` is the beginning of several names.
    starts.map(word).filter(|word| !word.ends_with('_')).collect()
}
