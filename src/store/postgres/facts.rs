//! What is known of a digest, as rows of the table `facts`: one for each kind.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::oci::Digest;
use crate::store::batch::Batch;
use crate::store::encoding::{digest_key, parse_digest_key, seal, unseal};
use crate::store::stored::FactsOf;

/// The kinds of facts. The numbers stand in databases and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub(super) enum Kind {
    Document = 1,
    Config = 2,
    Commands = 3,
    BlobBytes = 4,
    Layer = 5,
    Listing = 6,
    Wasted = 7,
    BaseNames = 8,
    Base = 9,
}

impl Kind {
    /// The kinds that are loaded together.
    pub(super) fn of(facts: FactsOf) -> &'static [Self] {
        match facts {
            FactsOf::Documents => &[Self::Document, Self::Wasted, Self::BaseNames, Self::Base],
            FactsOf::Blobs => &[Self::Config, Self::Commands, Self::BlobBytes],
            FactsOf::Layers => &[Self::Layer, Self::Listing],
        }
    }

    /// The kinds of which one says that memory has what is wanted. Others of the same digest may stay in memory for longer.
    pub(super) fn that_suffice(facts: FactsOf) -> &'static [Self] {
        match facts {
            FactsOf::Documents => &[Self::Document],
            FactsOf::Blobs => &[Self::Config, Self::BlobBytes],
            FactsOf::Layers => &[Self::Layer],
        }
    }

    pub(super) fn number(self) -> i16 {
        self as i16
    }

    /// Whether a batch has it of this digest.
    pub(super) fn is_in(self, batch: &Batch, digest: &Digest) -> bool {
        match self {
            Self::Document => batch.documents.contains_key(digest),
            Self::Config => batch.configs.contains_key(digest),
            Self::Commands => batch.commands.contains_key(digest),
            Self::BlobBytes => batch.blobs.contains_key(digest),
            Self::Layer => batch.layers.contains_key(digest),
            Self::Listing => batch.listings.contains_key(digest),
            Self::Wasted => batch.wasted.contains_key(digest),
            Self::BaseNames => batch.base_names.contains_key(digest),
            Self::Base => batch.bases.contains_key(digest),
        }
    }
}

/// One row, without the version of its encoding.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) digest: Vec<u8>,
    pub(super) kind: i16,
    pub(super) value: Vec<u8>,
}

/// The facts of a batch, in the order in which every program writes them: so none waits for another in a circle.
pub(super) fn rows(batch: &Batch) -> Vec<Fact> {
    let mut rows = Vec::new();
    add(&mut rows, Kind::Document, &batch.documents);
    add(&mut rows, Kind::Config, &batch.configs);
    add(&mut rows, Kind::Commands, &batch.commands);
    add(&mut rows, Kind::BlobBytes, &batch.blobs);
    add(&mut rows, Kind::Layer, &batch.layers);
    add(&mut rows, Kind::Listing, &batch.listings);
    add(&mut rows, Kind::Wasted, &batch.wasted);
    add(&mut rows, Kind::BaseNames, &batch.base_names);
    add(&mut rows, Kind::Base, &batch.bases);
    rows.sort_unstable();
    rows
}

fn add<T: Serialize>(rows: &mut Vec<Fact>, kind: Kind, values: &HashMap<Digest, T>) {
    rows.extend(values.iter().map(|(digest, value)| {
        let digest = digest_key(digest);
        let value = seal(&digest, value);
        Fact { digest, kind: kind.number(), value }
    }));
}

/// Adds a row to a batch. One that is damaged, or of a kind that a newer program has, is left out.
pub(super) fn insert(batch: &mut Batch, key: &[u8], kind: i16, value: &[u8]) {
    fn put<T: DeserializeOwned>(values: &mut HashMap<Digest, T>, key: &[u8], value: &[u8]) {
        if let Some((digest, value)) = parse_digest_key(key).zip(unseal(key, value)) {
            values.insert(digest, value);
        }
    }
    match kind {
        1 => put(&mut batch.documents, key, value),
        2 => put(&mut batch.configs, key, value),
        3 => put(&mut batch.commands, key, value),
        4 => put(&mut batch.blobs, key, value),
        5 => put(&mut batch.layers, key, value),
        6 => put(&mut batch.listings, key, value),
        7 => put(&mut batch.wasted, key, value),
        8 => put(&mut batch.base_names, key, value),
        9 => put(&mut batch.bases, key, value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Unknowable;
    use crate::image::LayerContent;
    use crate::image::Unpacked;
    use crate::store::stored::LayerRecord;

    #[test]
    fn rows_become_the_facts_that_they_were() {
        let digests = [b"a", b"b"].map(|text| Digest::sha256_of(text));
        let mut batch = Batch::default();
        for digest in &digests {
            let content = LayerContent { uncompressed_bytes: 1, estimated: true, unpacked: Unpacked::Bytes(2) };
            batch.layers.insert(digest.clone(), LayerRecord::Known(content));
            batch.blobs.insert(digest.clone(), 7);
            batch.wasted.insert(digest.clone(), Err(Unknowable));
        }
        let rows = rows(&batch);
        assert!(rows.is_sorted() && rows.len() == 6);
        let mut read = Batch::default();
        for Fact { digest, kind, value } in &rows {
            insert(&mut read, digest, *kind, value);
            insert(&mut read, digest, *kind, &value[1..]);
            insert(&mut read, digest, 99, value);
        }
        assert_eq!((&read.layers, &read.blobs, &read.wasted), (&batch.layers, &batch.blobs, &batch.wasted));
        assert!(Kind::Layer.is_in(&read, &digests[0]) && !Kind::Document.is_in(&read, &digests[0]));
    }
}
