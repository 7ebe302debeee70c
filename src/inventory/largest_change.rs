//! The layer that makes a release bigger than the one before it.

use std::collections::HashSet;
use std::sync::Arc;

use super::layer_table::{LayerTable, StoredImage};
use crate::oci::Digest;

/// Looks up the command that made a layer.
pub(super) type CommandOf<'a> = &'a dyn Fn(&Digest) -> Option<Arc<str>>;

/// The layer that grew most.
#[derive(Clone, Debug, PartialEq)]
pub struct LargestChange {
    /// Of its blob.
    pub digest: Digest,
    /// By how many compressed bytes it is bigger than the layer that the same command made in the release before; all of
    /// its bytes where there is none.
    pub bytes: u64,
    /// The command that made it, where the image's history says.
    pub command: Option<Arc<str>>,
}

/// The layer of `new` that grew most against `old`; none where each of its layers is in `old`, or smaller.
pub(super) fn largest_change(
    layers: &LayerTable,
    new: &StoredImage,
    old: &StoredImage,
    command_of: CommandOf<'_>,
) -> Option<LargestChange> {
    let digests = |image| layers.fetched(image).map(|(digest, _)| digest).collect::<HashSet<&Digest>>();
    let (in_new, in_old) = (digests(new), digests(old));
    let gone = layers.fetched(old).filter(|(digest, _)| !in_new.contains(digest));
    let mut gone: Vec<(Option<Arc<str>>, u64)> = gone.map(|(digest, bytes)| (command_of(digest), bytes)).collect();
    let mut largest: Option<LargestChange> = None;
    for (digest, bytes) in layers.fetched(new).filter(|(digest, _)| !in_old.contains(digest)) {
        let command = command_of(digest);
        let before = gone.iter().position(|(other, _)| command.is_some() && *other == command);
        let bytes = bytes.saturating_sub(before.map_or(0, |at| gone.remove(at).1));
        if bytes > largest.as_ref().map_or(0, |largest| largest.bytes) {
            largest = Some(LargestChange { digest: digest.clone(), bytes, command });
        }
    }
    largest
}
