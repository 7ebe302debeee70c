//! The images whose wasted bytes are wanted: which layers' listings they wait for, and the figure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::files::{ImageFiles, Listing, PATHS_MAX, Skeleton, Unknowable};
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
        let unknown: Vec<Digest> = images.iter().filter(|image| store.wasted(image).is_none()).cloned().collect();
        store.load_documents(&unknown).await;
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
    let merged = listings(store, image)?.and_then(|listings| {
        let files = ImageFiles::merge(listings.iter().collect()).map_err(|_| Unknowable)?;
        Ok(files.wasted_bytes())
    });
    store.remember_wasted(&image.digest, merged);
    Some(merged)
}

/// The listings of an image's layers, or that there is no figure. Memory: no further layer is read once that is known, or
/// once the paths are too many to be merged, though a small blob may be listed as a layer a thousand times.
fn listings(store: &Store, image: &Image) -> Option<Result<Vec<Listing>, Unknowable>> {
    let mut listings = Vec::new();
    let mut paths_left = PATHS_MAX;
    for layer in image.layers.iter() {
        let Ok(skeleton) = skeleton(store, layer)? else { return Some(Err(Unknowable)) };
        let Some(left) = paths_left.checked_sub(skeleton.paths()) else { return Some(Err(Unknowable)) };
        let Some(listing) = skeleton.listing() else { return Some(Err(Unknowable)) };
        paths_left = left;
        listings.push(listing);
    }
    Some(Ok(listings))
}

/// A layer's listing as it is remembered, or that there can be none.
fn skeleton(store: &Store, layer: &Layer) -> Option<Result<Arc<Skeleton>, Unknowable>> {
    let mut digests = [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
    digests.find_map(|digest| store.listing(digest))
}

/// Whether a layer's listing is remembered, or that it has none.
pub(super) fn is_listed(store: &Store, layer: &Layer) -> bool {
    store.has_listing(&layer.digest) || layer.diff_id.as_ref().is_some_and(|diff_id| store.has_listing(diff_id))
}

/// The same for the same tar, however it is compressed.
fn key(layer: &Layer) -> &Digest {
    layer.diff_id.as_ref().unwrap_or(&layer.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Kind;
    use crate::oci::MediaType;

    fn digest(number: u8) -> Digest {
        Digest::sha256_of(&[number])
    }

    /// An image of these layers.
    fn image(layers: &[u8]) -> Image {
        let layer = |&number: &u8| Layer {
            digest: digest(number),
            bytes: Some(1),
            foreign: false,
            diff_id: None,
            media_type: MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip"),
            hint: None,
        };
        Image {
            digest: digest(99),
            image_id: None,
            media_type: MediaType::new(MediaType::OCI_MANIFEST),
            artifact_type: "".into(),
            platform: "linux/amd64".parse().unwrap(),
            created: None,
            config_bytes: 0,
            manifest_bytes: 0,
            layers: layers.iter().map(layer).collect(),
        }
    }

    /// A layer that is not remembered shows what is looked up: where it is, there is no answer yet.
    #[test]
    fn no_layer_is_read_once_there_can_be_no_figure() {
        let store = Store::memory();
        let mut listing = Listing::new(false);
        for number in 0..=PATHS_MAX / 2 {
            listing.add(0, &number.to_be_bytes(), Kind::Special);
        }
        store.remember_listing(&digest(1), Ok(Arc::new(Skeleton::new(&listing))));
        store.remember_listing(&digest(2), Err(Unknowable));
        assert_eq!(count(&store, &image(&[1, 3])), None);
        assert_eq!(count(&store, &image(&[2, 3])), Some(Err(Unknowable)));
        assert_eq!(count(&store, &image(&[1, 1, 3])), Some(Err(Unknowable)), "more than a million paths");
        assert_eq!(count(&store, &image(&[1])), Some(Ok(0)));
    }
}
