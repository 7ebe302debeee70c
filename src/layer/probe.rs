//! A layer looked into from afar: the few bytes that may tell are fetched, and where they do not settle it for gzip, a
//! SOCI index is asked.
//!
//! That comes last although it is trusted more: for nearly all layers the trailer alone settles it, and to look for an
//! index takes a request that most images answer with nothing.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::estimate::{Part, Plan};
use super::soci::{Ztoc, Ztocs};
use super::{estimate, soci, stream};
use crate::image::{LayerContent, UncompressedHint};
use crate::oci::{Digest, Repository};
use crate::registry::{At, Client, RegistryError};
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

/// Images of which it is known whether they have an index. More are not wanted at once; who was forgotten is asked again.
const IMAGES_MAX: usize = 1_000;

/// The SOCI indexes of images: each image's is looked for once, whoever asks.
#[derive(Default)]
pub struct SociIndexes(Mutex<HashMap<(Repository, Digest), Search>>);

/// One that is under way, or what came of it.
type Search = Arc<OnceCell<Ztocs>>;

/// Why a few bytes did not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// They were not to be had.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// They came, and do not say.
    #[error("{0}")]
    CannotTell(&'static str),
}

/// What `cheap` will do about a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foresight {
    /// The manifest says what there is to know.
    Known,
    /// A few bytes are asked for, which nearly always tell.
    Asks,
    /// Nothing: it cannot be told cheaply.
    Never,
}

/// Whether `exact` streams a layer, by what its manifest and config say.
pub fn is_streamed(layer: &LayerRequest) -> bool {
    estimate::may_be_tar(layer)
}

/// What `cheap` will do about a layer, by what its manifest says, and whether its registry is a `pull_through`.
pub fn foresee(layer: &LayerRequest, pull_through: bool) -> Foresight {
    match estimate::plan(layer) {
        Plan::Known(_) => Foresight::Known,
        Plan::Fetch(..) if !pull_through => Foresight::Asks,
        Plan::Fetch(..) | Plan::No(_) => Foresight::Never,
    }
}

/// Looks into one layer now, without a budget and remembering nothing but `indexes`, for one who waits for it. `progress`
/// hears of the compressed bytes that come. An error says, for people, why nothing can be told.
pub async fn look_up(
    client: &Client,
    layer: &LayerRequest,
    indexes: &SociIndexes,
    progress: impl FnMut(u64),
) -> Result<LayerContent, String> {
    if layer.mode == Uncompressed::Exact {
        if !estimate::may_be_tar(layer) {
            return Err(estimate::NO_TAR.to_owned());
        }
        return stream::measure(client, layer, &mut true, progress).await.map_err(|error| error.to_string());
    }
    match estimate::plan(layer) {
        Plan::Known(content) => Ok(content),
        Plan::No(why) => Err(why.to_owned()),
        Plan::Fetch(range, part) => {
            fetch(client, layer, range, &part, indexes).await.map_err(|error| error.to_string())
        }
    }
}

/// Fetches a part of a layer that may tell, and what else may where it does not.
pub(crate) async fn fetch(
    client: &Client,
    layer: &LayerRequest,
    range: Range<u64>,
    part: &Part,
    indexes: &SociIndexes,
) -> Result<LayerContent, LookError> {
    let LayerRequest { repository, digest, bytes, .. } = layer;
    let fetched = client.get_blob_range(repository, digest, range, *bytes).await?;
    let why = match estimate::read(part, &fetched, *bytes) {
        Ok(content) => return Ok(content),
        Err(why) => LookError::CannotTell(why),
    };
    if *part != Part::GzipTrailer || *bytes < soci::LAYER_BYTES_MIN {
        return Err(why);
    }
    let Some(Ztoc { digest, bytes: length }) = indexes.ztoc(client, layer).await? else { return Err(why) };
    match client.get_blob_range(repository, &digest, 0..length.min(soci::HEAD_BYTES), length).await {
        Ok(head) => soci::read(&head, &fetched, *bytes).ok_or(why),
        Err(error) if error.is_transient() => Err(error.into()),
        Err(_) => Err(why),
    }
}

impl SociIndexes {
    /// The ztoc of a layer, if its image has an index with one.
    async fn ztoc(&self, client: &Client, layer: &LayerRequest) -> Result<Option<Ztoc>, RegistryError> {
        let (bound, owner) = match &layer.hint {
            Some(UncompressedHint::Soci(index)) => (Some(index), index),
            _ => (None, &layer.image),
        };
        let cell = {
            let mut images = self.0.lock();
            if images.len() >= IMAGES_MAX {
                images.clear();
            }
            Arc::clone(images.entry((layer.repository.clone(), owner.clone())).or_default())
        };
        let ztocs = cell.get_or_try_init(|| async {
            match find(client, layer, bound).await {
                Err(error) if !error.is_transient() => Ok(Ztocs::new()),
                found => found,
            }
        });
        Ok(ztocs.await?.get(&layer.digest).cloned())
    }
}

/// The index is verified by its digest.
async fn find(client: &Client, layer: &LayerRequest, bound: Option<&Digest>) -> Result<Ztocs, RegistryError> {
    let LayerRequest { repository, image, .. } = layer;
    let referrers = match bound {
        Some(_) => Vec::new(),
        None => client.list_referrers(repository, image, soci::INDEX_TYPE, soci::INDEX_BYTES_MAX).await?,
    };
    let Some(index) = bound.or_else(|| soci::index_of(&referrers)) else { return Ok(Ztocs::new()) };
    let fetched = client.get_manifest_within(repository, At::Digest(index), soci::INDEX_BYTES_MAX).await?;
    Ok(soci::ztocs(&fetched.content_type, &fetched.body))
}
