//! Damaged files.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use redb::{Database, TableDefinition};

use super::*;

/// A good file's bytes.
fn good_file() -> Vec<u8> {
    let directory = directory();
    let path = directory.path().join("state.redb");
    write_all(&path);
    fs::read(path).unwrap()
}

/// The bytes that a process leaves that is killed: redb repairs such a file when it opens it.
fn killed_file() -> Vec<u8> {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    for version in [0, 1] {
        (0..TAGS).for_each(|number| write(&store, number, version));
        flush(&store);
    }
    fs::read(path).unwrap()
}

/// Opens a file of these bytes. What is read from it must be what was written, all of it or, where the file was set
/// aside, nothing; the damaged bytes must still be there; and the store must work.
fn open(bytes: &[u8]) -> Opened {
    let directory = directory();
    let path = directory.path().join("state.redb");
    fs::write(&path, bytes).unwrap();
    let opened = open_and_use(&path);
    match &opened {
        Opened::SetAside { moved_to, .. } => {
            assert_eq!(moved_to.parent(), path.parent());
            assert_eq!(fs::metadata(moved_to).unwrap().len(), bytes.len() as u64);
        }
        Opened::Existing | Opened::Fresh => assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1),
    }
    opened
}

fn open_and_use(path: &Path) -> Opened {
    let (store, opened) = Store::open(path).unwrap();
    let found = versions(&store);
    let expected = if opened == Opened::Existing { TAGS } else { 0 };
    assert_eq!(found.len(), usize::try_from(expected).unwrap());
    // A killed file that is damaged goes back to the batch before, all of it.
    assert!(found.values().all(|version| *version == 1) || found.values().all(|version| *version == 0), "{found:?}");
    write(&store, 3, 2);
    drop(store);
    let (store, again) = Store::open(path).unwrap();
    assert_eq!(again, Opened::Existing);
    assert_eq!(versions(&store).get(&3), Some(&2));
    opened
}

/// Whether it is left as it is, as not a state file.
fn is_refused(bytes: &[u8]) -> bool {
    let directory = directory();
    let path = directory.path().join("state.redb");
    fs::write(&path, bytes).unwrap();
    let refused = matches!(Store::open(&path), Err(StoreError::NotState { .. }));
    assert_eq!((fs::read(path).unwrap().as_slice(), fs::read_dir(directory.path()).unwrap().count()), (bytes, 1));
    refused
}

/// With little left of the beginning it may be any program's.
fn is_anybodys(bytes: &[u8]) -> bool {
    let alike = bytes.iter().zip(b"redb\x1a\x0a\xa9\x0d\x0a").filter(|(byte, magic)| byte == magic).count();
    alike < 5 && bytes[..9] != [0; 9]
}

fn why(opened: Opened) -> (PathBuf, String) {
    match opened {
        Opened::SetAside { moved_to, why } => (moved_to, why),
        other => panic!("not set aside, but {other:?}"),
    }
}

/// Damage to a file: where, of which part of it, and with what.
#[derive(Clone, Debug)]
struct Flip {
    part: usize,
    at: prop::sample::Index,
    with: Vec<u8>,
}

/// The file's parts, in bytes from its start: the header and its two commit slots, the first pages, all of it.
const PARTS: [usize; 4] = [64, 512, 65_536, usize::MAX];

fn flip() -> impl Strategy<Value = Flip> {
    let with = prop_oneof![prop::collection::vec(1..=u8::MAX, 1), prop::collection::vec(1..=u8::MAX, 1..300)];
    (0..PARTS.len(), any::<prop::sample::Index>(), with).prop_map(|(part, at, with)| Flip { part, at, with })
}

impl Flip {
    fn apply(&self, bytes: &mut [u8]) -> (usize, usize) {
        let at = self.at.index(bytes.len().min(PARTS[self.part]));
        let end = bytes.len().min(at + self.with.len());
        for (byte, with) in bytes[at..end].iter_mut().zip(&self.with) {
            *byte ^= with;
        }
        (at, end)
    }
}

#[test]
fn flipped_bytes_never_make_anything_wrong() {
    let files = [good_file(), killed_file()];
    let set_aside = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(300), |(file in 0..2_usize, flips in prop::collection::vec(flip(), 1..3))| {
        let mut bytes = files[file].clone();
        for flip in &flips {
            flip.apply(&mut bytes);
        }
        if is_anybodys(&bytes) {
            prop_assert!(is_refused(&bytes));
        } else if let Opened::SetAside { moved_to, why } = open(&bytes) {
            let name = moved_to.file_name().unwrap().to_str().unwrap();
            prop_assert!(name.starts_with("state.redb.corrupt-") || why.contains("version"), "{} {}", name, why);
            set_aside.set(set_aside.get() + 1);
        }
    });
    assert!(set_aside.get() > 50, "the flips do not hit what is in use: {set_aside:?} files were set aside");
}

#[test]
fn a_file_that_was_cut_is_set_aside() {
    let good = good_file();
    assert_eq!(open(&[]), Opened::Fresh);
    let cuts = [1, 8, 9, 63, 64, 191, 320, 511, 512, 4_095, 4_096, 4_097, 8_192, good.len() / 2, good.len() - 1];
    for length in cuts {
        let (_, why) = why(open(&good[..length]));
        assert!(why.starts_with("is damaged: "), "{length}: {why}");
    }
    assert_eq!(open(&good), Opened::Existing);
    assert_eq!(open(&killed_file()), Opened::Existing);
}

#[test]
fn a_file_that_was_begun_and_never_finished_is_begun_again() {
    let path = directory();
    let path = path.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    let mut begun = vec![0; fs::read(&path).unwrap().len()];
    begun[9..512].fill(7);
    assert_eq!(open(&begun), Opened::Fresh);
    begun[5_000] = 1;
    assert!(matches!(open(&begun), Opened::SetAside { .. }));
}

/// How the child of the test below is told where to work.
const CHILD: &str = "IMAGE_SIZE_EXPORTER_TEST_DAMAGE";

/// Not a test of its own: what the next one starts.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment is how a test tells its child apart from itself")]
fn child_that_damages_what_is_open() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let good = good_file();
    proptest!(ProptestConfig::with_cases(10), |(flips in prop::collection::vec(flip(), 1..20))| {
        damage_while_open(Path::new(&path), &good, &flips)?;
    });
}

fn damage_while_open(path: &Path, good: &[u8], flips: &[Flip]) -> Result<(), TestCaseError> {
    fs::write(path, good).unwrap();
    let (store, _) = Store::open(path).unwrap();
    let mut bytes = good.to_vec();
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for flip in flips {
        let (at, end) = flip.apply(&mut bytes);
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&bytes[at..end]).unwrap();
    }
    for (repository, tag, found) in store.tags() {
        let number = tag.as_str()[1..].parse().unwrap();
        prop_assert_eq!((repository, tag, found), (name(number).0, name(number).1, kept(number, 1)));
    }
    for number in 0..TAGS {
        for image in images(number, 1) {
            if let Some(found) = store.document(&image.digest.clone()) {
                prop_assert_eq!(found, Stored::Image(image));
            }
        }
    }
    write(&store, 3, 2);
    flush(&store);
    drop(store);
    expect_nothing_wrong(path);
    Ok(())
}

/// The outcome for a damaged file: it is opened, set aside, or not recognized as a state file.
fn expect_nothing_wrong(path: &Path) {
    let left = fs::read(path).unwrap();
    if is_anybodys(&left) {
        assert!(is_refused(&left));
        return;
    }
    let (store, _) = Store::open(path).unwrap();
    for (_, _, found) in store.tags() {
        assert!(found == kept(3, 2) || found.known.index_bytes == 1);
    }
}

/// In processes of their own, since some damage is beyond help while the file is open: then one ends, and says so.
#[test]
fn damage_to_an_open_file_loses_only_its_content() {
    let mut whole = 0;
    for _ in 0..6 {
        let directory = directory();
        let path = directory.path().join("state.redb");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::damage::child_that_damages_what_is_open", "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        if child.status.success() {
            whole += 1;
        } else {
            let said = String::from_utf8_lossy(&child.stderr);
            let ended = child.status.code() == Some(1) && said.contains("the next start sets the file aside");
            assert!(ended, "{:?}: {said}", child.status);
            expect_nothing_wrong(&path);
        }
    }
    assert!(whole > 0, "it never got to the end");
}

#[test]
fn a_file_of_another_version_is_set_aside_under_a_name_that_does_not_call_it_damaged() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    write_all(&path);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u32>::new("meta")).unwrap().insert("version", 4_000).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let (moved_to, why) = why(open_and_use(&path));
    assert_eq!(why, "has version 4000, and this program reads version 2");
    assert!(moved_to.to_str().unwrap().contains("state.redb.other-"), "{moved_to:?}");
}

#[test]
fn a_database_of_another_program_is_set_aside() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    for (table, written) in [("theirs", "one"), ("meta", "two")] {
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, &str>::new(table)).unwrap().insert(1, written).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let (moved_to, why) = why(open_and_use(&path));
        assert_eq!(why, "is a redb database of another program");
        assert!(moved_to.exists());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_file_that_never_was_a_state_file_stays_where_it_is() {
    for text in ["[state]\npath = \"config.toml\"\n", "x", "no state at all", "reddish and longer than nine bytes"] {
        assert!(is_refused(text.as_bytes()), "{text}");
    }
    let directory = directory();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "notes").unwrap();
    assert_eq!(
        Store::open(&path).err().unwrap().to_string(),
        format!(
            "{} is not a state file: it is left as it is; give the state its own `path` under [state], or move that file away",
            path.display()
        )
    );
}
