use proptest::prelude::*;

use super::*;

fn listed(source: Source, content: &str) -> Vec<String> {
    match source.parse(content.as_bytes(), true) {
        Some(Database::Packages(packages)) => {
            packages.iter().map(|package| format!("{} {} {:?}", package.name, package.version, package.bytes)).collect()
        }
        Some(Database::PackageBytes(bytes)) => vec![bytes.to_string()],
        Some(Database::Unsupported(manager)) => vec![format!("{} is not read", manager.as_str())],
        None => Vec::new(),
    }
}

#[test]
fn databases_are_found_by_their_paths() {
    for (path, expected) in [
        ("./var/lib/dpkg/status", Some(Source::Dpkg)),
        ("/var/lib/dpkg/status.d/base", Some(Source::Dpkg)),
        ("var/lib/dpkg/status.d/base.md5sums", None),
        ("var/lib/dpkg/status-old", None),
        ("lib/apk/db/installed", Some(Source::Apk)),
        ("var/lib/rpm/rpmdb.sqlite", Some(Source::Rpm)),
        ("usr/lib/sysimage/rpm/Packages.db", Some(Source::Rpm)),
        ("usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", Some(Source::PythonMetadata)),
        ("usr/lib/python3/dist-packages/six-1.16.0.dist-info/RECORD", Some(Source::PythonRecord)),
        ("usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO", Some(Source::PythonMetadata)),
        ("app/node_modules/left-pad/package.json", Some(Source::Node)),
        ("app/node_modules/@types/node/package.json", Some(Source::Node)),
        ("app/node_modules/left-pad/test/package.json", None),
        ("app/package.json", None),
        ("package.json", None),
    ] {
        assert_eq!(Source::of(path.as_bytes()), expected, "{path}");
    }
}

#[test]
fn a_description_of_a_package_is_read_by_whichever_link_has_the_content() {
    let in_store = |hash: &str| format!("root/.local/share/pnpm/store/v3/files/0f/{hash}");
    for (path, expected) in [
        (in_store(&"a9".repeat(63)), Some(Source::Node)),
        (in_store(&format!("{}-exec", "a9".repeat(63))), None),
        (in_store(&"a9".repeat(32)), None),
        (in_store(&"xy".repeat(63)), None),
        (format!("root/0f/{}", "a9".repeat(63)), None),
        ("root/.cache/left-pad@1.3.0/package.json".to_owned(), Some(Source::Node)),
        ("var/lib/dpkg/status".to_owned(), Some(Source::Dpkg)),
        ("etc/passwd".to_owned(), None),
    ] {
        assert_eq!(Source::of_any_link(path.as_bytes()), expected, "{path}");
    }
}

#[test]
fn databases_name_packages_their_versions_and_bytes() {
    let status = "Package: bash\nStatus: install ok installed\nInstalled-Size: 7\nVersion: 5.2-1\nDescription: a\n shell\n : x\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: odd\nInstalled-Size: many\n";
    assert_eq!(listed(Source::Dpkg, status), ["bash 5.2-1 Some(7168)", "odd  None"]);
    let states = [
        "not-installed",
        "config-files",
        "half-installed",
        "unpacked",
        "half-configured",
        "triggers-awaited",
        "triggers-pending",
        "installed",
    ];
    let stanza = |state: &&str| format!("Package: {state}\nStatus: install ok {state}\nVersion: 1\n\n");
    let status = states.iter().map(stanza).collect::<Vec<_>>().concat();
    let with_files: Vec<String> = states[3..].iter().map(|state| format!("{state} 1 None")).collect();
    assert_eq!(listed(Source::Dpkg, &status), with_files);
    let installed = "C:Q1=\nP:musl\nV:1.2.5-r0\nI:663552\nF:lib\nR:libc.so\n\nP:busybox\nV:1.36\n";
    assert_eq!(listed(Source::Apk, installed), ["musl 1.2.5-r0 Some(663552)", "busybox 1.36 None"]);
    let metadata = "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\r\n\nName: in the description\n";
    assert_eq!(listed(Source::PythonMetadata, metadata), ["six 1.16.0 None"]);
    let record = "six.py,sha256=x,34549\n\"a,b.py\",sha256=y,1\nsix-1.16.0.dist-info/RECORD,,\n";
    assert_eq!(listed(Source::PythonRecord, record), ["34550"]);
    assert_eq!(listed(Source::Node, r#"{"name": "@types/node", "version": "22.1.0"}"#), ["@types/node 22.1.0 None"]);
    assert_eq!(listed(Source::Node, r#"{"type": "module"}"#), Vec::<String>::new());
    assert_eq!(listed(Source::Rpm, ""), ["rpm is not read"]);
}

proptest! {
    #[test]
    fn no_bytes_panic_a_parser(content in proptest::collection::vec(any::<u8>(), 0..300), whole: bool) {
        for source in [
            Source::Dpkg, Source::Apk, Source::Rpm, Source::PythonMetadata, Source::PythonRecord, Source::Node,
        ] {
            drop(source.parse(&content, whole));
        }
    }
}
