//! What the lane knows of layers: in the store for ever what a digest proves, and for as long as the process runs what
//! registries do not give.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::later::Later;
use crate::image::LayerContent;
use crate::inventory::work::LayerWork;
use crate::oci::{Digest, Repository};
use crate::store::{LayerRecord, Store};
use crate::target::Uncompressed;

/// How a remembered failure begins that only `cheap` has: `exact` may still find out.
const CANNOT_TELL: &str = "cannot be told from a few bytes: ";

/// What one repository and one manifest say of a layer: its compressed bytes and `diff_id`. Others may be right where
/// these are wrong.
type Claim = (Repository, Digest, u64, Option<Digest>);

pub(super) struct Memory {
    store: Store,
    /// Repositories that send whole blobs only.
    no_ranges: Mutex<HashSet<Repository>>,
    later: Mutex<Later>,
    /// Of which nothing will come while these hold, and which nothing proves for ever.
    given_up: Mutex<HashSet<Claim>>,
}

pub(super) enum Recalled {
    Found(LayerContent),
    /// Not to be asked for, now or ever.
    Failed,
    Nothing,
}

impl Memory {
    pub(super) fn new(store: Store) -> Self {
        Self { store, no_ranges: Mutex::default(), later: Mutex::default(), given_up: Mutex::default() }
    }

    pub(super) fn recall(&self, layer: &LayerWork) -> Recalled {
        if locked(&self.later).is_waiting(&layer.repository, &layer.digest) {
            return Recalled::Failed;
        }
        let exact = layer.mode == Uncompressed::Exact;
        if exact && locked(&self.given_up).contains(&claim(layer)) {
            return Recalled::Failed;
        }
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
        Recalled::Nothing
    }

    /// Remembers what came of a layer, by all the digests that prove it.
    pub(super) fn found(&self, digests: &[&Digest], content: LayerContent) {
        for &digest in digests.iter().filter(|digest| digest.is_verifiable()) {
            self.store.remember_layer(digest, LayerRecord::Known(content));
        }
    }

    /// Remembers what a few bytes told of a layer.
    pub(super) fn told(&self, digest: &Digest, content: LayerContent) {
        self.store.remember_layer(digest, LayerRecord::Known(content));
    }

    /// Remembers that a few bytes do not tell.
    pub(super) fn cannot_tell(&self, digest: &Digest, why: &str) {
        self.fail(digest, format!("{CANNOT_TELL}{why}"));
    }

    /// Remembers that the layer is broken: for ever, if that is proved.
    pub(super) fn broken(&self, layer: &LayerWork, why: String) {
        if layer.digest.is_verifiable() {
            self.fail(&layer.digest, why);
        } else {
            self.give_up(layer);
        }
    }

    /// Does not ask for the layer again, unless another repository or manifest says otherwise of it.
    pub(super) fn give_up(&self, layer: &LayerWork) {
        locked(&self.given_up).insert(claim(layer));
    }

    /// Asks for the layer again, but not soon; after how long at the earliest.
    pub(super) fn ask_later(&self, layer: &LayerWork) -> Duration {
        locked(&self.later).failed(&layer.repository, &layer.digest)
    }

    /// Whether the repository may send parts of blobs.
    pub(super) fn has_ranges(&self, repository: &Repository) -> bool {
        !locked(&self.no_ranges).contains(repository)
    }

    /// It does not.
    pub(super) fn has_no_ranges(&self, repository: &Repository) {
        locked(&self.no_ranges).insert(repository.clone());
    }

    fn fail(&self, digest: &Digest, reason: String) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.store.remember_layer(digest, LayerRecord::Failed { reason, at });
    }
}

fn claim(layer: &LayerWork) -> Claim {
    (layer.repository.clone(), layer.digest.clone(), layer.bytes, layer.diff_id.clone())
}

/// None is held across an await, and nothing panics halfway through a change.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
