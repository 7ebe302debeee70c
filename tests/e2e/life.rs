//! Series when tags move and registries fail, against the real registry.

use crate::harness::exporter::Exporter;
use crate::harness::exposition::Exposition;
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;

const COMPRESSED: &str = "container_image_compressed_size_bytes";
const UP: &str = "container_image_tag_up";

/// Every tag of one repository.
fn config(registry: &Registry) -> String {
    config_with(registry, "")
}

/// Every tag of one repository, and more keys for the target.
fn config_with(registry: &Registry, more: &str) -> String {
    format!(
        r#"
        [scan]
        interval = "1s"

        [[targets]]
        repository = "{}/acme/app"
        match = ["."]
        {more}
        "#,
        registry.address()
    )
}

fn pusher(registry: &Registry) -> Pusher<'_> {
    Pusher { address: registry.address(), repository: "acme/app" }
}

fn compressed(scrape: &Exposition, tag: &str) -> Option<f64> {
    scrape.value(COMPRESSED, &[("tag", tag)])
}

#[test]
fn a_tag_that_is_pushed_again_changes_its_values_in_the_same_series() {
    let registry = Registry::start();
    let app = pusher(&registry);
    let base = app.layer(10_000);
    app.image(Some("v1"), "amd64", std::slice::from_ref(&base));
    let exporter = Exporter::start(&config(&registry));
    let before = exporter.wait_for("the first size", |scrape| {
        compressed(scrape, "v1")?;
        Some(scrape.one(COMPRESSED, &[("tag", "v1")])?.labels.clone())
    });

    let changed = app.image(Some("v1"), "amd64", &[base, app.layer(5_000)]);

    let scrape = exporter
        .wait_for("the new size", |scrape| (compressed(scrape, "v1") == Some(15_000.0)).then(|| exporter.scrape()));
    let after = scrape.one(COMPRESSED, &[("tag", "v1")]).expect("one series");
    assert_eq!(after.labels, before, "the series lives on");
    let info = scrape.one("container_image_tag_info", &[("tag", "v1")]).expect("one description");
    assert_eq!(info.label("digest"), changed["digest"]);
    let changed_at = scrape.value("container_image_tag_changed_timestamp_seconds", &[("tag", "v1")]);
    assert!(changed_at.is_some_and(|at| at > 1.7e9), "{changed_at:?}");
    assert_eq!(scrape.value("container_image_tag_stored_size_bytes", &[("tag", "v1")]), Some(15_000.0));
}

#[test]
fn the_series_of_a_deleted_tag_are_gone_and_those_of_the_others_stay() {
    let registry = Registry::start();
    let app = pusher(&registry);
    app.image(Some("kept"), "amd64", &[app.layer(1_000)]);
    let deleted = app.image(Some("deleted"), "amd64", &[app.layer(2_000)]);
    let named = app.image(Some("named"), "amd64", &[app.layer(3_000)]);
    let exporter = Exporter::start(&config_with(&registry, "tags = [\"named\"]"));
    exporter.wait_for("three tags", |scrape| (scrape.all(COMPRESSED, &[]).len() == 3).then_some(()));

    for image in [deleted, named] {
        app.delete(image["digest"].as_str().expect("a digest"));
    }

    let scrape = exporter.wait_for("the deletions", |scrape| {
        (scrape.all(COMPRESSED, &[]).len() == 1 && scrape.value(UP, &[("tag", "named")]) == Some(0.0))
            .then(|| exporter.scrape())
    });
    assert_eq!(compressed(&scrape, "kept"), Some(1_000.0));
    assert!(!scrape.samples.iter().any(|sample| sample.label("tag") == "deleted"), "every series of it is gone");
    assert_eq!(scrape.value("container_image_repository_stored_size_bytes", &[]), Some(1_000.0));
    // A tag that is configured by name stays visible, so that it can be alerted on.
    assert_eq!(scrape.value(UP, &[("tag", "kept")]), Some(1.0));
}

#[test]
fn a_registry_that_stops_leaves_the_last_true_values_and_one_that_comes_back_heals() {
    let mut registry = Registry::start();
    let app = pusher(&registry);
    app.image(Some("v1"), "amd64", &[app.layer(7_000)]);
    let exporter = Exporter::start(&config(&registry));
    exporter.wait_for("the first size", |scrape| compressed(scrape, "v1"));
    let success = |scrape: &Exposition| {
        scrape.value("container_image_tag_last_success_timestamp_seconds", &[("tag", "v1")]).expect("it was read")
    };

    registry.stop();

    let down = exporter.wait_for("the failure", |scrape| {
        let failed = scrape.value("image_size_exporter_target_up", &[]) == Some(0.0)
            && scrape.value(UP, &[("tag", "v1")]) == Some(0.0);
        failed.then(|| exporter.scrape())
    });
    assert_eq!(compressed(&down, "v1"), Some(7_000.0));
    let failures = down.all("image_size_exporter_registry_request_failures_total", &[("reason", "network")]);
    assert!(failures.iter().any(|sample| sample.value > 0.0), "{failures:?}");
    let last_success = success(&down);

    registry.restart();
    pusher(&registry).image(Some("v1"), "amd64", &[pusher(&registry).layer(9_000)]);

    let healed = exporter.wait_for("the recovery", |scrape| {
        let healed = scrape.value("image_size_exporter_target_up", &[]) == Some(1.0)
            && scrape.value(UP, &[("tag", "v1")]) == Some(1.0)
            && compressed(scrape, "v1") == Some(9_000.0);
        healed.then(|| exporter.scrape())
    });
    assert!(success(&healed) > last_success);
}

#[test]
fn what_was_never_read_has_no_size() {
    let mut registry = Registry::start();
    registry.stop();
    let exporter = Exporter::start(&config_with(&registry, "tags = [\"named\"]"));
    let scrape = exporter.wait_for("the failure", |scrape| {
        (scrape.value(UP, &[("tag", "named")]) == Some(0.0)).then(|| exporter.scrape())
    });
    let sizes: Vec<_> = scrape
        .samples
        .iter()
        .filter(|sample| sample.name.starts_with("container_image_") && sample.name.ends_with("_size_bytes"))
        .collect();
    assert!(sizes.iter().all(|sample| !sample.labels.contains_key("tag")), "unknown is never zero: {sizes:?}");
    assert!(scrape.all(COMPRESSED, &[]).is_empty());
    // The length of a list that was never read is unknown.
    assert!(scrape.all("container_image_repository_tags_unknown", &[]).is_empty());
}
