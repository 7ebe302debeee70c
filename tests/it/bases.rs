//! Base images over real connections: annotations in all places, layers, a base that is pushed again, and restarts.

use std::collections::BTreeMap;

use image_size_exporter::oci::MediaType;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Metrics, ask, config};
use crate::support::images::{Blob, Pushed, dated, entry, image, image_of_tars, schema1};
use crate::support::registry::TestRegistry;
use crate::support::tar::{Tar, archive};

const INFO: &str = "container_image_base_info";
const SIZE: &str = "container_image_base_size_bytes";
const CURRENT: &str = "container_image_base_current";

/// Tags of three repositories: `base`, `app` and `other`. Not all of them are there.
fn targets(registry: &TestRegistry) -> String {
    for name in ["base", "app", "other"] {
        registry.missing(&format!("/v2/acme/{name}/manifests/"));
    }
    let named =
        |name: &str, tags: &str| format!("name = '{name}'\nrepository = 'REGISTRY/acme/{name}'\ntags = [{tags}]");
    let targets = [named("base", "'1', 'latest'"), named("app", "'1', '2', '3'"), named("other", "'1', '2'")];
    let text: Vec<&str> = targets.iter().map(String::as_str).collect();
    format!("{}[state]\npath = 'state.redb'\n", config(registry, &text))
}

/// By repository and tag: `acme/base:1 at 1 110 current`, with the name of the digest.
fn bases(metrics: &Metrics, registry: &TestRegistry, digests: &[(&str, &Pushed)]) -> BTreeMap<String, String> {
    let host = format!("{}/", registry.name());
    let bases = metrics.all(INFO, &[]).into_keys().map(|labels| {
        let of = ["repository", "tag", "platform"].map(|key| (key, labels[key].as_str()));
        let mut line = format!("{}:{}", labels["base_repository"].replace(&host, ""), labels["base_tag"]);
        match digests.iter().find(|(_, pushed)| pushed.digest().to_string() == labels["base_digest"]) {
            Some((name, _)) => line.extend([" at ", name]),
            None if labels["base_digest"].is_empty() => {}
            None => line.push_str(" at another digest"),
        }
        line.extend(metrics.one(SIZE, &of).map(|bytes| format!(" {bytes}")));
        line.extend(metrics.one(CURRENT, &of).map(|value| if value > 0.0 { " current" } else { " moved" }));
        (format!("{}:{}", labels["repository"].replace("acme/", ""), labels["tag"]), line)
    });
    bases.collect()
}

fn lines(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(image, base)| ((*image).to_owned(), (*base).to_owned())).collect()
}

/// The document with annotations: of its own, or of its first entry.
fn annotated(pushed: &Pushed, is_entry: bool, name: &str, digest: Option<&str>) -> Pushed {
    let mut document: Value = serde_json::from_slice(pushed.manifest.bytes.as_ref().unwrap()).unwrap();
    let mut annotations = json!({"org.opencontainers.image.base.name": name});
    if let Some(digest) = digest {
        annotations["org.opencontainers.image.base.digest"] = digest.into();
    }
    let described = if is_entry { &mut document["manifests"][0] } else { &mut document };
    described["annotations"] = annotations;
    Pushed::from_json(&pushed.manifest.media_type, &document, pushed.blobs.clone(), pushed.children.clone())
}

fn index_of(children: &[(&str, &Pushed)]) -> Pushed {
    let entries: Vec<Value> = children.iter().map(|(platform, child)| entry(platform, child)).collect();
    let document = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    let children = children.iter().map(|(_, child)| (*child).clone()).collect();
    Pushed::from_json(MediaType::OCI_INDEX, &document, vec![], children)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_on_one_base_are_outdated_within_a_scan_of_its_tag_also_after_a_restart() {
    let registry = TestRegistry::start();
    let [a, b, x, y] = [("a", 100), ("b", 10), ("x", 1), ("y", 2)].map(|(name, bytes)| Blob::named(name, bytes));
    let (first, second) = (image("linux/amd64", &[&a]), image("linux/amd64", &[&b]));
    registry.push("acme/base", "1", &first);
    registry.push("acme/base", "latest", &first);
    registry.push("acme/app", "1", &image("linux/amd64", &[&a, &x]));
    registry.push("acme/other", "1", &image("linux/amd64", &[&a, &y]));
    let digests = [("first", &first), ("second", &second)];
    let daemon = Daemon::start(&targets(&registry)).await;
    let current =
        lines(&[("app:1", "acme/base:1 at first 100 current"), ("other:1", "acme/base:1 at first 100 current")]);
    daemon.until("both are on it", |metrics| bases(metrics, &registry, &digests) == current).await;

    registry.push("acme/base", "1", &second);
    registry.push("acme/app", "2", &image("linux/amd64", &[&b, &x]));
    let moved = lines(&[
        ("app:1", "acme/base:1 at first 100 moved"),
        ("app:2", "acme/base:1 at second 10 current"),
        ("other:1", "acme/base:1 at first 100 moved"),
    ]);
    daemon.until("both are outdated", |metrics| bases(metrics, &registry, &digests) == moved).await;
    let directory = daemon.stop().await;

    let daemon = Daemon::start_in(directory, &targets(&registry)).await;
    assert_eq!(bases(&daemon.metrics().await, &registry, &digests), moved, "the state file remembers");
    daemon.scanned("base").await;
    assert_eq!(bases(&daemon.metrics().await, &registry, &digests), moved);

    // A release under another tag is the same image, on the same base.
    registry.push("acme/other", "2", &image("linux/amd64", &[&a, &y]));
    let tagged = "acme/base:1 at first 100 moved";
    daemon
        .until("it is known", |metrics| {
            bases(metrics, &registry, &digests).get("other:2").is_some_and(|of| of == tagged)
        })
        .await;
    registry.untag("acme/base", "latest");
    daemon.scanned("base").await;
    registry.untag("acme/base", "1");
    let gone = |line: &String| line == "acme/base:1 at first 100";
    daemon
        .until("nothing is known of the base", |metrics| {
            bases(metrics, &registry, &digests).get("app:1").is_some_and(gone)
        })
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_count_wherever_they_are_and_win_over_layers() {
    let registry = TestRegistry::start();
    let [a, b, c, x] = [("a", 100), ("b", 10), ("c", 5), ("x", 1)].map(|(name, bytes)| Blob::named(name, bytes));
    let base = index_of(&[("linux/amd64", &image("linux/amd64", &[&a]))]);
    let squashed = image("linux/amd64", &[&b]);
    let name = format!("{}/acme/base:1", registry.name());
    registry.push("acme/base", "1", &base);
    registry.push("acme/base", "latest", &squashed);
    let at_base = base.digest().to_string();
    let by_layers = image("linux/amd64", &[&b, &x]);
    // The layers are those of `latest`.
    registry.push("acme/app", "1", &annotated(&by_layers, false, &name, Some(&at_base)));
    let on = index_of(&[("linux/amd64", &image("linux/amd64", &[&a, &x]))]);
    registry.push("acme/app", "2", &annotated(&on, false, &name, Some(&base.children[0].digest().to_string())));
    let on_it_too = index_of(&[("linux/amd64", &image("linux/amd64", &[&a, &x, &c]))]);
    registry.push("acme/app", "3", &annotated(&on_it_too, true, &name, Some(&at_base)));
    registry.push("acme/other", "1", &annotated(&image("linux/amd64", &[&c]), false, "debian:12", Some(&at_base)));
    registry.push(
        "acme/other",
        "2",
        &annotated(&image("linux/amd64", &[&b, &c]), false, "not a \u{202e} name", Some("x")),
    );
    let digests = [("base", &base), ("squashed", &squashed), ("amd64", &base.children[0])];
    let daemon = Daemon::start(&targets(&registry)).await;
    let expected = lines(&[
        ("app:1", "acme/base:1 at base 100 current"),
        ("app:2", "acme/base:1 at amd64 100 current"),
        ("app:3", "acme/base:1 at base 100 current"),
        ("other:1", "docker.io/library/debian:12 at base"),
        ("other:2", "acme/base:latest at squashed 10 current"),
    ]);
    daemon.until("all are known", |metrics| bases(metrics, &registry, &digests) == expected).await;

    registry.push("acme/base", "1", &squashed);
    let expected = lines(&[
        ("app:1", "acme/base:1 at base 100 moved"),
        ("app:2", "acme/base:1 at amd64 100 moved"),
        ("app:3", "acme/base:1 at base 100 moved"),
        ("other:1", "docker.io/library/debian:12 at base"),
        ("other:2", "acme/base:1 at squashed 10 current"),
    ]);
    daemon.until("its tag has moved on", |metrics| bases(metrics, &registry, &digests) == expected).await;
    let directory = daemon.stop().await;
    let daemon = Daemon::start_in(directory, &targets(&registry)).await;
    assert_eq!(bases(&daemon.metrics().await, &registry, &digests), expected, "the state file remembers");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_made_after_its_base_was_last_read_is_not_called_outdated() {
    let registry = TestRegistry::start();
    let [a, x] = [("a", 100), ("x", 1)].map(|(name, bytes)| Blob::named(name, bytes));
    registry.push("acme/base", "1", &image("linux/amd64", &[&a]));
    let (name, later) = (format!("{}/acme/base:1", registry.name()), a.digest.to_string());
    for (tag, created) in [("1", "2100-01-01T00:00:00Z"), ("2", "2024-01-01T00:00:00Z")] {
        registry.push("acme/app", tag, &annotated(&dated("linux/amd64", created, &[&x]), false, &name, Some(&later)));
    }
    let daemon = Daemon::start(&targets(&registry)).await;
    let expected =
        lines(&[("app:1", "acme/base:1 at another digest"), ("app:2", "acme/base:1 at another digest moved")]);
    daemon.until("both are known", |metrics| bases(metrics, &registry, &[]) == expected).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_read_later_under_another_name_has_a_size_then() {
    let registry = TestRegistry::start();
    let [a, x] = [("a", 100), ("x", 1)].map(|(name, bytes)| Blob::named(name, bytes));
    let base = image("linux/amd64", &[&a]);
    let on_it = annotated(&image("linux/amd64", &[&a, &x]), false, "debian:12", Some(&base.digest().to_string()));
    registry.push("acme/app", "1", &on_it);
    let daemon = Daemon::start(&targets(&registry)).await;
    for (what, line) in [
        ("nothing of it", "docker.io/library/debian:12 at base"),
        ("its size", "docker.io/library/debian:12 at base 100"),
    ] {
        let expected = lines(&[("app:1", line)]);
        let is_so = |metrics: &Metrics| bases(metrics, &registry, &[("base", &base)]) == expected;
        daemon.until(what, is_so).await;
        registry.push("acme/base", "1", &base);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_compared_by_their_tars_and_those_of_schema_1_by_their_blobs() {
    let registry = TestRegistry::start();
    let tar = |name: &str| Tar::new(&archive(&[(name.to_owned(), vec![7; 100])]));
    let (below, above) = (tar("below"), tar("above"));
    let mut again = tar("below");
    // The same tar, compressed in another way.
    again.gzip = Blob::named("compressed again", 4_242);
    registry.push("acme/base", "1", &image_of_tars(&[&again]));
    registry.push("acme/app", "1", &image_of_tars(&[&below, &above]));
    let [a, b] = ["a", "b"].map(|name| Blob::new("", name));
    registry.push("acme/base", "latest", &schema1(&[&a]));
    registry.push("acme/app", "2", &schema1(&[&a, &b]));
    registry.push("acme/app", "3", &schema1(&[&b, &a]));
    let daemon = Daemon::start(&targets(&registry)).await;
    let expected = lines(&[
        ("app:1", "acme/base:1 at another digest 4242 current"),
        ("app:2", "acme/base:latest at another digest 1 current"),
    ]);
    daemon.until("both are known", |metrics| bases(metrics, &registry, &[]) == expected).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_the_base_and_marks_its_layers() {
    let registry = TestRegistry::start();
    let [a, x] = [("a", 100), ("x", 1)].map(|(name, bytes)| Blob::named(name, bytes));
    let base = image("linux/amd64", &[&a]);
    registry.push("acme/base", "1", &base);
    registry.push("acme/app", "1", &image("linux/amd64", &[&a, &x]));
    let daemon = Daemon::start(&targets(&registry)).await;
    daemon.until("it is known", |metrics| metrics.count(CURRENT) == 1).await;
    let address = format!("{}/acme/app:1", registry.name());
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let answer: Value =
        serde_json::from_str(&body(ask(&daemon.address, &format!("GET /api/v1/image/{address}")).await.unwrap()))
            .unwrap();
    assert_eq!(
        answer["image"]["base"],
        json!({
            "repository": format!("{}/acme/base", registry.name()), "tag": "1", "digest": base.digest().to_string(),
            "compressed_bytes": 100, "layers": 1, "current": true,
        })
    );
    let marked: Vec<&Value> =
        answer["image"]["layers"].as_array().unwrap().iter().map(|layer| &layer["from_base"]).collect();
    assert_eq!(marked, [&json!(true), &json!(false)]);
    let page = body(ask(&daemon.address, &format!("GET /image/{address}")).await.unwrap());
    assert!(
        page.contains("Built on") && page.contains(&format!("href=\"/image/{}/acme/base:1\"", registry.name())),
        "{page}"
    );
    registry.push("acme/base", "1", &image("linux/amd64", &[&x]));
    daemon.until("it has moved on", |metrics| metrics.one(CURRENT, &[]) == Some(0.0)).await;
    let page = body(ask(&daemon.address, &format!("GET /image/{address}")).await.unwrap());
    assert!(page.contains("its tag has moved on"), "{page}");
    daemon.stop().await;
}
