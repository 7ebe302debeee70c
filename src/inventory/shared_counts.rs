//! What this shard tells the others about the layers of one registry, and what they say of its own ones.

use std::collections::{HashMap, HashSet};

use super::elsewhere::LayersElsewhere;
use super::layer_table::LayerTable;
use crate::image::accounting::{Census, ImageMark, LayerCount};
use crate::oci::Digest;
use crate::tag::{RegistryCounts, RegistrySummary};

/// What was counted here when the others were last told.
#[derive(Default)]
pub(super) struct SharedCounts {
    /// By the numbers of layers.
    own: Vec<LayerCount>,
    /// What changed here since they were last told.
    changed: HashMap<Digest, LayerCount>,
    was_told: bool,
}

impl SharedCounts {
    /// Adds to a census of this shard's series what the other shards have, and notes what it counts itself. Returns the
    /// repositories whose figures may have changed.
    pub(super) fn exchange(
        &mut self,
        census: &mut Census,
        layers: &LayerTable,
        others: &mut LayersElsewhere,
    ) -> HashSet<u32> {
        for digest in others.take_changed() {
            if let Some(number) = layers.number(&digest) {
                census.set_elsewhere(number, others.count(&digest));
            }
        }
        let mark_of = |image: u32| mark(layers.document_digest(image));
        let recounted = census.settle(mark_of);
        for number in recounted.layers {
            let count = census.count(number, mark_of);
            let known = &mut self.own[number as usize];
            if *known != count {
                *known = count;
                self.changed.insert(layers.digest(number).clone(), count);
            }
        }
        recounted.repositories
    }

    /// Takes into account which numbers were given to other layers: before [`Self::exchange`].
    pub(super) fn renumber(&mut self, layers: &mut LayerTable, census: &mut Census, others: &LayersElsewhere) {
        for (number, released) in layers.take_renumbered() {
            let at = number as usize;
            if self.own.len() <= at {
                self.own.resize(at + 1, LayerCount::default());
            }
            let elsewhere = if let Some(digest) = released {
                if std::mem::take(&mut self.own[at]).is_listed() {
                    self.changed.insert(digest, LayerCount::default());
                }
                LayerCount::default()
            } else {
                others.count(layers.digest(number))
            };
            census.set_elsewhere(number, elsewhere);
        }
    }

    /// Whether the others have yet to be told something about layers.
    pub(super) fn is_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What the others are to be told.
    pub(super) fn take(&mut self, summary: RegistrySummary, has_sums: bool) -> RegistryCounts {
        let is_all = has_sums && !self.was_told;
        self.was_told |= has_sums;
        let layers = std::mem::take(&mut self.changed);
        RegistryCounts { summary: Some(summary), is_all, layers: layers.into_iter().collect() }
    }
}

/// The mark of an image with this digest.
pub(super) fn mark(digest: &Digest) -> ImageMark {
    ImageMark::new(digest.beginning()).unwrap_or(ImageMark::MIN)
}
