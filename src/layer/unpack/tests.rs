use super::*;

fn file(path: &str, bytes: u64) -> Entry<'_> {
    Entry { kind: Kind::File, path: path.as_bytes(), link: b"", bytes }
}

fn link<'a>(kind: Kind, path: &'a str, target: &'a str) -> Entry<'a> {
    Entry { kind, path: path.as_bytes(), link: target.as_bytes(), bytes: 0 }
}

fn directory(path: &str) -> Entry<'_> {
    Entry { kind: Kind::Directory, path: path.as_bytes(), link: b"", bytes: 0 }
}

/// Bytes of a layer of these entries; none where one of them is refused.
fn unpacked(entries: &[Entry<'_>]) -> Option<u64> {
    let mut tree = Tree::new(None);
    let taken = entries.iter().all(|entry| tree.insert(entry, Content::default()).unwrap());
    taken.then(|| tree.finish().0)
}

#[test]
fn files_links_and_replacements_count_as_docker_counts_them() {
    let deep = "x/".repeat(2047) + "y";
    let long = "n".repeat(256);
    for (what, entries, expected) in [
        ("nothing", vec![], Some(0)),
        (
            "a file, its hard link and a symbolic link",
            vec![file("a", 100_000), link(Kind::Link, "b", "a"), link(Kind::Symlink, "c", "a")],
            Some(100_001),
        ),
        ("the last entry of a path wins", vec![file("d/a", 1), file("./d//a", 20), file("/d/x/../a", 300)], Some(300)),
        (
            "a hard link keeps what it linked to",
            vec![file("a", 1), link(Kind::Link, "b", "a"), file("a", 20)],
            Some(21),
        ),
        ("a hard link to what replaced it", vec![file("a", 1), file("a", 20), link(Kind::Link, "b", "./a")], Some(20)),
        ("a hard link to a symbolic link", vec![link(Kind::Symlink, "s", "four"), link(Kind::Link, "t", "s")], Some(4)),
        ("a hard link out of this layer", vec![link(Kind::Link, "b", "a")], None),
        ("a hard link to itself", vec![file("a", 1), link(Kind::Link, "a", "a")], None),
        ("a hard link to a directory", vec![directory("d"), link(Kind::Link, "a", "d")], None),
        ("a whiteout", vec![file(".wh.a", 7), file("d/.wh..wh..opq", 9)], Some(0)),
        ("a whiteout and the file again", vec![file(".wh.a", 0), file("a", 5)], Some(5)),
        ("a whiteout of a file in the layer", vec![file("a", 5), file(".wh.a", 0)], None),
        ("a directory merges", vec![file("d/a", 1), directory("d/"), file("d/b", 2)], Some(3)),
        ("a file replaces a directory", vec![file("d/e/a", 1), file("d/b", 2), file("d", 10)], Some(10)),
        ("a directory returns empty", vec![file("d/e/a", 1), file("d", 10), directory("d"), file("d/e/b", 5)], Some(5)),
        ("a file in a file", vec![file("a", 1), file("a/b", 2)], None),
        (
            "through a symbolic link",
            vec![directory("usr/bin"), link(Kind::Symlink, "bin", "usr/bin"), file("usr/bin/a", 1), file("bin/a", 20)],
            Some(27),
        ),
        (
            "through an absolute one",
            vec![directory("b"), link(Kind::Symlink, "x/l", "/b"), file("x/l/a", 20), file("b/a", 1)],
            Some(3),
        ),
        ("through one that leads nowhere", vec![link(Kind::Symlink, "l", "b"), file("l/a", 1)], None),
        ("in a circle", vec![link(Kind::Symlink, "l", "l"), file("l/a", 1)], None),
        ("above the root", vec![file("../../a", 1), file("a", 20)], Some(20)),
        ("a device", vec![Entry { kind: Kind::Special, ..file("a", 9) }], Some(0)),
        ("a type that is no file", vec![Entry { kind: Kind::Unknown, ..file("a", 9) }], None),
        ("a path that is too long", vec![file(&deep, 1)], None),
        ("a name that is too long", vec![file(&long, 1)], None),
    ] {
        assert_eq!(unpacked(&entries), expected, "{what}");
    }
}

#[test]
fn paths_are_limited() {
    let mut tree = Tree::with_paths_max(3);
    assert_eq!(tree.insert(&file("a/b/c", 1), Content::default()), Ok(true));
    assert_eq!(tree.insert(&file("d", 1), Content::default()), Err(TooManyPaths));
}

#[test]
fn a_path_that_is_replaced_for_ever_is_limited_too() {
    for entries in [vec![file("a", 1)], vec![directory("a"), file("a", 1)], vec![link(Kind::Symlink, "a", "b")]] {
        let mut tree = Tree::with_paths_max(100);
        let inserted = entries.iter().cycle().take(1000).map(|entry| tree.insert(entry, Content::default()));
        assert!(inserted.collect::<Result<Vec<_>, _>>().is_err());
    }
}

/// The paths of a listing, each with its bytes.
fn listed(entries: &[Entry<'_>]) -> (u64, Vec<String>) {
    let mut tree = Tree::new(Some(Wanted { paths_max: 100, packages: true }));
    assert!(entries.iter().all(|entry| tree.insert(entry, Content::default()).unwrap()));
    let (bytes, files) = tree.finish();
    let listing = files.unwrap();
    let mut paths: Vec<String> = vec![String::new()];
    for node in &listing.nodes()[1..] {
        let name = String::from_utf8_lossy(listing.name(node));
        paths.push(format!("{}/{name}", paths[node.parent as usize]));
    }
    let shown = |(path, node): (&String, &crate::files::Node)| match node.kind {
        crate::files::Kind::File(inode) => format!("{path} {}", listing.inodes()[inode as usize].bytes),
        crate::files::Kind::Directory { opaque } => format!("{path}/{}", if opaque { " opaque" } else { "" }),
        kind => format!("{path} {kind:?}"),
    };
    let shown = paths.iter().zip(listing.nodes()).map(shown).collect();
    (bytes, shown)
}

#[test]
fn a_listing_has_the_paths_that_remain() {
    for (entries, expected) in [
        (vec![], vec!["/"]),
        (vec![file("a/b", 1), link(Kind::Link, "c", "a/b")], vec!["/", "/a/", "/c 1", "/a/b 1"]),
        (vec![file("a/b/c", 1), file("a", 2)], vec!["/", "/a 2"]),
        (
            vec![file("a/b", 1), file("a", 2), file(".wh.z", 0), directory("a"), file("a/c", 3)],
            vec!["/", "/a/", "/z Whiteout", "/a/c 3"],
        ),
        (vec![file("a/b", 1), file("a/.wh..wh..opq", 0)], vec!["/", "/a/ opaque", "/a/b 1"]),
        (vec![file(".wh..wh..opq", 0)], vec!["/ opaque"]),
        (
            vec![directory("usr/bin"), link(Kind::Symlink, "bin", "usr/bin"), file("bin/a", 20)],
            vec!["/", "/usr/", "/bin 7", "/usr/bin/", "/usr/bin/a 20"],
        ),
    ] {
        assert_eq!(listed(&entries).1, expected);
    }
}

#[test]
fn a_listing_of_too_many_paths_leaves_the_size() {
    let mut tree = Tree::new(Some(Wanted { paths_max: 2, packages: true }));
    for path in ["a", "b", "c"] {
        assert_eq!(tree.insert(&file(path, 5), Content::default()), Ok(true));
    }
    let (bytes, files) = tree.finish();
    assert_eq!((bytes, files.unwrap_err()), (15, Unlisted::TooManyPaths));
}

#[test]
fn packages_of_a_layer_are_limited_and_read_only_where_they_are_wanted() {
    use crate::files::packages::{Database, PACKAGES_MAX};
    let kept = |packages: bool, count: usize| -> usize {
        let mut tree = Tree::new(Some(Wanted { paths_max: 1_000_000, packages }));
        for number in 0..count {
            let path = format!("node_modules/{number}/package.json");
            let entry = file(&path, 12);
            let mut json = &br#"{"name":"a"}"#[..];
            let content = Content::read(&entry, &mut json, tree.reads_packages()).unwrap();
            assert_eq!(tree.insert(&entry, content), Ok(true));
        }
        let listing = tree.finish().1.unwrap();
        let packages = |(_, database): &(u32, Database)| match database {
            Database::Packages(packages) => packages.len(),
            Database::PackageBytes(_) | Database::Unsupported(_) => 0,
        };
        listing.databases().iter().map(packages).sum()
    };
    assert_eq!([kept(true, 9), kept(false, 9)], [9, 0]);
    assert_eq!(kept(true, PACKAGES_MAX + 9), PACKAGES_MAX);
}

proptest::proptest! {
    #[test]
    fn the_bytes_of_a_listing_are_those_of_the_layer(
        entries in proptest::collection::vec(("(\\.wh\\.)?[ab](/[ab]){0,2}", 0..5_u8, 0..100_u64), 0..12),
    ) {
        let mut tree = Tree::new(Some(Wanted { paths_max: 100, packages: true }));
        let mut taken = true;
        for (path, kind, bytes) in &entries {
            let kind = [Kind::File, Kind::Directory, Kind::Symlink, Kind::Link, Kind::Special][usize::from(*kind)];
            taken &= tree.insert(&Entry { kind, path: path.as_bytes(), link: b"a/b", bytes: *bytes }, Content::default()).unwrap();
            if !taken {
                return Ok(());
            }
        }
        let (bytes, files) = tree.finish();
        let listing = files.unwrap();
        proptest::prop_assert_eq!(listing.inodes().iter().map(|inode| inode.bytes).sum::<u64>(), bytes);
        let merged = crate::files::ImageFiles::merge(vec![&listing]).unwrap();
        proptest::prop_assert_eq!((merged.bytes(), merged.wasted_bytes()), (bytes, 0));
    }
}
