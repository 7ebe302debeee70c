//! `inspect --files`: what is big, what is wasted, what grew, packages; and what cannot be known.

use image_size_exporter::commands::inspect::{Arguments, Terminal};
use serde_json::Value;

use super::{arguments, printed};
use image_size_exporter::oci::Digest;
use image_size_exporter::target::Uncompressed;

use crate::support::images::{Blob, OCI_LAYER, image_of_tars};
use crate::support::registry::TestRegistry;
use crate::support::tar::{Tar, archive, hard_link};

const STATUS: &str = "var/lib/dpkg/status";

fn file(path: &str, bytes: usize) -> (String, Vec<u8>) {
    (path.to_owned(), vec![7; bytes])
}

fn status(version: u32, kib: u32) -> (String, Vec<u8>) {
    let text = format!("Package: bash\nStatus: install ok installed\nInstalled-Size: {kib}\nVersion: 5.{version}\n\n");
    (STATUS.to_owned(), text.into_bytes())
}

fn layer(files: &[(String, Vec<u8>)]) -> Tar {
    Tar::new(&archive(files))
}

/// `v1` and `v2`, which share a base.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    let base = layer(&[file("usr/lib/big", 3000), file("etc/a", 100), file("tmp/x/y", 40), status(1, 7)]);
    let first =
        layer(&[file("usr/lib/big", 3000), file("etc/.wh.a", 0), file("tmp/x/.wh..wh..opq", 0), file("app/m", 50)]);
    let second = layer(&[file("app/m", 75), file("app/n", 500), file("etc/a", 99), status(2, 9)]);
    registry.push("acme/app", "v1", &image_of_tars(&[&base, &first]));
    registry.push("acme/app", "v2", &image_of_tars(&[&base, &second]));
    registry
}

async fn json(arguments: &Arguments) -> Value {
    let (out, err) = printed(&Arguments { json: true, ..arguments.clone() }, Terminal::default()).await.unwrap();
    assert_eq!(err, "", "nothing is unknown");
    serde_json::from_str(&out).unwrap()
}

fn listed(list: &Value, keys: &[&str]) -> Vec<String> {
    let item = |item: &Value| {
        let shown = |key: &&str| item[*key].as_str().map_or_else(|| item[*key].to_string(), str::to_owned);
        keys.iter().map(shown).collect::<Vec<_>>().join(" ")
    };
    list.as_array().unwrap().iter().map(item).collect()
}

#[tokio::test]
async fn an_image_shows_its_files_what_is_wasted_and_its_packages() {
    let registry = registry();
    let reference = format!("{}/acme/app:v1", registry.name());
    let arguments = Arguments { files: true, top: 3, ..arguments(&[reference]) };
    let report = json(&arguments).await;
    let image = &report["images"][0];
    let files = &image["files"];
    let status_bytes = status(1, 7).1.len() as u64;
    assert_eq!(files["files"], 3);
    assert_eq!(files["bytes"], 3050 + status_bytes);
    assert_eq!(files["wasted_bytes"], 3140);
    // With what is wasted they are the bytes of all layers.
    assert_eq!(image["unpacked_bytes"], 3050 + 3140 + status_bytes);
    assert_eq!(
        listed(&files["directories"], &["path", "bytes"]),
        ["/usr/lib 3000".to_owned(), format!("/var/lib/dpkg {status_bytes}"), "/app 50".to_owned(),]
    );
    assert_eq!(listed(&files["biggest"], &["path", "bytes"])[0], "/usr/lib/big 3000");
    assert_eq!(files["biggest"][0]["layer"], image["steps"][1]["layer"]["digest"]);
    assert_eq!(
        listed(&files["wasted"], &["path", "bytes", "cause"]),
        ["/usr/lib/big 3000 repeated", "/etc/a 100 removed", "/tmp/x/y 40 removed"]
    );
    assert_eq!(files["wasted"][0]["hidden_by"], image["steps"][1]["layer"]["digest"]);
    assert_eq!(listed(&files["packages"], &["manager", "name", "version", "bytes"]), ["dpkg bash 5.1 7168"]);
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    for line in [format!("3 files of {}, 3140 wasted", 3050 + status_bytes), "\n1 package\n".to_owned()] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn of_two_images_the_growth_is_shown_and_a_common_layer_is_read_once() {
    let registry = registry();
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let arguments = Arguments { files: true, ..arguments(&[name("v1"), name("v2")]) };
    let report = json(&arguments).await;
    // Two configs, three layers.
    assert!(registry.take_counts().contains("get_blob 7"), "two configs twice, three layers");
    let growth = &report["comparisons"][0]["files"];
    assert_eq!(
        listed(&growth["files"], &["change", "path", "old_bytes", "new_bytes"])[..3],
        ["added /app/n null 500", "added /etc/a null 99", "added /tmp/x/y null 40"]
    );
    assert_eq!(listed(&growth["directories"], &["change", "path"])[..2], ["grown /app", "grown /etc"]);
    assert_eq!(
        listed(&growth["packages"], &["name", "old_version", "new_version", "old_bytes", "new_bytes"]),
        ["bash 5.1 5.2 7168 9216"]
    );
    assert_eq!((&growth["added_bytes"], &growth["grown_bytes"]), (&639.into(), &25.into()));
    assert_eq!(
        (&growth["old_wasted_bytes"], &growth["new_wasted_bytes"]),
        (&3140.into(), &(100 + status(1, 7).1.len()).into())
    );
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    assert!(text.contains("(639 added, 25 grown, 0 shrunk, 0 gone), wasted: 3140 → "), "{text}");
    assert!(text.lines().any(|line| line.starts_with('+') && line.ends_with("/app/n")), "{text}");
    assert!(text.contains("5.1 → 5.2"), "{text}");
}

/// Only a layer with nothing in it is empty.
#[tokio::test]
async fn a_layer_of_empty_files_says_how_many_it_has() {
    let registry = TestRegistry::start();
    let tars = [
        layer(&[file("a", 5), file("b", 0)]),
        layer(&[file("empty", 0)]),
        layer(&[file("c/empty", 0), file("d/empty", 0), file(".wh.b", 0)]),
        layer(&[file(".wh.empty", 0)]),
        Tar::new(&[0; 1024]),
        Tar::new(&[0; 10240]),
    ];
    registry.push("acme/app", "v1", &image_of_tars(&tars.each_ref()));
    let arguments = Arguments { files: true, ..arguments(&[format!("{}/acme/app:v1", registry.name())]) };
    let report = json(&arguments).await;
    let steps = report["images"][0]["steps"].as_array().unwrap();
    let said: Vec<_> =
        steps.iter().map(|step| (step["layer"]["files"].as_u64(), step["layer"]["empty"] == true)).collect();
    let expected = [(2, false), (1, false), (2, false), (0, false), (0, true), (0, true)];
    assert_eq!(said, expected.map(|(files, empty)| (Some(files), empty)));
    let digests = steps.iter().map(|step| step["layer"]["digest"].as_str().unwrap()[7..18].to_owned());
    let marks = |text: &str| -> Vec<String> {
        let mark = |digest: &str| {
            let row = text.lines().find(|line| line.contains(digest) && !line.contains('/')).unwrap();
            row.find('(').map_or_else(String::new, |at| row[at..].split(')').next().unwrap().to_owned())
        };
        digests.clone().map(|digest| mark(&digest)).collect()
    };
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    assert_eq!(
        marks(&text),
        ["", "(1 file, 0 bytes", "(2 files, 0 bytes", "(0 files, 0 bytes", "(empty", "(empty"],
        "{text}"
    );
    // Without a list of files only what is surely empty is said to be.
    let arguments = Arguments { files: false, uncompressed: Uncompressed::Exact, ..arguments };
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    assert_eq!(marks(&text), ["", "", "", "", "(empty", ""], "{text}");
}

/// A package of unknown size is not one of 0 bytes.
#[tokio::test]
async fn a_package_of_unknown_size_has_no_difference_and_comes_last() {
    let registry = TestRegistry::start();
    let installed = |packages: &[(&str, u32, Option<u32>)]| {
        let stanza = |(name, version, kib): &(&str, u32, Option<u32>)| {
            let size = kib.map_or_else(String::new, |kib| format!("Installed-Size: {kib}\n"));
            format!("Package: {name}\nStatus: install ok installed\n{size}Version: {version}\n\n")
        };
        layer(&[(STATUS.to_owned(), packages.iter().map(stanza).collect::<String>().into_bytes())])
    };
    let first = installed(&[("bash", 1, Some(900)), ("dash", 1, Some(1))]);
    let second = installed(&[("bash", 2, None), ("dash", 2, Some(3)), ("fish", 2, None), ("zsh", 2, Some(8))]);
    registry.push("acme/app", "v1", &image_of_tars(&[&first]));
    registry.push("acme/app", "v2", &image_of_tars(&[&second]));
    let name = |tag: &str| format!("{}/acme/app:{tag}", registry.name());
    let arguments = Arguments { files: true, ..arguments(&[name("v1"), name("v2")]) };
    let report = json(&arguments).await;
    let changes = &report["comparisons"][0]["files"]["packages"];
    assert_eq!(
        listed(changes, &["name", "old_bytes", "new_bytes"]),
        ["zsh null 8192", "dash 1024 3072", "bash 921600 null", "fish null null"]
    );
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(['~', '+']) && line.ends_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("bash"), "~ 921600 unknown dpkg 1 → 2 bash");
    assert_eq!(row("fish"), "+ unknown dpkg 2 fish");
    assert_eq!(row("zsh"), "+ 8192 +8192 dpkg 2 zsh");
}

/// Rather no figure than a wrong one.
#[tokio::test]
async fn files_that_cannot_be_known_are_null_and_it_is_said_why() {
    let registry = TestRegistry::start();
    let base = layer(&[file("a", 5)]);
    let linked = Tar::new(&[hard_link("alias", "a"), vec![0; 1024]].concat());
    registry.push("acme/app", "linked", &image_of_tars(&[&base, &linked]));
    let broken = Tar { diff_id: Digest::sha256_of(b"x"), gzip: Blob::new(OCI_LAYER, "no tar") };
    registry.push("acme/app", "broken", &image_of_tars(&[&base, &broken]));
    for (tag, expected) in [
        ("linked", "files unknown: overlay2 cannot unpack a layer without the ones below"),
        ("broken", "files unknown: a layer was not read"),
    ] {
        let reference = format!("{}/acme/app:{tag}", registry.name());
        let arguments = Arguments { files: true, json: true, ..arguments(&[reference]) };
        let (out, said) = printed(&arguments, Terminal::default()).await.unwrap();
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["images"][0]["files"], Value::Null);
        assert!(said.lines().any(|line| line.ends_with(expected)), "{said}");
    }
}

/// Bytes that no terminal should get.
#[tokio::test]
async fn hostile_names_are_shown_as_text() {
    let registry = TestRegistry::start();
    let layer = layer(&[file("a\u{1b}[31m\nb", 5), file("<b>\u{202e}", 6)]);
    registry.push("acme/app", "v1", &image_of_tars(&[&layer]));
    let arguments = Arguments { files: true, ..arguments(&[format!("{}/acme/app:v1", registry.name())]) };
    let (text, _) = printed(&arguments, Terminal::default()).await.unwrap();
    assert!(text.contains("/a\u{fffd}[31m\u{fffd}b") && !text.contains('\u{1b}'), "{text}");
}
