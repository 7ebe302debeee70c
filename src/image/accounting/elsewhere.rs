//! What is counted of layers elsewhere: by other exporters, which have the other repositories of the registry.

use std::num::NonZeroU64;

use super::{Census, SEVERAL, UNSEEN};

/// Tells images of different exporters apart: made of an image's digest, equal for equal ones.
pub type ImageMark = NonZeroU64;

/// What some of a registry's series say of one layer. The default: none of them lists it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerCount {
    /// Its compressed bytes; where manifests disagree, the smallest.
    pub bytes: u64,
    /// The only image that has it; `None` where several have.
    pub image: Option<ImageMark>,
    /// How many series list it.
    pub series: u32,
}

/// What is counted elsewhere.
#[derive(Clone, Copy, Default)]
pub struct Elsewhere<'a> {
    /// By the layers' numbers here; those that are missing at the end are listed nowhere else.
    pub layers: &'a [LayerCount],
    /// Bytes of all layers that are listed elsewhere, also of those that have no number here.
    pub bytes: u128,
}

impl LayerCount {
    /// Whether any series lists the layer.
    pub fn is_listed(&self) -> bool {
        self.series > 0
    }

    /// This count and that of other series together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.is_listed(), other.is_listed()) {
            (false, _) => other,
            (_, false) => self,
            _ => Self {
                bytes: self.bytes.min(other.bytes),
                image: self.image.filter(|image| other.image == Some(*image)),
                series: self.series.saturating_add(other.series),
            },
        }
    }
}

impl Census {
    /// What these series say of a layer. `mark_of` makes the mark of an image from its number.
    pub fn count(&self, layer: u32, mark_of: impl Fn(u32) -> ImageMark) -> LayerCount {
        match self.index_of.get(layer as usize) {
            None | Some(&UNSEEN) => LayerCount::default(),
            Some(&index) => {
                let count = &self.counts[index as usize];
                let image = (count.image != SEVERAL).then(|| mark_of(count.image));
                LayerCount { bytes: count.bytes, image, series: count.series }
            }
        }
    }

    /// Adds what is counted elsewhere: of other repositories of the registry. `mark_of` is as in [`Self::count`].
    pub fn add(&mut self, elsewhere: Elsewhere<'_>, mark_of: impl Fn(u32) -> ImageMark) {
        let mut only_elsewhere = elsewhere.bytes;
        for (layer, (&index, other)) in (0_u32..).zip(self.index_of.iter().zip(elsewhere.layers)) {
            if index == UNSEEN || !other.is_listed() {
                continue;
            }
            let count = &mut self.counts[index as usize];
            only_elsewhere = only_elsewhere.saturating_sub(u128::from(other.bytes));
            if count.bytes != other.bytes {
                self.disagreeing.push((layer, index));
                count.bytes = count.bytes.min(other.bytes);
            }
            count.series = count.series.saturating_add(other.series);
            if count.image != SEVERAL && other.image != Some(mark_of(count.image)) {
                count.image = SEVERAL;
            }
            count.repository = SEVERAL;
        }
        self.bytes_elsewhere = u64::try_from(only_elsewhere).unwrap_or(u64::MAX);
    }
}
