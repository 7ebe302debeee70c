//! Files that were closed, and those of processes that were killed.

use std::fs;

use redb::{Builder, DatabaseError, RepairSession};

use super::*;

/// Whether redb has to repair such a file before it can be used.
pub(crate) fn needs_repair(path: &Path) -> bool {
    let copy = directory();
    let copied = copy.path().join("copy.redb");
    fs::copy(path, &copied).unwrap();
    match Builder::new().set_repair_callback(RepairSession::abort).open(copied) {
        Ok(_) => false,
        Err(DatabaseError::RepairAborted) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_file_that_was_closed_needs_no_repair_although_clones_of_the_store_are_left() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    let left = store.clone();
    (0..TAGS).for_each(|number| write(&store, number, 1));
    flush(&store);
    assert!(needs_repair(&path), "as it would be after a kill");
    write(&store, 3, 2);
    store.close();
    assert!(!needs_repair(&path));

    write(&left, 4, 3);
    assert_eq!(left.document(&image(1, 1).digest), None);
    drop((store, left));
    let (store, opened) = Store::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    let versions = versions(&store);
    assert_eq!((versions.len(), versions[&3], versions[&4]), (TAGS as usize, 2, 1));
}

#[test]
fn closing_leaves_what_something_else_has_written_into_the_file_as_it_is() {
    let directory = directory();
    let [path, other] = ["state.redb", "other.redb"].map(|name| directory.path().join(name));
    write_all(&other);
    let (store, _) = Store::open(&path).unwrap();
    (0..TAGS).for_each(|number| write(&store, number, 2));
    flush(&store);
    let restored = fs::read(&other).unwrap();
    fs::write(&path, &restored).unwrap();
    store.close();
    assert!(fs::read(&path).unwrap() == restored, "what `cp` had put there was written to");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}
