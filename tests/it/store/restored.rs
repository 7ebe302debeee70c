//! What a start is given.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;

/// More than are handed over at a time, and more than are read ahead.
const MANY: u32 = 700;

fn many(path: &Path) -> Store {
    let (store, _) = Store::open(path).unwrap();
    (0..MANY).for_each(|number| write(&store, number, 1));
    flush(&store);
    store
}

#[test]
fn a_start_is_given_each_tag_once_with_its_documents_that_are_not_lost() {
    let directory = directory();
    let store = many(&directory.path().join("state.redb"));
    // What is not in the file yet.
    write(&store, 3, 2);
    let (repository, tag) = name(4);
    store.keep(vec![TagChange { repository, tag, kept: None }]);
    let mut restored = BTreeMap::new();
    store.restore(|tag| {
        assert!(restored.insert((tag.repository.clone(), tag.tag.clone()), tag).is_none());
    });
    let tags = store.tags();
    assert_eq!((restored.len(), tags.len()), (MANY as usize - 1, MANY as usize - 1));
    for (repository, tag, record) in tags {
        let restored = &restored[&(repository, tag)];
        assert_eq!(restored.record, record);
        for (_, digest) in &record.known.images {
            assert_eq!(restored.document(digest), store.document(digest).as_ref());
            assert!(restored.document(digest).is_some());
        }
        assert_eq!(restored.document(&record.known.digest), None, "no index was stored");
    }
}

#[test]
fn a_panic_of_what_takes_the_tags_ends_the_reading() {
    let directory = directory();
    let store = many(&directory.path().join("state.redb"));
    let panicked = catch_unwind(AssertUnwindSafe(|| store.restore(|_| resume_unwind(Box::new("stop")))));
    assert!(panicked.is_err());
}
