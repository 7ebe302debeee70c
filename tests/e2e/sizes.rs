//! Every published number of a registry filled by real tools, against what public tools read there.

use std::collections::BTreeMap;

use crate::harness::exporter::Exporter;
use crate::harness::exposition::Exposition;
use crate::truth::{self, Expected};
use crate::world;

/// Families whose values are times of this run or come from the configuration: checked separately.
const APART: [&str; 11] = [
    "container_image_tag_last_success_timestamp_seconds",
    "container_image_tag_changed_timestamp_seconds",
    "container_image_size_budget_bytes",
    "container_image_newest_compressed_size_bytes",
    "container_image_newest_previous_compressed_size_bytes",
    "container_image_newest_update_size_bytes",
    "container_image_newest_info",
    "container_image_newest_previous_info",
    "container_image_newest_largest_change_info",
    "container_image_repository_labels",
    "container_image_uncompressed_size_estimated",
];

#[test]
fn every_published_number_is_what_public_tools_and_arithmetic_give() {
    let registry = world::filled_registry();
    let config = format!(
        r#"
        [scan]
        interval = "1s"

        [[targets]]
        name = "everything"
        repository = "{registry}/**"
        match = ["."]
        group_by = '^(acme/[amw])'

        [[targets]]
        name = "web"
        group = "front"
        repository = "{registry}/acme/web"
        match = ['^v\d']
        newest = "semver"
        budget = "100KiB"
        labels = {{ team = "payments", tier = "1" }}
        "#,
        registry = registry.address()
    );
    let exporter = Exporter::start(&config);
    exporter.after_a_scan();
    let scrape = exporter.wait_for("the registry's sum", |scrape| {
        scrape.value("container_image_registry_stored_size_bytes", &[])?;
        Some(exporter.scrape())
    });
    // Releases of `web` are in two groups, and what begins otherwise in none.
    let groups: truth::Groups = |repository, tag| match (repository, tag) {
        ("acme/web", "stable") => vec!["acme/w"],
        ("acme/web", _) => vec!["acme/w", "front"],
        ("acme/api", _) => vec!["acme/a"],
        ("acme/multi", _) => vec!["acme/m"],
        _ => vec![],
    };
    compare(&scrape, &truth::of(&registry, &world::TAGS, groups));

    let web =
        |tag: &str| scrape.value("container_image_compressed_size_bytes", &[("repository", "acme/web"), ("tag", tag)]);
    let newest = [("target", "web"), ("repository", "acme/web"), ("platform", "linux/amd64")];
    assert_eq!(scrape.value("container_image_newest_compressed_size_bytes", &newest), web("v1.1.0"));
    assert_eq!(scrape.value("container_image_newest_previous_compressed_size_bytes", &newest), web("v1.0.0"));
    for (family, tag) in [("container_image_newest_info", "v1.1.0"), ("container_image_newest_previous_info", "v1.0.0")]
    {
        let info = scrape.one(family, &newest).expect("the release is named");
        let tag_info = scrape.one("container_image_tag_info", &[("repository", "acme/web"), ("tag", tag)]);
        assert_eq!(info.label("tag"), tag);
        assert_eq!(info.label("digest"), tag_info.expect("the tag is described").label("digest"));
    }
    // `stable` is not one of the second target's tags: a budget applies to the tags that its target selects.
    let budgets: Vec<_> = scrape.all("container_image_size_budget_bytes", &[]);
    let tags: Vec<_> = budgets.iter().map(|sample| (sample.label("tag"), sample.value)).collect();
    assert_eq!(tags, [("v1.0.0", 102_400.0), ("v1.1.0", 102_400.0)]);
    let labels = scrape.all("container_image_repository_labels", &[]);
    assert_eq!(labels.len(), 1, "{labels:?}");
    assert_eq!((labels[0].label("label_team"), labels[0].label("label_tier")), ("payments", "1"));
    let now = jiff::Timestamp::now().as_second() as f64;
    for sample in scrape.all("container_image_tag_last_success_timestamp_seconds", &[]) {
        assert!((now - 120.0..=now + 1.0).contains(&sample.value), "{sample:?} at {now}");
    }
    assert!(scrape.all("container_image_tag_changed_timestamp_seconds", &[]).is_empty(), "nothing was pushed again");
    for target in ["everything", "web"] {
        assert_eq!(scrape.value("image_size_exporter_target_up", &[("target", target)]), Some(1.0));
    }
}

/// Both ways: nothing missing, wrong or additional.
fn compare(scrape: &Exposition, expected: &Expected) {
    let mut published = Expected::new();
    for sample in scrape.samples.iter().filter(|sample| sample.name.starts_with("container_image_")) {
        if !APART.contains(&sample.name.as_str()) {
            published.entry(sample.name.clone()).or_default().insert(sample.labels.clone(), sample.value);
        }
    }
    let mut differences = Vec::new();
    let nothing = BTreeMap::new();
    for family in expected.keys().chain(published.keys().filter(|family| !expected.contains_key(*family))) {
        let expected = expected.get(family).unwrap_or(&nothing);
        let published = published.get(family).unwrap_or(&nothing);
        for (labels, value) in expected {
            match published.get(labels) {
                // Proportional sizes and times are not whole numbers.
                Some(other) if (value - other).abs() <= 0.002 => {}
                other => differences.push(format!("{family}{labels:?}: published {other:?}, the truth is {value}")),
            }
        }
        for (labels, value) in published.iter().filter(|(labels, _)| !expected.contains_key(*labels)) {
            differences.push(format!("{family}{labels:?}: published {value}, which nobody else knows of"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
