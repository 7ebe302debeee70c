//! State files that are removed, replaced or grow while they are open.

use std::collections::HashSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::Ordering;

use super::*;

const DAY: f64 = 86_400.0;

fn all(version: u32) -> BTreeMap<u32, u32> {
    (0..TAGS).map(|number| (number, version)).collect()
}

fn reopened(path: &Path) -> BTreeMap<u32, u32> {
    let (store, opened) = Store::open(path).unwrap();
    assert_eq!(opened, Opened::Existing);
    versions(&store)
}

#[test]
fn a_removed_or_replaced_state_file_is_written_again_completely() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let other = directory.path().join("other.redb");
    write_all(&other);
    let (store, _) = Store::open(&path).unwrap();
    let persistent = store.persistent().unwrap();
    (0..TAGS).for_each(|number| write(&store, number, 2));
    flush(&store);

    fs::remove_file(&path).unwrap();
    write(&store, 3, 4);
    flush(&store);
    assert!(persistent.load(Ordering::Relaxed));
    let mut expected = all(2);
    expected.insert(3, 4);
    assert_eq!(versions(&store), expected);

    // Another state file, with older tags.
    fs::rename(&other, &path).unwrap();
    write(&store, 5, 6);
    flush(&store);
    expected.insert(5, 6);
    assert_eq!(versions(&store), expected);
    drop(store);
    assert_eq!(reopened(&path), expected);
}

#[test]
fn while_another_file_is_in_its_place_nothing_is_lost_and_persistence_is_false() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    let persistent = store.persistent().unwrap();
    (0..TAGS).for_each(|number| write(&store, number, 2));
    flush(&store);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "somebody's notes").unwrap();
    write(&store, 3, 4);
    flush(&store);
    assert!(!persistent.load(Ordering::Relaxed));
    let mut expected = all(2);
    expected.insert(3, 4);
    assert_eq!(versions(&store), expected);
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's notes");
    fs::remove_file(&path).unwrap();
    flush(&store);
    assert!(persistent.load(Ordering::Relaxed));
    drop(store);
    assert_eq!(reopened(&path), expected);
}

type Overwrite = fn(&Path, &[u8]);

/// By another program, without a new file: `cp`, `truncate`, `dd`, an editor.
#[test]
fn a_state_file_that_is_overwritten_in_place_is_read_anew_and_written_again() {
    let directory = directory();
    let other = directory.path().join("other.redb");
    write_all(&other);
    let backup = fs::read(&other).unwrap();
    let overwritings: [(&str, Overwrite, bool); 4] = [
        ("an older state file", |path, backup| fs::write(path, backup).unwrap(), true),
        ("nothing", |path, _| fs::write(path, "").unwrap(), false),
        ("its beginning and nothing more", |path, _| truncate(path, 5_000), false),
        ("zeros in the middle", |path, _| overwrite(path, 4_096, &vec![0; 65_536]), false),
    ];
    for (number, (what, overwrite, is_state)) in overwritings.into_iter().enumerate() {
        let path = directory.path().join(format!("{number}.redb"));
        let (store, _) = Store::open(&path).unwrap();
        let persistent = store.persistent().unwrap();
        (0..TAGS).for_each(|number| write(&store, number, 2));
        flush(&store);
        overwrite(&path, &backup);
        for _ in 0..2 {
            write(&store, 3, 4);
            flush(&store);
            assert!(persistent.load(Ordering::Relaxed), "{what}");
        }
        let mut expected = if is_state { all(1) } else { BTreeMap::new() };
        expected.insert(3, 4);
        assert_eq!(versions(&store), expected, "{what}");
        drop(store);
        assert_eq!(reopened(&path), expected, "{what}");
    }
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.contains(".redb.")).collect::<Vec<_>>();
    assert!(aside.iter().all(|name| name.contains(".redb.corrupt-")), "{aside:?}");
}

fn truncate(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn while_its_path_is_a_link_to_itself_persistence_is_false_and_nothing_is_lost() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    let persistent = store.persistent().unwrap();
    (0..TAGS).for_each(|number| write(&store, number, 2));
    flush(&store);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("state.redb", &path).unwrap();
    write(&store, 3, 4);
    flush(&store);
    assert!(!persistent.load(Ordering::Relaxed));
    fs::remove_file(&path).unwrap();
    flush(&store);
    assert!(persistent.load(Ordering::Relaxed));
    drop(store);
    let mut expected = all(2);
    expected.insert(3, 4);
    assert_eq!(reopened(&path), expected);
}

#[test]
fn a_path_that_is_not_a_regular_file_is_refused_without_waiting() {
    let directory = directory();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("link", &link).unwrap();
    for (path, kind) in [
        (pipe.as_path(), "named pipe"),
        (&socket, "socket"),
        (Path::new("/dev/null"), "device"),
        (&link, "symbolic link that leads to itself"),
    ] {
        let error = Store::open(path).err().unwrap().to_string();
        let expected =
            format!("state file {} is a {kind}: name an ordinary file as `path` under [state]", path.display());
        assert_eq!(error, expected);
    }
}

#[test]
fn a_file_that_is_mostly_free_is_made_smaller() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    (0..TAGS).for_each(|number| write(&store, number, 1));
    let in_use: Vec<Digest> = (1..12_000).map(|number| image(number, 3).digest.clone()).collect();
    for number in 1..12_000 {
        let image = image(number, 3);
        store.remember(&image.digest.clone(), Stored::Image(image));
    }
    let in_use: HashSet<Digest> = in_use.into_iter().collect();
    store.sweep(&in_use, 0.0);
    flush(&store);
    let before = fs::metadata(&path).unwrap().len();
    assert!(before > 8 << 20, "{before}");
    for day in [1.0, 20.0] {
        store.sweep(&HashSet::new(), day * DAY);
        flush(&store);
    }
    let after = fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{after} of {before}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    write(&store, 3, 2);
    let mut expected = all(1);
    expected.insert(3, 2);
    assert_eq!(versions(&store), expected);
    flush(&store);
    drop(store);
    assert_eq!(reopened(&path), expected);
}

#[test]
fn the_store_does_not_grow_with_the_number_of_changes() {
    let directory = directory();
    let file = Store::open(&directory.path().join("state.redb")).unwrap().0;
    for store in [file, Store::memory()] {
        // A tag that is pushed again and again within a fortnight. Each time its image has nine new blobs.
        for version in 1..1_000 {
            write(&store, 1, version);
            store.remember_blob_bytes(&digest("blob", 1, version), 1);
            if version % 50 == 0 {
                store.sweep(&HashSet::new(), f64::from(version));
                flush(&store);
                assert!(store.documents() <= 1_000, "{} in version {version}", store.documents());
            }
        }
        assert_eq!(versions(&store), BTreeMap::from([(1, 999)]));
    }
}
