use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::files::{Cause, Change, Growth, Inode};

/// A path of a layer: a file's bytes and checksum, or a hard link to another path.
#[derive(Clone, Debug, PartialEq)]
enum Path {
    File(u64, u32),
    Link(String),
    Directory(bool),
    Whiteout,
    Special,
}

/// A layer as overlay2 has it: a path's parents are directories.
#[derive(Clone, Debug, Default)]
struct Layer {
    is_root_opaque: bool,
    paths: BTreeMap<String, Path>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether a path is beneath a directory.
fn is_in(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

impl Layer {
    /// Of any paths, without those whose parents are no directories and without links to what is no file.
    fn new(is_root_opaque: bool, paths: Vec<(String, Path)>) -> Self {
        let mut layer = Self { is_root_opaque, paths: BTreeMap::new() };
        for (path, what) in paths {
            let mut parents = Vec::new();
            let mut at = &*path;
            while !parent(at).is_empty() {
                at = parent(at);
                parents.push(at.to_owned());
            }
            let is_directory = |path: &String| matches!(layer.paths.get(path), None | Some(Path::Directory(_)));
            if layer.paths.contains_key(&path) || !parents.iter().all(is_directory) {
                continue;
            }
            for parent in parents {
                layer.paths.entry(parent).or_insert(Path::Directory(false));
            }
            layer.paths.insert(path, what);
        }
        let files: BTreeSet<String> = layer
            .paths
            .iter()
            .filter(|(_, what)| matches!(what, Path::File(..)))
            .map(|(path, _)| path.clone())
            .collect();
        layer.paths.retain(|_, what| !matches!(what, Path::Link(target) if !files.contains(target)));
        layer
    }

    fn listing(&self) -> Listing {
        let mut listing = Listing::new(self.is_root_opaque);
        let mut directories = BTreeMap::from([(String::new(), 0)]);
        let mut inodes = BTreeMap::new();
        for (path, what) in &self.paths {
            if let Path::File(bytes, checksum) = what {
                inodes.insert(path.clone(), listing.add_inode(Inode { bytes: *bytes, checksum: *checksum }));
            }
        }
        for (path, what) in &self.paths {
            let kind = match what {
                Path::File(..) => Kind::File(inodes[path]),
                Path::Link(target) => Kind::File(inodes[target]),
                Path::Directory(opaque) => Kind::Directory { opaque: *opaque },
                Path::Whiteout => Kind::Whiteout,
                Path::Special => Kind::Special,
            };
            let name = path.rsplit('/').next().unwrap();
            let added = listing.add(directories[parent(path)], name.as_bytes(), kind);
            directories.insert(path.clone(), added);
        }
        listing
    }
}

/// The merged paths: of a file the layer and the path that has its content.
fn merged_plainly(layers: &[Layer]) -> BTreeMap<String, Option<(usize, String)>> {
    let mut merged = BTreeMap::new();
    let mut is_file = BTreeSet::new();
    for (number, layer) in layers.iter().enumerate() {
        if layer.is_root_opaque {
            merged.clear();
        }
        // In the order of the alphabet a directory comes before what is in it.
        for (path, what) in &layer.paths {
            let is_directory_there = merged.contains_key(path) && !is_file.contains(path);
            let keeps = *what == Path::Directory(false) && is_directory_there;
            if !keeps {
                merged.retain(|other: &String, _| other != path && !is_in(other, path));
                is_file.remove(path);
            }
            let content = match what {
                Path::Whiteout => continue,
                Path::Directory(_) => {
                    merged.insert(path.clone(), None);
                    continue;
                }
                Path::File(..) => Some((number, path.clone())),
                Path::Link(target) => Some((number, target.clone())),
                Path::Special => None,
            };
            is_file.insert(path.clone());
            merged.insert(path.clone(), content);
        }
    }
    merged
}

/// The bytes of the image and the wasted ones, counted plainly.
fn counted(layers: &[Layer]) -> (u64, u64) {
    let standing: BTreeSet<(usize, String)> = merged_plainly(layers).into_values().flatten().collect();
    let (mut image, mut wasted) = (0, 0);
    for (number, layer) in layers.iter().enumerate() {
        for (path, what) in &layer.paths {
            let Path::File(bytes, _) = what else { continue };
            if standing.contains(&(number, path.clone())) { image += bytes } else { wasted += bytes }
        }
    }
    (image, wasted)
}

fn paths() -> impl Strategy<Value = String> {
    "[abc](/[abc]){0,3}".prop_map(|path| path)
}

fn layer() -> impl Strategy<Value = Layer> {
    let what = prop_oneof![
        4 => (0..1000_u64, 0..3_u32).prop_map(|(bytes, checksum)| Path::File(bytes, checksum)),
        2 => paths().prop_map(Path::Link),
        2 => any::<bool>().prop_map(Path::Directory),
        2 => Just(Path::Whiteout),
        1 => Just(Path::Special),
    ];
    let entries = proptest::collection::vec((paths(), what), 0..12);
    (proptest::bool::weighted(0.1), entries).prop_map(|(opaque, entries)| Layer::new(opaque, entries))
}

/// Layers of `path what` entries, of which `what` is a number of bytes, `dir`, `opaque`, `gone`, `special`, or `= path`
/// for a hard link.
fn layers(texts: &[&str]) -> Vec<Layer> {
    let entry = |text: &str| {
        let (path, what) = text.split_once(' ').unwrap();
        let what = match what.split_once(' ') {
            Some(("=", target)) => Path::Link(target.to_owned()),
            _ => match what {
                "dir" => Path::Directory(false),
                "opaque" => Path::Directory(true),
                "gone" => Path::Whiteout,
                "special" => Path::Special,
                bytes => Path::File(bytes.parse().unwrap(), 0),
            },
        };
        (path.to_owned(), what)
    };
    let split = |text: &&str| text.split(", ").filter(|part| !part.is_empty()).map(entry).collect::<Vec<_>>();
    texts.iter().map(|text| Layer::new(false, split(text))).collect()
}

#[test]
fn layers_merge_as_overlay2_merges_them() {
    for (what, texts, bytes, wasted) in [
        ("nothing", &[][..], 0, 0),
        ("a file that is overwritten", &["a/b 10", "a/b 7"], 7, 10),
        ("overwritten twice", &["a/b 10", "a/b 7", "a/b 5"], 5, 17),
        ("removed, and there again", &["a 10", "a gone", "a 3"], 3, 10),
        ("removed twice", &["a 10", "a gone", "a gone"], 0, 10),
        ("a directory that is removed", &["a/b/c 10, a/d 5", "a gone"], 0, 15),
        ("a directory that becomes a file", &["a/b/c 10, a/d 5", "a 1"], 1, 15),
        ("a file that becomes a directory", &["a 10", "a/b 1"], 1, 10),
        ("a directory that merges", &["a/b 10", "a/c 1"], 11, 0),
        ("an opaque directory", &["a/b 10, a/c 2", "a opaque, a/c 3"], 3, 12),
        ("an opaque directory above an opaque one", &["a/b 1", "a opaque, a/b 2", "a opaque, a/b 4"], 4, 3),
        ("a removed directory that returns is empty", &["a/b 10", "a gone", "a dir, a/c 1"], 1, 10),
        ("one of two hard links is removed", &["a 10, b = a", "a gone"], 10, 0),
        ("both are", &["a 10, b = a", "a gone", "b gone"], 0, 10),
        ("one of two hard links is overwritten", &["a 10, b = a", "a 4"], 14, 0),
        ("a file that is moved", &["a 10", "a gone, b 10"], 10, 10),
        ("a device hides a file", &["a 10", "a special"], 0, 10),
    ] {
        let layers = layers(texts);
        let listings: Vec<Listing> = layers.iter().map(Layer::listing).collect();
        let files = ImageFiles::merge(listings.iter().collect()).unwrap();
        assert_eq!((files.bytes(), files.wasted_bytes()), (bytes, wasted), "{what}");
        assert_eq!(counted(&layers), (bytes, wasted), "{what}, plainly");
    }
}

#[test]
fn what_is_big_and_what_is_wasted_is_named() {
    let layers =
        layers(&["usr/lib/a 100, usr/lib/b 30, etc/c 5, tmp/d 40", "usr/lib/b 31, etc/c 5, tmp gone, usr/e 1"]);
    let listings: Vec<Listing> = layers.iter().map(Layer::listing).collect();
    let files = ImageFiles::merge(listings.iter().collect()).unwrap();
    let biggest: Vec<String> =
        files.biggest(2).iter().map(|file| format!("{} {} {:?}", file.path, file.bytes, file.layer)).collect();
    assert_eq!(biggest, ["/usr/lib/a 100 Some(0)", "/usr/lib/b 31 Some(1)"]);
    let directories: Vec<String> =
        files.directories(9).iter().map(|directory| format!("{} {}", directory.path, directory.bytes)).collect();
    assert_eq!(directories, ["/usr 132", "/usr/lib 131", "/etc 5"]);
    let wasted: Vec<String> = files
        .wasted(9)
        .iter()
        .map(|file| format!("{} {} {} {}", file.path, file.bytes, file.cause.as_str(), file.hidden_by))
        .collect();
    assert_eq!(wasted, ["/tmp/d 40 removed 1", "/usr/lib/b 30 replaced 1", "/etc/c 5 repeated 1"]);
    assert!(files.wasted(9).iter().all(|file| file.cause != Cause::Repeated || file.path == "/etc/c"));
}

#[test]
fn a_growth_is_named_where_it_happened() {
    let [old, new] = [&["a/x/p 10, a/x/q 5, b/r 3, c 1, e/h 2"][..], &["a/x/p 50, a/x/q 4, c 1, d/s 7, e/g/h 2"][..]]
        .map(|texts| layers(texts).iter().map(Layer::listing).collect::<Vec<_>>());
    let [old, new] = [&old, &new].map(|listings| ImageFiles::merge(listings.iter().collect()).unwrap());
    let growth = Growth::new(&old, &new, 9);
    let sums = (growth.added_bytes, growth.grown_bytes, growth.shrunk_bytes, growth.gone_bytes);
    assert_eq!(sums, (9, 40, 1, 5));
    let named = |changes: &[crate::files::PathChange]| -> Vec<String> {
        changes
            .iter()
            .map(|change| {
                format!("{} {} {} {}", change.change.as_str(), change.path, change.old_bytes, change.new_bytes)
            })
            .collect()
    };
    assert_eq!(
        named(&growth.files),
        [
            "grown /a/x/p 10 50",
            "added /d/s 0 7",
            "gone /b/r 3 0",
            "added /e/g/h 0 2",
            "gone /e/h 2 0",
            "shrunk /a/x/q 5 4"
        ]
    );
    // What `/a` gained is what `/a/x` gained.
    assert_eq!(named(&growth.directories), ["grown /a/x 15 54", "added /d 0 7", "gone /b 3 0", "added /e/g 0 2"]);
}

#[test]
fn too_many_paths_are_refused() {
    let mut listing = Listing::new(false);
    for number in 0..=PATHS_MAX {
        listing.add(0, &u32::try_from(number).unwrap().to_be_bytes(), Kind::Special);
    }
    let error = ImageFiles::merge(vec![&listing]).unwrap_err();
    assert_eq!(error, Unlisted::TooManyPaths);
    assert_eq!(
        error.to_string(),
        "the layers of its reference have more than 1000000 paths together: if it has several platforms, read one at a \
         time, with `--platform`"
    );
}

/// A sparse file's size is whatever its header says.
#[test]
fn sizes_whose_sum_is_no_number_give_no_figure() {
    let huge = "9223372036854775807";
    for (base, above) in [
        (format!("a {huge}, b {huge}, c {huge}"), "d 1".to_owned()),
        (format!("a {huge}, b {huge}"), format!("a {huge}, b {huge}")),
    ] {
        let listings: Vec<Listing> = layers(&[&*base, &*above]).iter().map(Layer::listing).collect();
        assert_eq!(ImageFiles::merge(listings.iter().collect()).unwrap_err(), Unlisted::TooManyBytes);
    }
    // All sums of what can be counted fit, to the last byte.
    let [old, new] =
        [format!("a/b {huge}, c 1, d {huge}"), "e 1".to_owned()].map(|text| layers(&[&*text])[0].listing());
    let [old, new] = [&old, &new].map(|listing| ImageFiles::merge(vec![listing]).unwrap());
    assert_eq!((old.bytes(), old.packages().packages.len()), (u64::MAX, 0));
    assert_eq!(Growth::new(&old, &new, 9).gone_bytes, u64::MAX);
    assert_eq!(old.directories(9)[0].bytes, u64::MAX / 2);
}

proptest! {
    #[test]
    fn any_layers_merge_as_counted_plainly(layers in proptest::collection::vec(layer(), 0..5)) {
        let listings: Vec<Listing> = layers.iter().map(Layer::listing).collect();
        let files = ImageFiles::merge(listings.iter().collect()).unwrap();
        prop_assert_eq!((files.bytes(), files.wasted_bytes()), counted(&layers));
        let all: u64 = listings.iter().flat_map(Listing::inodes).map(|inode| inode.bytes).sum();
        prop_assert_eq!(files.bytes() + files.wasted_bytes(), all);
        let wasted = files.wasted(usize::MAX);
        prop_assert_eq!(wasted.iter().map(|file| file.bytes).sum::<u64>(), files.wasted_bytes());
        let merged = merged_plainly(&layers);
        for file in wasted {
            let there = merged.get(&file.path[1..]).is_some_and(Option::is_some);
            prop_assert_eq!(there, file.cause != Cause::Removed, "{:?}", file);
            prop_assert!(file.hidden_by > file.layer);
        }
        let biggest = files.biggest(usize::MAX);
        prop_assert_eq!(biggest.iter().map(|file| file.bytes).sum::<u64>(), files.bytes());
        prop_assert!(biggest.iter().all(|file| merged.get(&file.path[1..]).is_some_and(Option::is_some)));
    }

    #[test]
    fn a_growth_is_the_difference_of_two_images(
        old in proptest::collection::vec(layer(), 0..4),
        new in proptest::collection::vec(layer(), 0..4),
    ) {
        let [old, new] = [&old, &new].map(|layers| layers.iter().map(Layer::listing).collect::<Vec<_>>());
        let [old, new] = [&old, &new].map(|listings| ImageFiles::merge(listings.iter().collect()).unwrap());
        let growth = Growth::new(&old, &new, usize::MAX);
        prop_assert_eq!(
            old.bytes() + growth.added_bytes + growth.grown_bytes,
            new.bytes() + growth.shrunk_bytes + growth.gone_bytes
        );
        for (change, sum) in [
            (Change::Added, growth.added_bytes), (Change::Grown, growth.grown_bytes),
            (Change::Shrunk, growth.shrunk_bytes), (Change::Gone, growth.gone_bytes),
        ] {
            let of_kind = growth.files.iter().filter(|file| file.change == change);
            prop_assert_eq!(of_kind.map(|file| file.old_bytes.abs_diff(file.new_bytes)).sum::<u64>(), sum);
        }
        let none = Growth::new(&new, &new, usize::MAX);
        prop_assert_eq!(none, Growth::default());
    }
}

proptest! {
    #[test]
    fn a_skeleton_gives_the_same_figures(layers in proptest::collection::vec(layer(), 0..5)) {
        let listings: Vec<Listing> = layers.iter().map(Layer::listing).collect();
        let remembered: Vec<Listing> =
            listings.iter().map(|listing| crate::files::Skeleton::new(listing).listing().unwrap()).collect();
        let [whole, bare] =
            [&listings, &remembered].map(|listings| ImageFiles::merge(listings.iter().collect()).unwrap());
        prop_assert_eq!((whole.bytes(), whole.wasted_bytes()), (bare.bytes(), bare.wasted_bytes()));
    }
}
