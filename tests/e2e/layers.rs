//! Layers: unpacked sizes as a Docker engine with overlay2 has them, uncompressed ones by every program that makes
//! layers.

mod containers;
mod debian;
mod files;
mod packages;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use image_size_exporter::commands::inspect::{Arguments, Terminal, inspect};
use image_size_exporter::oci::{Platform, Reference};
use image_size_exporter::registry::{Registries, Settings};
use image_size_exporter::target::Uncompressed;
use serde_json::{Value, json};

use crate::harness::engine::Engine;
use crate::harness::push::{OCI_CONFIG, OCI_MANIFEST, Pusher, digest};
use crate::harness::registry::Registry;
use crate::harness::{run, scratch, skopeo};

/// `inspect --json` of one reference without unknown values.
fn inspected(reference: &str, uncompressed: Uncompressed) -> Value {
    let (report, said) = inspected_and_said(reference, uncompressed);
    if uncompressed == Uncompressed::Exact {
        assert_eq!(said, "", "nothing is unknown");
    }
    report
}

/// `inspect --json` of one reference, and its standard error.
fn inspected_and_said(reference: &str, uncompressed: Uncompressed) -> (Value, String) {
    inspected_with(reference, uncompressed, false)
}

fn inspected_with(reference: &str, uncompressed: Uncompressed, files: bool) -> (Value, String) {
    inspected_all(&[reference], uncompressed, files)
}

/// `inspect --json` of one reference or two, and its standard error.
fn inspected_all(references: &[&str], uncompressed: Uncompressed, files: bool) -> (Value, String) {
    let parsed = references.iter().map(|reference| reference.parse::<Reference>().expect("a reference"));
    let arguments = Arguments {
        references: parsed.collect(),
        platform: None::<Platform>,
        uncompressed,
        files,
        top: 1_000_000,
        bytes: true,
        no_trunc: false,
        json: true,
    };
    let registries = Registries::new(BTreeMap::new(), Settings::default());
    let registries = registries.expect("no settings, no errors");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    runtime
        .block_on(inspect(&registries, &arguments, None, Terminal::default(), &mut out, &mut err))
        .unwrap_or_else(|error| panic!("{references:?}: {error}"));
    (serde_json::from_slice(&out).expect("JSON"), String::from_utf8(err).expect("UTF-8"))
}

/// The engine's figures for an image that it pulls: its size, and the command and size of each step, last first.
fn docker_says(engine: &Engine, reference: &str) -> (u64, Vec<(String, u64)>) {
    run(engine.docker().args(["pull", "--quiet", reference]));
    let size = run(engine.docker().args(["image", "inspect", "--format", "{{.Size}}", reference]));
    let format = "{{.Size}} {{.CreatedBy}}";
    let history = run(engine.docker().args(["history", "--no-trunc", "--human=false", "--format", format, reference]));
    let step = |line: &str| {
        let (size, command) = line.split_once(' ').unwrap_or((line, ""));
        (command.trim().to_owned(), size.parse().expect("bytes"))
    };
    (size.trim().parse().expect("bytes"), history.lines().map(step).collect())
}

/// The same, by `inspect`.
fn we_say(reference: &str) -> (u64, Vec<(String, u64)>) {
    let report = inspected(reference, Uncompressed::Exact);
    let image = &report["images"][0];
    let steps = image["steps"].as_array().expect("steps").iter().rev().map(|step| {
        let bytes = step["layer"]["unpacked_bytes"].as_u64().unwrap_or(0);
        (step["command"].as_str().unwrap_or("").trim().to_owned(), bytes)
    });
    (image["unpacked_bytes"].as_u64().expect("known"), steps.collect())
}

fn write(root: &Path, path: &str, bytes: usize) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(path, vec![7; bytes]).expect("written");
}

/// A tar of a directory, as GNU tar makes it.
fn tar(root: &Path, arguments: &[&str]) -> Vec<u8> {
    let into = scratch();
    let file = into.path().join("layer.tar");
    run(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&file).args(arguments));
    fs::read(file).expect("a tar")
}

fn piped(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let into = scratch();
    let file = into.path().join("layer");
    fs::write(&file, bytes).expect("written");
    let output = Command::new(program).args(arguments).stdin(fs::File::open(file).expect("there")).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}")).stdout
}

/// Pushes an image of these tars, gzipped, as `truth:TAG`.
fn push(registry: &Registry, tag: &str, tars: &[(&str, Vec<u8>)]) -> String {
    let pusher = Pusher { address: registry.address(), repository: "truth" };
    let gzip = |tar: &Vec<u8>| piped("gzip", &["-c"], tar);
    let layers: Vec<Value> =
        tars.iter().map(|(_, tar)| pusher.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(tar))).collect();
    push_layers(&pusher, tag, &layers, tars);
    format!("{}/truth:{tag}", registry.address())
}

fn push_layers(pusher: &Pusher<'_>, tag: &str, layers: &[Value], tars: &[(&str, Vec<u8>)]) {
    let mut history: Vec<Value> =
        tars.iter().map(|(command, _)| json!({"created": "2024-05-06T07:08:09Z", "created_by": command})).collect();
    history.push(json!({"created": "2024-05-06T07:08:10Z", "created_by": "CMD", "empty_layer": true}));
    let diff_ids: Vec<String> = tars.iter().map(|(_, tar)| digest(tar)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:10Z", "config": {},
        "history": history, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = pusher.blob(OCI_CONFIG, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    pusher.manifest(Some(tag), OCI_MANIFEST, &manifest);
}

/// Layers with everything that a layer may contain, by name.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let directory = scratch();
    let root = |name: &str| {
        let root = directory.path().join(name);
        fs::create_dir_all(&root).expect("made");
        root
    };
    let mut corpus = Vec::new();

    let base = root("base");
    write(&base, "usr/bin/tool", 100_000);
    fs::hard_link(base.join("usr/bin/tool"), base.join("usr/bin/alias")).expect("linked");
    symlink("t", base.join("usr/bin/s")).expect("linked");
    symlink("usr/bin", base.join("bin")).expect("linked");
    write(&base, "etc/config", 1234);
    write(&base, "etc/empty", 0);
    write(&base, &format!("{}/{}", "long/".repeat(30), "name".repeat(30)), 77);
    corpus.push(("files, links and long names", tar(&base, &["--format=gnu", "."])));
    corpus.push(("the same in pax format", tar(&base, &["--format=posix", "."])));
    corpus.push(("the same in ustar format", tar(&base, &["--format=ustar", "--exclude=./long", "."])));

    let whiteouts = root("whiteouts");
    write(&whiteouts, "etc/.wh.config", 0);
    write(&whiteouts, "usr/bin/.wh.alias", 0);
    write(&whiteouts, "long/.wh..wh..opq", 0);
    write(&whiteouts, "long/new", 5);
    corpus.push(("whiteouts and an opaque directory", tar(&whiteouts, &["."])));

    let sparse = root("sparse");
    write(&sparse, "holes", 4096);
    let file = fs::OpenOptions::new().write(true).open(sparse.join("holes")).expect("there");
    file.set_len(3_000_000).expect("longer");
    for (version, name) in [("0.0", "sparse 0.0"), ("0.1", "sparse 0.1"), ("1.0", "sparse 1.0")] {
        let version = format!("--sparse-version={version}");
        corpus.push((name, tar(&sparse, &["--format=posix", "-S", &version, "."])));
    }

    let through = root("through");
    fs::create_dir_all(through.join("real")).expect("made");
    symlink("real", through.join("link")).expect("linked");
    let archive = directory.path().join("through.tar");
    run(Command::new("tar").arg("-C").arg(&through).arg("-cf").arg(&archive).args(["real", "link"]));
    let moved = root("moved");
    write(&moved, "link/file", 50);
    write(&moved, "real/file", 700);
    for path in ["link/file", "real/file"] {
        run(Command::new("tar").arg("-C").arg(&moved).arg("-rf").arg(&archive).arg(path));
    }
    corpus.push(("a path through a symbolic link", fs::read(&archive).expect("a tar")));

    let nothing = root("nothing");
    corpus.push(("an empty directory", tar(&nothing, &["."])));
    corpus.push(("nothing", vec![0; 1024]));
    corpus
}

#[test]
fn unpacked_sizes_are_dockers_for_a_corpus_of_odd_layers() {
    let (registry, engine) = (Registry::start(), Engine::shared());
    let corpus = corpus();
    // Each alone, so that a difference names its layer, and all as one image.
    for (position, (name, tar)) in corpus.iter().enumerate() {
        let reference = push(&registry, &format!("corpus-{position}"), &[(name, tar.clone())]);
        assert_eq!(we_say(&reference), docker_says(&engine, &reference), "{name}");
    }
    let distinct: Vec<_> = corpus.into_iter().collect();
    let reference = push(&registry, "all", &distinct);
    assert_eq!(we_say(&reference), docker_says(&engine, &reference));
}

/// `inspect`'s unpacked size of a layer that Docker refuses to pull.
fn refused(registry: &Registry, engine: &Engine, tag: &str, tar: Vec<u8>) -> Value {
    let base = scratch();
    write(base.path(), "file", 100);
    let reference = push(registry, tag, &[("FROM", self::tar(base.path(), &["file"])), ("RUN", tar)]);
    let pull = engine.docker().args(["pull", "--quiet", &reference]).output().expect("docker runs");
    assert!(!pull.status.success(), "{tag} is pulled");
    let (report, said) = inspected_and_said(&reference, Uncompressed::Exact);
    let image = &report["images"][0];
    assert!(image["uncompressed_bytes"].is_u64(), "{tag}");
    let unpacked = image["steps"][1]["layer"]["unpacked_bytes"].clone();
    assert_eq!(said.contains("its unpacked size is left out"), unpacked.is_null(), "{said}");
    unpacked
}

#[test]
fn what_overlay2_cannot_unpack_has_no_unpacked_size_and_what_only_docker_refuses_has() {
    let (registry, engine) = (Registry::start(), Engine::shared());
    let directory = scratch();
    let root = directory.path();
    write(root, "file", 100);
    fs::hard_link(root.join("file"), root.join("link")).expect("linked");
    let both = tar(root, &["file", "link"]);
    // The link's header alone, behind the file's header and content: its target is in the layer below.
    let link_alone = [&both[1024..1536], &[0; 1024][..]].concat();
    assert_eq!(refused(&registry, &engine, "link", link_alone), Value::Null);

    let sparse = scratch();
    write(sparse.path(), "holes", 4096);
    let file = fs::OpenOptions::new().write(true).open(sparse.path().join("holes")).expect("there");
    file.set_len(3_000_000).expect("longer");
    let old_sparse = tar(sparse.path(), &["--format=gnu", "-S", "."]);
    assert_eq!(refused(&registry, &engine, "sparse", old_sparse), 3_000_000);

    let archive = directory.path().join("twice.tar");
    run(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg("file"));
    write(root, "file", 3000);
    run(Command::new("tar").arg("-C").arg(root).arg("-rf").arg(&archive).arg("file"));
    assert_eq!(refused(&registry, &engine, "twice", fs::read(&archive).expect("a tar")), 3000);
}

#[test]
fn every_programs_layers_are_measured() {
    let registry = Registry::start();
    let directory = scratch();
    for number in 0..200 {
        write(directory.path(), &format!("directory-{}/file-{number}", number % 7), number * 31);
    }
    let tar = tar(directory.path(), &["."]);
    let expected: usize = (0..200).map(|number| number * 31).sum();
    let pusher = Pusher { address: registry.address(), repository: "truth" };
    let (gzip, zstd) = ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd");
    let half = tar.len() / 2;
    let members = [piped("gzip", &["-c"], &tar[..half]), piped("pigz", &["-c"], &tar[half..])].concat();
    let frames = [
        piped("zstd", &["-qc"], &tar[..half]),
        [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"hello"].concat(),
        piped("zstd", &["-qc", "-19"], &tar[half..]),
    ]
    .concat();
    for (tag, media_type, blob) in [
        ("gzip", gzip, piped("gzip", &["-c", "-1"], &tar)),
        ("pigz", gzip, piped("pigz", &["-c", "-b", "128"], &tar)),
        ("igzip", gzip, piped("igzip", &["-c"], &tar)),
        ("members", gzip, members),
        ("zstd", zstd, piped("zstd", &["-qc"], &tar)),
        ("zstd-long", zstd, piped("zstd", &["-qc", "--ultra", "-22", "--long=27"], &tar)),
        ("frames", zstd, frames),
        ("plain", "application/vnd.oci.image.layer.v1.tar", tar.clone()),
    ] {
        let layer = pusher.blob(media_type, &blob);
        push_layers(&pusher, tag, &[layer], &[("COPY", tar.clone())]);
        let reference = format!("{}/truth:{tag}", registry.address());
        let image = &inspected(&reference, Uncompressed::Exact)["images"][0];
        assert_eq!(image["uncompressed_bytes"], tar.len(), "{tag}");
        assert_eq!(image["unpacked_bytes"], expected, "{tag}");
    }
}

#[test]
fn an_image_by_umoci_is_measured() {
    let registry = Registry::start();
    let directory = scratch();
    let image = format!("{}:made", directory.path().join("layout").display());
    let bundle = directory.path().join("rootfs");
    write(&bundle, "etc/os-release", 300);
    write(&bundle, "usr/bin/tool", 200_000);
    run(Command::new("umoci").args(["init", "--layout"]).arg(directory.path().join("layout")));
    run(Command::new("umoci").args(["new", "--image", &image]));
    run(Command::new("umoci").args(["insert", "--image", &image]).arg(&bundle).arg("/"));
    let reference = format!("{}/made:umoci", registry.address());
    let (from, to) = (format!("oci:{image}"), format!("docker://{reference}"));
    run(skopeo().args(["copy", "--dest-tls-verify=false", &from, &to]));
    let image = &inspected(&reference, Uncompressed::Exact)["images"][0];
    assert_eq!(image["unpacked_bytes"], 200_300);
    // umoci leaves out the last padding.
    assert_ne!(image["uncompressed_bytes"].as_u64().expect("known") % 512, 0);
}

#[test]
fn layers_compressed_by_skopeo_are_measured_cheaply_and_exactly() {
    let source = Registry::start();
    let directory = scratch();
    for number in 0..20 {
        write(directory.path(), &format!("file-{number}"), 1000 * number);
    }
    // Without the padding to whole records, which Debian's skopeo drops when it makes zstd:chunked.
    let tar = tar(directory.path(), &["-b1", "."]);
    let pusher = Pusher { address: source.address(), repository: "truth" };
    let layer = pusher.blob("application/vnd.oci.image.layer.v1.tar", &tar);
    push_layers(&pusher, "plain", &[layer], &[("COPY", tar.clone())]);
    for format in ["gzip", "zstd", "zstd:chunked"] {
        // One registry for each: skopeo remembers what it has compressed for a registry and uses it again.
        let registry = Registry::start();
        let reference = format!("{}/made:it", registry.address());
        let (from, to) = (format!("docker://{}/truth:plain", source.address()), format!("docker://{reference}"));
        let mut copy = skopeo();
        copy.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=oci"]);
        run(copy.args(["--dest-compress-format", format, &from, &to]));
        let image = &inspected(&reference, Uncompressed::Exact)["images"][0];
        assert_eq!(image["uncompressed_bytes"], tar.len(), "{format}");
        assert_eq!(image["unpacked_bytes"], 190_000, "{format}");
        let image = &inspected(&reference, Uncompressed::Cheap)["images"][0];
        if !image["uncompressed_bytes"].is_null() {
            assert_eq!(image["uncompressed_bytes"], tar.len(), "{format}");
        }
    }
}
