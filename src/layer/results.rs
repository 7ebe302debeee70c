//! The worker's results: verified ones in the store, for good; failures of registries in memory, while the process
//! runs.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::{Backoff, Claim, WAIT_MIN, WAIT_MIN_TRANSIENT};
use crate::clock::unix_now;
use crate::files::{Listing, Skeleton, Unknowable};
use crate::image::LayerContent;
use crate::oci::{Digest, Repository};
use crate::store::{LayerRecord, Store};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

/// The prefix of a stored failure of `cheap`: `exact` may still succeed.
const CANNOT_TELL: &str = "cannot be told from a few bytes: ";

pub(crate) struct Results {
    store: Store,
    /// Repositories that ignore `Range`.
    no_ranges: Mutex<HashSet<Repository>>,
    backoff: Mutex<Backoff>,
    /// Layers that cannot be measured as described, though no digest proves that they are broken.
    given_up: Mutex<HashSet<Claim>>,
}

pub(crate) enum Remembered {
    Found(LayerContent),
    /// Not to be tried, now or ever.
    Failed,
    Nothing,
}

impl Results {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, no_ranges: Mutex::default(), backoff: Mutex::default(), given_up: Mutex::default() }
    }

    pub(crate) fn look_up(&self, layer: &LayerRequest) -> Remembered {
        let exact = layer.mode.streams();
        match self.store.layer(&layer.digest) {
            Some(LayerRecord::Known(content)) if (!exact || content.unpacked.is_known()) && self.is_listed(layer) => {
                return Remembered::Found(content);
            }
            Some(LayerRecord::Failed { reason, .. }) if !exact || !reason.starts_with(CANNOT_TELL) => {
                return Remembered::Failed;
            }
            _ => {}
        }
        // Of another blob with the same tar only a streamed result counts: an estimate is about that blob.
        if let Some(diff_id) = &layer.diff_id
            && let Some(LayerRecord::Known(content)) = self.store.layer(diff_id)
            && content.unpacked.is_known()
            && self.is_listed(layer)
        {
            return Remembered::Found(content);
        }
        let claim = claim(layer);
        if self.backoff.lock().is_waiting(&claim) || exact && self.given_up.lock().contains(&claim) {
            return Remembered::Failed;
        }
        Remembered::Nothing
    }

    /// As [`Self::look_up`], also in what others measured.
    pub(crate) async fn look_up_shared(&self, layer: &LayerRequest) -> Remembered {
        let digests: Vec<Digest> = std::iter::once(&layer.digest).chain(&layer.diff_id).cloned().collect();
        self.store.load_layers(&digests).await;
        self.look_up(layer)
    }

    /// Remembers a streamed layer's sizes, under all digests that were verified.
    pub(crate) fn remember_measured(&self, digests: &[&Digest], content: LayerContent) {
        for &digest in digests.iter().filter(|digest| digest.is_verifiable()) {
            self.store.remember_layer(digest, LayerRecord::Known(content));
        }
    }

    /// Whether the layer's files are listed, if they are to be.
    fn is_listed(&self, layer: &LayerRequest) -> bool {
        let digests = || [Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten();
        layer.mode != Uncompressed::Files || digests().any(|digest| self.store.has_listing(digest))
    }

    /// Remembers a streamed layer's files, or that they cannot be listed.
    pub(crate) fn remember_files(&self, digests: &[&Digest], files: Option<&Listing>) {
        let skeleton = files.map(|listing| Arc::new(Skeleton::new(listing))).ok_or(Unknowable);
        for &digest in digests.iter().filter(|digest| digest.is_verifiable()) {
            self.store.remember_listing(digest, skeleton.clone());
        }
    }

    /// Remembers an estimate.
    pub(crate) fn remember_estimate(&self, digest: &Digest, content: LayerContent) {
        self.store.remember_layer(digest, LayerRecord::Known(content));
    }

    /// Remembers that a layer cannot be estimated.
    pub(crate) fn inconclusive(&self, digest: &Digest, why: &str) {
        self.fail(digest, format!("{CANNOT_TELL}{why}"));
    }

    /// Remembers that the layer is broken: for good, if its digest proves it.
    pub(crate) fn broken(&self, layer: &LayerRequest, why: String) {
        if layer.digest.is_verifiable() {
            self.fail(&layer.digest, why);
        } else {
            self.give_up(layer);
        }
    }

    /// Gives the layer up, unless another repository or manifest describes it otherwise.
    pub(crate) fn give_up(&self, layer: &LayerRequest) {
        self.given_up.lock().insert(claim(layer));
    }

    /// Schedules another try; returns how long it waits at least. A registry that fails just now may recover soon.
    pub(crate) fn retry_later(&self, layer: &LayerRequest, is_transient: bool) -> Duration {
        let first = if is_transient { WAIT_MIN_TRANSIENT } else { WAIT_MIN };
        self.backoff.lock().failed(claim(layer), first)
    }

    /// Whether the repository may support `Range`.
    pub(crate) fn has_ranges(&self, repository: &Repository) -> bool {
        !self.no_ranges.lock().contains(repository)
    }

    /// Notes that it does not.
    pub(crate) fn has_no_ranges(&self, repository: &Repository) {
        self.no_ranges.lock().insert(repository.clone());
    }

    fn fail(&self, digest: &Digest, reason: String) {
        let at = unix_now();
        self.store.remember_layer(digest, LayerRecord::Failed { reason, at });
    }
}

fn claim(layer: &LayerRequest) -> Claim {
    (layer.repository.clone(), layer.digest.clone(), layer.bytes, layer.diff_id.clone())
}
