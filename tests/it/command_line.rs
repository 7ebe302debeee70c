//! The program as a person or a script runs it: what it prints where, and how it exits.

use std::io::pipe;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::images::{Blob, image};
use crate::support::registry::{Access, TestRegistry};

/// A registry with `acme/app:v1`, and a directory with a configuration of these targets.
fn world(targets: &str) -> (TestRegistry, tempfile::TempDir) {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("layer", 100)]));
    let directory = tempfile::tempdir().unwrap();
    let toml = targets.replace("REGISTRY", registry.name().as_str());
    std::fs::write(directory.path().join("config.toml"), toml).unwrap();
    (registry, directory)
}

const TARGET: &str = "[[targets]]\nname = 't'\nrepository = 'REGISTRY/acme/app'\ntags = ['v1']\n";

fn program(directory: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
    command.args(arguments).current_dir(directory.path()).env_remove("NO_COLOR");
    command
}

fn run(directory: &tempfile::TempDir, arguments: &[&str]) -> Output {
    program(directory, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of a log in JSON.
fn lines(output: &Output) -> Vec<Value> {
    text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let (registry, directory) = world(TARGET);
    let reference = format!("{}/acme/app:v1", registry.name());
    for arguments in [
        &["inspect", &reference][..],
        &["inspect", &reference, "--json"],
        &["inspect", &reference, &reference],
        &["check", &reference],
        &["check", &reference, "--format", "json"],
        &["plan"],
        &["plan", "--json"],
        &["history"],
        &["history", "--format", "openmetrics"],
        &["retain", "--keep-newest", "1"],
        &["--config.check"],
        &["--help"],
        &["help", "inspect"],
        &["--version"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = program(&directory, arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let (registry, directory) = world(TARGET);
    let reference = format!("{}/acme/app:v1", registry.name());
    for arguments in [&["inspect", &reference][..], &["plan"], &["--config.check"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(&directory, arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("No space left on device") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn what_ends_the_program_is_a_line_of_a_log_in_json_too() {
    let (registry, directory) = world(TARGET);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--web.listen-address={}", taken.local_addr().unwrap());
    registry.missing("/v2/acme/app/manifests/v2");
    let missing = format!("{}/acme/app:v2", registry.name());
    std::fs::write(directory.path().join("bad.toml"), "[scan]\ninterval = '0s'\nintervall = 1\n").unwrap();
    for (arguments, exit_code, part) in [
        (&["--config.file=bad.toml"][..], 64, "interval"),
        (&["--config.file=bad.toml", "plan"], 64, "interval"),
        (&[&listen], 1, "choose another port, as in `--web.listen-address=127.0.0.1:"),
        (&["inspect", &missing], 4, "the repository's only tag: v1"),
        (&["--web.max-requests=many"], 2, "invalid digit"),
        (&["health", "127.0.0.1:1"], 1, "does not answer: connection refused ("),
    ] {
        let output = run(&directory, &[arguments, &["--log.format=JSON"]].concat());
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {}", text(&output.stderr));
        let lines = lines(&output);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["level"], &line["msg"]), (&"error".into(), &"exiting".into()), "{line}");
        assert_eq!(line["exit_code"], exit_code, "{line}");
        assert!(line["error"].as_str().unwrap().contains(part), "{line}");
    }
}

#[test]
fn warnings_are_lines_of_a_log_in_json_too() {
    let (_registry, directory) = world(&format!("[registries.\"ghcr.io\"]\n{TARGET}"));
    for arguments in [&["--config.check", "--log.format=json"][..], &["plan", "--log.format=json"]] {
        let output = run(&directory, arguments);
        let lines = lines(&output);
        assert_eq!((output.status.code(), lines.len()), (Some(0), 1), "{lines:?}");
        assert_eq!(lines[0]["level"], "warn");
        assert!(lines[0]["msg"].as_str().unwrap().contains("no target uses this registry"), "{lines:?}");
    }
}

#[test]
fn at_debug_each_request_and_each_decision_is_a_line() {
    let target = "[registries.'REGISTRY']\nusername = 'alice'\npassword_file = 'password'\n\
                  [[targets]]\nname = 't'\nrepository = 'REGISTRY/acme/app'\n\
                  tags = ['edge']\nmatch = ['^v', '^x']\nexclude = ['-rc']\nsemver = '<2'\nlimit = 1\n";
    let (registry, directory) = world(target);
    std::fs::write(directory.path().join("password"), "sesame-of-alice\n").unwrap();
    let one = image("linux/amd64", &[&Blob::named("layer", 100)]);
    for tag in ["v0.9.0", "main", "v1.1.0-rc.1", "xenial", "v2.0.0", "edge"] {
        registry.push("acme/app", tag, &one);
    }
    registry.require(Access::Basic(vec![("alice", "sesame-of-alice")]));
    let output = run(&directory, &["plan", "--log.level=Debug", "--log.format=json"]);
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{lines:?}");
    let of = |message: &str| lines.iter().filter(|line| line["msg"] == message).collect::<Vec<_>>();

    let requests = of("request");
    assert_eq!(requests.len(), registry.requests().len(), "{requests:?}");
    for line in &requests {
        assert_eq!((&line["level"], &line["registry"]), (&"debug".into(), &registry.name().as_str().into()));
        assert!(line["seconds"].is_number() && line["about"].as_str().unwrap().contains("/acme/app"), "{line}");
        assert_eq!(line["decided"], "answered", "{line}");
    }
    let operations: Vec<_> =
        requests.iter().map(|line| (line["operation"].as_str().unwrap(), &line["status"])).collect();
    assert_eq!(operations[..2], [("list_tags", &401.into()), ("list_tags", &200.into())]);
    assert!(operations.contains(&("get_manifest", &200.into())), "{operations:?}");

    let left_out: Vec<(&str, &str)> = of("tag not selected")
        .iter()
        .map(|line| (line["tag"].as_str().unwrap(), line["why"].as_str().unwrap()))
        .collect();
    for expected in [
        ("main", "no pattern of `match` is found in it"),
        ("v1.1.0-rc.1", "a pattern of `exclude` is found in it"),
        ("xenial", "it is no version, which `semver` wants"),
        ("v2.0.0", "its version is outside the range of `semver`"),
        ("v0.9.0", "`limit` newer tags are selected"),
    ] {
        assert!(left_out.contains(&expected), "{expected:?}: {left_out:?}");
    }
    assert_eq!(left_out.len(), 5, "{left_out:?}");
    let [chosen] = of("credentials chosen")[..] else { panic!("{lines:?}") };
    assert_eq!(chosen["credentials"], "the credentials of alice from password");
    let decided: Vec<&Value> = of("tag").iter().map(|line| &line["decided"]).collect();
    assert_eq!(decided, ["read", "read", "unchanged", "unchanged"]);
    assert!(!text(&output.stderr).contains("sesame"), "a secret is logged");
}

#[test]
fn a_request_that_fails_says_what_matters_first_and_what_was_decided() {
    let directory = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = format!("{closed}/acme/app:v1");
    let output = run(&directory, &["inspect", &refused, "--log.level=debug", "--log.format=json"]);
    assert_eq!(output.status.code(), Some(5));
    let lines = lines(&output);
    let requests: Vec<&Value> = lines.iter().filter(|line| line["msg"] == "request").collect();
    let decided: Vec<&str> = requests.iter().map(|line| line["decided"].as_str().unwrap()).collect();
    assert!(decided[0].starts_with("asks again in ") && decided[2].starts_with("gives up, network: "), "{decided:?}");
    assert!(requests.iter().all(|line| line.get("status").is_none()), "{requests:?}");
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains(&format!("cannot reach {closed}: connection refused (")), "{error}");
    // Reserved: it never has an address (RFC 6761).
    let output = run(&directory, &["inspect", "registry.invalid/acme/app:v1"]);
    let said = text(&output.stderr);
    let first = [
        "cannot reach registry.invalid: no such host (",
        "cannot reach registry.invalid: the name server does not answer (",
    ];
    assert!(first.iter().any(|first| said.contains(first)), "{said}");
}

#[test]
fn addresses_are_no_references_and_are_explained() {
    let (_registry, directory) = world(TARGET);
    for (typed, write) in [
        ("docker://alpine:3.20", "alpine:3.20"),
        ("https://ghcr.io/acme/api", "ghcr.io/acme/api"),
        ("https://hub.docker.com/r/grafana/grafana/", "grafana/grafana"),
        ("https://hub.docker.com/_/alpine", "alpine"),
        ("https://hub.docker.com/r/grafana/grafana/tags", "grafana/grafana"),
        ("https://quay.io/repository/prometheus/prometheus", "quay.io/prometheus/prometheus"),
    ] {
        let output = run(&directory, &["inspect", typed]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("`{typed}` is an address: write `{write}`")), "{said}");
    }
}
