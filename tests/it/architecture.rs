//! Which room may use which, as data; and what is absent from where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room → the rooms that it may use. A room is a file of `src/` with the folder of its name.
const MAY_USE: &[(&str, &str)] = &[
    ("clock", ""),
    ("oci", ""),
    ("image", "oci"),
    ("target", "oci"),
    ("tag", "oci image target"),
    ("registry", "clock oci metrics"),
    ("inventory", "oci image target tag"),
    ("store", "clock oci image tag"),
    ("scan", "oci image target tag registry store"),
    ("layer", "clock oci image target tag registry store"),
    ("metrics", "clock oci image target inventory"),
    ("config", "oci target registry metrics web"),
    ("web", "metrics image target"),
    ("daemon", "clock oci image target tag registry inventory store scan layer metrics config web"),
    ("commands", "oci image target tag registry inventory store scan layer metrics config web daemon"),
];

/// Rooms that know no runtime, no network, no file, no clock, no environment.
const PURE: &[&str] = &["oci", "image", "target", "tag", "inventory"];

/// What a pure room must not name.
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "hyper",
    "figment",
    "redb",
    "std::fs",
    "std::env",
    "net::Tcp",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "tracing::",
];

/// No file outgrows one room: at most so many lines before its tests.
const LINES_MAX: usize = 400;

#[test]
fn rooms_use_only_what_they_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(room, uses)| (*room, uses.split_whitespace().collect())).collect();
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for (path, room, code) in sources() {
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: the room `{room}` is not in the table", path.display()));
            continue;
        };
        met.insert(room.clone());
        for used in rooms_named(&code) {
            if used != room && !may.contains(used.as_str()) && allowed.contains_key(used.as_str()) {
                wrong.push(format!("{}: `{room}` must not use `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let gone: Vec<_> = allowed.keys().filter(|room| !met.contains(**room)).collect();
    assert!(gone.is_empty(), "in the table, not in src: {gone:?}");
}

#[test]
fn pure_rooms_name_nothing_impure() {
    let mut wrong = Vec::new();
    for (path, room, code) in sources().into_iter().filter(|(_, room, _)| PURE.contains(&room.as_str())) {
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{}: `{room}` is pure and names `{word}`", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_config_knows_figment_and_the_environment_is_read_in_few_places() {
    for (path, room, code) in sources() {
        assert!(room == "config" || !code.contains("figment"), "{}: figment outside config", path.display());
        let reads = ["env::var(", "env::var_os(", "env::vars("].iter().any(|call| code.contains(call));
        let may = room == "config"
            || path.to_string_lossy().contains("registry/auth/")
            // Whether a proxy is named there, which reqwest reads by itself.
            || path.ends_with("registry/transport/connect.rs")
            // NO_COLOR.
            || path.ends_with("commands/inspect.rs");
        assert!(may || !reads, "{}: reads the environment", path.display());
    }
}

#[test]
fn no_file_outgrows_its_room() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, _, code)| (code.lines().count(), path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "cut these along a word of the design: {long:?}");
}

#[test]
fn the_architecture_document_names_every_room() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (room, _) in MAY_USE {
        let named = [format!("`{room}`"), format!("`{room}/*`")].iter().any(|name| document.contains(name.as_str()));
        assert!(named, "ARCHITECTURE.md has no row for `{room}`");
    }
}

#[test]
fn the_reader_of_uses_reads_groups() {
    let code = "use crate::{config::Config, oci::{Tag, manifest::X}, scan};\nlet x = crate::store::Store;";
    let expected: BTreeSet<String> = ["config", "oci", "scan", "store"].map(String::from).into();
    assert_eq!(rooms_named(code), expected);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file: its path, its room, and its code without tests and comments.
fn sources() -> Vec<(PathBuf, String, String)> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    assert!(files.len() > 20, "src was not found");
    files.retain(|path| path.file_stem().is_none_or(|stem| stem != "tests"));
    files.into_iter().map(|path| source(&path)).collect()
}

fn source(path: &Path) -> (PathBuf, String, String) {
    let relative = path.strip_prefix(root().join("src")).unwrap().to_path_buf();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    let room = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    (relative, room, code.join("\n"))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The rooms that a piece of code names: `crate::room…` and `crate::{room…, room…}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_members(group)),
            None => rooms.extend(identifier(rest)),
        }
    }
    rooms
}

/// The first identifiers of a `{a::b, c::{d, e}, f}` group, after its opening brace.
fn group_members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ if depth == 0 => members.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    members.iter().filter_map(|member| identifier(member.trim())).collect()
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    name.starts_with(|c: char| c.is_ascii_lowercase()).then_some(name)
}
