//! What the worker knows of layers: in the store for ever what a digest proves, and for as long as the process runs what
//! registries do not give.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::Duration;

use super::backoff::{Claim, Later, WAIT_MIN, WAIT_MIN_TRANSIENT};
use crate::clock::unix_now;
use crate::image::LayerContent;
use crate::oci::{Digest, Repository};
use crate::store::{LayerRecord, Store};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

/// How a remembered failure begins that only `cheap` has: `exact` may still find out.
const CANNOT_TELL: &str = "cannot be told from a few bytes: ";

pub(crate) struct Memory {
    store: Store,
    /// Repositories that send whole blobs only.
    no_ranges: Mutex<HashSet<Repository>>,
    later: Mutex<Later>,
    /// Of which nothing will come while these hold, and which nothing proves for ever.
    given_up: Mutex<HashSet<Claim>>,
}

pub(crate) enum Recalled {
    Found(LayerContent),
    /// Not to be asked for, now or ever.
    Failed,
    Nothing,
}

impl Memory {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, no_ranges: Mutex::default(), later: Mutex::default(), given_up: Mutex::default() }
    }

    pub(crate) fn recall(&self, layer: &LayerRequest) -> Recalled {
        let exact = layer.mode == Uncompressed::Exact;
        match self.store.layer(&layer.digest) {
            Some(LayerRecord::Known(content)) if !exact || content.unpacked.is_known() => {
                return Recalled::Found(content);
            }
            Some(LayerRecord::Failed { reason, .. }) if !exact || !reason.starts_with(CANNOT_TELL) => {
                return Recalled::Failed;
            }
            _ => {}
        }
        // Of another blob with the same tar only what was streamed counts: the rest is what somebody said of that blob.
        if let Some(diff_id) = &layer.diff_id
            && let Some(LayerRecord::Known(content)) = self.store.layer(diff_id)
            && content.unpacked.is_known()
        {
            return Recalled::Found(content);
        }
        let claim = claim(layer);
        if self.later.lock().is_waiting(&claim) || exact && self.given_up.lock().contains(&claim) {
            return Recalled::Failed;
        }
        Recalled::Nothing
    }

    /// Remembers what came of a layer, by all the digests that prove it.
    pub(crate) fn found(&self, digests: &[&Digest], content: LayerContent) {
        for &digest in digests.iter().filter(|digest| digest.is_verifiable()) {
            self.store.remember_layer(digest, LayerRecord::Known(content));
        }
    }

    /// Remembers what a few bytes told of a layer.
    pub(crate) fn told(&self, digest: &Digest, content: LayerContent) {
        self.store.remember_layer(digest, LayerRecord::Known(content));
    }

    /// Remembers that a few bytes do not tell.
    pub(crate) fn cannot_tell(&self, digest: &Digest, why: &str) {
        self.fail(digest, format!("{CANNOT_TELL}{why}"));
    }

    /// Remembers that the layer is broken: for ever, if that is proved.
    pub(crate) fn broken(&self, layer: &LayerRequest, why: String) {
        if layer.digest.is_verifiable() {
            self.fail(&layer.digest, why);
        } else {
            self.give_up(layer);
        }
    }

    /// Does not ask for the layer again, unless another repository or manifest says otherwise of it.
    pub(crate) fn give_up(&self, layer: &LayerRequest) {
        self.given_up.lock().insert(claim(layer));
    }

    /// Asks for the layer again, but not at once; after how long at the earliest. A registry that fails just now may
    /// recover soon.
    pub(crate) fn ask_later(&self, layer: &LayerRequest, is_transient: bool) -> Duration {
        let first = if is_transient { WAIT_MIN_TRANSIENT } else { WAIT_MIN };
        self.later.lock().failed(claim(layer), first)
    }

    /// Whether the repository may send parts of blobs.
    pub(crate) fn has_ranges(&self, repository: &Repository) -> bool {
        !self.no_ranges.lock().contains(repository)
    }

    /// It does not.
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
