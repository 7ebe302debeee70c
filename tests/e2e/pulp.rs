//! Pulp: a registry that is told apart from others by its token server, by lists that it gives only to those who accept
//! JSON, and by blobs that another server has.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::exporter::Exporter;
use crate::harness::exposition::Exposition;
use crate::harness::pulp::{PASSWORD, Pulp, USER};
use crate::harness::push::{OCI_LAYER, Pusher};
use crate::harness::registry::Registry;
use crate::harness::{noise, run, scratch, skopeo};

const TAGS: [&str; 4] = ["v1.0.0", "v1.1.0", "v2.0.0", "latest"];

/// Images by hand on a registry that takes them without credentials, from where skopeo copies them.
fn fill(pulp: &Pulp) {
    let source = Registry::start();
    let app = Pusher { address: source.address(), repository: "acme/app" };
    let files = scratch();
    let layer = |bytes: usize| app.blob(OCI_LAYER, &tar_of_a_file(files.path(), bytes));
    let base = layer(40_000);
    for (tag, bytes) in TAGS.into_iter().zip([1_000, 2_000, 3_000, 4_000]) {
        app.image(Some(tag), "amd64", &[base.clone(), layer(bytes)]);
        let (from, to) = (format!("{}/acme/app:{tag}", source.address()), format!("{}/acme/app:{tag}", pulp.address()));
        let mut copy = skopeo();
        copy.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        copy.args(["--dest-creds", &format!("{USER}:{PASSWORD}")]);
        run(copy.arg(format!("docker://{from}")).arg(format!("docker://{to}")));
    }
}

fn tar_of_a_file(directory: &Path, bytes: usize) -> Vec<u8> {
    let (file, tar) = (directory.join("file"), directory.join("tar"));
    std::fs::write(file, noise(bytes)).expect("the file can be written");
    run(Command::new("tar").arg("-C").arg(directory).arg("-cf").arg(&tar).arg("file"));
    std::fs::read(tar).expect("the tar can be read")
}

/// What skopeo reads of the same registry.
fn by_skopeo(pulp: &Pulp, arguments: &[&str], reference: &str) -> Value {
    let mut command = skopeo();
    command.args(arguments).args(["--tls-verify=false", "--creds", &format!("{USER}:{PASSWORD}")]);
    let answer = run(command.arg(format!("docker://{}/{reference}", pulp.address())));
    serde_json::from_str(&answer).expect("JSON")
}

fn layers(manifest: &Value) -> Vec<(String, u64)> {
    let layers = manifest["layers"].as_array().expect("layers");
    layers.iter().map(|layer| (layer["digest"].to_string(), layer["size"].as_u64().expect("a size"))).collect()
}

#[test]
fn pulp_is_read_as_skopeo_reads_it_and_an_unchanged_tag_costs_one_head() {
    let pulp = Pulp::start();
    fill(&pulp);
    let files = scratch();
    let password = files.path().join("password");
    std::fs::write(&password, PASSWORD).expect("the password can be written");
    // So rarely that only the first scan, and those that a restart brings, are seen.
    let config = format!(
        "[scan]\ninterval = \"1h\"\n[state]\npath = \"state.redb\"\n\
         [registries.\"{address}\"]\nusername = \"{USER}\"\npassword_file = \"{password}\"\n\
         [[targets]]\nname = \"listed\"\nrepository = \"{address}/acme/app\"\nmatch = ['.']\nuncompressed = \"exact\"\n\
         [[targets]]\nname = \"catalog\"\nrepository = \"{address}/acme/*\"\n",
        address = pulp.address(),
        password = password.display(),
    );
    let mut exporter = Exporter::start(&config);
    let scrape = exporter.wait_for("all tags and their exact sizes", |scrape| {
        let up = scrape.all("image_size_exporter_target_up", &[]);
        let exact = scrape.all("container_image_unpacked_size_bytes", &[]);
        let is_done = up.len() == 2 && up.iter().all(|up| up.value > 0.5) && exact.len() == TAGS.len();
        is_done.then(|| exporter.scrape())
    });
    assert_as_skopeo_reads(&pulp, &scrape);

    exporter.program().terminate();
    exporter.configure(&config.replace("1h", "3s"));
    let kinds = ["\"HEAD /v2/acme/app/manifests/", "\"GET /v2/acme/app/manifests/", "\"GET /v2/acme/app/blobs/"];
    let count = || kinds.map(|kind| pulp.requests(kind));
    let before = count();
    exporter.restart();
    exporter.wait_for("the next scan", |scrape| {
        let ended = scrape.value("image_size_exporter_target_last_scan_timestamp_seconds", &[("target", "listed")])?;
        (ended > 0.0).then_some(())
    });
    exporter.program().kill();
    let after = count();
    let [heads, manifests, blobs] = std::array::from_fn(|nth| after[nth] - before[nth]);
    // The list before them brought the token.
    assert!(heads > 0 && heads.is_multiple_of(TAGS.len()), "one HEAD for each tag, but {heads}");
    assert_eq!([manifests, blobs], [0, 0], "manifests, blobs");
}

fn assert_as_skopeo_reads(pulp: &Pulp, scrape: &Exposition) {
    let listed = by_skopeo(pulp, &["list-tags"], "acme/app");
    assert_eq!(listed["Tags"].as_array().map(Vec::len), Some(TAGS.len()));
    assert_eq!(scrape.value("container_image_repository_tags", &[]), Some(TAGS.len() as f64));
    let mut stored = BTreeMap::new();
    for tag in TAGS {
        let layers = layers(&by_skopeo(pulp, &["inspect", "--raw"], &format!("acme/app:{tag}")));
        let compressed: u64 = layers.iter().map(|(_, bytes)| bytes).sum();
        stored.extend(layers);
        let sample = scrape.value("container_image_compressed_size_bytes", &[("tag", tag)]);
        assert_eq!(sample, Some(compressed as f64), "{tag}");
    }
    let stored: u64 = stored.values().sum();
    assert_eq!(scrape.value("container_image_registry_stored_size_bytes", &[]), Some(stored as f64));
}
