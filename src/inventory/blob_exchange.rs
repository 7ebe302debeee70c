//! What this shard tells the others about the blobs that its tags have, and what they say of the same blobs.
//!
//! A blob goes by a policy if all tags that have it do, so that each shard tells of each blob by which policies all of its own
//! go. There is such an exchange only where policies are about the registry.

use std::collections::HashMap;

use super::blobs_elsewhere::{self, BlobsElsewhere, FreedBytes};
use super::holders::{Holders, HoldersByBlob};
use super::interner::{Interner, Renumbered};
use super::layer_table::LayerTable;
use crate::oci::Digest;
use crate::tag::{BlobName, GoneBy};

/// Of one registry.
#[derive(Default)]
pub(super) struct BlobExchange {
    pub(super) layers: OfKind,
    pub(super) documents: OfKind,
    /// By policy, bytes of what goes in other shards and is in no tag here.
    freed_elsewhere: Vec<u128>,
    /// Whether the others were told about all blobs once.
    was_told: bool,
}

/// Layers, or documents.
#[derive(Default)]
pub(super) struct OfKind {
    /// What others say of blobs here, by number.
    elsewhere: HashMap<u32, GoneBy>,
    /// Of these.
    freed_of_both: FreedBytes,
    /// What the others were told, by number.
    told: Vec<Option<GoneBy>>,
    /// What they have yet to be told.
    changed: HashMap<Digest, Option<GoneBy>>,
}

/// A blob by its number.
#[derive(Clone, Copy)]
pub(super) enum Numbered {
    Layer(u32),
    Document(u32),
}

impl BlobExchange {
    /// Where nothing is known of others yet.
    pub(super) fn new(table: &LayerTable, others: &mut BlobsElsewhere, holders: &mut Holders) -> Self {
        let mut exchange = Self::default();
        exchange.layers.begin(table.layers(), &mut others.layers, &mut holders.layers);
        exchange.documents.begin(table.documents(), &mut others.documents, &mut holders.documents);
        exchange
    }

    /// Takes which numbers were given to other layers and documents.
    pub(super) fn renumber(
        &mut self,
        [layers, documents]: [&Renumbered; 2],
        table: &LayerTable,
        others: &BlobsElsewhere,
        holders: &mut Holders,
    ) {
        self.layers.renumber(layers, table.layers(), &others.layers, &mut holders.layers, self.was_told);
        self.documents.renumber(documents, table.documents(), &others.documents, &mut holders.documents, self.was_told);
    }

    /// Takes what others say, for so many policies.
    pub(super) fn hear(
        &mut self,
        table: &LayerTable,
        others: &mut BlobsElsewhere,
        holders: &mut Holders,
        policies: usize,
    ) {
        self.layers.hear(table.layers(), &mut others.layers, &mut holders.layers);
        self.documents.hear(table.documents(), &mut others.documents, &mut holders.documents);
        let kinds = [(&self.layers, &others.layers), (&self.documents, &others.documents)];
        let freed =
            |policy| kinds.iter().map(|(here, others)| others.freed.of(policy) - here.freed_of_both.of(policy)).sum();
        self.freed_elsewhere = (0..policies).map(freed).collect();
    }

    /// Bytes that a policy frees of what only other shards have.
    pub(super) fn freed_elsewhere(&self, policy: usize) -> u128 {
        self.freed_elsewhere.get(policy).copied().unwrap_or_default()
    }

    /// Notes by which policies these blobs go now; they may be others than before, and may be in use no longer.
    pub(super) fn note(
        &mut self,
        table: &LayerTable,
        [layers, documents]: [Vec<u32>; 2],
        gone: impl Fn(Numbered) -> GoneBy,
    ) {
        if self.was_told {
            self.layers.note(table.layers(), layers, |number| gone(Numbered::Layer(number)));
            self.documents.note(table.documents(), documents, |number| gone(Numbered::Document(number)));
        }
    }

    /// Whether the others have yet to be told something; `is_known`: whether all that this shard has is.
    pub(super) fn is_news(&self, is_known: bool) -> bool {
        let is_changed = !self.layers.changed.is_empty() || !self.documents.changed.is_empty();
        if self.was_told { is_changed } else { is_known }
    }

    /// What the others are to be told, and whether these are all blobs. Nothing before all is known once.
    pub(super) fn take(
        &mut self,
        is_known: bool,
        table: &LayerTable,
        gone: impl Fn(Numbered) -> GoneBy,
    ) -> (bool, Vec<(BlobName, Option<GoneBy>)>) {
        let is_first = is_known && !self.was_told;
        if is_first {
            self.was_told = true;
            let [layers, documents] =
                [table.layers(), table.documents()].map(|all| all.all().map(|(number, _)| number).collect());
            self.note(table, [layers, documents], gone);
        }
        let layers = self.layers.changed.drain().map(|(digest, gone)| (BlobName::Layer(digest), gone));
        let documents = self.documents.changed.drain().map(|(digest, gone)| (BlobName::Document(digest), gone));
        (is_first, layers.chain(documents).collect())
    }
}

impl OfKind {
    /// By which policies a blob goes in other shards; `None` where none of them has it.
    pub(super) fn elsewhere(&self, blob: u32) -> Option<GoneBy> {
        self.elsewhere.get(&blob).copied()
    }

    fn begin(&mut self, here: &Interner, others: &mut blobs_elsewhere::OfKind, holders: &mut HoldersByBlob) {
        others.take_changed();
        for (number, digest) in here.all() {
            self.set_elsewhere(number, others.get(digest), holders);
        }
    }

    fn renumber(
        &mut self,
        renumbered: &Renumbered,
        here: &Interner,
        others: &blobs_elsewhere::OfKind,
        holders: &mut HoldersByBlob,
        was_told: bool,
    ) {
        for (number, released) in renumbered {
            let Some(digest) = released else {
                self.set_elsewhere(*number, others.get(here.digest(*number)), holders);
                continue;
            };
            self.set_elsewhere(*number, None, holders);
            if was_told {
                self.changed.insert(digest.clone(), None);
                if let Some(told) = self.told.get_mut(*number as usize) {
                    *told = None;
                }
            }
        }
    }

    fn hear(&mut self, here: &Interner, others: &mut blobs_elsewhere::OfKind, holders: &mut HoldersByBlob) {
        for digest in others.take_changed() {
            if let Some(number) = here.number(&digest) {
                self.set_elsewhere(number, others.get(&digest), holders);
            }
        }
    }

    fn set_elsewhere(&mut self, number: u32, gone: Option<GoneBy>, holders: &mut HoldersByBlob) {
        let before = match gone {
            Some(gone) => self.elsewhere.insert(number, gone),
            None => self.elsewhere.remove(&number),
        };
        if before != gone {
            self.freed_of_both.replace(before, gone);
            holders.note_elsewhere(number, before.is_some(), gone.is_some());
        }
    }

    fn note(&mut self, here: &Interner, mut numbers: Vec<u32>, gone: impl Fn(u32) -> GoneBy) {
        numbers.sort_unstable();
        numbers.dedup();
        self.told.resize(here.uses().len(), None);
        for number in numbers.into_iter().filter(|&number| here.uses()[number as usize] > 0) {
            let now = Some(gone(number));
            if std::mem::replace(&mut self.told[number as usize], now) != now {
                self.changed.insert(here.digest(number).clone(), now);
            }
        }
    }
}
