//! The program as an operating system sees it: signals, exit codes, messages.

use std::process::Output;

use crate::harness::exporter::{Exporter, command};
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;
use crate::harness::scratch;

#[test]
fn sigterm_ends_it_with_exit_code_0() {
    let registry = Registry::start();
    let app = Pusher { address: registry.address(), repository: "acme/app" };
    app.image(Some("latest"), "amd64", &[app.layer(100)]);
    let mut exporter = Exporter::start(&format!("[[targets]]\nrepository = \"{}/acme/app\"\n", registry.address()));
    exporter.wait_for("a size", |scrape| scrape.value("container_image_compressed_size_bytes", &[]));
    let start = std::time::Instant::now();
    let status = exporter.program().terminate();
    // It is idle and ends within a second, but the machine may be busy.
    assert!(start.elapsed().as_secs() < 10, "it took {:?}", start.elapsed());
    assert_eq!(status.code(), Some(0), "{}", exporter.output());
}

#[test]
fn a_bad_configuration_ends_it_with_exit_code_64_and_says_file_key_and_remedy() {
    let output = run_with("[scan]\nintervall = \"5m\"\n[[targets]]\nrepository = \"docker.io/library/alpine\"\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in ["config.toml", "scan.intervall", "interval"] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn a_missing_configuration_ends_it_with_exit_code_64() {
    let directory = scratch();
    let output = command().arg("--config.file").arg(directory.path().join("none.toml")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("none.toml"), "{said}");
}

#[test]
fn a_configuration_is_checked_without_network() {
    let directory = scratch();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, "[[targets]]\nrepository = \"registry.invalid/acme/app\"\n").expect("it can be written");
    let output = command().arg("--config.check").arg("--config.file").arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_unreachable_registry_is_said_once_and_the_program_stays_up() {
    let mut registry = Registry::start();
    registry.stop();
    let config = format!("[scan]\ninterval = \"1s\"\n[[targets]]\nrepository = \"{}/acme/app\"\n", registry.address());
    let exporter = Exporter::start(&config);
    exporter.after_a_scan();
    exporter.after_a_scan();
    let scrape = exporter.wait_for("the failure", |scrape| {
        (scrape.value("container_image_tag_up", &[("tag", "latest")]) == Some(0.0)).then(|| exporter.scrape())
    });
    assert!(scrape.all("container_image_compressed_size_bytes", &[]).is_empty());
    let output = exporter.output();
    let complaints =
        output.lines().filter(|line| line.contains("acme/app") && line.to_lowercase().contains("warn")).count();
    assert_eq!(complaints, 1, "{output}");
}

fn run_with(config: &str) -> Output {
    let directory = scratch();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, config).expect("the configuration can be written");
    command().arg("--config.file").arg(&file).output().expect("it runs")
}
