//! `check --max-wasted` and `check --files`: on a registry, in archives and in layouts.

use serde_json::{Value, json};

use super::local::{docker_archive, layout};
use super::{check, checked, text};
use image_size_exporter::oci::Digest;

use crate::support::images::{Blob, OCI_LAYER, image_of_tars};
use crate::support::registry::TestRegistry;
use crate::support::tar::{Tar, archive};

fn file(path: &str, bytes: usize) -> (String, Vec<u8>) {
    (path.to_owned(), vec![7; bytes])
}

/// Two releases, of which the second wastes 2 MiB; in each format.
struct Fixture {
    directory: tempfile::TempDir,
    registry: TestRegistry,
    old: String,
    new: [String; 3],
}

impl Fixture {
    fn new() -> Self {
        let plain = [
            archive(&[file("usr/lib/cache", 2 << 20), file("etc/a", 100)]),
            archive(&[file("app/m", 1000)]),
            archive(&[file("usr/lib/.wh.cache", 0), file("app/m", 1000), file("app/n|`x`", 3 << 20)]),
        ];
        let tars = [Tar::new(&plain[0]), Tar::new(&plain[1]), Tar::new(&plain[2])];
        let registry = TestRegistry::start();
        registry.push("acme/app", "v1", &image_of_tars(&[&tars[0], &tars[1]]));
        registry.push("acme/app", "v2", &image_of_tars(&[&tars[0], &tars[2]]));
        let directory = tempfile::tempdir().unwrap();
        let saved = docker_archive(&[(&tars[0], &plain[0]), (&tars[2], &plain[2])], "acme/app:v2");
        std::fs::write(directory.path().join("saved.tar"), saved).unwrap();
        let new = [
            format!("{}/acme/app:v2", registry.name()),
            layout(directory.path(), "layout", &[&tars[0], &tars[2]]),
            "docker-archive:saved.tar".to_owned(),
        ];
        let old = format!("{}/acme/app:v1", registry.name());
        Self { directory, registry, old, new }
    }
}

#[test]
fn what_is_wasted_is_judged_wherever_the_image_is() {
    let fixture = Fixture::new();
    for new in &fixture.new {
        let path = fixture.directory.path();
        let (code, result) = checked(path, &[new, "--max-wasted", "2MiB"]);
        assert_eq!((code, &result["verdict"]), (Some(0), &json!("fine")), "{new}");
        let (code, result) = checked(path, &[new, "--max-wasted", "2097151"]);
        assert_eq!(code, Some(7), "{new}");
        let platform = &result["platforms"][0];
        assert_eq!(
            platform["rules"],
            json!([{"rule": "max_wasted", "passed": false, "message": "2.0 MiB wasted, allowed are 2.0 MiB: 1 B too many"}])
        );
        let files = &platform["files"];
        assert_eq!((&files["wasted_bytes"], &files["biggest"]), (&json!(2 << 20), &json!([])));
        assert_eq!(files["wasted"][0]["path"], "/usr/lib/cache");
        let output = check(path, &[new, "--max-wasted", "1MiB"]);
        assert!(text(&output.stdout).contains("      2.0 MiB /usr/lib/cache removed\n"), "{}", text(&output.stdout));
    }
    // Without these flags no layer is read.
    fixture.registry.take_counts();
    let (_, result) = checked(fixture.directory.path(), &[&fixture.new[0], "--against", &fixture.old]);
    assert_eq!(result["platforms"][0]["files"], Value::Null);
    assert!(fixture.registry.take_counts().contains("get_blob 4"), "the configs alone, each twice");
}

#[test]
fn files_that_grew_are_in_every_format() {
    let fixture = Fixture::new();
    for new in &fixture.new {
        let printed = |format: &str| {
            let arguments = [new, "--against", &fixture.old, "--files", "--max-size", "1KiB", "--format", format];
            let output = check(fixture.directory.path(), &arguments);
            assert_eq!(output.status.code(), Some(7), "{new}: {}", text(&output.stderr));
            text(&output.stdout)
        };
        for (format, expected) in [
            (
                "text",
                "files: 2.0 MiB → 3.0 MiB (3.0 MiB added, 0 B grown, 0 B shrunk, 2.0 MiB gone), wasted: 0 B → 2.0 MiB",
            ),
            ("markdown", "| +3.0 MiB | `` /app/n\\|`x` `` |"),
            ("markdown", "| 2.0 MiB | `/usr/lib/cache` | removed |"),
            ("github", "%0A+3.0 MiB /app/n|`x`%0A"),
            ("junit", "\n+3.0 MiB /app/n|`x`\n"),
        ] {
            let said = printed(format);
            assert!(said.contains(expected), "{new} {format}: {expected}\n{said}");
        }
        let result: Value = serde_json::from_str(&printed("json")).unwrap();
        let growth = &result["platforms"][0]["files_growth"];
        assert_eq!(
            growth["files"][0],
            json!({"path": "/app/n|`x`", "change": "added", "old_bytes": null, "new_bytes": 3 << 20})
        );
        assert_eq!((&growth["added_bytes"], &growth["gone_bytes"]), (&json!(3 << 20), &json!(2 << 20)));
    }
}

#[test]
fn waste_that_cannot_be_known_is_no_pass() {
    let registry = TestRegistry::start();
    let broken = Tar { diff_id: Digest::sha256_of(b"x"), gzip: Blob::new(OCI_LAYER, "no tar") };
    registry.push("acme/app", "broken", &image_of_tars(&[&broken]));
    let directory = tempfile::tempdir().unwrap();
    let name = format!("{}/acme/app:broken", registry.name());
    let (code, result) = checked(directory.path(), &[&name, "--max-wasted", "1GiB"]);
    assert_eq!((code, &result["verdict"]), (Some(6), &json!("unknown")));
    assert_eq!(result["notes"], json!(["files unknown: a layer was not read"]));
}
