//! What this shard tells the others about the layers of one registry, and what they say of its own ones.

use std::collections::HashMap;

use super::elsewhere::LayersElsewhere;
use super::layer_table::LayerTable;
use crate::image::accounting::{Census, Elsewhere, ImageMark, LayerCount};
use crate::oci::Digest;
use crate::tag::{RegistryCounts, RegistrySummary};

/// By the numbers of layers: what was counted here when the others were last told, and what is counted elsewhere.
#[derive(Default)]
pub(super) struct SharedCounts {
    own: Vec<LayerCount>,
    elsewhere: Vec<LayerCount>,
    /// What changed here since they were last told.
    changed: HashMap<Digest, LayerCount>,
    was_told: bool,
}

impl SharedCounts {
    /// Notes what a census of this shard's series counted, and adds to it what the other shards have.
    pub(super) fn exchange(&mut self, census: &mut Census, layers: &LayerTable, others: &mut LayersElsewhere) {
        for digest in others.take_changed() {
            if let Some(number) = layers.number(&digest) {
                self.elsewhere[number as usize] = others.count(&digest);
            }
        }
        let mark_of = |image: u32| mark(layers.document_digest(image));
        for (number, known) in (0_u32..).zip(&mut self.own) {
            let count = census.count(number, mark_of);
            if *known != count {
                *known = count;
                self.changed.insert(layers.digest(number).clone(), count);
            }
        }
        census.add(Elsewhere { layers: &self.elsewhere, bytes: others.bytes }, mark_of);
    }

    /// Takes into account which numbers were given to other layers: before [`Self::exchange`].
    pub(super) fn renumber(&mut self, layers: &mut LayerTable, others: &LayersElsewhere) {
        for (number, released) in layers.take_renumbered() {
            let at = number as usize;
            if self.own.len() <= at {
                self.own.resize(at + 1, LayerCount::default());
                self.elsewhere.resize(at + 1, LayerCount::default());
            }
            if let Some(digest) = released {
                if std::mem::take(&mut self.own[at]).is_listed() {
                    self.changed.insert(digest, LayerCount::default());
                }
                self.elsewhere[at] = LayerCount::default();
            } else {
                self.elsewhere[at] = others.count(layers.digest(number));
            }
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
fn mark(digest: &Digest) -> ImageMark {
    ImageMark::new(digest.beginning()).unwrap_or(ImageMark::MIN)
}
