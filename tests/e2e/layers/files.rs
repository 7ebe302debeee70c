//! Files and waste, against what Linux sees: each layer's own directory of a Docker engine, and these merged by overlay2.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{Uncompressed, corpus, inspected_with, push};
use crate::harness::engine::Engine;
use crate::harness::registry::Registry;
use crate::harness::{run, scratch};

/// `files` of `inspect --files --json`.
pub(super) fn files(reference: &str) -> Value {
    let (report, said) = inspected_with(reference, Uncompressed::Off, true);
    assert_eq!(said, "", "nothing is unknown");
    report["images"][0]["files"].clone()
}

/// The directories of an image's layers, the top one first.
pub(super) fn directories(engine: &Engine, reference: &str) -> Vec<String> {
    let format = "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}";
    let all = run(engine.docker().args(["image", "inspect", "--format", format, reference]));
    all.trim().split(':').filter(|path| path.starts_with('/')).map(str::to_owned).collect()
}

/// What a program prints about a directory with all layers merged, which is in no other mount namespace.
pub(super) fn in_merged(directories: &[String], script: &str) -> String {
    let at = scratch();
    let mount = match directories {
        [one] => format!("mount --bind {one} \"$0\""),
        many => format!("mount -t overlay overlay -o lowerdir={} \"$0\"", many.join(":")),
    };
    let script = format!("set -e; {mount}; {script}");
    run(Command::new("unshare").args(["--mount", "sh", "-c", &script]).arg(at.path()))
}

/// Asserts that files and waste of an image that the engine has pulled are those of its directories.
pub(super) fn assert_files_are_dockers(engine: &Engine, reference: &str, what: &str) {
    // `du` counts hard links once, and of no files it prints nothing.
    const DU: &str =
        "find \"$0\" -not -type d -print0 | du --apparent-size --block-size=1 --total --files0-from=- | tail -n 1";
    let bytes = |printed: String| -> u64 {
        printed.split_whitespace().next().map_or(0, |total| total.parse().expect("a number"))
    };
    let directories = directories(engine, reference);
    let merged = bytes(in_merged(&directories, DU));
    let each = |directory: &String| bytes(run(Command::new("sh").args(["-c", DU]).arg(directory)));
    let layers: u64 = directories.iter().map(each).sum();
    let files = files(reference);
    assert_eq!(files["bytes"], merged, "{what}: {files:#}");
    assert_eq!(files["wasted_bytes"], layers - merged, "{what}: {files:#}");
    // The listed ones are all: each is in the image, with this size.
    let listed = |key: &str| -> u64 {
        files[key].as_array().expect("a list").iter().map(|file| file["bytes"].as_u64().expect("bytes")).sum()
    };
    assert_eq!((listed("biggest"), listed("wasted")), (merged, layers - merged), "{what}");
    let sizes = in_merged(&directories, "cd \"$0\"; find . -not -type d -printf '/%P %s\\0'");
    let sizes: BTreeSet<&str> = sizes.split('\0').collect();
    for file in files["biggest"].as_array().expect("a list") {
        let line = format!("{} {}", file["path"].as_str().expect("a path"), file["bytes"]);
        assert!(sizes.contains(&*line), "{what}: {line}");
    }
}

/// Asserts that dpkg's packages of an image that the engine has pulled are those that dpkg finds in it.
pub(super) fn assert_packages_are_dpkgs(engine: &Engine, reference: &str) {
    let query = "dpkg-query --admindir=\"$0/var/lib/dpkg\" --show \
        --showformat='${db:Status-Status} ${Package} ${Version} ${Installed-Size}\\n'";
    let expected = in_merged(&directories(engine, reference), query);
    let expected: BTreeSet<String> =
        expected.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect();
    let packages = files(reference)["packages"].clone();
    let of_dpkg = packages.as_array().expect("a list").iter().filter(|package| package["manager"] == "dpkg");
    let found: BTreeSet<String> = of_dpkg
        .map(|package| {
            let text = |key: &str| package[key].as_str().expect("text").to_owned();
            let kib = package["bytes"].as_u64().expect("dpkg says the size") / 1024;
            format!("{} {} {kib}", text("name"), text("version"))
        })
        .collect();
    assert!(found.len() > 50, "{found:?}");
    assert_eq!(found, expected, "{reference}");
}

#[test]
fn files_and_waste_of_a_corpus_of_odd_layers_are_those_of_overlay2() {
    let (registry, engine) = (Registry::start(), Engine::shared());
    let corpus = corpus();
    // Twice, so that everything is overwritten once more. The engine takes no second copy of some layers.
    let is_refused = |name: &str| name.starts_with("sparse") || name == "a path through a symbolic link";
    let plain = corpus.iter().filter(|(name, _)| !is_refused(name));
    let twice = plain.clone().chain(plain).map(|(name, tar)| (*name, tar.clone())).collect();
    let mut images = vec![("all twice".to_owned(), twice), ("all".to_owned(), corpus.clone())];
    for (name, tar) in &corpus[1..] {
        images.push(((*name).to_owned(), vec![(corpus[0].0, corpus[0].1.clone()), (*name, tar.clone())]));
    }
    for (position, (name, tars)) in images.iter().enumerate() {
        let reference = push(&registry, &format!("files-{position}"), tars);
        run(engine.docker().args(["pull", "--quiet", &reference]));
        assert_files_are_dockers(&engine, &reference, name);
    }
}
