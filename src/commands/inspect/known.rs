//! Layers that were read already, by the digests of their blobs and of their tars.

use std::collections::HashMap;

use super::report::LayerReport;
use crate::files::{Listing, PATHS_MAX, Unlisted};
use crate::image::Layer;
use crate::layer::Measured;
use crate::oci::Digest;

/// What is known of layers' contents.
pub(in crate::commands) struct KnownLayers {
    layers: HashMap<Digest, Measured>,
    paths_left: usize,
}

impl KnownLayers {
    /// Nothing yet. Of so many references the paths of layers are listed, at most a million for each.
    pub(in crate::commands) fn of_references(count: usize) -> Self {
        Self { layers: HashMap::new(), paths_left: count * PATHS_MAX }
    }

    /// What is known of a layer; with `files` only if that includes its files, or why it has none.
    pub(in crate::commands) fn get(&self, layer: &Layer, files: bool) -> Option<&Measured> {
        let is_enough = |measured: &&Measured| !files || !matches!(measured.files, Err(Unlisted::Unread));
        let digests = [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
        digests.filter_map(|digest| self.layers.get(digest)).find(is_enough)
    }

    /// How many paths of the next layer may be listed.
    pub(in crate::commands) fn paths_left(&self) -> usize {
        self.paths_left.min(PATHS_MAX)
    }

    pub(in crate::commands) fn insert(&mut self, layer: &Layer, measured: &Measured) {
        if let Ok(listing) = &measured.files {
            self.paths_left = self.paths_left.saturating_sub(listing.paths());
        }
        let digests = [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
        self.layers.extend(digests.map(|digest| (digest.clone(), measured.clone())));
    }

    /// The listings of layers, in their order.
    ///
    /// # Errors
    /// Where a layer has none.
    pub(super) fn listings<'a>(
        &'a self,
        layers: impl Iterator<Item = &'a LayerReport>,
    ) -> Result<Vec<&'a Listing>, Unlisted> {
        layers.map(|layer| self.listing(layer)).collect()
    }

    /// The listing of a layer.
    ///
    /// # Errors
    /// Where it has none.
    pub(super) fn listing(&self, layer: &LayerReport) -> Result<&Listing, Unlisted> {
        let digests = [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
        let mut files = digests.filter_map(|digest| self.layers.get(digest)).map(|measured| &measured.files);
        let first = files.next();
        match first.into_iter().chain(files).find(|files| files.is_ok()).or(first) {
            Some(Ok(listing)) => Ok(listing),
            Some(Err(why)) => Err(*why),
            None => Err(Unlisted::Unread),
        }
    }
}
