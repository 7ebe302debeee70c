//! README, `docs/`, dashboards and rules against what is published, so that none goes out of date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::CommandFactory as _;
use image_size_exporter::commands::cli::Cli;
use image_size_exporter::config::{Config, Environment};
use image_size_exporter::inventory::Selected;
use image_size_exporter::inventory::snapshot::Snapshot;
use image_size_exporter::metrics::Family;
use image_size_exporter::metrics::own::ScanEnd;
use image_size_exporter::metrics::{Encoding, Format, Rendered, Telemetry};
use image_size_exporter::notify::Kind;
use image_size_exporter::oci::Reason;
use image_size_exporter::registry::{Counters, RateLimit};

#[test]
fn the_table_of_families_has_each_once_and_in_order() {
    let metrics = metrics();
    let table = metrics.split("<!-- metrics:").nth(1).unwrap().split("<!-- end of metrics -->").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let families: Vec<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    assert_eq!(names, families);
}

/// The table of the program's own metrics: each name is one that a daemon publishes, and none is missing.
#[test]
fn the_table_about_itself_has_every_metric() {
    let metrics = metrics();
    let table = metrics.split("## About itself").nth(1).unwrap().split("The usual `process_*`").next().unwrap();
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
    telemetry.set_selected(&[(target.name.clone(), Selected { repositories: 1, tags: 1 })].into());
    counters.ratelimit(
        target.repositories.registry().unwrap(),
        RateLimit { limit: Some(1), remaining: Some(1), window_secs: Some(1) },
    );
    counters.learnt_rate(target.repositories.registry().unwrap(), 1.0);
    counters.credential_expires(target.repositories.registry().unwrap(), 1.0);
    telemetry.set_sources([target.name.clone()]);
    telemetry.source_answered(&target.name, true, Some(1.0));
    telemetry.source_seen(&target.name, 1, Some(0));
    telemetry.reloaded(Ok(()), 1.0);
    telemetry.rendered(Duration::ZERO, 1);
    telemetry.set_store_documents(1);
    telemetry.watch_notifications(true);
    telemetry.notified(Kind::Harbor, None);
    telemetry.watch_state(Some(Arc::new(AtomicBool::new(true))));
    let rendered = Rendered::with_targets(&Snapshot::default(), &telemetry.target_states(), &BTreeSet::new());
    let bytes = [rendered.pieces(Encoding::Identity).concat(), telemetry.encode(Format::Text)].concat();
    let text = String::from_utf8(bytes).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE image_size_exporter_"));
    let exposed: BTreeSet<String> = types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(named, exposed);
}

#[test]
fn metrics_named_in_documents_boards_and_rules_exist() {
    let pulls = ["container_image_repository_pulls_total", "container_image_repository_pulled_bytes_total"];
    let known: BTreeSet<&str> = Family::ALL.iter().map(|family| family.name()).chain(pulls).collect();
    let mut wrong = Vec::new();
    for place in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs", "grafana", "deploy"] {
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

#[test]
fn the_first_configuration_has_twelve_lines_and_the_query_after_it_uses_what_it_publishes() {
    let readme = readme();
    let mut blocks = readme.split("```toml\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    assert_eq!(blocks.next().unwrap().lines().count(), 12);
    let query = readme.split("```promql\n").nth(1).unwrap().split("\n```").next().unwrap();
    assert!(words(query, "container_image_").iter().all(|name| name.starts_with("container_image_newest_")), "{query}");
}

#[test]
fn readme_names_the_minimum_versions_that_the_files_say() {
    let readme = readme();
    let said = |file: &str, before: &str| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        text.split(before).nth(1).unwrap().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>()
    };
    let rust = said("Cargo.toml", "rust-version = \"");
    for line in [
        format!("| Rust, to compile it | {rust} |"),
        format!("[![Rust {rust} or later](https://img.shields.io/badge/rust-{rust}%2B-orange)]"),
        format!("{} for the rules", said("deploy/prometheus/rules.yml", "Works with Prometheus ")),
        format!(
            "| Kubernetes, for the chart | {} |",
            said("deploy/helm/image-size-exporter/Chart.yaml", "kubeVersion: \">=").trim_end_matches(".0")
        ),
    ] {
        assert!(readme.contains(&line), "README does not say `{line}`");
    }
}

/// Every fenced TOML block is a configuration: as it stands, or with a target where it has none.
#[test]
fn every_configuration_in_the_documents_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let mut count = 0;
    for page in pages().into_iter().chain([root().join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1).map(|block| block.split("\n```").next().unwrap()) {
            // Secrets are files; here each is a placeholder.
            let mut config = block.to_owned();
            for (key, rest) in block.lines().filter_map(|line| line.split_once("_file = \"")) {
                let secret = rest.split('"').next().unwrap();
                let name = secret.rsplit('/').next().unwrap();
                let content = if key == "url" { "postgres://me@db.example/sizes" } else { "secret" };
                fs::write(folder.path().join(name), content).unwrap();
                config = config.replace(secret, name);
            }
            fs::write(folder.path().join("docker.json"), "{}").unwrap();
            fs::write(&file, config.replace("/etc/image-size-exporter/docker.json", "docker.json")).unwrap();
            let result = Config::load_with(&file, &Environment::new());
            assert!(result.is_ok(), "{}: {}\n{block}", page.display(), result.err().unwrap());
            count += 1;
        }
    }
    assert!(count > 10, "the documents have configurations");
}

/// Each recipe answers the same questions, has a configuration of its own and says what refusals mean.
#[test]
fn every_recipe_is_whole() {
    let recipes = fs::read_to_string(root().join("docs/registries.md")).unwrap();
    let (common, rest) = recipes.split_once("\n## Docker Hub\n").unwrap();
    let recipes: Vec<(&str, &str)> = std::iter::once(("Docker Hub", rest.split("\n## ").next().unwrap()))
        .chain(rest.split("\n## ").skip(1).map(|recipe| recipe.split_once('\n').unwrap()))
        .collect();
    assert_eq!(recipes.len(), 14);
    for (name, recipe) in recipes {
        for row in ["permission", "expires", "lists repositories", "unchanged tag"] {
            assert!(recipe.contains(&format!("\n| {row} | ")), "{name}: no row `{row}`");
        }
        assert!(recipe.contains("```toml\n") && recipe.contains("\n[[targets]]\n"), "{name}: no configuration");
        let refusals = recipe.split("\n- ").skip(1).any(|line| line.contains('`') || line.contains("400"));
        assert!(refusals, "{name}: says nothing about refusals");
    }
    for reason in Reason::ALL {
        assert!(common.contains(&format!("`{}`", reason.as_str())), "`{}` is not explained", reason.as_str());
    }
}

#[test]
fn every_page_begins_with_a_table_of_its_sections_and_links_lead_somewhere() {
    for page in pages().into_iter().chain([root().join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        if page.starts_with(root().join("docs")) {
            let sections =
                text.lines().filter_map(|line| line.strip_prefix("## ")).map(|title| format!("](#{})", anchor(title)));
            let listed = text.split("\n## ").next().unwrap();
            let missing: Vec<String> = sections.filter(|section| !listed.contains(section.as_str())).collect();
            assert!(missing.is_empty(), "{}: not in the table of contents: {missing:?}", page.display());
        }
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, section) = target.split_once('#').unwrap_or((target, ""));
            if path.starts_with("http") || path.is_empty() && section.is_empty() {
                continue;
            }
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {target} leads nowhere", page.display());
            if !section.is_empty() {
                let there = fs::read_to_string(&file).unwrap();
                let found = there
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#').trim()) == section);
                assert!(found, "{}: {target} leads to no section", page.display());
            }
        }
    }
}

/// A flag of the distribution registry, of which a page has to warn.
const DELETE_UNTAGGED: &str = "--delete-untagged";

/// The pages about the command line name each of its flags, and no others.
#[test]
fn every_flag_is_documented_where_its_command_is() {
    let cli = Cli::command();
    let flags = |command: &clap::Command| -> BTreeSet<String> {
        let long = command.get_arguments().filter_map(clap::Arg::get_long);
        long.filter(|long| *long != "help").map(|long| format!("--{long}")).collect()
    };
    let daemon = flags(&cli);
    for (page, command) in [
        ("limits.md", None),
        ("inspect.md", Some("inspect")),
        ("check.md", Some("check")),
        ("plan.md", Some("plan")),
        ("retain.md", Some("retain")),
    ] {
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
        let named: BTreeSet<String> = flag_words(&text);
        let own = match command {
            None => daemon.clone(),
            Some(name) => &flags(cli.find_subcommand(name).unwrap()) - &daemon,
        };
        let missing: Vec<&String> = own.difference(&named).collect();
        assert!(missing.is_empty(), "{page} does not name {missing:?}");
        let of_all: BTreeSet<String> = cli.get_subcommands().flat_map(flags).chain(daemon.clone()).collect();
        let unknown: Vec<&String> =
            named.difference(&of_all).filter(|word| !["--help", DELETE_UNTAGGED].contains(&word.as_str())).collect();
        assert!(unknown.is_empty(), "{page} names {unknown:?}, which no command has");
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of `docs/`, without their pictures.
fn pages() -> Vec<PathBuf> {
    files(&root().join("docs")).into_iter().filter(|file| file.extension().is_some_and(|end| end == "md")).collect()
}

fn metrics() -> String {
    fs::read_to_string(root().join("docs/metrics.md")).unwrap()
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

/// The flags that a text names.
fn flag_words(text: &str) -> BTreeSet<String> {
    let flag = |rest: &str| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || ".-".contains(*c)).collect();
        format!("--{}", name.trim_end_matches(['.', '-']))
    };
    let starts = text.match_indices("--").filter(|(at, _)| text[..*at].ends_with([' ', '`', '(']));
    starts.map(|(at, _)| flag(&text[at + 2..])).filter(|flag| flag.len() > 2).collect()
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
