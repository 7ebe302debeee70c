//! Notifications, as the real registry sends, batches and repeats them: what real tools push and pull, without a scan.

use serde_json::Value;

use crate::harness::engine::Engine;
use crate::harness::exporter::Exporter;
use crate::harness::exposition::Exposition;
use crate::harness::push::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Pusher};
use crate::harness::registry::Registry;
use crate::harness::{http, noise, run, scratch, skopeo};

const COMPRESSED: &str = "container_image_compressed_size_bytes";
const LAST_SCAN: &str = "image_size_exporter_target_last_scan_timestamp_seconds";
const TOKEN: &str = "a token of the tests";

/// A registry that notifies an exporter, which scans so rarely that whatever changes was notified.
struct Fixture {
    // Dropped first: the registry goes on to notify.
    registry: Registry,
    exporter: Exporter,
}

impl Fixture {
    /// All tags of all repositories under `acme/`, of which there is one, of 500 bytes; once the first scan has ended.
    fn start() -> Self {
        let mut registry = Registry::start();
        let first = Pusher { address: registry.address(), repository: "acme/first" };
        first.image(Some("v1"), "amd64", &[first.layer(500)]);
        let exporter = Exporter::start(&config(&registry, "1h"));
        registry.notify(exporter.address(), TOKEN);
        let fixture = Self { registry, exporter };
        fixture.exporter.wait_for("the first scan", |scrape| scrape.value(LAST_SCAN, &[]));
        fixture
    }

    fn pusher(&self, repository: &'static str) -> Pusher<'_> {
        Pusher { address: self.registry.address(), repository }
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    /// Copies within the registry, as a release pipeline retags.
    fn copy(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| format!("docker://{}", self.reference(name)));
        run(skopeo()
            .args([
                "copy",
                "--quiet",
                "--all",
                "--preserve-digests",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
            ])
            .args([from, to]));
    }

    /// Waits until this is published; `None`: no longer.
    fn until(&self, name: &str, bytes: Option<u64>) {
        let (repository, tag) = name.split_once(':').expect("a tag");
        let is_so = |scrape: &Exposition| {
            let published = scrape.value(COMPRESSED, &[("repository", repository), ("tag", tag)]);
            (published == bytes.map(|bytes| bytes as f64)).then_some(())
        };
        self.exporter.wait_for(&format!("{name} of {bytes:?}"), is_so);
    }

    /// The bytes of its manifest, and the manifest.
    fn manifest(&self, name: &str) -> (u64, Value) {
        let (repository, tag) = name.split_once(':').expect("a tag");
        let path = format!("/v2/{repository}/manifests/{tag}");
        let accept = format!("{OCI_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json");
        let answer = http::request(self.registry.address(), "GET", &path, &[("Accept", &accept)], &[]);
        let answer = answer.expect("the registry answers").expect(&[200]);
        (answer.body.len() as u64, answer.json())
    }

    /// The sum of its layers.
    fn layers(&self, name: &str) -> u64 {
        sizes(self.manifest(name).1["layers"].as_array().expect("layers"))
    }
}

fn config(registry: &Registry, interval: &str) -> String {
    // The token is in the environment of nobody: a file.
    let file = registry.directory().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("the token can be written");
    format!(
        "[scan]\ninterval = \"{interval}\"\n[state]\npath = \"state.redb\"\n[notifications]\ntoken_file = \"{}\"\n\
         [[targets]]\nname = \"acme\"\nrepository = \"{}/acme/*\"\nmatch = [\".\"]\n",
        file.display(),
        registry.address()
    )
}

fn sizes(descriptors: &[Value]) -> u64 {
    descriptors.iter().map(|descriptor| descriptor["size"].as_u64().expect("a size")).sum()
}

#[test]
fn what_real_tools_push_retag_mount_and_delete_is_published_without_a_scan() {
    let fixture = Fixture::start();
    let scanned = fixture.exporter.scrape().value(LAST_SCAN, &[]);
    let stored = |scrape: &Exposition| scrape.value("container_image_registry_stored_size_bytes", &[]);

    // The target does not select these, so that they are nothing but sources.
    let seed = fixture.pusher("seed/app");
    let base = seed.layer(10_000);
    seed.image(Some("one"), "amd64", std::slice::from_ref(&base));
    let two = seed.image(Some("two"), "amd64", &[base.clone(), seed.layer(4_000)]);

    fixture.copy("seed/app:one", "acme/app:v1");
    fixture.until("acme/app:v1", Some(10_000));
    fixture.copy("seed/app:two", "acme/app:v2");
    fixture.until("acme/app:v2", Some(14_000));
    fixture.copy("acme/app:v2", "acme/app:v1");
    fixture.until("acme/app:v1", Some(14_000));

    // Blobs of another repository, of which nothing is uploaded.
    let other = fixture.pusher("acme/mounted");
    let mount = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from=seed/app", other.repository);
        http::request(other.address, "POST", &path, &[], &[]).expect("it is mounted").expect(&[201]);
    };
    mount(&base);
    let config =
        other.blob(OCI_CONFIG, br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config,
        "layers": [{"mediaType": OCI_LAYER, "digest": base["digest"], "size": 10_000}],
    });
    other.manifest(Some("v1"), OCI_MANIFEST, &manifest);
    fixture.until("acme/mounted:v1", Some(10_000));

    let engine = Engine::shared();
    let context = scratch();
    std::fs::write(context.path().join("file"), noise(20_000)).expect("the context can be written");
    let reference = fixture.reference("acme/docker:latest");
    engine.build(context.path(), "FROM scratch\nCOPY file /file\n", &reference);
    engine.push(&reference);
    fixture.until("acme/docker:latest", Some(fixture.layers("acme/docker:latest")));

    // The base is stored once, however many repositories have it.
    let expected = 500 + 14_000 + fixture.layers("acme/docker:latest");
    fixture.exporter.wait_for("the registry's sum", |scrape| (stored(scrape) == Some(expected as f64)).then_some(()));

    // What the digest was under: both tags.
    fixture.pusher("acme/app").delete(two["digest"].as_str().expect("a digest"));
    fixture.until("acme/app:v1", None);
    fixture.until("acme/app:v2", None);

    let scrape = fixture.exporter.scrape();
    assert_eq!(scrape.value(LAST_SCAN, &[]), scanned, "no scan has found any of it");
    for (failures, of) in scrape
        .all("image_size_exporter_notification_failures_total", &[])
        .iter()
        .map(|sample| (sample.value, &sample.labels))
    {
        assert!(failures < 0.5, "{of:?}: {failures}");
    }
}

#[test]
fn what_is_pushed_while_the_exporter_is_down_is_found_by_the_registrys_retry_or_the_next_scan() {
    let mut fixture = Fixture::start();
    let app = fixture.pusher("acme/app");
    app.image(Some("v1"), "amd64", &[app.layer(1_000)]);
    fixture.until("acme/app:v1", Some(1_000));

    // The registry notifies again until something listens.
    fixture.exporter.program().terminate();
    let app = fixture.pusher("acme/app");
    app.image(Some("v2"), "amd64", &[app.layer(2_000)]);
    fixture.exporter.restart();
    fixture.until("acme/app:v2", Some(2_000));
    assert_eq!(fixture.exporter.scrape().value(LAST_SCAN, &[]), None, "restored, and not scanned again yet");

    // A registry that ends forgets what it did not deliver.
    fixture.exporter.program().terminate();
    let app = fixture.pusher("acme/app");
    app.image(Some("v3"), "amd64", &[app.layer(3_000)]);
    fixture.registry.stop();
    fixture.registry.restart();
    fixture.exporter.configure(&config(&fixture.registry, "2s"));
    fixture.exporter.restart();
    fixture.until("acme/app:v3", Some(3_000));
    assert!(fixture.exporter.scrape().value(LAST_SCAN, &[]).is_some());
}

#[test]
fn pulls_are_counted_as_skopeo_and_docker_pull() {
    let fixture = Fixture::start();
    let context = scratch();
    std::fs::write(context.path().join("file"), noise(30_000)).expect("the context can be written");
    let engine = Engine::shared();
    let reference = fixture.reference("acme/pulled:v1");
    engine.build(context.path(), "FROM scratch\nCOPY file /file\nCOPY file /again\n", &reference);
    engine.push(&reference);
    fixture.until("acme/pulled:v1", Some(fixture.layers("acme/pulled:v1")));
    let counted = |scrape: &Exposition| {
        let value = |name| scrape.value(name, &[("repository", "acme/pulled")]).unwrap_or_default();
        (value("container_image_repository_pulls_total"), value("container_image_repository_pulled_bytes_total"))
    };
    // This test's own reading of the manifest is a pull as well.
    let (manifest_bytes, manifest) = fixture.manifest("acme/pulled:v1");
    let looked = (2.0, (2 * manifest_bytes) as f64);
    fixture.exporter.wait_for("the test's own reading", |scrape| (counted(scrape) == looked).then_some(()));

    run(engine.docker().args(["rmi", &reference]));
    run(engine.docker().args(["pull", "--quiet", &reference]));
    let directory = context.path().join("copy");
    run(skopeo()
        .args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}")])
        .arg(format!("dir:{}", directory.display())));

    // One layer, which both instructions made.
    let layers = manifest["layers"].as_array().expect("layers");
    let of_one = manifest_bytes + manifest["config"]["size"].as_u64().expect("a size") + sizes(layers);
    let expected = (looked.0 + 2.0, looked.1 + (2 * of_one) as f64);
    fixture
        .exporter
        .wait_for(&format!("the counts {expected:?}"), |scrape| (counted(scrape) == expected).then_some(()));
}
