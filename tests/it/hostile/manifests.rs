//! Manifests, indexes, and manifests of schema 1.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use image_size_exporter::oci::{Digest, MediaType};
use serde_json::{Value, json};

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, api, html, ok, raw, status};
use crate::support::images::{
    Blob, FOREIGN_LAYER, OCI_LAYER, Pushed, artifact, config, docker_list, entry, image, index, schema1,
};
use crate::support::tar::gzip;

const MANIFEST: &str = "GET /v2/acme/app/manifests/v1";

const UP: &str = "up, v1 linux/amd64 1000, stored 1000";
const INVALID: &str = "down, v1 down, get_manifest invalid";
const LIMIT: &str = "down, v1 down, get_manifest limit";

fn layer() -> Blob {
    Blob::named("layer", 1000)
}

/// One that no other registry has: what is known of content by its digest counts for all registries.
fn unique() -> Blob {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    Blob::named(&format!("layer {}", NUMBER.fetch_add(1, Ordering::Relaxed)), 1000)
}

/// A registry whose `v1` is this document.
fn document(media_type: &str, bytes: impl Into<Vec<u8>>) -> Site {
    with_blobs(media_type, bytes, &[])
}

fn with_blobs(media_type: &str, bytes: impl Into<Vec<u8>>, blobs: &[&Blob]) -> Site {
    let blobs = blobs.iter().map(|blob| (*blob).clone()).collect();
    site_of(&Pushed { manifest: Blob::new(media_type, bytes), blobs, children: vec![] })
}

fn site_of(pushed: &Pushed) -> Site {
    let mut site = Site::new();
    site.push("acme/app", "v1", pushed);
    site
}

/// An image of one layer of 1,000 bytes, changed before it is pushed.
fn changed(change: impl FnOnce(&mut Value)) -> Site {
    let layer = unique();
    let config = config("linux/amd64", &[&layer]);
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    });
    change(&mut manifest);
    with_blobs(MediaType::OCI_MANIFEST, manifest.to_string(), &[&config])
}

/// The same with other text where its only layer's size, `1000`, stands.
fn of_size(size: &str) -> Site {
    let config = config("linux/amd64", &[&layer()]);
    let (config_descriptor, digest) = (config.descriptor(), layer().digest);
    let text = format!(
        r#"{{"schemaVersion":2,"config":{config_descriptor},"layers":[{{"mediaType":"{OCI_LAYER}","digest":"{digest}","size":{size}}}]}}"#
    );
    with_blobs(MediaType::OCI_MANIFEST, text, &[&config])
}

/// An index of these entries, whose children are stored.
fn index_of(entries: &[Value], children: Vec<Pushed>) -> Pushed {
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    Pushed::from_json(MediaType::OCI_INDEX, &index, vec![], children)
}

fn one() -> Pushed {
    image("linux/amd64", &[&layer()])
}

fn answered(answer: Answer) -> Site {
    Site::new().fault(MANIFEST, [answer])
}

fn bodies() -> Vec<(&'static str, Site, &'static str)> {
    let json = |text: &str| document(MediaType::OCI_MANIFEST, text);
    let mut with_mark = b"\xef\xbb\xbf".to_vec();
    with_mark.extend(one().manifest.bytes.unwrap());
    let usual = one().manifest.bytes.unwrap();
    let gzipped = Answer::Http(200, vec![("Content-Encoding".to_owned(), "gzip".to_owned())], gzip(&usual).into());
    let mut lossy = Vec::new();
    lossy.extend_from_slice(b"{\"annotations\":{\"a\":\"\xff\xfe\"},");
    lossy.extend_from_slice(&usual[1..]);
    vec![
        ("manifest of no bytes", json(""), INVALID),
        ("manifest that is null", json("null"), INVALID),
        ("manifest that is an array", json("[]"), INVALID),
        ("manifest that is a number", json("7"), INVALID),
        ("manifest that is an empty object", json("{}"), INVALID),
        ("manifest that is HTML", answered(html(200)), INVALID),
        ("manifest of an error with status 200", json(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#), INVALID),
        ("manifest that is cut in JSON", json(r#"{"schemaVersion":2,"layers":[{"#), INVALID),
        (
            "manifest with garbage behind it",
            document(MediaType::OCI_MANIFEST, [&usual[..], b"garbage"].concat()),
            INVALID,
        ),
        ("manifest twice", document(MediaType::OCI_MANIFEST, [&usual[..], &usual[..]].concat()), INVALID),
        ("manifest with a byte order mark", document(MediaType::OCI_MANIFEST, with_mark), INVALID),
        (
            "manifest that is not UTF-8",
            with_blobs(MediaType::OCI_MANIFEST, lossy, &[&config("linux/amd64", &[&layer()])]),
            UP,
        ),
        ("manifest nested for ever", json(&format!("{{\"annotations\":{}", "[".repeat(100_000))), INVALID),
        (
            "manifest nested in what nobody reads",
            json(&format!("{{\"x\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000))),
            INVALID,
        ),
        ("manifest of 9 MiB", json(&format!(r#"{{"layers":[],"pad":"{}"}}"#, "x".repeat(9 << 20))), LIMIT),
        (
            "manifest without an end",
            answered(Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".into(), vec![b'['; 1 << 16].into())),
            LIMIT,
        ),
        ("manifest in gzip", site_of(&one()).fault(MANIFEST, [gzipped]), "up, v1 linux/amd64 1000, stored 1000"),
        (
            "manifest that is a gzip bomb",
            answered(ok(gzip(&vec![b' '; 64 << 20])).with("Content-Encoding", "gzip")),
            LIMIT,
        ),
        ("manifest in zstd", answered(ok("x").with("Content-Encoding", "zstd")), "down, v1 down, get_manifest server"),
        ("manifest with two layer lists", json(r#"{"layers":[],"layers":[]}"#), INVALID),
        ("manifest of a proxy that knows nothing", answered(html(404)), "down, v1 down, get_manifest server"),
        ("manifest that is missing", answered(api(404, "MANIFEST_UNKNOWN")), "down, v1 down, get_manifest not_found"),
        (
            "manifest of a repository that is missing",
            answered(api(404, "NAME_UNKNOWN")),
            "down, v1 down, get_manifest not_found",
        ),
        ("manifest that is denied", answered(api(403, "DENIED")), "down, v1 down, get_manifest denied"),
        ("manifest that is a teapot", answered(status(418)), "down, v1 down, get_manifest server"),
        (
            "manifest that is cut",
            answered(raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"schema")),
            "down, v1 down, get_manifest network",
        ),
    ]
}

fn headers() -> Vec<(&'static str, Site, &'static str)> {
    let usual = Site::new().manifest("v1");
    let with = |name: &str, value: &str| {
        let Answer::Http(status, headers, body) = usual.clone() else { unreachable!() };
        let headers = headers.into_iter().filter(|(known, _)| known != name).collect();
        answered(Answer::Http(status, headers, body).with(name, value))
    };
    let digest = |value: &str| with("Docker-Content-Digest", value);
    vec![
        ("digest header of something else", digest(&Digest::sha256_of(b"x").to_string()), UP),
        ("digest header that is empty", digest(""), UP),
        (
            "digest header without an algorithm",
            digest("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            UP,
        ),
        ("digest header of 33 bytes", digest(&format!("sha256:{}", "ab".repeat(33))), UP),
        ("digest header of an unknown algorithm", digest(&format!("blake3:{}", "ab".repeat(32))), UP),
        ("digest header of 60 KB", digest(&"a".repeat(60_000)), UP),
        ("digest header that is not ASCII", digest("sha256:\u{202e}"), UP),
        ("digest header in capitals", digest(&Digest::sha256_of(b"x").to_string().to_uppercase()), UP),
        (
            "digest header twice",
            answered(usual.clone().with("Docker-Content-Digest", &Digest::sha256_of(b"y").to_string())),
            UP,
        ),
        ("content type of HTML", with("Content-Type", "text/html"), UP),
        ("content type of nothing", with("Content-Type", ""), UP),
        ("content type of 60 KB", with("Content-Type", &"a/".repeat(30_000)), UP),
        ("content type of an index", with("Content-Type", MediaType::OCI_INDEX), UP),
        ("content type of schema 1", with("Content-Type", MediaType::SCHEMA1_SIGNED), UP),
        ("content type that is not ASCII", with("Content-Type", "application/\u{202e}nosj"), UP),
    ]
}

fn layers() -> Vec<(&'static str, Site, &'static str)> {
    let most = i64::MAX;
    let text = |key: &'static str, text: &str| {
        let text = text.to_owned();
        changed(move |manifest| manifest["layers"][0][key] = text.into())
    };
    let layers_of = |layers: Value| changed(|manifest| manifest["layers"] = layers);
    let foreign = layer().of_type(FOREIGN_LAYER);
    vec![
        ("layers that are a text", layers_of("x".into()), INVALID),
        ("layers that are a map", layers_of(json!({})), INVALID),
        ("layers that are null", layers_of(Value::Null), "up, v1 linux/amd64 0, stored 0"),
        ("layers with null in them", layers_of(json!([null])), INVALID),
        ("layers that are numbers", layers_of(json!([1])), INVALID),
        ("layer size that is negative", of_size("-1"), INVALID),
        ("layer size that is a text", of_size("\"1000\""), INVALID),
        ("layer size that is null", of_size("null"), INVALID),
        ("layer size with a fraction", of_size("1000.5"), INVALID),
        ("layer size with an exponent", of_size("1e3"), INVALID),
        ("layer size of 64 bits", of_size("18446744073709551615"), INVALID),
        ("layer size of 400 digits", of_size(&"9".repeat(400)), INVALID),
        (
            "layer size of 63 bits",
            of_size("9223372036854775807"),
            "up, v1 linux/amd64 9223372036854775807, stored 9223372036854775807",
        ),
        (
            "layer sizes that overflow",
            layers_of(json!([0, 1, 2].map(|n| json!({"digest": Digest::sha256_of(&[n]).to_string(), "size": most})))),
            INVALID,
        ),
        (
            "layer without a digest",
            changed(|manifest| {
                manifest["layers"][0].as_object_mut().unwrap().remove("digest");
            }),
            INVALID,
        ),
        ("layer of 33 bytes of digest", text("digest", &format!("sha256:{}", "ab".repeat(33))), INVALID),
        ("layer digest in capitals", text("digest", &format!("sha256:{}", "AB".repeat(32))), INVALID),
        ("layer digest of an unknown algorithm", text("digest", &format!("blake3:{}", "ab".repeat(32))), UP),
        ("layer digest of 600 bytes", text("digest", &format!("x:{}", "a".repeat(600))), INVALID),
        ("layer digest that climbs", text("digest", "sha256:../../../../etc/passwd"), INVALID),
        ("layer type of 1 MB", text("mediaType", &"x".repeat(1 << 20)), INVALID),
        ("layer type that turns around", text("mediaType", "a/\u{202e}b"), INVALID),
        ("layer type that is null", changed(|manifest| manifest["layers"][0]["mediaType"] = Value::Null), UP),
        ("layer type that is a number", changed(|manifest| manifest["layers"][0]["mediaType"] = 7.into()), INVALID),
        ("layer that is elsewhere", with_foreign(&foreign), "up, v1 linux/amd64 1000, stored 0"),
        (
            "layer annotations that are a list",
            changed(|manifest| manifest["layers"][0]["annotations"] = json!([])),
            INVALID,
        ),
        (
            "layer with addresses",
            changed(|manifest| manifest["layers"][0]["urls"] = json!(["http://169.254.169.254/", 7])),
            UP,
        ),
        (
            "one layer 1,000 times",
            layers_of(json!(vec![layer().descriptor(); 1_000])),
            "up, v1 linux/amd64 1000000, stored 1000",
        ),
        ("4,096 layers", document(MediaType::OCI_MANIFEST, many_layers(4_096)), "up, v1  4096, stored 4096"),
        ("4,097 layers", document(MediaType::OCI_MANIFEST, many_layers(4_097)), LIMIT),
    ]
}

fn configs() -> Vec<(&'static str, Site, &'static str)> {
    vec![
        ("config that is null", changed(|manifest| manifest["config"] = Value::Null), "up, v1  1000, stored 1000"),
        ("config that is a text", changed(|manifest| manifest["config"] = "x".into()), INVALID),
        (
            "config type that is unknown",
            changed(|manifest| manifest["config"]["mediaType"] = "x/y".into()),
            "up, v1  1000, stored 1000",
        ),
        (
            "config of 1 TB",
            changed(|manifest| manifest["config"]["size"] = (1_u64 << 40).into()),
            "down, v1 down, get_blob limit",
        ),
        ("config of another size", changed(|manifest| manifest["config"]["size"] = 1.into()), UP),
        ("config data of something else", changed(|manifest| manifest["config"]["data"] = "e30=".into()), UP),
        ("config data that is no base64", changed(|manifest| manifest["config"]["data"] = "\u{202e}".into()), UP),
        ("artifact type of 1 MB", changed(|manifest| manifest["artifactType"] = "x".repeat(1 << 20).into()), INVALID),
        (
            "artifact type that turns around",
            changed(|manifest| manifest["artifactType"] = "a/\u{202e}b".into()),
            INVALID,
        ),
        ("annotation of 1 MB", changed(|manifest| manifest["annotations"] = json!({"a": "x".repeat(1 << 20)})), UP),
        ("schema version of the future", changed(|manifest| manifest["schemaVersion"] = 99.into()), UP),
        ("artifact", site_of(&artifact("application/vnd.acme.x", &[&layer()])), "up, v1  1000, stored 1000"),
    ]
}

/// An image whose labels are as long as they may be.
fn long_labels() -> (Site, String) {
    let part = |letter: &str| letter.repeat(64);
    let platform = [part("o"), part("a"), part("v")];
    let mut config = Blob::new(
        MediaType::OCI_CONFIG,
        json!({"os": platform[0], "architecture": platform[1], "variant": platform[2]}).to_string(),
    );
    config.digest = format!("{}:{}", "x".repeat(200), "a".repeat(256)).parse().unwrap();
    let manifest = json!({"schemaVersion": 2, "config": config.descriptor(), "layers": [layer().descriptor()]});
    let site = site_of(&Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config], vec![]));
    (site, format!("up, v1 {} 1000, stored 1000", platform.join("/")))
}

fn with_foreign(foreign: &Blob) -> Site {
    site_of(&image("linux/amd64", &[foreign]))
}

fn many_layers(count: u32) -> String {
    let mut text = r#"{"schemaVersion":2,"layers":["#.to_owned();
    for number in 0..count {
        let (comma, digest) = (if number == 0 { "" } else { "," }, Digest::sha256_of(&number.to_be_bytes()));
        write!(text, r#"{comma}{{"mediaType":"{OCI_LAYER}","size":1,"digest":"{digest}"}}"#).unwrap();
    }
    text + "]}"
}

fn indexes() -> Vec<(&'static str, Site, &'static str)> {
    let arm64 = image("linux/arm64", &[&layer()]);
    let unknown = |digest: &str| json!({"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": 500});
    let odd = format!("cycle:{}", "a".repeat(40));
    let in_circle = {
        let mut entry = unknown(&odd);
        entry["mediaType"] = MediaType::OCI_INDEX.into();
        index_of(&[entry], vec![])
    };
    let deep = |levels: u32| (0..levels).fold(one(), |child, _| index(&[("", &child)]));
    let broken = |answer: Answer| {
        let child = image("linux/amd64", &[&unique()]);
        let path = format!("GET /v2/acme/app/manifests/{}", child.digest());
        site_of(&index(&[("linux/amd64", &child), ("linux/arm64", &arm64)])).fault(&path, [answer])
    };
    let many = |count: u32| {
        let entries: Vec<Value> =
            (0..count).map(|number| unknown(&Digest::sha256_of(&number.to_be_bytes()).to_string())).collect();
        site_of(&index_of(&entries, vec![]))
    };
    let others = |count: u32| {
        let images: Vec<Pushed> =
            (0..count).map(|n| image("linux/amd64", &[&Blob::named(&n.to_string(), 1000)])).collect();
        site_of(&index(&images.iter().map(|image| ("linux/amd64", image)).collect::<Vec<_>>()))
    };
    vec![
        ("index of nothing", site_of(&index_of(&[], vec![])), "up"),
        ("index of null", document(MediaType::OCI_INDEX, r#"{"schemaVersion":2,"manifests":null}"#), "up"),
        ("index with null in it", document(MediaType::OCI_INDEX, r#"{"manifests":[null]}"#), INVALID),
        ("index that is a text", document(MediaType::OCI_INDEX, r#"{"manifests":"x"}"#), INVALID),
        ("index of layers", changed(|manifest| manifest["manifests"] = json!([])), UP),
        (
            "index type with layers",
            changed(|manifest| {
                manifest["manifests"] = json!([]);
                manifest["mediaType"] = MediaType::OCI_INDEX.into();
            }),
            UP,
        ),
        (
            "index and manifest in one",
            changed(|manifest| manifest["manifests"] = json!([unknown(&Digest::sha256_of(b"x").to_string())])),
            INVALID,
        ),
        (
            "index of a missing child",
            site_of(&index_of(&[entry("linux/amd64", &one()), entry("linux/arm64", &arm64)], vec![one()])),
            "up, v1 linux/amd64 1000, stored 1000, get_manifest not_found",
        ),
        (
            "index whose child is broken",
            broken(ok("{}")),
            "down, v1 linux/arm64 1000, stored 1000, v1 down, get_manifest invalid",
        ),
        (
            "index whose child is another",
            broken(ok(arm64.manifest.bytes.clone().unwrap())),
            "down, v1 linux/arm64 1000, stored 1000, v1 down, get_manifest invalid",
        ),
        (
            "index whose child is HTML",
            broken(html(200)),
            "down, v1 linux/arm64 1000, stored 1000, v1 down, get_manifest invalid",
        ),
        (
            "index whose child is denied",
            broken(status(403)),
            "down, v1 linux/arm64 1000, stored 1000, v1 down, get_manifest denied",
        ),
        (
            "index whose child fails",
            broken(status(500)),
            "down, v1 linux/arm64 1000, stored 1000, v1 down, get_manifest server",
        ),
        (
            "index in itself",
            site_of(&in_circle)
                .fault("GET /v2/acme/app/manifests/cycle:", [ok(in_circle.manifest.bytes.clone().unwrap())]),
            "up",
        ),
        ("index nested three deep", site_of(&deep(3)), UP),
        ("index nested ten deep", site_of(&deep(10)), LIMIT),
        ("index of 1,001 entries", many(1_001), LIMIT),
        ("index of 300 missing children", many(300), "up, get_manifest not_found"),
        ("index of 300 images of one platform", others(300), "up, 300 images, stored 300000"),
        ("index of one child 500 times", site_of(&index_of(&vec![entry("linux/amd64", &one()); 500], vec![one()])), UP),
    ]
}

fn entries() -> Vec<(&'static str, Site, &'static str)> {
    let platform = |platform: Value| {
        let mut entry = entry("linux/amd64", &one());
        entry["platform"] = platform;
        site_of(&index_of(&[entry], vec![one()]))
    };
    vec![
        (
            "index entry of an unknown type",
            site_of(&index_of(
                &[json!({"mediaType": "x/y", "digest": one().digest().to_string(), "size": 1})],
                vec![one()],
            )),
            "up",
        ),
        (
            "index entry of a type of 1 MB",
            site_of(&index_of(
                &[json!({"mediaType": "x".repeat(1 << 20), "digest": one().digest().to_string(), "size": 1})],
                vec![],
            )),
            INVALID,
        ),
        (
            "index entry of a negative size",
            site_of(&index_of(&[json!({"digest": one().digest().to_string(), "size": -1})], vec![])),
            INVALID,
        ),
        (
            "index entry of another size",
            site_of(&index_of(
                &[json!({"mediaType": MediaType::OCI_MANIFEST, "digest": one().digest().to_string(), "size": 7})],
                vec![one()],
            )),
            UP,
        ),
        ("index platform that is null", platform(Value::Null), UP),
        ("index platform that is a text", platform("linux/amd64".into()), UP),
        ("index platform that turns around", platform(json!({"os": "lin\u{202e}ux", "architecture": "amd64"})), UP),
        ("index platform of 1 MB", platform(json!({"os": "linux", "architecture": "x".repeat(1 << 20)})), UP),
        ("index platform with quotes", platform(json!({"os": "linux\"} 1\n", "architecture": "amd64"})), UP),
        ("index platform of numbers", platform(json!({"os": 1, "architecture": 2})), UP),
        (
            "index of two of one platform",
            site_of(&docker_list(&[
                ("linux/amd64", &one()),
                ("linux/amd64", &image("linux/amd64", &[&Blob::named("b", 5)])),
            ])),
            "up, v1 linux/amd64 1000, v1 linux/amd64+2 5, stored 1005",
        ),
        (
            "index of layers as children",
            site_of(&index_of(
                &[json!({"mediaType": OCI_LAYER, "digest": layer().digest.to_string(), "size": 1000})],
                vec![],
            )),
            "up",
        ),
    ]
}

/// A manifest of schema 1 with a signature that has this length and tail.
fn signed(length: Option<usize>, tail: &str) -> Site {
    let manifest = schema1(&[&layer()]).manifest.bytes.unwrap();
    let head = &manifest[..manifest.len() - 1];
    let protected = json!({"formatLength": length.unwrap_or(head.len()), "formatTail": URL_SAFE_NO_PAD.encode(tail)});
    let signature =
        json!([{"header": {}, "signature": "x", "protected": URL_SAFE_NO_PAD.encode(protected.to_string())}]);
    let body = [head, format!(",\"signatures\":{signature}}}").as_bytes()].concat();
    old(MediaType::SCHEMA1_SIGNED, body)
}

/// A document of schema 1, and its layer's size.
fn old(media_type: &str, body: impl Into<Vec<u8>>) -> Site {
    document(media_type, body).fault(
        &format!("HEAD /v2/acme/app/blobs/{}", layer().digest),
        [raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")],
    )
}

fn schema1_changed(change: impl FnOnce(&mut Value)) -> Site {
    let mut manifest: Value = serde_json::from_slice(&schema1(&[&layer()]).manifest.bytes.unwrap()).unwrap();
    change(&mut manifest);
    old(MediaType::SCHEMA1, manifest.to_string())
}

fn schemas() -> Vec<(&'static str, Site, &'static str)> {
    let head = |answer: Answer| {
        let layer = unique();
        document(MediaType::SCHEMA1, schema1(&[&layer]).manifest.bytes.unwrap())
            .fault(&format!("HEAD /v2/acme/app/blobs/{}", layer.digest), [answer])
    };
    vec![
        ("schema 1", schema1_changed(|_| ()), UP),
        ("schema 1 signed", signed(None, "}"), UP),
        ("schema 1 with a signature of another length", signed(Some(3), "}"), UP),
        ("schema 1 with a signature of no length", signed(Some(usize::MAX), "}"), UP),
        ("schema 1 with a signature of another tail", signed(None, ",\"layers\":[]}"), UP),
        (
            "schema 1 without history",
            schema1_changed(|manifest| {
                manifest.as_object_mut().unwrap().remove("history");
            }),
            UP,
        ),
        ("schema 1 with history of null", schema1_changed(|manifest| manifest["history"] = Value::Null), UP),
        (
            "schema 1 with history that is no JSON",
            schema1_changed(|manifest| manifest["history"] = json!([{"v1Compatibility": "<html>"}])),
            UP,
        ),
        ("schema 1 with history of numbers", schema1_changed(|manifest| manifest["history"] = json!([7])), INVALID),
        ("schema 1 with layers of null", schema1_changed(|manifest| manifest["fsLayers"] = Value::Null), INVALID),
        (
            "schema 1 with layers that are texts",
            schema1_changed(|manifest| manifest["fsLayers"] = json!(["x"])),
            INVALID,
        ),
        (
            "schema 1 with a broken digest",
            schema1_changed(|manifest| manifest["fsLayers"] = json!([{"blobSum": "sha256:1"}])),
            INVALID,
        ),
        (
            "schema 1 with an odd architecture",
            schema1_changed(|manifest| manifest["architecture"] = "\u{202e}46dma".into()),
            INVALID,
        ),
        (
            "schema 1 with an architecture of 1 MB",
            schema1_changed(|manifest| manifest["architecture"] = "x".repeat(1 << 20).into()),
            INVALID,
        ),
        ("schema 1 whose layer is missing", head(api(404, "BLOB_UNKNOWN")), "down, v1 down, get_blob not_found"),
        (
            "schema 1 whose layer has no length",
            head(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
            "down, v1 down, get_blob not_found",
        ),
        (
            "schema 1 whose layer has an odd length",
            head(raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")),
            "down, v1 down, get_blob not_found",
        ),
        ("schema 1 whose layer is denied", head(status(403)), "down, v1 down, get_blob not_found, head_blob denied"),
    ]
}

#[test]
fn hostile_manifests_are_read_or_refused_with_a_reason() {
    let all = [bodies(), headers(), layers(), configs(), indexes(), entries(), schemas()];
    let mut scenarios: Vec<Scenario> =
        all.into_iter().flatten().map(|(name, site, expected)| Scenario::new(name, site, expected)).collect();
    let (site, expected) = long_labels();
    scenarios.push(Scenario::new("labels as long as they may be", site, &expected));
    run(scenarios);
}
