//! Releases of a Debian that containers make: packages added, upgraded and removed, and what else people do to files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::files::{assert_files_are_dockers, assert_packages_are_dpkgs, directories, in_merged};
use super::{Uncompressed, docker_says, inspected_all, we_say};
use crate::harness::engine::Engine;
use crate::harness::run;

/// What happens in each release, in a container of the one before, with packages in `/mnt`.
const RELEASES: [(&str, &str); 5] = [
    ("added", "dpkg --install /mnt/acme_1.0_all.deb /mnt/acme-extra_1.0_all.deb"),
    ("upgraded", "dpkg --install /mnt/acme_2.0_all.deb"),
    ("removed", "dpkg --purge acme-extra; dpkg --remove --force-depends acme; rm -rf /usr/share/doc/[a-m]*"),
    (
        "renamed",
        // A directory of the layers below is copied, since overlay2 does not redirect; one of two hard links there is changed.
        "mv /usr/share/locale /srv/locale; mv /usr/share/perl5 /usr/share/perl6; echo >>/usr/bin/perl; \
         ln /bin/dash /srv/dash; mv /etc/passwd /etc/old; cp /etc/old /etc/passwd",
    ),
    (
        "odd",
        // An opaque directory; a directory that becomes a file and back; links in place of directories; the same bytes again.
        "rm -rf /usr/share/zoneinfo && mkdir /usr/share/zoneinfo && echo UTC >/usr/share/zoneinfo/UTC; \
         rm -rf /srv/locale && echo file >/srv/locale; rm -rf /usr/share/man && ln -s /srv /usr/share/man; \
         rm /srv/dash && mkdir /srv/dash && cp /bin/dash /srv/dash/dash; chmod -R o-r /usr/share/bash-completion /usr/bin/f*; \
         mknod /srv/null c 1 3; mkfifo /srv/fifo; truncate -s 5000000 /srv/holes; touch \"$(printf '/srv/a\\012b')\"",
    ),
];

/// A package of files with these bytes.
fn package(into: &Path, name: &str, version: &str, files: &[(&str, usize)]) {
    let root = into.join(format!("{name}_{version}"));
    fs::create_dir_all(root.join("DEBIAN")).expect("made");
    let kib = files.iter().map(|(_, bytes)| bytes / 1024 + 1).sum::<usize>();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\n\
         Installed-Size: {kib}\nDescription: a package\n of a test\n"
    );
    fs::write(root.join("DEBIAN/control"), control).expect("written");
    for (path, bytes) in files {
        super::write(&root, path, *bytes);
    }
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(into));
}

/// Asserts that each release of a Debian, made by a container, has the files, waste, packages and changes that Docker,
/// Linux and dpkg see.
pub(super) fn assert_releases_are_dockers(engine: &Engine, base: &str, directory: &Path) {
    let packages = directory.join("packages");
    package(
        &packages,
        "acme",
        "1.0",
        &[("usr/share/acme/big", 300_000), ("usr/share/acme/old", 50_000), ("usr/bin/acme", 1)],
    );
    package(
        &packages,
        "acme",
        "2.0",
        &[("usr/share/acme/big", 512_000), ("usr/share/acme/new", 70_000), ("usr/bin/acme", 1)],
    );
    package(&packages, "acme-extra", "1.0", &[("usr/share/acme-extra/data", 40_000)]);
    let mounted = format!("{}:/mnt:ro", packages.display());
    let mut old = base.to_owned();
    for (release, script) in RELEASES {
        let container = format!("truth-{release}");
        let script = format!("set -e; {script}");
        run(engine
            .docker()
            .args(["run", "--network", "none", "--volume", &mounted, "--name", &container, &old])
            .args(["sh", "-c", &script]));
        let changed = run(engine.docker().args(["diff", &container]));
        let new = base.replace(":debian", &format!(":{release}"));
        run(engine.docker().args(["commit", &container, &new]));
        run(engine.docker().args(["rm", "--force", &container]));
        engine.push(&new);
        assert_files_are_dockers(engine, &new, release);
        assert_packages_are_dpkgs(engine, &new);
        assert_changes_are_dockers(engine, (&old, &new), &changed);
        old = new;
    }
    assert_eq!(we_say(&old), docker_says(engine, &old));
}

/// The files of an image, each with its bytes, and those that have several links.
fn sizes(engine: &Engine, reference: &str) -> (BTreeMap<String, u64>, BTreeSet<String>) {
    let find = "cd \"$0\"; find . -not -type d -printf '%n %s /%P\\0'";
    let (mut sizes, mut linked) = (BTreeMap::new(), BTreeSet::new());
    for file in in_merged(&directories(engine, reference), find).split_terminator('\0') {
        let (links, rest) = file.split_once(' ').expect("a number of links");
        let (bytes, path) = rest.split_once(' ').expect("bytes");
        if links != "1" {
            linked.insert(path.to_owned());
        }
        sizes.insert(path.to_owned(), bytes.parse().expect("a number"));
    }
    (sizes, linked)
}

/// Asserts that the files whose bytes differ are those among what `docker diff` says of a container.
fn assert_changes_are_dockers(engine: &Engine, (old, new): (&str, &str), changed: &str) {
    let ((old_sizes, old_linked), (new_sizes, new_linked)) = (sizes(engine, old), sizes(engine, new));
    let mut touched = BTreeSet::new();
    // A name with a line feed takes two lines.
    for line in changed.lines().filter(|line| line.get(1..3) == Some(" /")) {
        let path = &line[2..];
        touched.insert(path.to_owned());
        // Of a directory that is gone, or replaced, only the directory is named.
        let beneath = |other: &&String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        touched.extend(old_sizes.keys().filter(beneath).filter(|path| !new_sizes.contains_key(*path)).cloned());
    }
    let is_linked = |path: &str| old_linked.contains(path) || new_linked.contains(path);
    let expected: BTreeSet<String> = touched
        .iter()
        .filter(|path| !is_linked(path))
        .map(|path| (path, old_sizes.get(path).copied(), new_sizes.get(path).copied()))
        .filter(|(_, old, new)| old.unwrap_or(0) != new.unwrap_or(0))
        .map(|(path, old, new)| format!("{path} {old:?} {new:?}"))
        .collect();
    let (report, said) = inspected_all(&[old, new], Uncompressed::Off, true);
    assert_eq!(said, "", "nothing is unknown");
    let growth = &report["comparisons"][0]["files"];
    let found: BTreeSet<String> = growth["files"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|file| (file["path"].as_str().expect("a path"), &file["old_bytes"], &file["new_bytes"]))
        .filter(|(path, _, _)| !is_linked(path))
        .map(|(path, old, new)| format!("{path} {:?} {:?}", Value::as_u64(old), Value::as_u64(new)))
        .collect();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert!(
        found == expected,
        "{new}: only ours: {:?}, only docker's: {:?}",
        only(&found, &expected),
        only(&expected, &found)
    );
    assert!(!found.is_empty(), "{new}: something has changed");
}
