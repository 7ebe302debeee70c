//! The layers and documents of one registry, deduplicated: a layer's digest is stored once, however many images list it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::base_index::BaseLink;
use super::digest_list::DigestList;
use super::interner::{Interner, Renumbered};
use super::snapshot::{ForeignLayers, LayerPlaces, PastContent, PastImage};
use crate::files::Unknowable;
use crate::image::accounting::StoredLayer;
use crate::image::{Image, ImageSummary, Layer, LayerContent, Timestamp, UncompressedHint};
use crate::oci::{Digest, MediaType, Platform, PlatformFilter};
use crate::tag::{Known, Reading};

/// The layers of one registry's images, and their facts.
#[derive(Default)]
pub(super) struct LayerTable {
    layers: Interner,
    facts: Vec<LayerFacts>,
    /// Manifests, configs and indexes.
    documents: Interner,
    /// By the numbers of images, the bytes that they waste; an error where these cannot be known.
    wasted: HashMap<u32, Result<u64, Unknowable>>,
    media_types: ValuePool<MediaType>,
    platforms: ValuePool<Platform>,
    artifact_types: ValuePool<Arc<str>>,
    /// Layers that one manifest lists with several sizes, and the smallest one, until they are reported.
    ambiguous: Vec<(Digest, u64)>,
}

/// `{}`, which artifacts have as config and as layer, is counted as a layer only.
const EMPTY_CONFIG_BYTES: u64 = 2;

/// A layer's facts beside its digest and size.
pub(super) struct LayerFacts {
    pub(super) diff_id: Option<Digest>,
    pub(super) media_type: MediaType,
    pub(super) hint: Option<Box<UncompressedHint>>,
    pub(super) content: Option<LayerContent>,
    /// Whether the operator was warned that manifests disagree about its size.
    pub(super) warned: bool,
}

/// A tag's content when it was last read.
pub(super) struct TagContent {
    pub(super) known: Arc<Known>,
    /// When a reading last found this.
    pub(super) confirmed: Timestamp,
    pub(super) images: Box<[StoredImage]>,
    /// The number of the index, if the tag points at one.
    index: Option<u32>,
    /// Whether these are all images of `known`: false where the store had lost some when the tag was restored.
    pub(super) is_all: bool,
}

/// An image with its layers as numbers.
pub(super) struct StoredImage {
    pub(super) platform: Platform,
    pub(super) summary: Arc<ImageSummary>,
    /// The image digest's number.
    pub(super) number: u32,
    /// The config's number.
    config: Option<u32>,
    /// The distinct layers that the registry stores and whose sizes are known.
    pub(super) stored: Arc<[StoredLayer]>,
    /// Further occurrences of layers that the manifest lists more than once.
    repeated: Box<[u32]>,
    /// The places in the manifest of `stored`.
    pub(super) places: LayerPlaces,
    /// The layers that are distributed elsewhere and whose sizes are known, with their bytes. They have no number: to
    /// list a layer as foreign does not count as having it.
    pub(super) foreign: ForeignLayers,
    /// Whether every layer's size is known: only then does the image enter sums.
    pub(super) is_sized: bool,
    /// What it is built on.
    pub(super) link: BaseLink,
}

/// An image's uncompressed sizes.
#[derive(Clone, Copy)]
pub(super) struct ImageContent {
    pub(super) uncompressed_bytes: u64,
    pub(super) estimated: bool,
    pub(super) unpacked_bytes: Option<u64>,
}

impl LayerTable {
    /// Adds a reading's images and their layers.
    pub(super) fn insert(&mut self, reading: &Reading, confirmed: Timestamp) -> TagContent {
        let mut known = reading.known();
        known.media_type = self.media_types.share(&known.media_type);
        for (platform, _) in &mut known.images {
            *platform = self.platforms.share(platform);
        }
        let images = reading.images.iter().map(|image| self.insert_image(image)).collect();
        let index = (known.index_bytes > 0).then(|| self.documents.intern(&known.digest).0);
        TagContent { known: Arc::new(known), confirmed, images, index, is_all: true }
    }

    /// Removes a tag's images, and the layers that no other image has.
    pub(super) fn remove(&mut self, content: TagContent) {
        for document in content.documents().map(|(number, _)| number).collect::<Vec<_>>() {
            if self.documents.release(document) {
                self.wasted.remove(&document);
            }
        }
        for image in content.images {
            for layer in image.layers() {
                if self.layers.release(layer) {
                    self.facts[layer as usize] = LayerFacts::none();
                }
            }
        }
    }

    /// The same content with the images of these platforms alone.
    pub(super) fn narrow(&mut self, content: TagContent, platforms: &PlatformFilter) -> TagContent {
        let (images, others): (Vec<_>, Vec<_>) =
            content.images.into_iter().partition(|image| platforms.includes(&image.platform));
        let mut known = content.known;
        let narrowed = Arc::make_mut(&mut known);
        narrowed.images.retain(|(platform, _)| platforms.includes(platform));
        narrowed.failed.retain(|child| platforms.includes(&child.platform));
        narrowed.platforms = platforms.clone();
        self.remove(TagContent { images: others.into(), index: None, known: Arc::clone(&known), ..content });
        TagContent { images: images.into(), known, ..content }
    }

    /// The uncompressed sizes of an image, where those of all its layers are known.
    pub(super) fn content(&self, image: &StoredImage) -> Option<ImageContent> {
        if !image.may_have_content() {
            return None;
        }
        let none = ImageContent { uncompressed_bytes: 0, estimated: false, unpacked_bytes: Some(0) };
        image.layers().try_fold(none, |sum, layer| {
            let content = self.facts[layer as usize].content?;
            Some(ImageContent {
                uncompressed_bytes: sum.uncompressed_bytes.saturating_add(content.uncompressed_bytes),
                estimated: sum.estimated || content.estimated,
                unpacked_bytes: sum.unpacked_bytes.zip(content.unpacked.bytes()).map(|(a, b)| a.saturating_add(b)),
            })
        })
    }

    /// Bytes of the distinct layers of `new` that `old` lacks, by `new`'s manifest: what a node that has `old` fetches for
    /// `new`. That includes foreign layers.
    pub(super) fn update_bytes(&self, new: &StoredImage, old: &StoredImage) -> u64 {
        let has: HashSet<&Digest> = self.fetched(old).map(|(digest, _)| digest).collect();
        let lacks: HashMap<&Digest, u64> = self.fetched(new).filter(|(digest, _)| !has.contains(digest)).collect();
        lacks.into_values().fold(0, u64::saturating_add)
    }

    /// The layers of an image that a pull fetches, with their bytes. A layer that is listed as foreign and again as not
    /// foreign is in here twice.
    pub(super) fn fetched<'a>(&'a self, image: &'a StoredImage) -> impl Iterator<Item = (&'a Digest, u64)> {
        let foreign = image.foreign.layers().iter().map(|(digest, bytes)| (digest, *bytes));
        foreign.chain(image.stored.iter().map(|listed| (self.digest(listed.layer), listed.bytes)))
    }

    /// Sets a layer's uncompressed sizes if an image has it and no more exact ones are known; returns whether that is a
    /// change.
    pub(super) fn learn(&mut self, digest: &Digest, content: LayerContent) -> bool {
        let Some(number) = self.layers.number(digest) else { return false };
        let known = &mut self.facts[number as usize].content;
        let exactness = |content: LayerContent| (!content.estimated, content.unpacked.is_known());
        if known.is_some_and(|known| exactness(known) > exactness(content) || known == content) {
            return false;
        }
        *known = Some(content);
        true
    }

    /// The bytes that an image wastes, if that was found out; an error where they cannot be known.
    pub(super) fn wasted(&self, image: &StoredImage) -> Option<Result<u64, Unknowable>> {
        self.wasted.get(&image.number).copied()
    }

    /// Sets the bytes that an image wastes, if a tag has it; returns whether that is a change.
    pub(super) fn learn_wasted(&mut self, image: &Digest, bytes: Result<u64, Unknowable>) -> bool {
        let Some(number) = self.documents.number(image) else { return false };
        self.wasted.insert(number, bytes) != Some(bytes)
    }

    /// From now on, notes which layers are given numbers.
    pub(super) fn note_layers(&mut self) {
        self.layers.note_renumbered(true);
    }

    /// From now on, notes which documents are given numbers, or no longer.
    pub(super) fn note_documents(&mut self, notes: bool) {
        self.documents.note_renumbered(notes);
    }

    /// What was noted since the last call, of layers and of documents.
    pub(super) fn take_renumbered(&mut self) -> [Renumbered; 2] {
        [self.layers.take_renumbered(), self.documents.take_renumbered()]
    }

    /// The numbers of layers.
    pub(super) fn layers(&self) -> &Interner {
        &self.layers
    }

    /// The numbers of manifests, configs and indexes.
    pub(super) fn documents(&self) -> &Interner {
        &self.documents
    }

    /// The number of a layer, if an image has it.
    pub(super) fn number(&self, layer: &Digest) -> Option<u32> {
        self.layers.number(layer)
    }

    /// The digest of a manifest, config or index.
    pub(super) fn document_digest(&self, document: u32) -> &Digest {
        self.documents.digest(document)
    }

    /// A layer's digest.
    pub(super) fn digest(&self, layer: u32) -> &Digest {
        self.layers.digest(layer)
    }

    /// The digests of all layers.
    pub(super) fn digests(&self) -> &DigestList {
        self.layers.digests()
    }

    /// A layer's facts.
    pub(super) fn facts(&self, layer: u32) -> &LayerFacts {
        &self.facts[layer as usize]
    }

    /// The layers whose sizes differ between manifests, and the smallest size: `disagreeing` and those that one
    /// manifest lists with several sizes. Each is returned once.
    pub(super) fn take_conflicts(&mut self, disagreeing: impl Iterator<Item = StoredLayer>) -> Vec<(Digest, u64)> {
        let ambiguous = std::mem::take(&mut self.ambiguous);
        let between_manifests = disagreeing.map(|odd| (self.digest(odd.layer).clone(), odd.bytes));
        let all: Vec<(Digest, u64)> = between_manifests.chain(ambiguous).collect();
        let mut is_unwarned = |digest: &Digest| {
            let number = self.layers.number(digest)?;
            Some(!std::mem::replace(&mut self.facts[number as usize].warned, true))
        };
        all.into_iter().filter(|(digest, _)| is_unwarned(digest) == Some(true)).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.documents.is_empty()
    }

    fn insert_image(&mut self, image: &Image) -> StoredImage {
        let mut summary = image.summary();
        summary.media_type = self.media_types.share(&summary.media_type);
        summary.artifact_type = self.artifact_types.share(&summary.artifact_type);
        let mut stored: Vec<StoredLayer> = Vec::with_capacity(image.layers.len());
        let (mut repeated, mut places) = (Vec::new(), Vec::new());
        let mut positions = HashMap::with_capacity(image.layers.len());
        for (place, layer) in (0..).zip(image.layers.iter()).filter(|(_, layer)| !layer.foreign) {
            let Some(bytes) = layer.bytes else { continue };
            let number = self.insert_layer(layer);
            match positions.entry(number) {
                Entry::Vacant(position) => {
                    position.insert(stored.len());
                    stored.push(StoredLayer { layer: number, bytes });
                    places.push(place);
                }
                Entry::Occupied(position) => {
                    let first = &mut stored[*position.get()];
                    if first.bytes != bytes {
                        first.bytes = first.bytes.min(bytes);
                        self.ambiguous.push((layer.digest.clone(), first.bytes));
                    }
                    repeated.push(number);
                }
            }
        }
        let foreign = image.layers.iter().filter(|layer| layer.foreign);
        let is_whole = stored.len() == image.layers.len();
        StoredImage {
            platform: self.platforms.share(&image.platform),
            is_sized: summary.compressed_bytes.is_some(),
            summary: Arc::new(summary),
            number: self.documents.intern(&image.digest).0,
            config: image
                .image_id
                .as_ref()
                .filter(|_| image.config_bytes > EMPTY_CONFIG_BYTES)
                .map(|config| self.documents.intern(config).0),
            stored: stored.into(),
            repeated: repeated.into(),
            places: if is_whole { LayerPlaces::default() } else { places.into_iter().collect() },
            foreign: foreign.filter_map(|layer| Some((layer.digest.clone(), layer.bytes?))).collect(),
            link: BaseLink::default(),
        }
    }

    fn insert_layer(&mut self, layer: &Layer) -> u32 {
        let (number, new) = self.layers.intern(&layer.digest);
        if new {
            let facts = LayerFacts {
                diff_id: layer.diff_id.clone(),
                media_type: self.media_types.share(&layer.media_type),
                hint: layer.hint.clone().map(Box::new),
                content: None,
                warned: false,
            };
            match self.facts.get_mut(number as usize) {
                Some(slot) => *slot = facts,
                None => self.facts.push(facts),
            }
        } else {
            let facts = &mut self.facts[number as usize];
            facts.diff_id = facts.diff_id.take().or_else(|| layer.diff_id.clone());
            facts.hint = facts.hint.take().or_else(|| layer.hint.clone().map(Box::new));
        }
        number
    }
}

impl TagContent {
    /// The numbers and bytes of its index, manifests and configs.
    pub(super) fn documents(&self) -> impl Iterator<Item = (u32, u64)> {
        let index = self.index.iter().map(|&index| (index, self.known.index_bytes));
        index.chain(self.images.iter().flat_map(|image| {
            let config = image.config.map(|config| (config, image.summary.config_bytes));
            std::iter::once((image.number, image.summary.manifest_bytes)).chain(config)
        }))
    }
}

impl TagContent {
    /// What is remembered of it when another content takes its place.
    pub(super) fn past(&self, until: Timestamp) -> PastContent {
        let image = |image: &StoredImage| PastImage {
            platform: image.platform.clone(),
            created: image.summary.created,
            compressed_bytes: image.summary.compressed_bytes,
        };
        PastContent { until, digest: self.known.digest.clone(), images: self.images.iter().map(image).collect() }
    }
}

impl StoredImage {
    /// The numbers and bytes of the layers that the registry stores; one that is listed twice is in here twice.
    pub(super) fn held_layers(&self) -> impl Iterator<Item = (u32, u64)> {
        let repeated = self.repeated.iter().map(|&layer| (layer, u64::MAX));
        self.stored.iter().map(|stored| (stored.layer, stored.bytes)).chain(repeated)
    }

    /// Whether its uncompressed sizes can become known: those of a foreign layer cannot.
    pub(super) fn may_have_content(&self) -> bool {
        self.foreign.layers().is_empty() && self.is_sized
    }

    /// The layers that the registry stores; one that is listed twice is in here twice.
    fn layers(&self) -> impl Iterator<Item = u32> {
        self.stored.iter().map(|stored| stored.layer).chain(self.repeated.iter().copied())
    }
}

impl LayerFacts {
    fn none() -> Self {
        Self { diff_id: None, media_type: MediaType::default(), hint: None, content: None, warned: false }
    }
}

/// Values that many images share: one allocation for each distinct value.
struct ValuePool<T>(HashSet<T>);

/// With more distinct values than this sharing would save nothing.
const SHARED_MAX: usize = 1_000;

impl<T: Clone + Eq + Hash> ValuePool<T> {
    fn share(&mut self, value: &T) -> T {
        if let Some(shared) = self.0.get(value) {
            return shared.clone();
        }
        if self.0.len() < SHARED_MAX {
            self.0.insert(value.clone());
        }
        value.clone()
    }
}

impl<T> Default for ValuePool<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}
