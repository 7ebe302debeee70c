//! Which room may use which, as data; and what is absent from where.
//!
//! A room is a file of `src/` with the folder of its name. Imports are read as text: `use` declarations and paths that
//! begin with `crate`, `self` or `super`, followed through re-exports to the file that defines the name.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use imports::{Source, circles, edges, root, sources};

/// Room → the rooms that it uses, no more and no fewer, from the lowest storey up: a room uses only rooms above its
/// own line.
const USES: &[(&str, &str)] = &[
    ("clock", ""),
    ("oci", ""),
    ("memory_registry", "oci"),
    ("image", "oci"),
    ("files", ""),
    ("target", "oci"),
    ("retention", "oci image target"),
    ("tag", "oci files image target"),
    ("registry", "oci"),
    ("inventory", "oci files image target retention tag"),
    ("store", "clock oci files image target tag registry"),
    ("scan", "oci image target tag registry store"),
    ("layer", "clock oci files image target tag registry store"),
    ("notify", "oci"),
    ("local", "oci files image layer"),
    ("sources", "clock oci target tag registry local"),
    ("metrics", "clock oci image target registry inventory notify"),
    ("page", "oci image target inventory metrics"),
    ("web", "clock oci image registry notify metrics page"),
    ("config", "oci target retention registry local sources store notify metrics web"),
    ("daemon", "clock oci target tag registry inventory store scan layer notify sources config metrics web"),
    (
        "commands",
        "clock oci memory_registry files image target retention tag registry inventory store scan layer local sources config metrics web daemon",
    ),
];

/// Rooms that know no runtime, no network, no file, no clock, no environment.
const PURE: &[&str] = &["oci", "files", "image", "target", "retention", "tag", "inventory", "page"];

/// What a pure room must not name.
const IMPURE: &[&str] = &[
    "crate::clock",
    "tokio",
    "reqwest",
    "hyper",
    "figment",
    "toml_edit",
    "redb",
    "std::fs",
    "std::env",
    "net::Tcp",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "tracing::",
];

/// The most lines of a file before its tests.
const LINES_MAX: usize = 400;

#[test]
fn rooms_use_exactly_the_rooms_of_the_table() {
    let sources = sources();
    let mut used: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|source| (source.room(), BTreeSet::new())).collect();
    for (from, to) in edges(&sources) {
        let (from, to) = (sources[from].room(), sources[to].room());
        if from != to && !is_top(from) {
            used.get_mut(from).unwrap().insert(to);
        }
    }
    used.retain(|room, _| !is_top(room));
    let table: BTreeMap<&str, BTreeSet<&str>> =
        USES.iter().map(|(room, uses)| (*room, uses.split_whitespace().collect())).collect();
    let rooms: BTreeSet<&&str> = used.keys().chain(table.keys()).collect();
    let wrong: Vec<String> = rooms
        .into_iter()
        .filter(|room| used.get(**room) != table.get(**room))
        .map(|room| format!("`{room}` uses {:?}, the table says {:?}", used.get(room), table.get(room)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_uses_a_room_of_a_higher_storey() {
    for (line, (room, uses)) in USES.iter().enumerate() {
        for used in uses.split_whitespace() {
            assert!(
                USES[..line].iter().any(|(lower, _)| *lower == used),
                "`{room}` uses `{used}`, which is not below it"
            );
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let circles: Vec<String> = circles(&sources)
        .into_iter()
        .map(|circle| circle.into_iter().map(|at| sources[at].name()).collect::<Vec<_>>().join(" ↔ "))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn pure_rooms_name_nothing_impure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room())) {
        for word in IMPURE.iter().filter(|word| source.code.contains(**word)) {
            wrong.push(format!("{}: `{}` is pure and names `{word}`", source.name(), source.room()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_config_knows_figment_and_the_environment_is_read_in_few_places() {
    for source in sources() {
        let name = source.name();
        let knows = ["figment", "toml_edit"].iter().any(|library| source.code.contains(library));
        assert!(source.room() == "config" || !knows, "{name}: reads TOML outside config");
        let reads = ["env::var(", "env::var_os(", "env::vars("].iter().any(|call| source.code.contains(call));
        let may = source.room() == "config"
            || name.starts_with("registry/auth/")
            // Of the variable that the configuration names.
            || name == "notify/token.rs"
            // Whether a proxy is named there, which reqwest reads by itself.
            || name == "registry/transport/connect.rs"
            // NO_COLOR, TERM and DOCKER_HOST.
            || name.starts_with("commands/");
        assert!(may || !reads, "{name}: reads the environment");
    }
}

#[test]
fn no_file_outgrows_its_room() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|source| (source.code.lines().count(), source.name()))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "split these by subject: {long:?}");
}

#[test]
fn the_architecture_document_names_every_room() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (room, _) in USES {
        assert!(document.contains(&format!("`{room}`")), "ARCHITECTURE.md has no row for `{room}`");
    }
}

/// `main.rs` and `lib.rs` are above all rooms.
fn is_top(room: &str) -> bool {
    ["main", "lib"].contains(&room)
}

#[test]
fn an_import_is_followed_through_groups_parents_and_re_exports() {
    let source = |module: &str, code: &str| Source {
        module: module.split("::").map(str::to_owned).collect(),
        code: code.to_owned(),
    };
    let sources = [
        source("a", "mod b;\nmod c;\npub use b::Thing;\npub(crate) use c::{Other, deep::Deep};"),
        source("a::b", "use super::c::Other;"),
        source("a::c", "mod deep;\nuse crate::{a::Thing, d};\nlet x = super::super::d::f();"),
        source("a::c::deep", ""),
        source("d", "use crate::a::Deep;"),
    ];
    let names = |at: usize| sources[at].module.join("::");
    let found: BTreeSet<String> =
        edges(&sources).into_iter().map(|(from, to)| format!("{} {}", names(from), names(to))).collect();
    let expected = ["a a::b", "a a::c", "a a::c::deep", "a::b a::c", "a::c a::b", "a::c d", "d a::c::deep"];
    assert_eq!(found, expected.map(str::to_owned).into());
    let circles: Vec<Vec<String>> =
        circles(&sources).into_iter().map(|circle| circle.into_iter().map(names).collect()).collect();
    assert_eq!(circles, [["a::b", "a::c"].map(str::to_owned).to_vec()]);
}
