//! What `uncompressed` asks of layers, once in each one's life, and which images it gives sizes.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, stream};

use crate::config::Config;
use crate::image::{Image, LayerContent, Unpacked};
use crate::layer::Foresight;
use crate::oci::Digest;
use crate::registry::{At, Registries};
use crate::scan::ReadError;
use crate::store::{Store, Stored};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;
use crate::{layer, scan};

/// How many images are read at a time. The client bounds requests; this bounds memory.
const IMAGES_UNDER_WAY: usize = 32;

/// What `uncompressed` asks of all targets' layers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Layers that `cheap` asks for a few bytes, by one GET each; rarely, where those do not settle it, more.
    pub asked: u64,
    /// Layers that `exact` streams, by one GET each.
    pub streamed: u64,
    /// Compressed bytes that are streamed.
    pub streamed_bytes: u64,
    /// Images whose layers are not known, since to read their manifests would be metered: each of their layers comes
    /// on top, once.
    pub unread_images: u64,
}

/// What was foreseen.
pub(super) struct Foreseen {
    pub(super) layers: Layers,
    /// By the digests of manifests: what an image's size is known from, if everything goes well.
    pub(super) contents: Vec<(Digest, LayerContent)>,
    /// What could not be read.
    pub(super) errors: Vec<ReadError>,
}

/// Reads the manifests and configs of the images whose layers are wanted. `images` has each as if it were its own and
/// only layer.
pub(super) async fn foresee_all(config: &Config, registries: &Registries, images: Vec<LayerRequest>) -> Foreseen {
    let store = Store::memory();
    let mut foreseen = Foreseen { layers: Layers::default(), contents: Vec::new(), errors: Vec::new() };
    let mut read: Vec<(LayerRequest, Vec<LayerRequest>)> = Vec::new();
    let reads = images.into_iter().map(|wanted| {
        let (client, store) = (registries.client(wanted.repository.registry()), &store);
        async move {
            if client.meters_pulls() {
                return (wanted, None);
            }
            let document = scan::fetch_document(&client, store, &wanted.repository, At::Digest(&wanted.digest)).await;
            (wanted, Some(document))
        }
    });
    let mut reads = stream::iter(reads).buffered(IMAGES_UNDER_WAY);
    while let Some((wanted, document)) = reads.next().await {
        match document {
            None => {
                foreseen.layers.unread_images += 1;
                foreseen.contents.push((wanted.digest, content(wanted.mode)));
            }
            Some(Ok(fetched)) => {
                if let Stored::Image(image) = fetched.document
                    && let Some(layers) = layers_of(&wanted, &image)
                {
                    read.push((wanted, layers));
                }
            }
            Some(Err(error)) => foreseen.errors.push(error),
        }
    }
    agree(&mut read);
    let foresee = |layer: &LayerRequest| {
        let settings = config.registries.get(layer.repository.registry());
        layer::foresee(layer, settings.is_some_and(|settings| settings.pull_through))
    };
    foreseen.layers = count(&read, foresee, foreseen.layers);
    for (image, layers) in &read {
        // A layer that another image has streamed is known as exactly here.
        let told = |layer: &LayerRequest| layer.mode == Uncompressed::Exact || foresee(layer) != Foresight::Never;
        if layers.iter().all(told) {
            let least = layers.iter().map(|layer| layer.mode).min().unwrap_or(image.mode);
            foreseen.contents.push((image.digest.clone(), content(least)));
        }
    }
    foreseen
}

/// The image's layers as the lane will want them; none where the size of one is nobody's to know.
fn layers_of(wanted: &LayerRequest, image: &Image) -> Option<Vec<LayerRequest>> {
    if image.layers.iter().any(|layer| layer.foreign) {
        return None;
    }
    image.layers.iter().map(|layer| LayerRequest::new(&wanted.repository, image, layer, wanted.mode)).collect()
}

/// Lets each layer be wanted as exactly as any image wants it.
fn agree(read: &mut [(LayerRequest, Vec<LayerRequest>)]) {
    let mut modes = HashMap::new();
    for layer in read.iter().flat_map(|(_, layers)| layers) {
        let mode = modes.entry(layer.digest.clone()).or_insert(layer.mode);
        *mode = layer.mode.max(*mode);
    }
    for layer in read.iter_mut().flat_map(|(_, layers)| layers) {
        layer.mode = modes[&layer.digest];
    }
}

/// Each layer counts once, and of what is streamed a tar that is there compressed in several ways.
fn count(
    read: &[(LayerRequest, Vec<LayerRequest>)],
    foresee: impl Fn(&LayerRequest) -> Foresight,
    mut layers: Layers,
) -> Layers {
    let mut counted = HashSet::new();
    let mut tars = HashSet::new();
    for layer in read.iter().flat_map(|(_, layers)| layers) {
        let digest = &layer.digest;
        match layer.mode {
            Uncompressed::Exact => {
                if counted.insert(digest) && tars.insert(layer.diff_id.as_ref().unwrap_or(digest)) {
                    layers.streamed += 1;
                    layers.streamed_bytes = layers.streamed_bytes.saturating_add(layer.bytes);
                }
            }
            // Another registry that has it may be asked.
            Uncompressed::Cheap => {
                let asks = foresee(layer) == Foresight::Asks && counted.insert(digest);
                layers.asked += u64::from(asks);
            }
            Uncompressed::Off => {}
        }
    }
    layers
}

/// As much as a series needs.
fn content(mode: Uncompressed) -> LayerContent {
    let exact = mode == Uncompressed::Exact;
    let unpacked = if exact { Unpacked::Bytes(1) } else { Unpacked::Unknown };
    LayerContent { uncompressed_bytes: 1, estimated: !exact, unpacked }
}
