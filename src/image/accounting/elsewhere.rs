//! What is counted of layers elsewhere: by other exporters, which have the other repositories of the registry.

use std::num::NonZeroU64;

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
