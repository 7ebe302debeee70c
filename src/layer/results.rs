//! What the worker knows of layers: in the store for ever what a digest proves, and for as long as the process runs what
//! registries do not give.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::Duration;

use super::backoff::Backoff;
use crate::clock::unix_now;
use crate::image::LayerContent;
use crate::oci::{Digest, Repository};
use crate::store::{LayerRecord, Store};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

/// How a remembered failure begins that only `cheap` has: `exact` may still find out.
const CANNOT_TELL: &str = "cannot be told from a few bytes: ";

/// What one repository and one manifest say of a layer: its compressed bytes and `diff_id`. Others may be right where
/// these are wrong.
type Claim = (Repository, Digest, u64, Option<Digest>);

pub(crate) struct Results {
    store: Store,
    /// Repositories that send whole blobs only.
    no_ranges: Mutex<HashSet<Repository>>,
    backoff: Mutex<Backoff>,
    /// Of which nothing will come while these hold, and which nothing proves for ever.
    given_up: Mutex<HashSet<Claim>>,
}

pub(crate) enum Remembered {
    Found(LayerContent),
    /// Not to be asked for, now or ever.
    Failed,
    Nothing,
}

impl Results {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, no_ranges: Mutex::default(), backoff: Mutex::default(), given_up: Mutex::default() }
    }

    pub(crate) fn look_up(&self, layer: &LayerRequest) -> Remembered {
        if self.backoff.lock().is_waiting(&layer.repository, &layer.digest) {
            return Remembered::Failed;
        }
        let exact = layer.mode == Uncompressed::Exact;
        if exact && self.given_up.lock().contains(&claim(layer)) {
            return Remembered::Failed;
        }
        match self.store.layer(&layer.digest) {
            Some(LayerRecord::Known(content)) if !exact || content.unpacked.is_known() => {
                return Remembered::Found(content);
            }
            Some(LayerRecord::Failed { reason, .. }) if !exact || !reason.starts_with(CANNOT_TELL) => {
                return Remembered::Failed;
            }
            _ => {}
        }
        // Of another blob with the same tar only what was streamed counts: the rest is what somebody said of that blob.
        if let Some(diff_id) = &layer.diff_id
            && let Some(LayerRecord::Known(content)) = self.store.layer(diff_id)
            && content.unpacked.is_known()
        {
            return Remembered::Found(content);
        }
        Remembered::Nothing
    }

    /// Remembers what came of a layer, by all the digests that prove it.
    pub(crate) fn remember_measured(&self, digests: &[&Digest], content: LayerContent) {
        for &digest in digests.iter().filter(|digest| digest.is_verifiable()) {
            self.store.remember_layer(digest, LayerRecord::Known(content));
        }
    }

    /// Remembers what a few bytes told of a layer.
    pub(crate) fn remember_estimate(&self, digest: &Digest, content: LayerContent) {
        self.store.remember_layer(digest, LayerRecord::Known(content));
    }

    /// Remembers that a few bytes do not tell.
    pub(crate) fn inconclusive(&self, digest: &Digest, why: &str) {
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

    /// Asks for the layer again, but not soon; after how long at the earliest.
    pub(crate) fn retry_later(&self, layer: &LayerRequest) -> Duration {
        self.backoff.lock().failed(&layer.repository, &layer.digest)
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
