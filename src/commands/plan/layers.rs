//! The requests of `uncompressed`, once for each layer, and which layers get sizes.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::image::{LayerContent, Unpacked};
use crate::layer;
use crate::layer::Forecast;
use crate::oci::{Digest, Registry};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

use super::figures::Layers;

/// Counts the requests that the daemon would send, and returns placeholder contents for the layers that would get
/// sizes. `unread` are the manifests whose layers are unknown.
pub(super) fn forecast_all(
    mut requests: Vec<LayerRequest>,
    pull_through: impl Fn(&Registry) -> bool,
    unread: &HashSet<(Registry, Digest)>,
) -> (Layers, Vec<(Digest, LayerContent)>) {
    let mut layers = Layers::default();
    let mut contents = Vec::new();
    let (mut counted, mut tars) = (HashSet::new(), HashSet::new());
    // A layer counts once, in the most exact mode of any target.
    requests.sort_by_key(|request| Reverse(request.mode));
    for request in requests {
        let registry = request.repository.registry();
        let digest = &request.digest;
        if counted.contains(digest) {
            continue;
        }
        if unread.contains(&(registry.clone(), request.image.clone())) {
            layers.unread_manifests += 1;
        } else if request.mode.streams() {
            if !layer::is_streamed(&request) {
                continue;
            }
            // Of layers with the same tar one is streamed.
            if tars.insert(request.diff_id.as_ref().unwrap_or(digest).clone()) {
                layers.streamed += 1;
                layers.streamed_bytes = layers.streamed_bytes.saturating_add(request.bytes);
            }
        } else {
            match layer::forecast(&request, pull_through(registry)) {
                Forecast::Fetches => layers.asked += 1,
                Forecast::Known => {}
                // Another registry may have it.
                Forecast::Unavailable => continue,
            }
        }
        counted.insert(digest.clone());
        contents.push((request.digest, content(request.mode)));
    }
    (layers, contents)
}

/// A placeholder that makes the series of a layer's size appear.
fn content(mode: Uncompressed) -> LayerContent {
    let exact = mode.streams();
    let unpacked = if exact { Unpacked::Bytes(1) } else { Unpacked::Unknown };
    LayerContent { uncompressed_bytes: 1, estimated: !exact, unpacked }
}
