//! An index's children: each selected platform's image, and what could not be read of them.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::document;
use super::document::{Fetched, ReadError};
use crate::image::Image;
use crate::oci::manifest::ACCEPT;
use crate::oci::{Digest, Location, MediaType, Platform, PlatformFilter, Reason, Repository};
use crate::registry::{At, Client};
use crate::store::{IndexEntry, Store, Stored, StoredIndex};
use crate::tag::Child;

/// An index may list indexes, nested at most this deep.
const NESTING_MAX: usize = 4;

/// At most so many manifests below one tag, over all nested indexes.
const CHILDREN_MAX: usize = 1000;

/// Artifact types of manifests that describe an image's layers: they stand in the index beside it, under its platform.
const SOCI: &str = "application/vnd.amazon.soci.index.";

/// The children of an index, as far as they could be read.
#[derive(Debug, Default)]
pub(crate) struct Children {
    pub(crate) images: Vec<Arc<Image>>,
    pub(crate) attestations: u32,
    pub(crate) failed: Vec<Child>,
    /// Bytes of nested indexes.
    pub(crate) index_bytes: u64,
    pub(crate) errors: Vec<ReadError>,
}

/// An entry of the index, or of an index nested in it, and its path: its position in each index on the way.
#[derive(Clone)]
struct Placed {
    path: Vec<usize>,
    entry: IndexEntry,
}

/// An image that was read, and its entry.
struct Found {
    placed: Placed,
    image: Arc<Image>,
}

/// Reads the children of an index that `platforms` includes, one level of nesting at a time.
pub(crate) async fn read(
    client: &Client,
    store: &Store,
    repository: &Repository,
    platforms: &PlatformFilter,
    digest: &Digest,
    index: &Arc<StoredIndex>,
) -> Children {
    let mut children = Children::default();
    let mut found = Vec::new();
    let mut seen = HashSet::from([(digest.clone(), None)]);
    let mut level = vec![(Vec::new(), Arc::clone(index))];
    for depth in 1..=NESTING_MAX {
        let mut entries: Vec<Placed> = Vec::new();
        for (path, index) in &level {
            for (place, entry) in index.entries.iter().enumerate() {
                if entry.attestation {
                    children.attestations += 1;
                } else if is_child(entry, platforms) && seen.insert(key(entry)) {
                    entries.push(Placed { path: [path.as_slice(), &[place]].concat(), entry: entry.clone() });
                }
            }
        }
        // The index itself is among those seen.
        if seen.len() > CHILDREN_MAX + 1 {
            let limit = format!("more than {CHILDREN_MAX} manifests under one tag");
            children.fail(
                &entries[0].entry,
                ReadError::Limit { place: Location::digest(repository, digest).to_string(), limit },
            );
            break;
        }
        level = children.read_level(client, store, repository, &entries, &mut found).await;
        if level.is_empty() {
            break;
        }
        if depth == NESTING_MAX {
            let limit = format!("indexes nested more than {NESTING_MAX} deep");
            let place = Location::digest(repository, digest).to_string();
            children.fail(&nothing(digest), ReadError::Limit { place, limit });
        }
    }
    found.sort_by(|a, b| a.placed.path.cmp(&b.placed.path));
    for Found { placed, image } in found {
        children.add(repository, platforms, &placed.entry, image);
    }
    children
}

impl Children {
    /// Reads the entries of one level concurrently, and returns the nested indexes.
    async fn read_level(
        &mut self,
        client: &Client,
        store: &Store,
        repository: &Repository,
        entries: &[Placed],
        found: &mut Vec<Found>,
    ) -> Vec<(Vec<usize>, Arc<StoredIndex>)> {
        let mut nested = Vec::new();
        let distinct = without_collisions(repository, entries);
        let mut reads: FuturesOrdered<_> =
            distinct.iter().map(|placed| read_child(client, store, repository, &placed.entry)).collect();
        let mut position = 0;
        while let Some(result) = reads.next().await {
            let placed = distinct[position];
            position += 1;
            match result {
                Ok(Fetched { document: Stored::Index(index), .. }) => {
                    self.index_bytes += index.bytes;
                    nested.push((placed.path.clone(), index));
                }
                Ok(Fetched { document: Stored::Image(image), lacking, .. }) => {
                    self.errors.extend(lacking);
                    found.push(Found { placed: placed.clone(), image });
                }
                Err(error) => self.fail(&placed.entry, error),
            }
        }
        nested
    }

    /// Adds an image. The index entry's platform wins over the config's. Of two images for one platform the first counts.
    fn add(&mut self, repository: &Repository, platforms: &PlatformFilter, entry: &IndexEntry, image: Arc<Image>) {
        let image = match &entry.platform {
            Some(platform) if *platform != image.platform => {
                Arc::new(Image { platform: platform.clone(), ..Image::clone(&image) })
            }
            _ => image,
        };
        if !platforms.includes(&image.platform) {
            return;
        }
        if self.images.iter().any(|first| first.platform == image.platform) {
            tracing::warn!(%repository, digest = %image.digest, platform = %image.platform, "two manifests of one index are for the same platform: the first counts");
            return;
        }
        self.images.push(image);
    }

    fn fail(&mut self, entry: &IndexEntry, error: ReadError) {
        let reason = error.reason();
        self.failed.push(Child {
            digest: entry.digest.clone(),
            platform: entry.platform.clone().unwrap_or_default(),
            reason,
        });
        // A sparse index is no failure: its publisher left the child out on purpose.
        if reason != Reason::NotFound {
            self.errors.push(error);
        }
    }
}

async fn read_child(
    client: &Client,
    store: &Store,
    repository: &Repository,
    entry: &IndexEntry,
) -> Result<Fetched, ReadError> {
    let digest = &entry.digest;
    let known = |document| Fetched { digest: digest.clone(), header: None, document, lacking: None };
    if let Some(document) = store.document(digest).filter(|_| store.has_location(repository, digest)) {
        return Ok(known(document));
    }
    let _claim = store.document_flight(repository.registry(), digest).await;
    if let Some(document) = store.document(digest) {
        // The document may be known from another repository, and this one may lack it: its index may be sparse.
        if store.has_location(repository, digest) || has(client, repository, digest).await? {
            store.add_location(repository, digest);
            return Ok(known(document));
        }
    }
    document::fetch(client, store, repository, At::Digest(digest)).await
}

/// Whether the repository has the manifest; false where a HEAD does not say.
async fn has(client: &Client, repository: &Repository, digest: &Digest) -> Result<bool, ReadError> {
    if !client.heads() {
        return Ok(false);
    }
    match client.head_manifest(repository, At::Digest(digest)).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Reason::Unsupported => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What makes two entries the same: one manifest may stand for two platforms, an index is the same wherever it stands.
fn key(entry: &IndexEntry) -> (Digest, Option<Platform>) {
    let platform = if entry.media_type.is_index() { None } else { entry.platform.clone() };
    (entry.digest.clone(), platform)
}

/// Whether an entry may be an image that `platforms` includes.
pub(crate) fn is_child(entry: &IndexEntry, platforms: &PlatformFilter) -> bool {
    // Without a platform its config, or the index that it is, will tell.
    let may_be_included = entry.platform.as_ref().is_none_or(|platform| platforms.includes(platform));
    !entry.attestation && is_manifest(entry) && may_be_included
}

/// Whether an entry is a manifest or index: others are legal, and are no images.
fn is_manifest(entry: &IndexEntry) -> bool {
    let is_known = entry.media_type.is_empty() || ACCEPT.split(", ").any(|known| known == entry.media_type.as_str());
    is_known && !entry.artifact_type.starts_with(SOCI)
}

/// Two entries that say the same platform cannot both be published: the second is not even fetched. An index within
/// the index may say its platform, too, and collides with nothing.
fn without_collisions<'a>(repository: &Repository, entries: &'a [Placed]) -> Vec<&'a Placed> {
    let mut platforms = HashSet::new();
    let mut distinct = Vec::new();
    for placed in entries {
        let entry = &placed.entry;
        match &entry.platform {
            Some(platform) if !entry.media_type.is_index() && !platforms.insert(platform) => {
                tracing::warn!(%repository, digest = %entry.digest, %platform, "two entries of one index are for the same platform: the first counts");
            }
            _ => distinct.push(placed),
        }
    }
    distinct
}

fn nothing(digest: &Digest) -> IndexEntry {
    IndexEntry {
        digest: digest.clone(),
        media_type: MediaType::default(),
        bytes: 0,
        platform: None,
        attestation: false,
        artifact_type: "".into(),
    }
}
