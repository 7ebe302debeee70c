//! Unused entries are removed after a while, and nothing else is.

use std::collections::HashSet;

use image_size_exporter::image::{LayerContent, Unpacked};
use image_size_exporter::store::LayerRecord;

use super::*;

const DAY: f64 = 86_400.0;
const START: f64 = 1_700_000_000.0;

fn known(bytes: u64) -> LayerRecord {
    LayerRecord::Known(LayerContent { uncompressed_bytes: bytes, estimated: false, unpacked: Unpacked::Unknown })
}

/// A tag with its documents, unused documents, and records of layers of both.
fn fill(store: &Store) {
    write(store, 1, 1);
    for version in 2..5 {
        for image in images(1, version) {
            store.remember(&image.digest.clone(), Stored::Image(image));
        }
    }
    store.remember_layer(&digest("diff", 1, 1), known(1));
    store.remember_layer(&digest("diff", 1, 2), known(2));
    store.remember_blob_bytes(&digest("blob", 1, 2), 3);
}

fn sweep_for_weeks(store: &Store) {
    let asked_for = HashSet::from([digest("manifest", 1, 3)]);
    let all = || images(1, 1).chain(images(1, 2)).chain(images(1, 3)).chain(images(1, 4));
    let remembered = |version: u32| store.document(&digest("manifest", 1, version)).is_some();
    let mut count = all().map(|image| image.digest.clone()).collect::<HashSet<_>>().len() as u64;
    flush(store);
    assert_eq!(store.documents(), count);

    for day in 0..14 {
        let mut in_use = asked_for.clone();
        if day == 7 {
            in_use.insert(digest("manifest", 1, 4));
        }
        store.sweep(&in_use, START + f64::from(day) * DAY);
        flush(store);
        assert_eq!(store.documents(), count, "day {day}");
    }
    store.sweep(&asked_for, START + 14.0 * DAY);
    flush(store);
    count -= 1;
    assert_eq!(store.documents(), count);
    assert_eq!((1..5).map(remembered).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(store.layer(&digest("diff", 1, 1)), Some(known(1)));
    assert_eq!(store.layer(&digest("diff", 1, 2)), None);
    assert_eq!(store.blob_bytes(&digest("blob", 1, 2)), None);
    assert_eq!(versions(store), BTreeMap::from([(1, 1)]));

    // An entry that was in use for a day has a fortnight from then on.
    store.sweep(&asked_for, START + 22.0 * DAY);
    flush(store);
    assert_eq!((1..5).map(remembered).collect::<Vec<_>>(), [true, false, true, false]);

    let (repository, tag) = name(1);
    store.keep(vec![TagChange { repository, tag, kept: None }]);
    for days in [23.0, 37.0] {
        store.sweep(&HashSet::new(), START + days * DAY);
        flush(store);
    }
    assert_eq!(store.documents(), 0);
    assert_eq!(store.layer(&digest("diff", 1, 1)), None);
}

#[test]
fn unused_entries_are_removed_after_a_fortnight() {
    let directory = directory();
    let (store, _) = Store::open(&directory.path().join("state.redb")).unwrap();
    fill(&store);
    sweep_for_weeks(&store);
}

#[test]
fn memory_is_swept_in_the_same_way() {
    let directory = directory();
    let path = directory.path().join("missing/state.redb");
    let error = Store::open(&path).err().unwrap();
    for store in [Store::memory(), Store::open_later(&path, &error).unwrap()] {
        fill(&store);
        sweep_for_weeks(&store);
    }
}
