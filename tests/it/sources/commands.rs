//! Commands that ask sources once.

use std::process::Stdio;

use serde_json::Value;

use super::*;
use crate::support::daemon::command;

/// A registry, and a configuration with a source whose file names these references.
fn world(lines: &[&str], more: &str) -> (TestRegistry, Files) {
    let (registry, files) = (registry(), Files::new());
    let name = registry.name();
    let replaced = |text: &str| text.replace("REG", name.as_str());
    files.write("images.txt", &replaced(&lines.join("\n")));
    files.write("config.toml", &(toml("file = 'images.txt'") + &replaced(more)));
    (registry, files)
}

fn run(files: &Files, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = command(files.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

#[test]
fn plan_scans_what_runs() {
    let (_registry, files) = world(&["REG/acme/app:v1", "REG/acme/web:v1", "REG/acme/web:v1"], "");
    let (code, plan, said) = run(&files, &["plan", "--json"]);
    let source = &plan["targets"][0];
    assert_eq!((code, source["name"].as_str()), (Some(0), Some("s")), "{plan} {said}");
    assert_eq!((source["repositories"].as_u64(), source["tags"].as_u64()), (Some(2), Some(2)), "{plan}");
    std::fs::remove_file(files.path().join("images.txt")).unwrap();
    let (code, plan, said) = run(&files, &["plan", "--json"]);
    assert_eq!(code, Some(4), "{plan} {said}");
    assert!(format!("{plan}{said}").contains("images.txt` cannot be read"), "{plan} {said}");
}

#[test]
fn retain_keeps_what_runs() {
    let policy = "[[targets]]\nname = 't'\nrepository = 'REG/acme/app'\nmatch = ['.']\n\
                  [[policies]]\nname = 'p'\nkeep_running = true\n";
    let (registry, files) = world(&["REG/acme/app:v1"], policy);
    registry.push("acme/app", "v2", &image_of(300));
    let (code, retention, said) = run(&files, &["retain", "--json"]);
    let tags = &retention["policies"][0]["registries"][0]["repositories"][0]["tags"];
    let reasons: Vec<_> =
        tags.as_array().into_iter().flatten().map(|tag| (tag["tag"].as_str(), tag["reason"].as_str())).collect();
    assert_eq!(code, Some(0), "{retention} {said}");
    assert_eq!(reasons, [(Some("v1"), Some("running")), (Some("v2"), Some("no_rule"))], "{retention}");
    std::fs::remove_file(files.path().join("images.txt")).unwrap();
    let (code, _, said) = run(&files, &["retain", "--json"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("source s does not say what runs: "), "{said}");
}

#[test]
fn retain_keeps_what_a_source_leaves_out_and_judges_nothing_if_more_may_run() {
    let policy = "[[targets]]\nname = 't'\nrepository = 'REG/acme/app'\nmatch = ['.']\n\
                  [[policies]]\nname = 'p'\nkeep_running = true\n";
    let rules = "exclude = [':v1$']\nrewrite = [{ match = ':v2$', with = ':v9' }]\n";
    let (registry, files) = world(&["REG/acme/app:v1", "REG/acme/app:v2"], &(rules.to_owned() + policy));
    for (tag, bytes) in [("v2", 300), ("v3", 400)] {
        registry.push("acme/app", tag, &image_of(bytes));
    }
    let retain = || {
        let mut retain = command(files.path());
        retain.args(["retain", "--format", "digests"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = retain.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let (code, digests, said) = retain();
    let v3 = format!("{}/acme/app@{}\n", registry.name(), image_of(400).digest());
    assert_eq!((code, digests), (Some(0), v3), "{said}");
    let all = format!("{0}/acme/app:v1\n{0}/acme/app:v2\nNO/Reference\n", registry.name());
    files.write("images.txt", &all);
    let (code, digests, said) = retain();
    assert_ne!(code, Some(0), "{said}");
    assert!(digests.is_empty() && said.contains("does not say all that runs: 1 of its containers"), "{said}");
}
