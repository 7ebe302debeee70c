//! The JSON schema that editors read: what the program prints, what is shipped, what the documents say.

use std::collections::{BTreeMap, BTreeSet};

use image_size_exporter::config::json_schema;
use serde_json::Value;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sections of the schema by the heading that docs/configuration.md gives them: their keys.
fn sections() -> BTreeMap<&'static str, serde_json::Map<String, Value>> {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let tables = &schema["properties"];
    let of = |table: &Value| table["properties"].as_object().unwrap().clone();
    let sections = BTreeMap::from([
        // The one key that is in no section.
        ("", [("include".to_owned(), tables["include"].clone())].into_iter().collect()),
        ("web", of(&tables["web"])),
        ("scan", of(&tables["scan"])),
        ("state", of(&tables["state"])),
        ("metrics", of(&tables["metrics"])),
        ("notifications", of(&tables["notifications"])),
        ("registries", of(&tables["registries"]["additionalProperties"])),
        ("targets", of(&tables["targets"]["items"])),
        ("policies", of(&tables["policies"]["items"])),
        ("sources", of(&tables["sources"]["items"])),
    ]);
    assert_eq!(sections.len(), tables.as_object().unwrap().len(), "a section of the schema is not looked at");
    let source = &tables["sources"]["items"]["properties"];
    sections
        .into_iter()
        .chain([
            ("sources.kubernetes", of(&source["kubernetes"])),
            ("sources.docker", of(&source["docker"])),
            ("sources.prometheus", of(&source["prometheus"])),
            ("sources.rewrite", of(&source["rewrite"]["items"])),
        ])
        .collect()
}

/// The keys with a default, as TOML: JSON's texts, numbers and lists are TOML's.
fn defaults(section: &str) -> String {
    let keys = sections().remove(section).unwrap();
    keys.iter().filter_map(|(key, schema)| Some(format!("{key} = {}\n", schema.get("default")?))).collect()
}

#[test]
fn the_shipped_schema_is_the_one_that_the_program_prints_and_config_toml_names_it() {
    let path = root().join("deploy/config.schema.json");
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == format!("{}\n", json_schema()),
        "write it anew: cargo run -- --config.schema > {}",
        path.display()
    );
    let config = fs::read_to_string(root().join("config.toml")).unwrap();
    let named = config.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
    assert_eq!(root().join(named), path);
}

#[test]
fn every_key_has_a_description() {
    for (section, keys) in sections() {
        for (key, schema) in keys {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{section}.{key}: {schema}");
        }
    }
}

#[test]
fn a_default_of_the_schema_is_what_holds_without_the_key() {
    let target = "[[targets]]\nrepository = \"ghcr.io/acme/app\"\nlimit = 2\n";
    let plain = parse(&format!("[registries.\"ghcr.io\"]\n{target}"));
    let [web, scan, metrics] = ["web", "scan", "metrics"].map(|section| format!("[{section}]\n{}", defaults(section)));
    let written = parse(&format!(
        "{web}{scan}{metrics}[registries.\"ghcr.io\"]\n{}{target}{}",
        defaults("registries"),
        defaults("targets")
    ));
    assert!(written.web == plain.web && written.scan == plain.scan && written.omit == plain.omit);
    assert!(written.registries == plain.registries);
    assert!(written.targets == plain.targets);
    assert!(defaults("scan").lines().count() >= 5 && defaults("targets").lines().count() >= 3);
}

#[test]
fn the_table_of_keys_in_the_documents_has_each_with_its_default() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = page.split("\n## Keys\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let sections = sections();
    let mut section = "";
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        if let Some(heading) = cells[0].strip_prefix("**`[") {
            let heading = heading.trim_start_matches('[');
            // The longest that fits comes last.
            section = sections.keys().rev().find(|name| heading.starts_with(**name)).unwrap();
            continue;
        }
        for key in cells[0].split('`').skip(1).step_by(2) {
            let schema = &sections[section][key];
            named.insert((section.to_owned(), key.to_owned()));
            if let Some(default) = schema.get("default") {
                assert!(
                    cells[1].contains(&format!("`{default}`")),
                    "{section}.{key}: {default} is not in {}",
                    cells[1]
                );
            }
        }
    }
    let known: BTreeSet<(String, String)> = sections
        .iter()
        .flat_map(|(section, keys)| keys.keys().map(|key| ((*section).to_owned(), key.clone())))
        .collect();
    assert_eq!(named, known);
}
