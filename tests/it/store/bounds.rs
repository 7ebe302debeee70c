//! Records with texts that earlier versions did not limit.

use image_size_exporter::store::{IndexEntry, StoredIndex};

use super::*;

fn long() -> String {
    "x".repeat(3_900_000)
}

/// A platform as versions before made it of a hostile config.
fn platform() -> Platform {
    Platform::from_parts("linux", &long(), "", "")
}

fn entry(platform: Option<Platform>, artifact_type: &str) -> StoredIndex {
    let entry = IndexEntry {
        digest: digest("manifest", 1, 1),
        media_type: MediaType::default(),
        bytes: 1,
        platform,
        attestation: false,
        artifact_type: artifact_type.into(),
    };
    StoredIndex { media_type: MediaType::new(MediaType::OCI_INDEX), bytes: 1, entries: vec![entry] }
}

#[test]
fn hostile_texts_in_an_old_file_are_dropped_and_the_rest_is_kept() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let image = Image::clone(&image(1, 1));
    let stored = [
        Stored::Image(Arc::new(Image { platform: platform(), ..image.clone() })),
        Stored::Image(Arc::new(Image { artifact_type: long().into(), ..image.clone() })),
        Stored::Image(Arc::new(Image { artifact_type: "a\u{202e}b".into(), ..image })),
        Stored::Index(Arc::new(entry(Some(platform()), ""))),
        Stored::Index(Arc::new(entry(None, &long()))),
    ];
    let number = |number: usize| digest("hostile", u32::try_from(number).unwrap(), 1);
    let tag = |number: u32, change: &dyn Fn(&mut Known)| {
        let mut record = kept(number, 1);
        change(Arc::make_mut(&mut record.known));
        let (repository, tag) = name(number);
        TagChange { repository, tag, kept: Some(record) }
    };
    {
        let (store, _) = Store::open(&path).unwrap();
        stored.iter().enumerate().for_each(|(at, stored)| store.remember(&number(at), stored.clone()));
        write(&store, 1, 1);
        store.keep(vec![
            tag(2, &|known| known.images[0].0 = platform()),
            tag(3, &|known| known.platforms = vec![platform()].into()),
            tag(4, &|known| known.header = Some(long().into())),
        ]);
        flush(&store);
    }
    let (store, opened) = Store::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert!((0..stored.len()).all(|at| store.document(&number(at)).is_none()));
    assert_eq!(versions(&store), BTreeMap::from([(1, 1)]));
}
