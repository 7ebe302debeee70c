//! The images whose wasted bytes are wanted: which layers' listings they wait for, and the figure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::files::{ImageFiles, Listing, Unknowable};
use crate::image::{Image, Layer};
use crate::oci::Digest;
use crate::store::{Store, Stored};
use crate::tag::LayerFound;

/// The images of the last list.
#[derive(Default)]
pub(super) struct Waste {
    images: Vec<Arc<Image>>,
    /// By image, how many distinct layers have no listing yet.
    missing: Vec<usize>,
    /// By layer, the images that wait for its listing.
    waiting: HashMap<Digest, Vec<usize>>,
    ready: VecDeque<usize>,
}

impl Waste {
    /// Replaces the list. Returns the figures that are remembered.
    pub(super) async fn set(&mut self, store: &Store, images: Vec<Digest>) -> Vec<LayerFound> {
        *self = Self::default();
        let mut remembered = Vec::new();
        for digest in images {
            // The list may be long: other tasks get their turn in between.
            tokio::task::coop::consume_budget().await;
            if let Some(bytes) = store.wasted(&digest) {
                remembered.push(LayerFound::Wasted(digest, bytes));
            } else if let Some(Stored::Image(image)) = store.document(&digest) {
                self.add(store, image);
            }
        }
        remembered
    }

    fn add(&mut self, store: &Store, image: Arc<Image>) {
        let position = self.images.len();
        let layers = image.layers.iter().filter(|layer| !is_listed(store, layer));
        let missing: HashSet<&Digest> = layers.map(key).collect();
        for &layer in &missing {
            self.waiting.entry(layer.clone()).or_default().push(position);
        }
        if missing.is_empty() {
            self.ready.push_back(position);
        }
        self.missing.push(missing.len());
        self.images.push(image);
    }

    /// Notes that a layer was listed, under any of these digests.
    pub(super) fn listed<'a>(&mut self, digests: impl IntoIterator<Item = &'a Digest>) {
        for digest in digests {
            for position in self.waiting.remove(digest).unwrap_or_default() {
                self.missing[position] -= 1;
                if self.missing[position] == 0 {
                    self.ready.push_back(position);
                }
            }
        }
    }

    /// An image all of whose layers are listed.
    pub(super) fn next(&mut self) -> Option<Arc<Image>> {
        self.ready.pop_front().map(|position| Arc::clone(&self.images[position]))
    }
}

/// An image's wasted bytes, which are remembered; an error where they cannot be known. Takes up to seconds: not
/// for an async thread.
pub(super) fn count(store: &Store, image: &Image) -> Option<Result<u64, Unknowable>> {
    let mut listings = Vec::new();
    let mut can_be_known = true;
    for layer in image.layers.iter() {
        match listing(store, layer)? {
            Ok(listing) => listings.push(listing),
            Err(Unknowable) => can_be_known = false,
        }
    }
    let merged = ImageFiles::merge(listings.iter().collect());
    let bytes = merged.ok().filter(|_| can_be_known).map(|files| files.wasted_bytes()).ok_or(Unknowable);
    store.remember_wasted(&image.digest, bytes);
    Some(bytes)
}

/// A layer's listing as it is remembered, or that there can be none.
fn listing(store: &Store, layer: &Layer) -> Option<Result<Listing, Unknowable>> {
    let digests = [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
    let skeleton = digests.into_iter().find_map(|digest| store.listing(digest))?;
    Some(skeleton.and_then(|skeleton| skeleton.listing().ok_or(Unknowable)))
}

/// Whether a layer's listing is remembered, or that it has none.
pub(super) fn is_listed(store: &Store, layer: &Layer) -> bool {
    store.has_listing(&layer.digest) || layer.diff_id.as_ref().is_some_and(|diff_id| store.has_listing(diff_id))
}

/// The same for the same tar, however it is compressed.
fn key(layer: &Layer) -> &Digest {
    layer.diff_id.as_ref().unwrap_or(&layer.digest)
}
