//! Packages of images, against what their managers say of the directories that the layers were made of.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::files::files;
use crate::harness::registry::Registry;
use crate::harness::{exporter, run, scratch, skopeo};

/// An image that `umoci` makes of the states of a directory, a layer for each.
struct Image {
    directory: tempfile::TempDir,
    registry: Registry,
}

impl Image {
    fn new() -> Self {
        let image = Self { directory: scratch(), registry: Registry::start() };
        run(Command::new("umoci").args(["init", "--layout"]).arg(image.at("layout")));
        run(Command::new("umoci").args(["new", "--image", &image.name()]));
        run(Command::new("umoci").args(["unpack", "--image", &image.name()]).arg(image.at("bundle")));
        image
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self) -> String {
        format!("{}:made", self.at("layout").display())
    }

    /// The directory, with all layers so far.
    fn root(&self) -> PathBuf {
        self.at("bundle/rootfs")
    }

    /// Makes a layer of what has changed in the directory, pushes the image and gives its reference.
    fn layer(&self) -> String {
        run(Command::new("umoci").args(["repack", "--refresh-bundle", "--image", &self.name()]).arg(self.at("bundle")));
        let reference = format!("{}/truth:packages", self.registry.address());
        let (from, to) = (format!("oci:{}", self.name()), format!("docker://{reference}"));
        run(skopeo().args(["copy", "--quiet", "--dest-tls-verify=false", &from, &to]));
        reference
    }
}

/// The files beneath a directory, each inode once: how many bytes they have. `enter` says which folders are read.
fn bytes_in(directory: &Path, enter: &dyn Fn(&Path) -> bool) -> u64 {
    fn add(directory: &Path, enter: &dyn Fn(&Path) -> bool, seen: &mut BTreeSet<u64>) -> u64 {
        let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
        entries
            .map(|path| {
                let found = path.symlink_metadata().expect("there");
                match found.is_dir() {
                    true if enter(&path) => add(&path, enter, seen),
                    false if seen.insert(found.ino()) => found.len(),
                    _ => 0,
                }
            })
            .sum()
    }
    add(directory, enter, &mut BTreeSet::new())
}

/// `name version bytes` of each package of a manager, in order.
fn packages(files: &Value, manager: &str) -> Vec<String> {
    let packages = files["packages"].as_array().expect("a list").iter();
    let shown = |package: &Value| {
        let text = |key: &str| package[key].as_str().expect("text").to_owned();
        format!("{} {} {}", text("name"), text("version"), package["bytes"])
    };
    let mut shown: Vec<String> = packages.filter(|package| package["manager"] == manager).map(shown).collect();
    shown.sort();
    shown
}

/// The files of an image, whose bytes are those of the directory.
fn files_of(image: &Image, reference: &str) -> Value {
    let files = files(reference);
    assert_eq!(files["bytes"], bytes_in(&image.root(), &|_| true), "{files:#}");
    files
}

/// Databases that apk-tools 2.14.10 and 3.0.6 wrote, adding, upgrading and removing packages and making a virtual one; and
/// what `apk query --installed --fields name,version,installed-size '*'` prints of them. Debian has no apk.
#[test]
fn packages_of_apk_are_those_that_apk_finds() {
    for (version, place) in [("v2", "lib/apk/db"), ("v3", "lib/apk/db"), ("v3", "usr/lib/apk/db")] {
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/layers/apk").join(version);
        let image = Image::new();
        let folder = image.root().join(place);
        fs::create_dir_all(&folder).expect("made");
        fs::copy(written.join("installed"), folder.join("installed")).expect("copied");
        let query = fs::read_to_string(written.join("query")).expect("text");
        let field = |package: &str, key: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            value.map(str::to_owned)
        };
        let mut expected: Vec<String> = query
            .trim()
            .split("\n\n")
            .map(|package| {
                let [name, version] = ["Name", "Version"].map(|key| field(package, key).expect("it is said"));
                // apk says nothing of a package without files.
                format!("{name} {version} {}", field(package, "Installed-Size").unwrap_or_else(|| "0".to_owned()))
            })
            .collect();
        expected.sort();
        assert_eq!(expected.len(), 3, "{query}");
        assert_eq!(packages(&files_of(&image, &image.layer()), "apk"), expected, "{version}");
    }
}

/// A wheel of one module of this many bytes, as PyPA specifies wheels.
fn wheel(into: &Path, name: &str, version: &str, bytes: usize) -> PathBuf {
    const SCRIPT: &str = "\
import sys, zipfile, hashlib, base64
path, name, version, size = sys.argv[1:]
info = f'{name}-{version}.dist-info'
files = {
    f'{name}/__init__.py': b'#' * int(size),
    f'{name}/a,b.txt': b'quoted',
    f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n\\nVersion: 9\\n'.encode(),
    f'{info}/WHEEL': b'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    f'{info}/entry_points.txt': f'[console_scripts]\\n{name} = {name}:main\\n'.encode(),
}
record = ''
with zipfile.ZipFile(path, 'w') as wheel:
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
        record += (f'\"{file}\"' if ',' in file else file) + f',sha256={digest},{len(content)}\\n'
        wheel.writestr(file, content)
    wheel.writestr(f'{info}/RECORD', record + f'{info}/RECORD,,\\n')
";
    let path = into.join(format!("{name}-{version}-py3-none-any.whl"));
    let (size, script) = (bytes.to_string(), SCRIPT);
    run(Command::new("python3").args(["-c", script]).arg(&path).args([name, version, &size]));
    path
}

#[test]
fn packages_of_python_are_those_that_pip_lists_with_the_sums_of_their_records() {
    const TRUTH: &str = "\
import importlib.metadata, os
for package in importlib.metadata.distributions():
    sized = [file for file in package.files or [] if file.size is not None]
    for file in sized:
        assert os.lstat(file.locate()).st_size == file.size, file
    print(package.metadata['Name'], package.version, sum(file.size for file in sized))
";
    let image = Image::new();
    let environment = image.root().join("opt/venv");
    // With pip itself, and with setuptools where Python still brings it.
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    let pip = |arguments: &[&str]| {
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.env_remove("PIP_CONFIG_FILE").args(["--disable-pip-version-check"]).args(arguments))
    };
    let install = |name: &str, version: &str, bytes: usize| {
        let wheel = wheel(image.directory.path(), name, version, bytes).display().to_string();
        pip(&["install", "--quiet", "--no-index", "--no-deps", "--upgrade", &wheel]);
    };
    let steps: [&dyn Fn(); 3] = [
        &|| {
            install("acme_one", "1.0", 5000);
            install("acme_two", "1.0rc1", 700);
        },
        &|| {
            install("acme_one", "2.0", 9000);
            install("acme_three", "0.1", 0);
        },
        &|| drop(pip(&["uninstall", "--quiet", "--yes", "acme_two"])),
    ];
    for (number, step) in steps.iter().enumerate() {
        step();
        let found = packages(&files_of(&image, &image.layer()), "python");
        let truth = run(Command::new(environment.join("bin/python")).args(["-c", TRUTH]));
        let mut expected: Vec<String> = truth.lines().map(str::to_owned).collect();
        expected.sort();
        assert_eq!(found, expected, "after step {number}");
        let listed: Value = serde_json::from_str(&pip(&["list", "--format=json"])).expect("JSON");
        let listed = listed.as_array().expect("a list").iter();
        let text = |package: &Value, key: &str| package[key].as_str().expect("text").replace('-', "_");
        let listed: BTreeSet<String> =
            listed.map(|package| format!("{} {}", text(package, "name"), text(package, "version"))).collect();
        let named = found.iter().map(|package| package.rsplit_once(' ').expect("a size").0.replace('-', "_"));
        assert_eq!(named.collect::<BTreeSet<String>>(), listed, "after step {number}");
    }
}

/// Packs a package of Node; gives the tarball's path.
fn node_package(into: &Path, json: &str, bytes: usize, bundled: &[&Path]) -> PathBuf {
    let directory = tempfile::tempdir_in(into).expect("a directory for a package");
    let root = directory.path();
    fs::create_dir(root.join("lib")).expect("made");
    fs::write(root.join("package.json"), json).expect("written");
    fs::write(root.join("index.js"), vec![b' '; bytes]).expect("written");
    // No package: it only says how the files beside it are read.
    fs::write(root.join("lib/package.json"), r#"{"type": "module"}"#).expect("written");
    for bundled in bundled {
        let to = root.join("node_modules").join("b");
        fs::create_dir_all(&to).expect("made");
        run(Command::new("tar").arg("-xzf").arg(bundled).args(["--strip-components=1", "-C"]).arg(&to));
    }
    let name = run(Command::new("npm").args(["pack", "--silent", "--pack-destination"]).arg(into).arg(root));
    into.join(name.trim())
}

struct NodePackages {
    a: PathBuf,
    b: PathBuf,
    newer_b: PathBuf,
    c: PathBuf,
}

impl NodePackages {
    /// `a` with a `b` of its own in it, two other `b`, and one with a scope.
    fn new(into: &Path) -> Self {
        let package = |json: &str, bytes| node_package(into, json, bytes, &[]);
        let old_b = package(r#"{"name": "b", "version": "1.0.0"}"#, 1000);
        let a = r#"{"name": "a", "version": "1.5.0", "dependencies": {"b": "1.0.0"}, "bundleDependencies": ["b"]}"#;
        Self {
            a: node_package(into, a, 700, &[&old_b]),
            b: package(r#"{"name": "b", "version": "2.0.0"}"#, 2000),
            newer_b: package(r#"{"name": "b", "version": "2.1.0-rc.1"}"#, 2500),
            c: package(r#"{"name": "@acme/c", "version": "3.1.0"}"#, 333),
        }
    }
}

/// `name version bytes` of lines of `PATH:NAME@VERSION`, without the project itself.
fn installed(lines: &str) -> Vec<String> {
    let package = |line: &str| {
        let (path, rest) = line.split_once(':').expect("a path");
        let (name, version) =
            rest.split_once(':').map_or(rest, |(first, _)| first).rsplit_once('@').expect("a version");
        let bytes = bytes_in(Path::new(path), &|folder| !folder.ends_with("node_modules"));
        format!("{name} {version} {bytes}")
    };
    let mut packages: Vec<String> = lines.lines().skip(1).map(package).collect();
    packages.sort();
    packages
}

fn project(image: &Image, path: &str) -> PathBuf {
    let project = image.root().join(path);
    fs::create_dir_all(&project).expect("made");
    fs::write(project.join("package.json"), r#"{"name": "app", "version": "1.0.0", "private": true}"#)
        .expect("written");
    project
}

#[test]
fn packages_of_node_are_those_that_npm_lists_with_the_bytes_of_their_directories() {
    let image = Image::new();
    let NodePackages { a, b, newer_b, c } = NodePackages::new(image.directory.path());
    let project = project(&image, "srv/app");
    let cache = image.at("cache");
    let npm = |arguments: &[&str], packages: &[&Path]| {
        let mut npm = Command::new("npm");
        npm.current_dir(&project).env("npm_config_cache", &cache).args(arguments).args(packages);
        run(npm.args(["--offline", "--no-audit", "--no-fund", "--no-update-notifier"]))
    };
    let steps: [&dyn Fn() -> String; 3] =
        [&|| npm(&["install"], &[&a, &b, &c]), &|| npm(&["install"], &[&newer_b]), &|| {
            npm(&["uninstall", "@acme/c"], &[])
        }];
    for ((number, step), count) in steps.iter().enumerate().zip([4, 4, 3]) {
        step();
        let found = packages(&files_of(&image, &image.layer()), "node");
        assert_eq!(found, installed(&npm(&["ls", "--all", "--parseable", "--long"], &[])), "after step {number}");
        assert_eq!(found.len(), count, "after step {number}: {found:?}");
    }
}

/// pnpm links the files of a package into each project from its store, and a package to those that need it.
#[test]
fn packages_of_pnpm_count_once_with_their_own_bytes_wherever_its_store_is() {
    for (store, first, second) in [("root/store", "srv/app", "srv/two"), ("usr/store", "app", "srv/two")] {
        let image = Image::new();
        let NodePackages { a, b, newer_b, c } = NodePackages::new(image.directory.path());
        let [first, second] = [first, second].map(|path| project(&image, path));
        let pnpm = |project: &Path, arguments: &[&str], packages: &[&Path]| {
            let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pnpm/node_modules/.bin/pnpm");
            let mut pnpm = Command::new(program);
            pnpm.current_dir(project).env("HOME", image.at("home")).env("XDG_CACHE_HOME", image.at("cache"));
            pnpm.args(arguments).args(packages);
            if arguments == ["add"] {
                let store = image.root().join(store);
                pnpm.args(["--offline", "--package-import-method=hardlink", "--store-dir"]).arg(store);
            }
            run(&mut pnpm)
        };
        pnpm(&first, &["add"], &[&a, &b, &c]);
        let listed = |project: &Path| installed(&pnpm(project, &["ls", "--depth=9", "--parseable", "--long"], &[]));
        // What is bundled is in no list of pnpm's.
        let bundled = bytes_in(&first.join("node_modules/a/node_modules/b"), &|_| true);
        let bundled = format!("b 1.0.0 {bundled}");
        let mut expected = listed(&first);
        expected.push(bundled);
        expected.sort();
        assert_eq!(expected.len(), 4, "{expected:?}");
        assert_eq!(packages(&files_of(&image, &image.layer()), "node"), expected);
        // The same version once more has the same bytes, another one its own.
        pnpm(&second, &["add"], &[&b]);
        assert_eq!(packages(&files_of(&image, &image.layer()), "node"), expected);
        pnpm(&second, &["add"], &[&newer_b]);
        expected.extend(listed(&second));
        expected.sort();
        assert_eq!(packages(&files_of(&image, &image.layer()), "node"), expected);
    }
}

const SPEC: &str = "\
Name: acme
Version: 1.2
Release: 3
Summary: A package
License: MIT
BuildArch: noarch
%description
A package.
%install
mkdir -p %{buildroot}/usr/share/acme
head -c 5000 /dev/zero >%{buildroot}/usr/share/acme/file
%files
/usr/share/acme/file
";

/// Debian's rpm writes SQLite. What SUSE's writes, ndb, is found by its path too: see the tests of `files::packages`.
#[test]
fn a_database_of_rpm_is_said_to_be_there_and_not_read() {
    let built = scratch();
    let spec = built.path().join("acme.spec");
    fs::File::create(&spec).and_then(|mut file| file.write_all(SPEC.as_bytes())).expect("written");
    let topdir = format!("_topdir {}", built.path().display());
    run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &topdir]).arg(&spec));
    let package = built.path().join("RPMS/noarch/acme-1.2-3.noarch.rpm");
    for place in ["/var/lib/rpm", "/usr/lib/sysimage/rpm"] {
        let image = Image::new();
        let rpm = || {
            let mut rpm = Command::new("rpm");
            rpm.arg("--root").arg(image.root()).args(["--define", "_db_backend sqlite", "--dbpath", place]);
            rpm
        };
        run(rpm().args(["--nodeps", "--install"]).arg(&package));
        assert_eq!(run(rpm().args(["--query", "--all"])).trim(), "acme-1.2-3.noarch");
        let reference = image.layer();
        let files = files_of(&image, &reference);
        assert_eq!(files["packages_unread"], serde_json::json!(["rpm"]), "{files:#}");
        assert_eq!((&files["packages_count"], packages(&files, "rpm").len()), (&0.into(), 0));
        let said = run(exporter::command().args(["inspect", &reference, "--files"]));
        assert!(said.ends_with("packages of rpm are there, and its database is not read\n"), "{said}");
    }
}
