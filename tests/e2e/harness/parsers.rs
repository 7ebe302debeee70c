//! Third-party parsers of both formats.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::exposition::Sample;

/// What the Prometheus project's own Python client reads in a body: `openmetrics` or `text`. Panics with its error.
pub fn python(format: &str, body: &[u8]) -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/e2e-venv/bin/python"));
    command.arg(root.join("tests/e2e/parsers.py")).arg(format);
    let output = fed(&mut command, body);
    assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    let samples: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let samples = samples.as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    samples
        .map(|sample| Sample {
            name: text(&sample["name"]),
            labels: sample["labels"]
                .as_object()
                .expect("labels")
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            value: text(&sample["value"]).parse().expect("a number"),
        })
        .collect()
}

/// The output lines of `promtool check metrics` for a body.
pub fn promtool(body: &[u8]) -> Vec<String> {
    let output = fed(Command::new("promtool").args(["check", "metrics"]), body);
    let said = [output.stdout, output.stderr].concat();
    let said: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
    assert_eq!(output.status.success(), said.is_empty(), "{said:?}");
    said
}

fn fed(command: &mut Command, body: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("cannot run {command:?}: {error}; `tests/run` installs what these tests need")
        });
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // In a thread of its own, so that neither waits for the other with a full pipe.
        scope.spawn(move || drop(stdin.write_all(body)));
        child.wait_with_output().expect("it ends")
    })
}
