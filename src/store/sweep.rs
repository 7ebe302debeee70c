//! What is removed after a while: in memory here, in the file by the writer.

use std::collections::HashSet;

use super::batch::Batch;
use super::{SECONDS_UNUSED_MAX, Store, Stored};
use crate::image::{Image, Timestamp};
use crate::oci::Digest;
use crate::tag::TagRecord;

impl Store {
    pub(super) fn sweep_memory(&self, in_use: &HashSet<Digest>, now: Timestamp) {
        let mut queue = self.0.shared.queue();
        let mut unused = self.0.unused.lock();
        let Batch { documents, configs, blobs, layers, tags, .. } = &mut queue.waiting;
        let mut needed: HashSet<&Digest> = tags.values().flatten().flat_map(documents_needed).collect();
        for digest in needed.clone() {
            if let Some(Stored::Image(image)) = documents.get(digest) {
                needed.extend(blobs_needed(image));
            }
        }
        let known = documents.keys().chain(configs.keys()).chain(blobs.keys()).chain(layers.keys());
        let known: HashSet<Digest> = known.cloned().collect();
        unused.retain(|digest, _| known.contains(digest));
        let mut expired = HashSet::new();
        for digest in known {
            if in_use.contains(&digest) || needed.contains(&digest) {
                unused.remove(&digest);
            } else if now - *unused.entry(digest.clone()).or_insert(now) >= SECONDS_UNUSED_MAX {
                unused.remove(&digest);
                expired.insert(digest);
            }
        }
        documents.retain(|digest, _| !expired.contains(digest));
        configs.retain(|digest, _| !expired.contains(digest));
        blobs.retain(|digest, _| !expired.contains(digest));
        layers.retain(|digest, _| !expired.contains(digest));
    }
}

/// The documents that stay as long as a tag is kept.
pub(super) fn documents_needed(kept: &TagRecord) -> impl Iterator<Item = &Digest> {
    let images = kept.known.images.iter().map(|(_, digest)| digest);
    std::iter::once(&kept.known.digest).chain(images).chain(kept.known.failed.iter().map(|child| &child.digest))
}

/// The config and the layers that stay as long as an image does, these under both of their digests.
pub(super) fn blobs_needed(image: &Image) -> impl Iterator<Item = &Digest> {
    let layers = image.layers.iter().flat_map(|layer| std::iter::once(&layer.digest).chain(&layer.diff_id));
    layers.chain(&image.image_id)
}
