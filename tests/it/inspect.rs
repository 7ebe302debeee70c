//! `inspect`: what is printed, and with which exit code it fails.

mod files;

use std::collections::BTreeMap;

use image_size_exporter::commands::inspect::{Arguments, InspectError, Terminal, inspect};
use image_size_exporter::oci::{Digest, MediaType};
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::target::Uncompressed;
use serde_json::json;

use crate::support::images::{Blob, Pushed, image, image_of_tars, index};
use crate::support::registry::{Access, Reply, TestRegistry};
use crate::support::tar::{Tar, hard_link};

async fn inspected(references: &[String], platform: Option<&str>, terminal: Terminal) -> Result<String, InspectError> {
    let platform = platform.map(|platform| platform.parse().unwrap());
    let arguments = Arguments { platform, ..arguments(references) };
    Ok(printed(&arguments, terminal).await?.0)
}

fn arguments(references: &[String]) -> Arguments {
    Arguments {
        references: references.iter().map(|reference| reference.parse().unwrap()).collect(),
        platform: None,
        uncompressed: Uncompressed::Off,
        files: false,
        top: 10,
        bytes: true,
        no_trunc: false,
        json: false,
    }
}

/// What comes on stdout and on stderr.
async fn printed(arguments: &Arguments, terminal: Terminal) -> Result<(String, String), InspectError> {
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    inspect(&registries, arguments, None, terminal, &mut out, &mut err).await?;
    Ok((String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap()))
}

/// Lines that have a text, without the blanks between columns.
fn lines_with(text: &str, part: &str) -> Vec<String> {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().filter(|line| line.contains(part)).map(squeeze).collect()
}

#[tokio::test]
async fn an_index_shows_its_platforms_and_each_its_layers_last_first() {
    let registry = TestRegistry::start();
    let (base, top) = (Blob::named("base", 100), Blob::named("top", 20));
    let both = index(&[
        ("linux/amd64", &image("linux/amd64", &[&base, &top])),
        ("linux/arm64", &image("linux/arm64", &[&base])),
    ]);
    registry.push("acme/app", "v1", &both);
    let reference = format!("{}/acme/app:v1", registry.name());
    let text = inspected(std::slice::from_ref(&reference), None, Terminal::default()).await.unwrap();
    assert_eq!(
        lines_with(&text, "linux/amd64  ")[0].split(' ').take(3).collect::<Vec<_>>(),
        ["linux/amd64", "2", "120"]
    );
    assert_eq!(lines_with(&text, "distinct"), ["stored 120 in distinct layers"]);
    let commands: Vec<_> =
        lines_with(&text, "COPY").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["20", "100", "100"]);
    let one = inspected(std::slice::from_ref(&reference), Some("linux/arm64"), Terminal::default()).await.unwrap();
    assert_eq!(lines_with(&one, "COPY").len(), 1);
    let narrow = Terminal { width: Some(60), ..Terminal::default() };
    let narrow = inspected(std::slice::from_ref(&reference), None, narrow).await.unwrap();
    let rows: Vec<&str> = narrow.lines().filter(|line| line.contains("COPY") || line.contains("COMMAND")).collect();
    assert!(!rows.is_empty() && rows.iter().all(|line| line.chars().count() <= 60), "{rows:?}");
    let missing = inspected(&[reference], Some("linux/s390x"), Terminal::default()).await.unwrap_err();
    assert_eq!(missing.exit_code(), 4);
    let said = missing.to_string();
    assert!(said.ends_with("has no image for linux/s390x: it has linux/amd64, linux/arm64"), "{said}");
}

#[tokio::test]
async fn a_missing_tag_names_the_nearest_ones_by_one_request() {
    let registry = TestRegistry::start();
    let one = image("linux/amd64", &[]);
    for tag in ["v1.0.0", "v1.1.0", "latest"] {
        registry.push("acme/app", tag, &one);
    }
    registry.missing("/v2/acme/app/manifests/v1.2.0");
    registry.missing("/v2/acme/nothing/");
    let said = async |reference: &str| {
        let reference = format!("{}/acme/{reference}", registry.name());
        let error = inspected(&[reference], None, Terminal::default()).await.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        (error.to_string(), registry.take_counts())
    };
    let (message, requests) = said("app:v1.2.0").await;
    assert!(message.ends_with("\nthe nearest of the repository's 3 tags: v1.1.0, v1.0.0"), "{message}");
    assert_eq!(requests, "get_manifest 1, list_tags 1");
    // Of a list in pages the first one is enough.
    let page = Reply::Answer(
        200,
        vec![("link", "</v2/acme/app/tags/list?last=v1>; rel=\"next\"".to_owned())],
        r#"{"name": "acme/app", "tags": ["v1.0.0"]}"#.to_owned(),
    );
    registry.always("GET /v2/acme/app/tags/list", page);
    let (message, requests) = said("app:v1.2.0").await;
    assert!(message.ends_with("\nthe nearest of the first 1 tags of the repository's list: v1.0.0"), "{message}");
    assert_eq!(requests, "get_manifest 1, list_tags 1");
    let (message, _) = said("nothing:v1").await;
    assert!(message.ends_with("\nthe registry has no tags of this repository: check its spelling"), "{message}");
}

/// A `RUN` of 1,500 characters made a line of 1,589.
#[tokio::test]
async fn long_commands_are_cut_unless_everything_is_wanted() {
    let registry = TestRegistry::start();
    let layer = Blob::named("base", 100);
    let history = json!([{"created_by": format!("RUN {}", "x".repeat(1500)), "created": "2024-01-01T00:00:00Z"}]);
    let config = json!({"os": "linux", "architecture": "amd64", "history": history});
    let config = Blob::new(MediaType::OCI_CONFIG, config.to_string());
    let manifest = json!({"schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()]});
    let image = Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config, layer], vec![]);
    registry.push("acme/app", "v1", &image);
    let reference = format!("{}/acme/app:v1", registry.name());
    let widest = async |width, no_trunc| {
        let arguments = Arguments { no_trunc, ..arguments(std::slice::from_ref(&reference)) };
        let terminal = Terminal { width, ..Terminal::default() };
        let text = printed(&arguments, terminal).await.unwrap().0;
        let table = text.lines().filter(|line| line.contains("RUN x"));
        table.map(|line| line.chars().count()).max().unwrap()
    };
    assert_eq!(widest(Some(80), false).await, 80);
    assert!(widest(None, false).await < 160);
    assert!(widest(Some(80), true).await > 1500);
}

#[tokio::test]
async fn two_images_are_compared_layer_by_layer() {
    let registry = TestRegistry::start();
    let (base, old, new) = (Blob::named("base", 100), Blob::named("old", 20), Blob::named("new", 55));
    registry.push("acme/app", "v1", &image("linux/amd64", &[&base, &old]));
    registry.push("acme/app", "v2", &image("linux/amd64", &[&base, &new]));
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let text = inspected(&[name("v1"), name("v2")], None, Terminal::default()).await.unwrap();
    assert_eq!(lines_with(&text, "total"), ["120 155 +35 total"]);
    assert_eq!(lines_with(&text, "COPY 100").concat().split(' ').take(3).collect::<Vec<_>>(), ["=", "100", "100"]);
    assert!(lines_with(&text, "COPY 55").concat().starts_with("+ 55 +55"), "{text}");
    assert!(lines_with(&text, "COPY 20").concat().starts_with("- 20 -20"), "{text}");
}

#[tokio::test]
async fn denied_not_found_and_unreachable_have_exit_codes_of_their_own() {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[]));
    registry.missing("/v2/acme/app/manifests/v2");
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let code = async |reference: String| {
        inspected(&[reference], None, Terminal::default()).await.map_err(|error| (error.exit_code(), error.to_string()))
    };
    assert!(code(name("v1")).await.is_ok());
    let (not_found, message) = code(name("v2")).await.unwrap_err();
    assert_eq!(not_found, 4, "{message}");
    assert!(message.ends_with("\nthe nearest of the repository's only tag: v1"), "{message}");
    registry.require(Access::Basic(vec![("somebody", "else")]));
    let (denied, message) = code(name("v1")).await.unwrap_err();
    assert_eq!(denied, 3, "{message}");
    assert!(message.contains("docker login"), "{message}");
    // Nothing listens on this port any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (unreachable, message) = code(format!("{closed}/acme/app:v1")).await.unwrap_err();
    assert_eq!(unreachable, 5, "{message}");
}

#[tokio::test]
async fn a_layer_without_a_size_says_why() {
    let registry = TestRegistry::start();
    let linked = Tar::new(&[hard_link("alias", "of/a/lower/layer"), vec![0; 1024]].concat());
    let broken = Tar { diff_id: Digest::sha256_of(b"of another"), gzip: Tar::new(&[0; 2048]).gzip };
    registry.push("acme/app", "v1", &image_of_tars(&[&linked, &broken]));
    let reference = format!("{}/acme/app:v1", registry.name());
    let arguments = Arguments { uncompressed: Uncompressed::Exact, ..arguments(&[reference]) };
    let (_, said) = printed(&arguments, Terminal::default()).await.unwrap();
    let expected = [
        format!(
            "{}: overlay2 cannot unpack this layer without the ones below: its unpacked size is left out",
            linked.gzip.digest
        ),
        format!("{}: uncompressed size unknown: ", broken.gzip.digest),
    ];
    assert!(said.lines().zip(&expected).all(|(line, start)| line.starts_with(start)), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[tokio::test]
async fn annotations_name_what_an_image_is_built_on() {
    let registry = TestRegistry::start();
    let plain = image("linux/amd64", &[&Blob::named("base", 100)]);
    let base = Digest::sha256_of(b"base").to_string();
    let mut manifest: serde_json::Value = serde_json::from_slice(plain.manifest.bytes.as_ref().unwrap()).unwrap();
    manifest["annotations"] =
        json!({"org.opencontainers.image.base.name": "debian:12", "org.opencontainers.image.base.digest": base});
    let built = Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, plain.blobs.clone(), vec![]);
    registry.push("acme/app", "v1", &built);
    registry.push("acme/app", "plain", &plain);
    let [built, plain] = ["v1", "plain"].map(|tag| format!("{}/acme/app:{tag}", registry.name()));
    let text = inspected(std::slice::from_ref(&built), None, Terminal::default()).await.unwrap();
    assert_eq!(lines_with(&text, "built on"), [format!("built on docker.io/library/debian:12 {base}")]);
    let requests = registry.counts();
    assert!(!requests.contains("debian"), "{requests}");
    let json_of = async |reference: &String| {
        let arguments = Arguments { json: true, ..arguments(std::slice::from_ref(reference)) };
        let text = printed(&arguments, Terminal::default()).await.unwrap().0;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["images"][0]["base"].clone()
    };
    assert_eq!(json_of(&built).await, json!({"name": "docker.io/library/debian:12", "digest": base}));
    assert_eq!(json_of(&plain).await, json!(null));
}
