//! Where the content of one tag is noted: its registry's layers, and what is built on what.

use super::base_index::{BaseIndex, TagPlace};
use super::layer_table::{LayerTable, TagContent};
use crate::image::Timestamp;
use crate::oci::{PlatformFilter, Repository, Tag};
use crate::tag::Reading;

/// Notes the content of one tag.
pub(super) struct Contents<'a> {
    layers: &'a mut LayerTable,
    bases: &'a mut BaseIndex,
    place: TagPlace<'a>,
}

impl<'a> Contents<'a> {
    /// For a tag of the repository with this number.
    pub(super) fn new(
        layers: &'a mut LayerTable,
        bases: &'a mut BaseIndex,
        (number, repository, tag): (u32, &'a Repository, &'a Tag),
    ) -> Self {
        Self { layers, bases, place: TagPlace { number, repository, tag } }
    }

    /// Adds a reading's images.
    pub(super) fn insert(&mut self, reading: &Reading, confirmed: Timestamp) -> TagContent {
        let mut content = self.layers.insert(reading, confirmed);
        let is_index = reading.index_bytes > 0;
        let by_index = if is_index { (self.bases.source.names)(&reading.digest) } else { None };
        for (stored, image) in content.images.iter_mut().zip(&reading.images) {
            stored.link = self.bases.insert(self.place, image, by_index.as_deref());
        }
        self.bases.touch(self.place);
        content
    }

    /// Removes a tag's images.
    pub(super) fn remove(&mut self, content: TagContent) {
        content.images.iter().for_each(|image| self.bases.remove(self.place, &image.link));
        self.bases.touch(self.place);
        self.layers.remove(content);
    }

    /// The same content with the images of these platforms alone.
    pub(super) fn narrow(&mut self, content: TagContent, platforms: &PlatformFilter) -> TagContent {
        let others = content.images.iter().filter(|image| !platforms.includes(&image.platform));
        others.for_each(|image| self.bases.remove(self.place, &image.link));
        self.bases.touch(self.place);
        self.layers.narrow(content, platforms)
    }
}
