//! Probes a layer: fetches the few bytes from which its uncompressed size may follow, and where a gzip trailer is not
//! conclusive, looks for a SOCI index.
//!
//! The index comes last although it is more reliable: for nearly all layers the trailer is enough, and most images have
//! no index, so that looking for one costs a request for nothing.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::estimate::{BlobPart, Estimate};
use super::measure::Measured;
use super::soci::{Ztoc, Ztocs};
use super::unpack::Wanted;
use super::{estimate, soci, stream};
use crate::files::Unlisted;
use crate::image::{LayerContent, UncompressedHint};
use crate::oci::{Digest, Repository};
use crate::registry::{At, Client, RegistryError};
use crate::tag::LayerRequest;

/// The most images whose index, or the absence of one, is cached. More are rarely needed at once; dropped ones are
/// looked up again.
const IMAGES_MAX: usize = 1_000;

/// The SOCI indexes of images. Each image's is looked up once.
#[derive(Default)]
pub struct SociIndexes(Mutex<HashMap<(Repository, Digest), Search>>);

/// A lookup under way, or its result.
type Search = Arc<OnceCell<Ztocs>>;

/// Why probing gave no size.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The request failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The bytes are not conclusive.
    #[error("{0}")]
    Inconclusive(&'static str),
}

/// What `cheap` will do about a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Use the manifest alone: no request.
    Known,
    /// Fetch a few bytes, which are nearly always enough.
    Fetches,
    /// Nothing: the size cannot be estimated.
    Unavailable,
}

/// Whether `exact` streams a layer, by what its manifest and config say.
pub fn is_streamed(layer: &LayerRequest) -> bool {
    estimate::may_be_tar(layer)
}

/// What `cheap` will do about a layer, by its manifest and by whether its registry is a `pull_through`.
pub fn forecast(layer: &LayerRequest, pull_through: bool) -> Forecast {
    match estimate::from_manifest(layer) {
        Estimate::Known(_) => Forecast::Known,
        Estimate::Fetch(..) if !pull_through => Forecast::Fetches,
        Estimate::Fetch(..) | Estimate::Unavailable(_) => Forecast::Unavailable,
    }
}

/// Finds the sizes of one layer now, without a budget and without storing the result, for a person who waits.
/// `listed`: what of its files is listed where it is streamed. `progress` is called with the compressed
/// bytes received. The error is a message for people.
pub async fn probe_now(
    client: &Client,
    layer: &LayerRequest,
    listed: Option<Wanted>,
    indexes: &SociIndexes,
    progress: impl FnMut(u64),
) -> Result<Measured, String> {
    if layer.mode.streams() {
        if !estimate::may_be_tar(layer) {
            return Err(estimate::NO_TAR.to_owned());
        }
        let measured = stream::measure(client, layer, listed, &mut true, progress).await;
        return measured.map_err(|error| error.to_string());
    }
    let content = match estimate::from_manifest(layer) {
        Estimate::Known(content) => content,
        Estimate::Unavailable(why) => return Err(why.to_owned()),
        Estimate::Fetch(range, part) => {
            fetch(client, layer, range, &part, indexes).await.map_err(|error| error.to_string())?
        }
    };
    Ok(Measured { content, files: Err(Unlisted::Unread) })
}

/// Fetches a part of a layer and, where that is not conclusive, a part of its ztoc.
pub(crate) async fn fetch(
    client: &Client,
    layer: &LayerRequest,
    range: Range<u64>,
    part: &BlobPart,
    indexes: &SociIndexes,
) -> Result<LayerContent, ProbeError> {
    let LayerRequest { repository, digest, bytes, .. } = layer;
    let fetched = client.get_blob_range(repository, digest, range, *bytes).await?;
    let why = match estimate::read(part, &fetched, *bytes) {
        Ok(content) => return Ok(content),
        Err(why) => ProbeError::Inconclusive(why),
    };
    if *part != BlobPart::GzipTrailer || *bytes < soci::LAYER_BYTES_MIN {
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

/// Finds an image's SOCI index and its ztocs. The index is verified by its digest.
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
