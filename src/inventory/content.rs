//! What layers contain: what is asked of the layer worker, and what it answers.

use std::collections::{HashMap, HashSet};

use super::Inventory;
use super::stale::StalePart;
use crate::files::Unknowable;
use crate::image::LayerContent;
use crate::oci::{Digest, Registry};
use crate::tag::{LayerFound, LayerRequest, LayerRequests};
use crate::target::Uncompressed;

impl Inventory {
    /// Sets the uncompressed sizes of layers, for every image that has them; returns whether anything changed.
    pub fn learn_layers(&mut self, layers: impl IntoIterator<Item = (Digest, LayerContent)>) -> bool {
        let layers: Vec<(Digest, LayerContent)> = layers.into_iter().collect();
        let mut any = false;
        for registry in self.registries.values_mut() {
            let mut is_news = false;
            for (digest, content) in &layers {
                is_news |= registry.layers.learn(digest, *content);
            }
            if is_news {
                // Uncompressed sizes enter no sum.
                for repository in registry.repositories.values_mut() {
                    registry.stale.mark_with(&mut repository.stale, StalePart::View);
                }
                any = true;
            }
        }
        any
    }

    /// The layers whose uncompressed size is requested and unknown: each digest once for each registry that has it, in
    /// the most exact mode of any target on that registry. A registry may refuse what another one serves, and its
    /// targets may request less. Where manifests disagree about a size, once for each: a layer can only be streamed with
    /// the true one.
    pub fn layer_requests(&self) -> Vec<LayerRequest> {
        let mut requests: HashMap<(&Registry, &Digest, u64), LayerRequest> = HashMap::new();
        for (registry, state) in &self.registries {
            for (repository, tag) in
                state.repositories.iter().flat_map(|(name, state)| state.tags.values().map(move |tag| (name, tag)))
            {
                let mode = tag.settings.uncompressed;
                if mode == Uncompressed::Off {
                    continue;
                }
                let images = tag.images().filter(|image| image.may_have_content());
                for (image, listed) in images.flat_map(|image| image.stored.iter().map(move |listed| (image, listed))) {
                    let lists_files = mode == Uncompressed::Files && state.layers.wasted(image).is_none();
                    let digest = state.layers.digest(listed.layer);
                    let facts = state.layers.facts(listed.layer);
                    let is_enough = |content: LayerContent| mode == Uncompressed::Cheap || content.unpacked.is_known();
                    if !lists_files && facts.content.is_some_and(is_enough) {
                        continue;
                    }
                    let request = requests.entry((registry, digest, listed.bytes)).or_insert_with(|| LayerRequest {
                        repository: repository.clone(),
                        image: image.summary.digest.clone(),
                        digest: digest.clone(),
                        bytes: listed.bytes,
                        diff_id: facts.diff_id.clone(),
                        media_type: facts.media_type.clone(),
                        hint: facts.hint.as_deref().cloned(),
                        mode,
                    });
                    request.mode = mode.max(request.mode);
                }
            }
        }
        let mut requests: Vec<LayerRequest> = requests.into_values().collect();
        requests.sort_by(|a, b| (&a.repository, &a.digest, a.bytes).cmp(&(&b.repository, &b.digest, b.bytes)));
        requests
    }

    /// The manifests of images whose wasted bytes are requested and unknown.
    pub fn image_requests(&self) -> Vec<Digest> {
        let mut images = HashSet::new();
        for state in self.registries.values() {
            let tags = state.repositories.values().flat_map(|repository| repository.tags.values());
            for tag in tags.filter(|tag| tag.settings.uncompressed == Uncompressed::Files) {
                let unknown = tag.images().filter(|image| image.may_have_content());
                let unknown = unknown.filter(|image| state.layers.wasted(image).is_none());
                images.extend(unknown.map(|image| image.summary.digest.clone()));
            }
        }
        let mut images: Vec<Digest> = images.into_iter().collect();
        images.sort();
        images
    }

    /// What the layer worker has to find out.
    pub fn content_requests(&self) -> LayerRequests {
        LayerRequests { layers: self.layer_requests(), images: self.image_requests() }
    }

    /// Applies what the layer worker found out; returns whether anything changed.
    pub fn learn(&mut self, found: impl IntoIterator<Item = LayerFound>) -> bool {
        let (mut layers, mut wasted) = (Vec::new(), Vec::new());
        for found in found {
            match found {
                LayerFound::Content(digest, content) => layers.push((digest, content)),
                LayerFound::Wasted(digest, bytes) => wasted.push((digest, bytes)),
            }
        }
        let layers_changed = self.learn_layers(layers);
        self.learn_wasted(&wasted) || layers_changed
    }

    /// Sets the wasted bytes of images, by their manifests; returns whether anything changed.
    fn learn_wasted(&mut self, wasted: &[(Digest, Result<u64, Unknowable>)]) -> bool {
        let mut any = false;
        for registry in self.registries.values_mut() {
            let mut is_news = false;
            for (image, bytes) in wasted {
                is_news |= registry.layers.learn_wasted(image, *bytes);
            }
            if is_news {
                for repository in registry.repositories.values_mut() {
                    registry.stale.mark_with(&mut repository.stale, StalePart::View);
                }
                any = true;
            }
        }
        any
    }
}
