//! Texts that an author may write into an image: bounded and checked, so that no image is too much for the program.

use std::collections::BTreeSet;

use image_size_exporter::metrics::{Encoding, Rendered};
use image_size_exporter::oci::text::is_unprintable;
use serde_json::Value;

use image_size_exporter::image::{ConfigFacts, Image};
use image_size_exporter::oci::{Document, ImageConfig};

use super::*;
use crate::hostile::SERIES_BYTES_MAX;

/// The longest text that fits into a config of 4 MiB.
const LONG: usize = 3_900_000;

fn manifest_of(config: &Value, change: impl FnOnce(&mut Value)) -> Pushed {
    let (config, layer) = (Blob::new(MediaType::OCI_CONFIG, config.to_string()), layer("a"));
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    });
    change(&mut manifest);
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config, layer], vec![])
}

fn amd64() -> Value {
    json!({"os": "linux", "architecture": "amd64"})
}

/// An image for each text and each place where an author may write one.
fn hostile(text: &str) -> Vec<(&'static str, Pushed)> {
    let config = |key: &str| {
        let mut config = amd64();
        config[key] = text.into();
        manifest_of(&config, |_| ())
    };
    let good = one("a");
    let entry_of = |key: &str| {
        let mut entry = entry("linux/amd64", &good);
        match key {
            "artifactType" | "mediaType" => entry[key] = text.into(),
            key => entry["platform"][key] = text.into(),
        }
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [entry]});
        Pushed::from_json(MediaType::OCI_INDEX, &index, vec![], vec![good.clone()])
    };
    let mut old = serde_json::from_slice::<Value>(schema1(&[&layer("a")]).manifest.bytes.as_ref().unwrap()).unwrap();
    old["architecture"] = text.into();
    let mut all = vec![
        ("manifest artifactType", manifest_of(&amd64(), |manifest| manifest["artifactType"] = text.into())),
        ("config media type", manifest_of(&amd64(), |manifest| manifest["config"]["mediaType"] = text.into())),
        ("layer media type", manifest_of(&amd64(), |manifest| manifest["layers"][0]["mediaType"] = text.into())),
        (
            "layer annotation",
            manifest_of(&amd64(), |manifest| {
                manifest["layers"][0]["annotations"] = json!({"io.containers.estargz.uncompressed-size": text});
            }),
        ),
        (
            "created annotation",
            manifest_of(&amd64(), |manifest| {
                manifest["annotations"] = json!({"org.opencontainers.image.created": text});
            }),
        ),
        ("schema 1", Pushed::from_json(MediaType::SCHEMA1, &old, vec![layer("a")], vec![])),
    ];
    all.extend(["os", "architecture", "variant", "os.version", "created"].map(|key| (key, config(key))));
    all.extend(["os", "architecture", "os.version", "artifactType", "mediaType"].map(|key| (key, entry_of(key))));
    all
}

#[tokio::test]
async fn no_text_in_an_image_reaches_a_label_unless_it_is_short_and_printable() {
    for text in ["x".repeat(LONG), "\u{202e}gnp.exe".to_owned(), "line\nbreak\r\u{1b}[31m".to_owned(), "\0".to_owned()]
    {
        for (place, pushed) in hostile(&text) {
            let mut watcher = Watcher::new("tags = ['v1', 'v2']");
            watcher.push("v1", &pushed);
            watcher.push("v2", &one("b"));
            // An artifact's config and an entry of an unknown type are not fetched.
            let scanned = watcher.scan().await;
            let outcome = &scanned.outcomes[0];
            let refused = matches!(outcome, Outcome::Failed(Reason::Invalid));
            assert!(refused || matches!(outcome, Outcome::Read(_)), "{place}: {outcome:?}");
            let rendered = Rendered::render(&watcher.inventory.snapshot(), &BTreeSet::new());
            let body = String::from_utf8(rendered.pieces(Encoding::Identity).concat()).unwrap();
            let samples = body.lines().filter(|line| !line.starts_with('#'));
            let samples_bytes: u64 = samples.map(|line| line.len() as u64 + 1).sum();
            assert!(samples_bytes <= rendered.series() * SERIES_BYTES_MAX as u64, "{place}: {samples_bytes}");
            assert!(!body.chars().any(|c| c != '\n' && is_unprintable(c)), "{place}");
            assert!(body.contains("tag=\"v2\""), "{place}: the other tag is read");
        }
    }
}

#[tokio::test]
async fn an_invalid_platform_is_refused_with_a_reason_or_taken_from_the_config() {
    let mut watcher = Watcher::new("tags = ['config', 'entry']");
    let mut config = amd64();
    config["variant"] = "v1/../..".into();
    watcher.push("config", &manifest_of(&config, |_| ()));
    let good = one("a");
    let mut odd = entry("linux/amd64", &good);
    odd["platform"]["os"] = "lin\u{202e}ux".into();
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [odd]});
    watcher.push("entry", &Pushed::from_json(MediaType::OCI_INDEX, &index, vec![], vec![good]));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.outcomes[0], Outcome::Failed(Reason::Invalid));
    assert_eq!(watcher.sizes(), ["entry linux/amd64 1000"]);
}

/// Names the document to a child process.
const CHILD: &str = "IMAGE_SIZE_EXPORTER_TEST_DOCUMENT";

fn manifest_of_layers(count: u32) -> Vec<u8> {
    let layer = |number: u32| {
        let digest = Digest::sha256_of(&number.to_be_bytes());
        format!(r#"{{"mediaType":"{OCI_LAYER}","size":{number},"digest":"{digest}"}}"#)
    };
    let layers: Vec<String> = (0..count).map(layer).collect();
    format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(",")).into_bytes()
}

/// A config of so many bytes: a command, labels and steps, a third each.
fn big_config(bytes: usize) -> Vec<u8> {
    let long = "x".repeat(bytes / 3);
    let steps = vec![r#"{"empty_layer":true}"#; bytes / 63].join(",");
    let text = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{"Labels":{{"a":"{long}"}}}},"history":[{{"created_by":"{long}"}},{steps}]}}"#
    );
    text.into_bytes()
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn memory_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1_024
}

/// Not a test of its own: a process that reads one document, and says how many bytes of memory that took.
#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment is how a test tells its child apart from itself")]
fn child_that_reads_a_document() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let is_manifest = std::path::Path::new(&path).ends_with("manifest");
    let read = |body: &[u8]| {
        if is_manifest {
            let Ok(Document::Manifest(manifest)) = Document::parse("", body) else { panic!("no manifest") };
            let image = Image::from_manifest(Digest::sha256_of(b"m"), body.len() as u64, &manifest, None);
            assert!(!image.layers.is_empty());
        } else {
            let facts = ConfigFacts::from(ImageConfig::parse(body).unwrap());
            assert_eq!(facts.platform.as_str(), "linux/amd64");
        }
    };
    // The pages of the program itself, which a first document brings in, are not the document's.
    let first = if is_manifest { manifest_of_layers(1) } else { big_config(63) };
    let body = std::fs::read(&path).unwrap();
    read(&first);
    let before = memory_bytes_max();
    read(&body);
    println!("\ntook {}", memory_bytes_max() - before);
}

#[cfg(target_os = "linux")]
#[test]
fn big_documents_take_little_more_memory_than_their_bytes() {
    for (name, body, times_max) in [("manifest", manifest_of_layers(50_000), 4), ("config", big_config(LONG), 1)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, &body).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scan::hostile::child_that_reads_a_document", "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let took = said.lines().find_map(|line| line.strip_prefix("took ")).unwrap_or_else(|| panic!("{said}"));
        let took: usize = took.parse().unwrap();
        assert!(took <= times_max * body.len(), "{name}: {took} bytes for {}", body.len());
    }
}
