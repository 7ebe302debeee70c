//! A real Prometheus scrapes the exporter of a real registry.

use std::collections::BTreeMap;
use std::process::Command;

use image_size_exporter::metrics::{Family, Format};
use serde_json::{Value, json};

use crate::harness::exporter::Exporter;
use crate::harness::exposed::Exposed;
use crate::harness::exposition::{Exposition, Sample};
use crate::harness::prometheus::Prometheus;
use crate::harness::push::{OCI_LAYER, Pusher};
use crate::harness::registry::Registry;
use crate::harness::{http, noise, parsers, run, scratch};

/// Two releases and `latest`, with layers that are real tars, and everything published that can be.
fn everything_published() -> (Registry, Exporter) {
    let registry = Registry::start();
    // What runs, as a Prometheus says it.
    let answers = Exposed::start();
    let app = Pusher { address: registry.address(), repository: "acme/app" };
    let base = tar_layer(&app, 30_000);
    for (tag, bytes) in [("v1.0.0", 5_000), ("v1.1.0", 15_000)] {
        app.image(Some(tag), "amd64", &[base.clone(), tar_layer(&app, bytes)]);
    }
    app.image(Some("latest"), "arm64", std::slice::from_ref(&base));
    let container = json!({
        "image": format!("{}/acme/app:latest", registry.address()),
        "image_id": format!("{}/acme/app@sha256:{}", registry.address(), "0".repeat(64)),
        "namespace": "shop", "pod": "app-0", "container": "app", "node": "a",
    });
    let result = json!([{ "metric": container, "value": [1, "1"] }]);
    answers.expose(json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string());
    let exporter = Exporter::start(&format!(
        r#"
        [scan]
        interval = "1s"

        [[targets]]
        name = "app"
        repository = "{}/acme/app"
        tags = ["latest"]
        match = ['^v\d']
        newest = "semver"
        uncompressed = "files"
        budget = "1MiB"
        labels = {{ team = "payments" }}
        group = "payments"

        [[sources]]
        name = "cluster"
        prometheus = {{ url = "http://{}", interval = "1s" }}

        [[policies]]
        name = "old"
        keep_newest = 1
        "#,
        registry.address(),
        answers.address
    ));
    exporter.wait_for("the first sizes", |scrape| {
        (scrape.all("container_image_compressed_size_bytes", &[]).len() == 3).then_some(())
    });
    // Only a change has a time of the change.
    app.image(Some("latest"), "arm64", &[base, tar_layer(&app, 7_000)]);
    exporter.wait_for("every family", |scrape| {
        let changed = !scrape.all("container_image_tag_changed_timestamp_seconds", &[]).is_empty();
        let unpacked = scrape.all("container_image_unpacked_size_bytes", &[]).len() == 3;
        let runs = !scrape.all("container_image_running_outdated_containers", &[]).is_empty();
        let wasted = scrape.all("container_image_wasted_size_bytes", &[]).len() == 3;
        (changed && unpacked && runs && wasted).then_some(())
    });
    (registry, exporter)
}

/// An uncompressed layer with one file of so many bytes.
fn tar_layer(pusher: &Pusher<'_>, bytes: usize) -> Value {
    let files = scratch();
    std::fs::write(files.path().join("file"), noise(bytes)).expect("the file can be written");
    let tar = files.path().join("layer.tar");
    run(Command::new("tar").arg("-C").arg(files.path()).arg("-cf").arg(&tar).arg("file"));
    pusher.blob(OCI_LAYER, &std::fs::read(tar).expect("tar wrote it"))
}

#[test]
fn prometheus_reads_every_family_with_the_value_that_was_published() {
    let (_registry, exporter) = everything_published();
    let prometheus = Prometheus::start(exporter.address());
    prometheus.wait_for("up", |up| (up.len() == 1 && up[0].value > 0.0).then_some(()));
    let scrape = exporter.scrape();
    for family in Family::ALL {
        // Values that change from scan to scan are in Prometheus as of the previous scrape.
        let moves = family == Family::TagLastSuccess;
        let published: BTreeMap<_, _> =
            scrape.all(family.name(), &[]).iter().map(|sample| (sample.labels.clone(), sample.value)).collect();
        assert!(!published.is_empty(), "{} is not published: this test must make it apply", family.name());
        prometheus.wait_for(family.name(), |stored| {
            let stored: BTreeMap<_, _> = stored
                .iter()
                .map(|sample| {
                    let mut labels = sample.labels.clone();
                    labels.retain(|key, value| !["instance", "job"].contains(&key.as_str()) && !value.is_empty());
                    (labels, sample.value)
                })
                .collect();
            let expected: BTreeMap<_, _> = published
                .iter()
                .map(|(labels, value)| {
                    // To Prometheus an empty label is none.
                    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
                    (labels.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>(), *value)
                })
                .collect();
            if moves { stored.keys().eq(expected.keys()) } else { stored == expected }.then_some(())
        });
    }
    for name in about_itself(&scrape) {
        prometheus.wait_for(&name, |stored| (!stored.is_empty()).then_some(()));
    }
}

/// The program's own metrics, as documented.
fn about_itself(scrape: &Exposition) -> Vec<String> {
    let names = [
        "build_info",
        "config_last_reload_successful",
        "config_last_reload_success_timestamp_seconds",
        "target_up",
        "target_last_scan_timestamp_seconds",
        "target_last_scan_duration_seconds",
        "target_interval_seconds",
        "source_up",
        "source_images",
        "source_skipped_containers",
        "source_last_success_timestamp_seconds",
        "registry_requests_total",
        "registry_request_failures_total",
        "registry_request_duration_seconds_bucket",
        "registry_request_duration_seconds_sum",
        "registry_request_duration_seconds_count",
        "series",
        "store_documents",
        "render_duration_seconds",
    ];
    let mut names: Vec<String> = names.iter().map(|name| format!("image_size_exporter_{name}")).collect();
    names.extend(["process_resident_memory_bytes", "process_cpu_seconds_total"].map(str::to_owned));
    for name in &names {
        assert!(!scrape.all(name, &[]).is_empty(), "{name} is not published");
    }
    names
}

#[test]
fn other_people_s_parsers_read_both_formats_of_a_daemon() {
    let (_registry, exporter) = everything_published();
    let read = |accept: &str| {
        let headers = [("accept", accept)];
        let answer = http::request(exporter.address(), "GET", "/metrics", &headers, &[]).expect("the exporter answers");
        answer.expect(&[200]).body
    };
    let text = read("text/plain");
    let open_metrics = read("application/openmetrics-text;version=1.0.0");
    let names = |samples: &[Sample]| -> Vec<_> { samples.iter().map(|s| (s.name.clone(), s.labels.clone())).collect() };
    let ours = Exposition::parse(std::str::from_utf8(&text).expect("UTF-8"), Format::Text).expect("valid").samples;
    assert_eq!(parsers::python("text", &text), ours);
    // Values change between two scrapes.
    assert_eq!(names(&parsers::python("openmetrics", &open_metrics)), names(&ours));
    assert_eq!(parsers::promtool(&text), Vec::<String>::new());
    // It reads the text format, in which a counter's HELP names it with its ending.
    let unread = parsers::promtool(&open_metrics);
    assert!(unread.iter().all(|line| line.ends_with("_total no help text")), "{unread:?}");
}

#[test]
fn exact_uncompressed_and_unpacked_sizes_are_those_of_the_tars_and_of_their_files() {
    let (_registry, exporter) = everything_published();
    let scrape = exporter.scrape();
    let of = |family: &str, tag: &str| scrape.value(family, &[("tag", tag)]);
    for (tag, files) in [("v1.0.0", 35_000.0), ("v1.1.0", 45_000.0), ("latest", 37_000.0)] {
        // Plain tars: compressed is uncompressed.
        let compressed = of("container_image_compressed_size_bytes", tag);
        assert_eq!(of("container_image_uncompressed_size_bytes", tag), compressed);
        assert_eq!(of("container_image_uncompressed_size_estimated", tag), Some(0.0));
        assert_eq!(of("container_image_unpacked_size_bytes", tag), Some(files));
    }
}
