//! Removes unused entries: in memory here, in the file by the writer.

use std::collections::{HashMap, HashSet};

use super::batch::Batch;
use super::stored::Stored;
use crate::image::{Image, Timestamp};
use crate::oci::Digest;
use crate::tag::TagRecord;

/// How long an entry may be unused before it is removed, in seconds: a fortnight, so that a branch without builds over
/// the holidays is not read again after them.
pub(super) const SECONDS_UNUSED_MAX: f64 = 14.0 * 86_400.0;

/// How many unused digests are kept beside `in_use` used ones: as many, so that the store grows with what is watched
/// and not with how often it changes; with a minimum for small installations.
fn unused_max(in_use: usize) -> usize {
    const MIN: usize = 1_000;
    in_use.max(MIN)
}

/// The keys of the file that have been unused for longest, beyond the limit on unused ones.
pub(super) fn surplus(unused: &HashSet<Vec<u8>>, since: &HashMap<Vec<u8>, Timestamp>, in_use: usize) -> Vec<Vec<u8>> {
    let Some(surplus) = unused.len().checked_sub(unused_max(in_use)) else { return Vec::new() };
    let mut keys: Vec<&Vec<u8>> = unused.iter().collect();
    let since = |key: &Vec<u8>| since.get(key).copied().unwrap_or(f64::INFINITY);
    keys.sort_by(|a, b| since(a).total_cmp(&since(b)));
    keys.into_iter().take(surplus).cloned().collect()
}

/// Removes entries from memory that have been unused for too long. `unused`: since when each digest has been unused.
pub(super) fn sweep_memory(
    memory: &mut Batch,
    unused: &mut HashMap<Digest, Timestamp>,
    in_use: &HashSet<Digest>,
    now: Timestamp,
) {
    let Batch { documents, configs, commands, blobs, layers, listings, wasted, base_names, bases, tags, .. } = memory;
    let mut needed: HashSet<&Digest> = tags.values().flatten().flat_map(documents_needed).collect();
    for digest in needed.clone() {
        if let Some(Stored::Image(image)) = documents.get(digest) {
            needed.extend(blobs_needed(image));
        }
    }
    let known = documents
        .keys()
        .chain(configs.keys())
        .chain(blobs.keys())
        .chain(layers.keys())
        .chain(listings.keys())
        .chain(wasted.keys())
        .chain(base_names.keys())
        .chain(bases.keys());
    let known: HashSet<Digest> = known.cloned().collect();
    unused.retain(|digest, _| known.contains(digest));
    let mut expired = HashSet::new();
    let used = known.iter().filter(|digest| in_use.contains(*digest) || needed.contains(*digest)).count();
    for digest in known {
        if in_use.contains(&digest) || needed.contains(&digest) {
            unused.remove(&digest);
        } else if now - *unused.entry(digest.clone()).or_insert(now) >= SECONDS_UNUSED_MAX {
            unused.remove(&digest);
            expired.insert(digest);
        }
    }
    if let Some(surplus) = unused.len().checked_sub(unused_max(used)) {
        let mut oldest: Vec<(Digest, Timestamp)> = unused.iter().map(|(digest, at)| (digest.clone(), *at)).collect();
        oldest.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (digest, _) in oldest.into_iter().take(surplus) {
            unused.remove(&digest);
            expired.insert(digest);
        }
    }
    documents.retain(|digest, _| !expired.contains(digest));
    configs.retain(|digest, _| !expired.contains(digest));
    // A config's commands go with it.
    commands.retain(|digest, _| configs.contains_key(digest));
    blobs.retain(|digest, _| !expired.contains(digest));
    layers.retain(|digest, _| !expired.contains(digest));
    listings.retain(|digest, _| !expired.contains(digest));
    wasted.retain(|digest, _| !expired.contains(digest));
    base_names.retain(|digest, _| !expired.contains(digest));
    bases.retain(|digest, _| !expired.contains(digest));
}

/// The documents that a tag's record needs.
pub(super) fn documents_needed(record: &TagRecord) -> impl Iterator<Item = &Digest> {
    let images = record.known.images.iter().map(|(_, digest)| digest);
    std::iter::once(&record.known.digest).chain(images).chain(record.known.failed.iter().map(|child| &child.digest))
}

/// The config and the layers that an image needs, layers under both of their digests.
pub(super) fn blobs_needed(image: &Image) -> impl Iterator<Item = &Digest> {
    let layers = image.layers.iter().flat_map(|layer| std::iter::once(&layer.digest).chain(&layer.diff_id));
    layers.chain(&image.image_id)
}
