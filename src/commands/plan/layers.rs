//! What `uncompressed` asks of layers, once for each layer, and which layers get sizes.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::image::{LayerContent, Unpacked};
use crate::layer;
use crate::layer::Foresight;
use crate::oci::{Digest, Registry};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

use super::figures::Layers;

/// Counts what the daemon would ask, and gives each layer the content that it would find. `unread` are the manifests
/// whose layers are unknown.
pub(super) fn foresee_all(
    mut requests: Vec<LayerRequest>,
    pull_through: impl Fn(&Registry) -> bool,
    unread: &HashSet<(Registry, Digest)>,
) -> (Layers, Vec<(Digest, LayerContent)>) {
    let mut layers = Layers::default();
    let mut contents = Vec::new();
    let (mut counted, mut tars) = (HashSet::new(), HashSet::new());
    // A layer counts once, as exactly as any target wants it.
    requests.sort_by_key(|request| Reverse(request.mode));
    for request in requests {
        let registry = request.repository.registry();
        let digest = &request.digest;
        if counted.contains(digest) {
            continue;
        }
        if unread.contains(&(registry.clone(), request.image.clone())) {
            layers.unread_manifests += 1;
        } else if request.mode == Uncompressed::Exact {
            if !layer::is_streamed(&request) {
                continue;
            }
            // Of layers with the same tar one is streamed.
            if tars.insert(request.diff_id.as_ref().unwrap_or(digest).clone()) {
                layers.streamed += 1;
                layers.streamed_bytes = layers.streamed_bytes.saturating_add(request.bytes);
            }
        } else {
            match layer::foresee(&request, pull_through(registry)) {
                Foresight::Asks => layers.asked += 1,
                Foresight::Known => {}
                // Another registry that has it may be asked.
                Foresight::Never => continue,
            }
        }
        counted.insert(digest.clone());
        contents.push((request.digest, content(request.mode)));
    }
    (layers, contents)
}

/// A content that makes the series of a layer's size appear.
fn content(mode: Uncompressed) -> LayerContent {
    let exact = mode == Uncompressed::Exact;
    let unpacked = if exact { Unpacked::Bytes(1) } else { Unpacked::Unknown };
    LayerContent { uncompressed_bytes: 1, estimated: !exact, unpacked }
}
