//! `retain` against the storage of a real registry: what it hands over is deleted, the registry's own garbage collector
//! runs, and the bytes that are gone from the storage are those that were predicted.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::push::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Pusher};
use crate::harness::registry::Registry;
use crate::harness::{exporter, http, noise, run, scratch};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Bytes of all blobs in the storage: `blobs/sha256/<xx>/<hash>/data`.
fn stored(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory of the storage");
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| match entry.metadata().expect("metadata") {
            metadata if metadata.is_dir() => stored(&entry.path()),
            metadata if entry.file_name() == "data" => metadata.len(),
            _ => 0,
        })
        .sum()
}

struct World {
    registry: Registry,
    directory: tempfile::TempDir,
}

impl World {
    fn pusher<'a>(&'a self, repository: &'a str) -> Pusher<'a> {
        Pusher { address: self.registry.address(), repository }
    }

    fn blobs(&self) -> u64 {
        stored(&self.registry.directory().join("storage/docker/registry/v2/blobs"))
    }

    /// The registry of `retain --json`, with these rules for all repositories.
    fn retain(&self, rules: &[&str]) -> Value {
        let output = exporter::command()
            .args(["retain", "--json", &format!("{}/**", self.registry.address())])
            .args(rules)
            .current_dir(self.directory.path())
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let retention: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        retention["policies"][0]["registries"][0].clone()
    }

    /// Deletes what is handed over of these repositories, in its order, and collects the garbage; the bytes that are gone.
    fn delete(&mut self, retention: &Value, wanted: impl Fn(&str) -> bool) -> u64 {
        let before = self.blobs();
        for repository in retention["repositories"].as_array().expect("repositories") {
            let name = repository["repository"].as_str().expect("a name");
            for digest in repository["digests"].as_array().expect("digests").iter().filter(|_| wanted(name)) {
                self.pusher(name).delete(digest["digest"].as_str().expect("a digest"));
            }
        }
        self.registry.stop();
        let config = self.registry.directory().join("config.yml");
        run(Command::new("docker-registry").arg("garbage-collect").arg(config));
        self.registry.restart();
        before - self.blobs()
    }

    fn tags(&self, repository: &str) -> BTreeSet<String> {
        let answer = http::get(self.registry.address(), &format!("/v2/{repository}/tags/list")).expect("a list");
        if answer.status == 404 {
            return BTreeSet::new();
        }
        let list = answer.json();
        let tags = list["tags"].as_array().into_iter().flatten();
        tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect()
    }

    /// Reads everything that a tag reaches.
    fn pull(&self, repository: &str, reference: &str) {
        let accept = format!("{OCI_MANIFEST}, {OCI_INDEX}");
        let path = format!("/v2/{repository}/manifests/{reference}");
        let headers = [("Accept", accept.as_str())];
        let document = http::request(self.registry.address(), "GET", &path, &headers, &[]).expect("a manifest");
        let document = document.expect(&[200]).json();
        let named = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        for child in named("manifests") {
            self.pull(repository, child["digest"].as_str().expect("a digest"));
        }
        for blob in named("layers").iter().chain(document.get("config")) {
            let path = format!("/v2/{repository}/blobs/{}", blob["digest"].as_str().expect("a digest"));
            let answer =
                http::request(self.registry.address(), "HEAD", &path, &[], &[]).expect("a blob").expect(&[200]);
            assert_eq!(answer.headers["content-length"], blob["size"].to_string());
        }
    }
}

/// `sha256-…`, under which referrers of a manifest stand.
fn fallback(descriptor: &Value) -> String {
    descriptor["digest"].as_str().expect("a digest").replace(':', "-")
}

/// Shared layers, indexes with shared children and attestations, tags of one digest, artifacts with subjects, signatures,
/// the empty descriptor as config and as layer, and what was untagged before.
fn fill(world: &World) {
    let (api, web) = (world.pusher("acme/api"), world.pusher("acme/web"));
    let (base, shared) = (noise(40_000), noise(3_000));
    let base_layer = api.blob(OCI_LAYER, &base);
    web.blob(OCI_LAYER, &base);
    let index = |tag: &str, children: &[&Value]| {
        let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        api.manifest(Some(tag), OCI_INDEX, &document)
    };
    let on = |image: &Value, architecture: &str| {
        let mut entry = image.clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    // Two indexes share a child; the first has an attestation.
    let common = on(&api.image(None, "amd64", &[base_layer.clone(), api.layer(2_000)]), "amd64");
    let own = on(&api.image(None, "arm64", &[base_layer.clone(), api.layer(5_000)]), "arm64");
    let mut attestation = on(&api.image(None, "unknown", &[api.layer(700)]), "unknown");
    attestation["platform"]["os"] = "unknown".into();
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let v1 = index("v1", &[&common, &own, &attestation]);
    let other = on(&api.image(None, "arm64", &[base_layer.clone(), api.layer(6_000)]), "arm64");
    let v2 = index("v2", &[&common, &other]);
    // A tag of a manifest that both indexes name, and tags of one digest.
    let bytes = http::request(
        api.address,
        "GET",
        &format!("/v2/acme/api/manifests/{}", common["digest"].as_str().expect("a digest")),
        &[("Accept", OCI_MANIFEST)],
        &[],
    );
    api.put("v1-amd64", OCI_MANIFEST, &bytes.expect("a manifest").body);
    api.image(Some("v3"), "amd64", &[base_layer.clone(), api.blob(OCI_LAYER, &shared)]);
    let v4 = api.image(Some("v4"), "amd64", &[api.layer(9_000)]);
    let v4_bytes = http::request(api.address, "GET", "/v2/acme/api/manifests/v4", &[("Accept", OCI_MANIFEST)], &[]);
    api.put("stable", OCI_MANIFEST, &v4_bytes.expect("a manifest").body);
    // Untagged before: a tag that was pushed again.
    api.image(Some("v5"), "amd64", &[api.layer(1_234)]);
    api.image(Some("v5"), "amd64", &[api.layer(4_321)]);
    // Artifacts: the empty descriptor is the config of one, and a layer of the other.
    let empty = api.blob(EMPTY, b"{}");
    let artifact = |subject: &Value, layers: &[Value]| {
        let document = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/example",
            "config": empty, "layers": layers, "subject": subject});
        api.manifest(None, OCI_MANIFEST, &document)
    };
    for subject in [&v1, &v4] {
        let referrer = artifact(subject, &[api.layer(300), empty.clone()]);
        index(&fallback(subject), &[&referrer]);
    }
    for subject in [&v2, &v4] {
        let config = api.blob(OCI_CONFIG, b"{}");
        let document =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [api.layer(99)]});
        api.manifest(Some(&format!("{}.sig", fallback(subject))), OCI_MANIFEST, &document);
    }
    // Another repository has the base, and one image of what goes, as well as one of its own.
    let shared_layer = web.blob(OCI_LAYER, &shared);
    web.image(Some("v3"), "amd64", &[base_layer.clone(), shared_layer]);
    web.image(Some("v0"), "amd64", &[web.layer(8_000)]);
    web.image(Some("stable"), "amd64", &[web.layer(11_000), base_layer.clone()]);
}

#[test]
fn the_bytes_that_are_gone_from_the_storage_are_those_that_were_predicted() {
    let mut world = World { registry: Registry::start(), directory: scratch() };
    fill(&world);

    let retention = world.retain(&["--keep-match", "^(v2|stable)$"]);
    let predicted = retention["freed_bytes"].as_u64().expect("a figure");
    let alone: Vec<u64> = retention["repositories"]
        .as_array()
        .expect("repositories")
        .iter()
        .map(|repository| repository["freed_bytes"].as_u64().expect("a figure"))
        .collect();
    // The image of both is freed by both together: its layer, config and manifest.
    let together = predicted - alone.iter().sum::<u64>();
    assert!((3_000..4_000).contains(&together) && alone[0] > 14_000 && alone[1] > 8_000, "{alone:?} {together}");
    let held: Vec<&str> = retention["repositories"][0]["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter(|tag| tag["fate"] == "held")
        .map(|tag| tag["tag"].as_str().expect("a name"))
        .collect();
    assert_eq!(held, ["v1-amd64", "v4"]);

    assert_eq!(world.delete(&retention, |name| name == "acme/web"), alone[1], "one repository alone");
    let retention = world.retain(&["--keep-match", "^(v2|stable)$"]);
    assert_eq!(retention["freed_bytes"].as_u64(), Some(predicted - alone[1]), "the rest");
    assert_eq!(world.delete(&retention, |_| true), predicted - alone[1]);

    let kept = world.tags("acme/api");
    let for_people: Vec<&String> = kept.iter().filter(|tag| !tag.starts_with("sha256-")).collect();
    assert_eq!(for_people, ["stable", "v1-amd64", "v2", "v4"]);
    assert_eq!(kept.len() - for_people.len(), 3, "the referrers of what stays: {kept:?}");
    for tag in &kept {
        world.pull("acme/api", tag);
    }
    world.pull("acme/web", "stable");
    let nothing = world.retain(&["--keep-match", "^(v2|stable)$"]);
    assert_eq!(nothing["freed_bytes"].as_u64(), Some(0), "nothing is left to be freed");

    // Everything: what was untagged before is all that stays.
    let retention = world.retain(&["--keep-match", "^nothing$"]);
    let before = world.blobs();
    assert_eq!(world.delete(&retention, |_| true), retention["freed_bytes"].as_u64().expect("a figure"));
    assert_eq!(world.tags("acme/api"), BTreeSet::new());
    let left = world.blobs();
    assert!((1_234..3_000).contains(&left), "{left} of {before} bytes");
}
