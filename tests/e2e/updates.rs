//! What an update costs a node, against the bytes that the real registry sends when real nodes pull both releases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::harness::engine::Engine;
use crate::harness::exporter::Exporter;
use crate::harness::push::{OCI_INDEX, OCI_MANIFEST};
use crate::harness::registry::Registry;
use crate::harness::{buildah, http, noise, run, scratch, wait_for};

const COMPRESSED: &str = "container_image_newest_compressed_size_bytes";
const UPDATE: &str = "container_image_newest_update_size_bytes";

/// A registry to which releases of one repository are pushed, and nodes that pull them.
struct World {
    registry: Registry,
    engine: Arc<Engine>,
    files: tempfile::TempDir,
}

/// What is published of the newest release on one platform, in bytes.
#[derive(Debug, PartialEq)]
struct Published {
    compressed: u64,
    update: u64,
}

impl World {
    fn start() -> Self {
        let files = scratch();
        let sizes = [("base", 70_000), ("patched", 71_000), ("runtime", 25_000), ("one", 9_000), ("two", 13_000)];
        for (name, bytes) in sizes {
            std::fs::write(files.path().join(name), noise(bytes)).expect("the context can be written");
        }
        Self { registry: Registry::start(), engine: Engine::shared(), files }
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}/acme/app:{tag}", self.registry.address())
    }

    /// Builds a release and pushes it.
    fn release(&self, tag: &str, dockerfile: &str) {
        self.engine.build(self.files.path(), dockerfile, &self.reference(tag));
        self.engine.push(&self.reference(tag));
    }

    /// Removes the releases from the engine, and with them their layers.
    fn forget(&self, tags: &[&str]) {
        let references = tags.iter().map(|tag| self.reference(tag));
        run(self.engine.docker().args(["rmi", "--force"]).args(references));
    }

    fn docker_pull(&self, platform: &str, tag: &str) {
        run(self.engine.docker().args(["pull", "--quiet", "--platform", platform, &self.reference(tag)]));
    }

    /// As the kubelet's containerd pulls it, without unpacking.
    fn containerd_pull(&self, tag: &str) {
        let mut ctr = self.engine.ctr("updates");
        run(ctr.args(["content", "fetch", "--plain-http", "--platform", "linux/amd64", &self.reference(tag)]));
    }

    /// By platform.
    fn published(&self) -> BTreeMap<String, Published> {
        let repository = format!("{}/acme/app", self.registry.address());
        let exporter = Exporter::start(&format!(
            "[[targets]]\nname = \"app\"\nrepository = \"{repository}\"\nnewest = \"semver\"\n"
        ));
        let scrape = exporter.wait_for("the update", |scrape| {
            (!scrape.all(UPDATE, &[("repository", "acme/app"), ("target", "app")]).is_empty())
                .then(|| exporter.scrape())
        });
        let bytes = |family, platform: &str| {
            let value =
                scrape.value(family, &[("platform", platform)]).unwrap_or_else(|| panic!("{family} {platform}"));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole bytes")]
            let bytes = value as u64;
            bytes
        };
        let platforms = scrape.all(COMPRESSED, &[]);
        let platforms = platforms.iter().map(|sample| sample.label("platform"));
        platforms
            .map(|on| (on.to_owned(), Published { compressed: bytes(COMPRESSED, on), update: bytes(UPDATE, on) }))
            .collect()
    }

    /// What the registry sends of layers, in bytes, while a node pulls a tag. At least so many are waited for, since the
    /// registry writes its log a moment after it has sent.
    fn sent(&self, tag: &str, at_least: u64, pull: impl FnOnce(&str)) -> u64 {
        let before = self.registry.blobs_sent().len();
        let configs = self.configs(tag);
        pull(tag);
        let sum = || {
            let sent = self.registry.blobs_sent();
            sent[before..].iter().filter(|(digest, _)| !configs.contains(digest)).map(|(_, bytes)| bytes).sum::<u64>()
        };
        let why = || format!("{:?}", &self.registry.blobs_sent()[before..]);
        wait_for(&format!("{at_least} bytes for {tag}"), || (sum() >= at_least).then_some(()), why);
        // Whatever else it sent is in its log once a later request is.
        self.configs(tag);
        sum()
    }

    /// The digests of a tag's configs: blobs, but no layers.
    fn configs(&self, tag: &str) -> BTreeSet<String> {
        let document = |reference: &str| -> Value {
            let path = format!("/v2/acme/app/manifests/{reference}");
            let accept = format!("{OCI_INDEX}, {OCI_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json");
            let answer = http::request(self.registry.address(), "GET", &path, &[("Accept", &accept)], &[]);
            answer.expect("the registry answers").expect(&[200]).json()
        };
        let digest = |descriptor: &Value| descriptor["digest"].as_str().expect("a digest").to_owned();
        let top = document(tag);
        match top["manifests"].as_array() {
            Some(entries) => entries.iter().map(|entry| digest(&document(&digest(entry))["config"])).collect(),
            None => [digest(&top["config"])].into(),
        }
    }
}

#[test]
fn an_update_is_what_the_registry_sends_to_an_engine_that_has_the_release_before() {
    let world = World::start();
    let base = "FROM scratch\nCOPY base /base\nCOPY runtime /runtime\n";
    world.release("v1.0.0", &format!("{base}COPY one /app\n"));
    // The layer of `two` is in it twice, and is fetched once.
    world.release("v1.1.0", &format!("{base}COPY two /app\nLABEL empty=layer\nCOPY two /app\n"));
    world.forget(&["v1.0.0", "v1.1.0"]);
    let newest = &world.published()["linux/amd64"];
    assert!((26_000..30_000).contains(&(newest.compressed - 95_000)), "{newest:?}");
    assert!((13_000..14_000).contains(&newest.update), "{newest:?}");

    let pull = |tag: &str| world.docker_pull("linux/amd64", tag);
    world.sent("v1.0.0", 104_000, pull);
    assert_eq!(world.sent("v1.1.0", newest.update, pull), newest.update);
    world.forget(&["v1.0.0", "v1.1.0"]);
    // A node that has nothing fetches each distinct layer.
    let distinct = newest.compressed - newest.update;
    assert_eq!(world.sent("v1.1.0", distinct, pull), distinct);
    world.forget(&["v1.1.0"]);
}

#[test]
fn each_platform_has_its_own_update() {
    let world = World::start();
    let storage = world.files.path().join("storage");
    for (tag, app) in [("v1.0.0", "one"), ("v1.1.0", "two")] {
        for platform in ["linux/amd64", "linux/arm64"] {
            std::fs::write(
                world.files.path().join("own"),
                noise(if platform.ends_with("arm64") { 4_000 } else { 6_000 }),
            )
            .expect("the context can be written");
            let dockerfile = format!("FROM scratch\nCOPY base /base\nCOPY {app} /app\nCOPY own /own\n");
            std::fs::write(world.files.path().join("Dockerfile"), dockerfile).expect("the context can be written");
            run(buildah(&storage)
                .args(["bud", "--quiet", "--layers", "--isolation", "chroot"])
                .args(["--ignorefile", "/dev/null", "--platform", platform, "--manifest", tag])
                .arg("--file")
                .arg(world.files.path().join("Dockerfile"))
                .arg(world.files.path()));
        }
        run(buildah(&storage)
            .args(["manifest", "push", "--quiet", "--all", "--tls-verify=false", tag])
            .arg(format!("docker://{}", world.reference(tag))));
    }
    let published = world.published();
    assert_eq!(published.len(), 2, "{published:?}");
    for (platform, newest) in published {
        let pull = |tag: &str| world.docker_pull(&platform, tag);
        world.sent("v1.0.0", newest.compressed - newest.update, pull);
        assert_eq!(world.sent("v1.1.0", newest.update, pull), newest.update, "{platform}");
        world.forget(&["v1.0.0", "v1.1.0"]);
    }
}

/// A store of blobs by digest, such as containerd's, fetches exactly what it lacks. Docker's classic one knows a layer by
/// all that is below it: over a changed base it fetches unchanged layers again.
#[test]
fn below_unchanged_layers_containerd_fetches_the_update_and_the_classic_engine_all_above_too() {
    let world = World::start();
    world.release("v1.0.0", "FROM scratch\nCOPY base /base\nCOPY runtime /runtime\nCOPY one /app\n");
    world.release("v1.1.0", "FROM scratch\nCOPY patched /base\nCOPY runtime /runtime\nCOPY one /app\n");
    world.forget(&["v1.0.0", "v1.1.0"]);
    let newest = &world.published()["linux/amd64"];
    assert!((71_000..72_000).contains(&newest.update), "{newest:?}");

    let pull = |tag: &str| world.containerd_pull(tag);
    world.sent("v1.0.0", 104_000, pull);
    assert_eq!(world.sent("v1.1.0", newest.update, pull), newest.update);

    let pull = |tag: &str| world.docker_pull("linux/amd64", tag);
    world.sent("v1.0.0", 104_000, pull);
    assert_eq!(world.sent("v1.1.0", newest.compressed, pull), newest.compressed);
    world.forget(&["v1.0.0", "v1.1.0"]);
}
