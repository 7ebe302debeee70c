//! `history`, imported into a real Prometheus.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::prometheus::Prometheus;
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;
use crate::harness::{exporter, run, scratch};

/// Midnight of the first release, 2024-01-01, in seconds since the epoch.
const FIRST: i64 = 1_704_067_200;
const HOUR: i64 = 3_600;
const FAMILIES: [&str; 3] = [
    "container_image_newest_compressed_size_bytes",
    "container_image_newest_previous_compressed_size_bytes",
    "container_image_repository_stored_size_bytes",
];

/// The samples of each series, by the name and labels of the series.
type Samples = BTreeMap<(String, BTreeMap<String, String>), Vec<(i64, u64)>>;

/// Reads the lines of samples. No label's value here has a comma or a quote.
fn written(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, rest) = line.split_once("} ").expect("labels");
        let (name, labels) = series.split_once('{').expect("labels");
        let labels = labels.split(',').map(|label| label.split_once('=').expect("a label"));
        let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect();
        let (value, at) = rest.split_once(' ').expect("a value and a time");
        let sample = (at.parse().expect("whole seconds"), value.parse().expect("whole bytes"));
        samples.entry((name.to_owned(), labels)).or_default().push(sample);
    }
    samples
}

/// Reads what Prometheus has of the families up to `until`.
fn imported(prometheus: &Prometheus, until: i64) -> Samples {
    let mut samples = Samples::new();
    for family in FAMILIES {
        for series in prometheus.query_at(&format!("{family}[30d]"), Some(until)) {
            let labels = series["metric"].as_object().expect("labels").iter();
            let labels = labels.filter(|(key, _)| *key != "__name__");
            let labels = labels.map(|(key, value)| (key.clone(), value.as_str().expect("a text").to_owned())).collect();
            let values = series["values"].as_array().expect("samples").iter().map(|sample| {
                let at = sample[0].as_f64().expect("a time");
                assert!(at.fract().abs() < f64::EPSILON, "{at}");
                #[expect(clippy::cast_possible_truncation, reason = "whole seconds of this century")]
                let at = at as i64;
                (at, sample[1].as_str().expect("a value").parse().expect("whole bytes"))
            });
            samples.insert((family.to_owned(), labels), values.collect());
        }
    }
    samples
}

#[test]
fn a_history_that_promtool_imports_is_read_back_from_prometheus_as_it_was_written() {
    let (registry, directory) = (Registry::start(), scratch());
    let pusher = Pusher { address: registry.address(), repository: "acme/app" };
    let base = pusher.layer(50_000);
    let releases = [
        ("2024-01-01T00:00:00Z", "v1.0.0", 1_000),
        ("2024-01-01T06:00:00Z", "v1.1.0", 2_500),
        ("2024-01-02T00:00:00Z", "v1.2.0", 70_000),
        ("1970-01-01T00:00:00Z", "v1.3.0", 9_000),
    ];
    for (created, tag, bytes) in releases {
        pusher.image_of(created, Some(tag), "amd64", &[base.clone(), pusher.layer(bytes)]);
    }
    let config = directory.path().join("config.toml");
    let target = "[[targets]]\nname = \"app\"\nmatch = [\".\"]\nnewest = \"semver\"\n";
    std::fs::write(&config, format!("{target}repository = \"{}/acme/app\"\n", registry.address())).expect("written");
    let output = exporter::command()
        .args(["history", "--format", "openmetrics", "--until", "2024-01-03", "--label", "job=image-size-exporter"])
        .arg(format!("--config.file={}", config.display()))
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("v1.3.0"), "the undated release is named: {said}");
    let file = directory.path().join("history.txt");
    std::fs::write(&file, &output.stdout).expect("written");
    run(Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "--max-block-duration=744h", "openmetrics"])
        .arg(&file)
        .arg(directory.path().join("data")));

    let prometheus = Prometheus::start_in(directory, "");
    let written = written(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!(written.len(), FAMILIES.len(), "{:?}", written.keys());
    // Both sides are compared as they are; the arithmetic below is of the pushes.
    assert_eq!(imported(&prometheus, FIRST + 48 * HOUR), written);
    let value = |family: &str, at: i64| {
        let series = prometheus.query_at(family, Some(at));
        series.first().map(|one| one["value"][1].as_str().expect("a value").parse::<u64>().expect("whole bytes"))
    };
    let (one, two, three) = (51_000, 52_500, 120_000);
    for (hour, sizes) in [
        (-1, [None, None, None]),
        (0, [Some(one), None, Some(one)]),
        (5, [Some(one), None, Some(one)]),
        (6, [Some(two), Some(one), Some(two + 1_000)]),
        (23, [Some(two), Some(one), Some(two + 1_000)]),
        (24, [Some(three), Some(two), Some(three + 3_500)]),
        (47, [Some(three), Some(two), Some(three + 3_500)]),
    ] {
        // Between two samples as well as at one: a query looks back five minutes.
        for seconds in [0, 149, 299] {
            let at = FIRST + hour * HOUR + seconds;
            assert_eq!(FAMILIES.map(|family| value(family, at)), sizes, "hour {hour} and {seconds} s");
        }
    }
}
