//! Files in the wrong place, or of other programs.

use std::fs;
use std::sync::atomic::Ordering;

use super::*;

fn refused(path: &Path) -> (StoreError, String) {
    let error = Store::open(path).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    (error, text)
}

#[test]
fn a_second_process_is_refused_and_changes_nothing() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    write(&store, 1, 1);
    let (error, text) = refused(&path);
    assert!(matches!(error, StoreError::InUse { .. }));
    assert!(
        text.ends_with("is in use by another process: stop that one, or give this one its own `path` under [state]")
    );
    write(&store, 2, 1);
    flush(&store);
    drop(store);
    assert_eq!(versions(&Store::open(&path).unwrap().0).len(), 2);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn where_no_file_can_be_created_the_error_says_what_to_do() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let (error, text) = refused(directory.path());
    assert!(matches!(error, StoreError::Directory { .. }), "{error:?}");
    assert!(text.ends_with(" is a directory: name a file in it as `path` under [state]"), "{text}");
    for path in [directory.path().join("missing/state.redb"), file.join("state.redb")] {
        let (error, text) = refused(&path);
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
        assert!(text.ends_with("; its directory must exist and be writable for this user"), "{text}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn changes_made_before_the_file_can_be_opened_are_written_to_it_later() {
    let directory = directory();
    let path = directory.path().join("later/state.redb");
    let error = Store::open(&path).err().unwrap();
    let later = Store::open_later(&path, &error).unwrap();
    write(&later, 1, 1);
    later.retain_scans(&[].into());
    flush(&later);
    assert_eq!(versions(&later), BTreeMap::from([(1, 1)]));
    let persistent = later.persistent().unwrap();
    assert!(!persistent.load(Ordering::Relaxed));

    // Meanwhile another process has it.
    fs::create_dir(path.parent().unwrap()).unwrap();
    let (other, _) = Store::open(&path).unwrap();
    write(&other, 1, 0);
    write(&other, 2, 0);
    other.remember_scan(&digest("pass", 0, 0), 1.5);
    flush(&other);
    flush(&later);
    assert_eq!(versions(&later), BTreeMap::from([(1, 1)]));
    assert_eq!(versions(&other), BTreeMap::from([(1, 0), (2, 0)]));
    assert!(!persistent.load(Ordering::Relaxed));
    drop(other);

    flush(&later);
    assert!(persistent.load(Ordering::Relaxed));
    assert_eq!(versions(&later), BTreeMap::from([(1, 1), (2, 0)]));
    drop(later);
    let (store, _) = Store::open(&path).unwrap();
    assert_eq!(versions(&store), BTreeMap::from([(1, 1), (2, 0)]));
    assert!(!store.has_scanned(&digest("pass", 0, 0)), "it was forgotten before it could be read");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_is_not_writable_is_no_place_for_a_state_file() {
    use std::os::unix::fs::PermissionsExt;

    let directory = directory();
    let path = directory.path().join("state.redb");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Permissions do not bind root, but the kernel's own file system binds even root.
    let bound = fs::write(directory.path().join("probe"), "").is_err();
    let path = if bound { path } else { "/sys/state.redb".into() };
    let (error, _) = refused(&path);
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
}
