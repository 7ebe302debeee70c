//! The endpoint with real clients: curl, openssl, promtool, Prometheus, and a thousand slow ones.

mod endpoint;
mod slow;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use endpoint::Endpoint;
use image_size_exporter::inventory::Snapshot;

use crate::harness::prometheus::Prometheus;
use crate::harness::{parsers, run, scratch, wait_for};
use crate::registries::certificates::Authority;

#[path = "../it/snapshots.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the hermetic tests")]
mod snapshots;

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0";

fn curl(arguments: &[&str], url: &str) -> String {
    run(Command::new("curl").args(["--silent", "--show-error", "--fail"]).args(arguments).arg(url))
}

/// The series of images: the others differ from scrape to scrape.
fn of_images(body: &str) -> Vec<&str> {
    body.lines().filter(|line| line.starts_with("container_image_")).collect()
}

/// TLS with the files of this directory, client certificates included.
fn web_config(directory: &Path, more: &str) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    format!("tls_server_config:\n  cert_file: {}\n  key_file: {}\n{more}", path("localhost.pem"), path("localhost.key"))
}

fn authority(directory: &Path) -> Authority {
    let authority = Authority::new(directory);
    authority.issue("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    authority
}

#[test]
fn curl_reads_the_same_in_every_version_and_encoding() {
    let mut endpoint = Endpoint::plain(snapshots::large(3_000));
    let url = endpoint.url("http", "/metrics");
    let before = curl(&[], &url);
    assert!(of_images(&before).len() > 90_000);
    // Some of the blocks are those of before, others are new.
    endpoint.publish(changed(snapshots::large(3_000)));
    let plain = curl(&[], &url);
    assert!(of_images(&before) != of_images(&plain));
    for arguments in [
        &["--http1.0"][..],
        &["--http1.1", "--compressed"],
        &["--http1.0", "--compressed"],
        &["--header", OPEN_METRICS],
        &["--compressed", "--header", OPEN_METRICS],
    ] {
        let body = curl(arguments, &url);
        assert!(of_images(&body) == of_images(&plain), "{arguments:?}");
        assert_eq!(body.ends_with("# EOF\n"), arguments.contains(&OPEN_METRICS), "{arguments:?}");
    }
    let directory = scratch();
    let file = directory.path().join("metrics.gz");
    curl(&["--header", "Accept-Encoding: gzip", "--output", &file.display().to_string()], &url);
    run(Command::new("gzip").arg("--test").arg(&file));
    let unpacked = run(Command::new("gzip").args(["--decompress", "--stdout"]).arg(&file));
    assert!(of_images(&unpacked) == of_images(&plain));
    let program = "import sys, gzip; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())";
    let unpacked = run(Command::new("python3").args(["-c", program]).arg(&file));
    assert!(of_images(&unpacked) == of_images(&plain));
}

/// With one tag that was read later, and without another repository.
fn changed(mut snapshot: Snapshot) -> Snapshot {
    let registry = Arc::get_mut(&mut snapshot.registries[0]).expect("it is not shared");
    registry.repositories.remove(50);
    let repository = Arc::get_mut(&mut registry.repositories[100]).expect("it is not shared");
    repository.tags[3].last_success = Some(1.8e9);
    snapshot
}

#[test]
fn http_2_is_spoken_over_tls_and_can_be_turned_off() {
    let directory = scratch();
    let authority = authority(directory.path());
    let ca = authority.certificate.display().to_string();
    let version = |endpoint: &Endpoint, flag: &str| {
        let arguments =
            ["--cacert", &ca, flag, "--output", "/dev/null", "--write-out", "%{http_version} %{size_download}"];
        let said = curl(&arguments, &endpoint.url("https", "/metrics"));
        let (version, bytes) = said.split_once(' ').expect("two words");
        assert!(bytes.parse::<u64>().expect("a number") > 1_000_000, "{said}");
        version.to_owned()
    };
    let endpoint = Endpoint::start(snapshots::large(500), &web_config(directory.path(), ""));
    assert_eq!(version(&endpoint, "--http2"), "2");
    assert_eq!(version(&endpoint, "--http1.1"), "1.1");
    let old =
        Endpoint::start(snapshots::large(500), &web_config(directory.path(), "http_server_config: {http2: false}\n"));
    assert_eq!(version(&old, "--http2"), "1.1");
}

#[test]
fn openssl_gets_the_versions_that_are_configured() {
    let directory = scratch();
    authority(directory.path());
    let connects = |endpoint: &Endpoint, version: &str| {
        let address = endpoint.address.to_string();
        let mut command = Command::new("openssl");
        // Without security levels openssl offers TLS 1.1 at all.
        command.args(["s_client", "-connect", &address, version, "-cipher", "ALL:@SECLEVEL=0"]);
        let output = command.stdin(std::process::Stdio::null()).output().expect("openssl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("Cipher is ") && !text.contains("Cipher is (NONE)")
    };
    let cases = [
        ("", [false, true, true]),
        ("  min_version: TLS13\n", [false, false, true]),
        ("  max_version: TLS12\n", [false, true, false]),
    ];
    for (more, expected) in cases {
        let endpoint = Endpoint::start(snapshots::large(1), &web_config(directory.path(), more));
        let got = ["-tls1_1", "-tls1_2", "-tls1_3"].map(|version| connects(&endpoint, version));
        assert_eq!(got, expected, "{more}");
    }
}

#[test]
fn prometheus_comes_in_with_a_password_and_a_client_certificate() {
    let directory = scratch();
    let authority = authority(directory.path());
    let (certificate, key) = authority.issue("prometheus", "extendedKeyUsage=clientAuth");
    let hash = run(Command::new("htpasswd").args(["-nbBC", "6", "", "secret"]));
    let hash = hash.trim().trim_start_matches(':');
    let ca = authority.certificate.display();
    let endpoint = Endpoint::start(
        snapshots::large(20),
        &web_config(
            directory.path(),
            &format!(
                "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {ca}\n\
                 basic_auth_users: {{prometheus: '{hash}'}}\n"
            ),
        ),
    );
    let job = |name: &str, password: &str, tls: &str| {
        format!(
            "  - job_name: {name}\n    scheme: https\n    static_configs: [{{targets: [\"{}\"]}}]\n    \
             basic_auth: {{username: prometheus, password: {password}}}\n    tls_config: {{ca_file: {ca}{tls}}}\n",
            endpoint.address
        )
    };
    let with_certificate = format!(", cert_file: {}, key_file: {}", certificate.display(), key.display());
    let prometheus = Prometheus::start_with(&format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n{}{}{}",
        job("both", "secret", &with_certificate),
        job("no-certificate", "secret", ""),
        job("wrong-password", "guess", &with_certificate),
    ));
    prometheus.wait_for("up{job=\"both\"} == 1", |found| (!found.is_empty()).then_some(()));
    prometheus.wait_for("up{job!=\"both\"} == 0", |found| (found.len() == 2).then_some(()));
    let images = prometheus.query("count(container_image_info{job=\"both\"})");
    assert_eq!(images.first().map(|sample| sample.value), Some(40.0));
}

/// Hostile texts, everywhere that a registry can put them.
fn hostile() -> (String, snapshots::Odd) {
    let text =
        "quote \" backslash \\ newline \n 大きさ \u{0}\r\t \u{2028}\u{85} {a=\"b\"} # EOF\n# EOF\n\\n\\".to_owned();
    let odd = snapshots::Odd {
        media_type: format!("application/{}", "x".repeat(127)),
        artifact_type: text.clone(),
        platform: "lin\"ux/am\\d64".to_owned(),
        target: text.clone(),
        label: text.clone(),
        group: text.clone(),
    };
    (text, odd)
}

/// As a label has it: a newline is escaped, other control characters and line separators are replaced.
fn shown(text: &str) -> String {
    text.replace(['\u{0}', '\r', '\t', '\u{85}', '\u{2028}'], "\u{fffd}")
}

#[test]
fn prometheus_takes_whatever_a_registry_invents() {
    let (text, odd) = hostile();
    let endpoint = Endpoint::plain(snapshots::odd(&odd));
    let prometheus = Prometheus::start(&endpoint.address.to_string());
    prometheus.wait_for("container_image_info", |found| {
        let sample = found.first()?;
        assert_eq!(sample.labels["artifact_type"], shown(&text));
        assert_eq!(sample.labels["media_type"].len(), 139);
        Some(())
    });
    let labels = prometheus.query("container_image_repository_labels");
    assert_eq!(labels[0].labels["label_team"], shown(&text));
}

#[test]
fn other_people_s_parsers_take_whatever_a_registry_invents() {
    let (text, odd) = hostile();
    let endpoint = Endpoint::plain(snapshots::odd(&odd));
    for (format, arguments) in [("text", &[][..]), ("openmetrics", &["--header", OPEN_METRICS])] {
        let body = curl(arguments, &endpoint.url("http", "/metrics"));
        let samples = parsers::python(format, body.as_bytes());
        let info = samples.iter().find(|sample| sample.name == "container_image_info").expect("it is published");
        assert_eq!((info.label("artifact_type"), info.label("media_type").len()), (&*shown(&text), 139), "{format}");
        let labels = samples.iter().find(|sample| sample.name == "container_image_repository_labels");
        assert_eq!(labels.expect("they are published").label("label_team"), shown(&text), "{format}");
        let unread = parsers::promtool(body.as_bytes());
        assert!(
            unread.iter().all(|line| format == "openmetrics" && line.ends_with("_total no help text")),
            "{unread:?}"
        );
    }
}

#[test]
fn prometheus_goes_on_scraping_beside_a_thousand_slow_connections() {
    let endpoint = Endpoint::plain(snapshots::large(1_500));
    let slow = slow::Crowd::start(endpoint.address, 1_000);
    wait_for("a thousand connections", || (slow.connected() >= 1_000).then_some(()), || slow.connected().to_string());
    let prometheus = Prometheus::start_with(&format!(
        "global: {{scrape_interval: 2s, scrape_timeout: 2s}}\nscrape_configs:\n  - job_name: image-size\n    \
         static_configs: [{{targets: [\"{}\"]}}]\n",
        endpoint.address
    ));
    // None of ten scrapes fails, while the slow clients reconnect whenever they are disconnected.
    let before = slow.connected();
    prometheus.wait_for("count_over_time(up[1h]) >= 10", |found| (!found.is_empty()).then_some(()));
    let worst = prometheus.query("min_over_time(up[1h])");
    assert_eq!(worst.first().map(|sample| sample.value), Some(1.0), "a scrape failed");
    assert!(slow.connected() > before, "the crowd stays away");
}
