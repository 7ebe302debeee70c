//! Configs of images. Their layers, of 1,000 and 500 bytes, stand in the manifest: what a config says wrongly is no
//! reason to doubt them.

use std::sync::atomic::{AtomicU32, Ordering};

use image_size_exporter::oci::{Digest, MediaType};
use serde_json::{Value, json};

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, api, html, ok, raw, status};
use crate::support::images::{Blob, Pushed};
use crate::support::tar::gzip;

const UP: &str = "up, v1 linux/amd64 1500, stored 1500";
const NO_PLATFORM: &str = "up, v1  1500, stored 1500";
const INVALID: &str = "down, v1 down, get_blob invalid";

/// A registry whose image has this config, and the path of the config.
fn with(config: impl Into<Vec<u8>>) -> (Site, String) {
    let config = Blob::new(MediaType::OCI_CONFIG, config);
    let layers = [Blob::named("a", 1000), Blob::named("b", 500)];
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": layers.each_ref().map(Blob::descriptor),
    });
    let path = format!("GET /v2/acme/app/blobs/{}", config.digest);
    let mut site = Site::new();
    site.push("acme/app", "v1", &Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config], vec![]));
    (site, path)
}

fn config(config: impl Into<Vec<u8>>) -> Site {
    with(config).0
}

/// The config of linux/amd64 with one more field.
fn field(key: &str, value: Value) -> Site {
    let mut fields = json!({"os": "linux", "architecture": "amd64"});
    fields[key] = value;
    config(fields.to_string())
}

/// A good config, that no other registry has, answered so.
fn answered(answer: impl FnOnce(Vec<u8>) -> Answer) -> Site {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let bytes = json!({"os": "linux", "architecture": "amd64", "author": number}).to_string().into_bytes();
    let (site, path) = with(bytes.clone());
    site.fault(&path, [answer(bytes)])
}

fn texts() -> Vec<(String, Site, &'static str)> {
    let texts = [
        ("of 1 MB", "x".repeat(1 << 20)),
        ("of 65 characters", "x".repeat(65)),
        ("that turns around", "lin\u{202e}xu".to_owned()),
        ("of two lines", "linux\namd64".to_owned()),
        ("of an escape", "\u{1b}[31m".to_owned()),
        ("of a NUL", "\0".to_owned()),
        ("of quotes", "\"} 1".to_owned()),
        ("that climbs", "../../etc".to_owned()),
        ("with a slash", "a/b".to_owned()),
        ("of another script", "линукс".to_owned()),
    ];
    let keys = ["os", "architecture", "variant", "os.version"];
    let all = keys.into_iter().flat_map(|key| texts.iter().map(move |(what, text)| (key, *what, text.clone())));
    all.map(|(key, what, text)| (format!("{key} {what}"), field(key, text.into()), INVALID)).collect()
}

fn contents() -> Vec<(&'static str, Site, &'static str)> {
    let raw = |text: &str| config(text);
    let ids = |ids: Value| field("rootfs", json!({"type": "layers", "diff_ids": ids}));
    let diff_id = Digest::sha256_of(b"1").to_string();
    let mut odd_bytes = br#"{"os":"linux","architecture":"amd64","author":""#.to_vec();
    odd_bytes.extend_from_slice(b"\xff\xfe\x80\"}");
    let created = |text: &str| field("created", text.into());
    vec![
        ("config of no bytes", raw(""), NO_PLATFORM),
        ("config that is empty", raw("{}"), NO_PLATFORM),
        ("config that is null", raw("null"), INVALID),
        ("config that is an array", raw("[]"), INVALID),
        ("config that is HTML", raw("<!DOCTYPE html>"), INVALID),
        ("config that is cut in JSON", raw(r#"{"os":"linux""#), INVALID),
        ("config with garbage behind it", raw(r#"{"os":"linux","architecture":"amd64"}x"#), INVALID),
        ("config with a byte order mark", raw("\u{feff}{\"os\":\"linux\",\"architecture\":\"amd64\"}"), UP),
        ("config that is not UTF-8", config(odd_bytes), UP),
        (
            "config with half a surrogate",
            raw(r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"\ud800":"\udfff"}}}"#),
            UP,
        ),
        ("config whose platform is twice", raw(r#"{"os":"linux","os":"windows","architecture":"amd64"}"#), INVALID),
        (
            "config whose other fields are twice",
            raw(
                r#"{"os":"linux","rootfs":1,"rootfs":2,"created":"","created":"","history":[],"history":{},"architecture":"amd64"}"#,
            ),
            UP,
        ),
        ("config whose platform is half a surrogate", raw(r#"{"os":"\ud800","architecture":"amd64"}"#), INVALID),
        ("config whose platform is null", raw(r#"{"os":null,"architecture":null}"#), NO_PLATFORM),
        ("config whose platform is numbers", raw(r#"{"os":1,"architecture":2}"#), INVALID),
        ("config nested for ever", config(format!("{{\"config\":{}", "[".repeat(100_000))), INVALID),
        (
            "config with empty_layer of null",
            field("history", json!([{"empty_layer": null}, {"empty_layer": true}])),
            UP,
        ),
        ("config with empty_layer of a text", field("history", json!([{"empty_layer": "yes"}])), UP),
        ("config with history of nulls", field("history", json!([null, null])), UP),
        ("config with history that is a map", field("history", json!({})), UP),
        ("config with history of 100,000 steps", field("history", json!(vec![json!({}); 100_000])), UP),
        ("config with commands of 3 MB", field("history", json!([{"created_by": "x".repeat(3 << 20)}])), UP),
        ("config with diff_ids of null", ids(Value::Null), UP),
        ("config with a diff_id that is empty", ids(json!([diff_id, ""])), UP),
        ("config with a diff_id that is null", ids(json!([null, diff_id])), UP),
        ("config with a diff_id that is none", ids(json!(["sha256:1", "md5:x"])), UP),
        ("config with a diff_id that is a number", ids(json!([1, 2])), UP),
        ("config with too many diff_ids", ids(json!(vec![diff_id.clone(); 1_000])), UP),
        ("config with one diff_id for two layers", ids(json!([diff_id])), UP),
        ("config with rootfs of null", field("rootfs", Value::Null), UP),
        ("config with rootfs that is a text", field("rootfs", "layers".into()), UP),
        ("config with a date of 1 MB", created(&"2".repeat(1 << 20)), UP),
        ("config with a date that is none", created("yesterday"), UP),
        ("config with a date that is empty", created(""), UP),
        ("config with a date before all", created("0001-01-01T00:00:00Z"), UP),
        ("config with a date after all", created("9999-12-31T23:59:60Z"), UP),
        ("config with a date of five digits", created("99999-01-01T00:00:00Z"), UP),
        ("config with a date of the 30th of February", created("2024-02-30T00:00:00Z"), UP),
        ("config with a date that is a number", field("created", 0.into()), UP),
        ("config with a date that turns around", created("\u{202e}Z00:00:00T10-10-4202"), UP),
        ("config of labels of 3 MB", field("config", json!({"Labels": {"a": "x".repeat(3 << 20)}})), UP),
    ]
}

fn answers() -> Vec<(&'static str, Site, &'static str)> {
    vec![
        ("config that is missing", answered(|_| api(404, "BLOB_UNKNOWN")), "down, v1 down, get_blob not_found"),
        ("config of a proxy that knows nothing", answered(|_| html(404)), "down, v1 down, get_blob server"),
        ("config that is denied", answered(|_| status(403)), "down, v1 down, get_blob denied"),
        ("config that fails", answered(|_| status(500)), "down, v1 down, get_blob server"),
        ("config of another digest", answered(|_| ok(r#"{"os":"evil"}"#)), INVALID),
        ("config of no bytes where some were said", answered(|_| ok("")), INVALID),
        ("config that is longer than said", answered(|bytes| ok([bytes, b" ".to_vec()].concat())), INVALID),
        ("config of 5 MB", answered(|_| ok(vec![b' '; 5 << 20])), "down, v1 down, get_blob limit"),
        (
            "config without an end",
            answered(|_| Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".into(), vec![b' '; 1 << 16].into())),
            "down, v1 down, get_blob limit",
        ),
        (
            "config that is cut",
            answered(|_| raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")),
            "down, v1 down, get_blob network",
        ),
        ("config in gzip", answered(|bytes| ok(gzip(&bytes)).with("Content-Encoding", "gzip")), UP),
        (
            "config that is a gzip bomb",
            answered(|_| ok(gzip(&vec![0; 64 << 20])).with("Content-Encoding", "gzip")),
            "down, v1 down, get_blob limit",
        ),
        (
            "config that is moved to nothing",
            answered(|_| status(302).with("Location", "{base}/v2/acme/app/blobs/sha256:")),
            "down, v1 down, get_blob not_found",
        ),
        (
            "config that is moved to metadata of a cloud",
            answered(|_| status(302).with("Location", "http://169.254.169.254/")),
            "down, v1 down, get_blob server",
        ),
    ]
}

#[test]
fn hostile_configs_cost_no_size_or_fail_with_a_reason() {
    let others =
        contents().into_iter().chain(answers()).map(|(name, site, expected)| (name.to_owned(), site, expected));
    let all = texts().into_iter().chain(others);
    run(all.map(|(name, site, expected)| Scenario::new(&name, site, expected)).collect());
}
