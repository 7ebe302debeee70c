//! An index's children: each selected platform's image, and what could not be read of them.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::document;
use super::document::{FetchedDocument, ReadError};
use crate::image::{Image, LAYERS_MAX};
use crate::oci::manifest::ACCEPT;
use crate::oci::{
    Digest, DistinctPlatforms, Location, MediaType, Operation, Platform, PlatformFilter, Reason, Repository,
};
use crate::registry::{At, Client, RegistryError};
use crate::store::{IndexEntry, Store, Stored, StoredIndex};
use crate::tag::{Child, Known};

/// An index may list indexes, nested at most this deep.
const NESTING_MAX: usize = 4;

/// At most so many manifests below one tag, over all nested indexes.
const CHILDREN_MAX: usize = 1000;

/// The images of an index that have more layers together are left out, from the one that passes it.
const LAYERS_UNDER_TAG_MAX: usize = 4 * LAYERS_MAX;

/// Artifact types of manifests that describe an image's layers: the index lists them beside the image, under its
/// platform.
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

/// An entry of the index or of a nested one, and its path: its position in each index on the way.
#[derive(Clone)]
struct NestedEntry {
    path: Vec<usize>,
    entry: IndexEntry,
}

/// An entry, with its image if it could be read.
struct ReadEntry {
    placed: NestedEntry,
    image: Option<Arc<Image>>,
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
    let mut entries_read = Vec::new();
    let mut seen = HashSet::from([(digest.clone(), None)]);
    let mut level = vec![(Vec::new(), Arc::clone(index))];
    for depth in 1..=NESTING_MAX {
        let mut entries: Vec<NestedEntry> = Vec::new();
        for (path, index) in &level {
            for (position, entry) in index.entries.iter().enumerate() {
                if entry.attestation {
                    children.attestations += 1;
                } else if is_child(entry, platforms) && seen.insert(key(entry)) {
                    entries.push(NestedEntry { path: [path.as_slice(), &[position]].concat(), entry: entry.clone() });
                }
            }
        }
        // The index itself is among those seen.
        if seen.len() > CHILDREN_MAX + 1 {
            client.failed(Operation::GetManifest, Reason::Limit);
            let limit = format!("more than {CHILDREN_MAX} manifests under one tag");
            children.fail(
                &entries[0].entry,
                ReadError::Limit { location: Location::digest(repository, digest).to_string(), limit },
            );
            break;
        }
        level = children.read_level(client, store, repository, &entries, &mut entries_read).await;
        if level.is_empty() {
            break;
        }
        if depth == NESTING_MAX {
            client.failed(Operation::GetManifest, Reason::Limit);
            let limit = format!("indexes nested more than {NESTING_MAX} deep");
            let location = Location::digest(repository, digest).to_string();
            children.fail(&nothing(digest), ReadError::Limit { location, limit });
        }
    }
    entries_read.sort_by(|a, b| a.placed.path.cmp(&b.placed.path));
    children.images = distinct_images(platforms, entries_read);
    children
}

impl Children {
    /// Reads the entries of one level concurrently, and returns the nested indexes.
    async fn read_level(
        &mut self,
        client: &Client,
        store: &Store,
        repository: &Repository,
        entries: &[NestedEntry],
        entries_read: &mut Vec<ReadEntry>,
    ) -> Vec<(Vec<usize>, Arc<StoredIndex>)> {
        let mut nested = Vec::new();
        let mut reads: FuturesOrdered<_> =
            entries.iter().map(|placed| read_child(client, store, repository, &placed.entry)).collect();
        let mut position = 0;
        let mut layers: usize = entries_read.iter().flat_map(|read| &read.image).map(|image| image.layers.len()).sum();
        while let Some(result) = reads.next().await {
            let placed = &entries[position];
            position += 1;
            match result {
                Ok(FetchedDocument { document: Stored::Index(index), .. }) => {
                    self.index_bytes += index.bytes;
                    nested.push((placed.path.clone(), index));
                }
                Ok(FetchedDocument { document: Stored::Image(image), .. })
                    if layers + image.layers.len() > LAYERS_UNDER_TAG_MAX =>
                {
                    client.failed(Operation::GetManifest, Reason::Limit);
                    let location = Location::digest(repository, &placed.entry.digest).to_string();
                    let limit = format!("more than {LAYERS_UNDER_TAG_MAX} layers under one tag");
                    self.fail(&placed.entry, ReadError::Limit { location, limit });
                    entries_read.push(ReadEntry { placed: placed.clone(), image: None });
                }
                Ok(FetchedDocument { document: Stored::Image(image), unknown_size, .. }) => {
                    layers += image.layers.len();
                    self.errors.extend(unknown_size);
                    entries_read.push(ReadEntry { placed: placed.clone(), image: Some(image) });
                }
                Err(error) => {
                    self.fail(&placed.entry, error);
                    entries_read.push(ReadEntry { placed: placed.clone(), image: None });
                }
            }
        }
        nested
    }

    fn fail(&mut self, entry: &IndexEntry, error: ReadError) {
        let reason = error.reason();
        self.failed.push(Child {
            digest: entry.digest.clone(),
            platform: entry.platform.clone().unwrap_or_default(),
            reason,
        });
        // A sparse index is not a failure: its publisher left the child out on purpose.
        if reason != Reason::NotFound {
            self.errors.push(error);
        }
    }
}

/// The selected images in the index's order, each with a distinct platform. The index entry's platform wins over the
/// config's.
fn distinct_images(platforms: &PlatformFilter, entries_read: Vec<ReadEntry>) -> Vec<Arc<Image>> {
    let mut distinct = DistinctPlatforms::default();
    let mut seen = HashSet::new();
    let mut images = Vec::new();
    for ReadEntry { placed: NestedEntry { entry, .. }, image } in entries_read {
        let Some(image) = image else {
            // It keeps its position, so that the others' names do not change once it can be read.
            if let Some(platform) = entry.platform.filter(|_| !entry.media_type.is_index()) {
                distinct.next(&platform, "gzip");
            }
            continue;
        };
        let platform = entry.platform.unwrap_or_else(|| image.platform.clone());
        if !platforms.includes(&platform) || !seen.insert((image.digest.clone(), platform.clone())) {
            continue;
        }
        let platform = distinct.next(&platform, image.compression());
        let is_named = image.platform == platform;
        images.push(if is_named { image } else { Arc::new(Image { platform, ..Image::clone(&image) }) });
    }
    images
}

/// Whether the last known state of a tag has every image that its index lists with a platform, read or failed. Earlier
/// versions left out all but the first image of a platform.
pub(crate) fn has_all_entries(known: &Known, index: &StoredIndex) -> bool {
    let is_known = |digest: &Digest| {
        known.images.iter().any(|(_, image)| image == digest)
            || known.failed.iter().any(|child| child.digest == *digest)
    };
    let is_image = |entry: &&IndexEntry| {
        entry.platform.is_some() && !entry.media_type.is_index() && is_child(entry, &known.platforms)
    };
    index.entries.iter().filter(is_image).all(|entry| is_known(&entry.digest))
}

async fn read_child(
    client: &Client,
    store: &Store,
    repository: &Repository,
    entry: &IndexEntry,
) -> Result<FetchedDocument, ReadError> {
    let digest = &entry.digest;
    let known = |document| FetchedDocument { digest: digest.clone(), header: None, document, unknown_size: None };
    if let Some(document) = store.document(digest).filter(|_| store.has_location(repository, digest)) {
        return Ok(known(document));
    }
    let _flight = store.document_flight(repository.registry(), digest).await;
    let mut trial = None;
    if let Some(document) = store.document(digest) {
        // The stored document may come from another repository, and this one may lack it: its index may be sparse.
        let has_it = store.has_location(repository, digest)
            || match has(client, repository, digest).await {
                Ok(has_it) => has_it,
                Err(error) => {
                    trial = client.doubt_head(repository, &error).await;
                    if trial.is_none() {
                        return Err(error.into());
                    }
                    false
                }
            };
        if has_it {
            store.add_location(repository, digest);
            return Ok(known(document));
        }
    }
    document::fetch_in(trial, client, store, repository, At::Digest(digest)).await
}

/// Whether the repository has the manifest; false where a HEAD does not say.
async fn has(client: &Client, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
    if !client.supports_head() {
        return Ok(false);
    }
    match client.head_manifest(repository, At::Digest(digest)).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Reason::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}

/// The identity of an entry: one manifest may be listed for two platforms; an index is the same wherever it is listed.
fn key(entry: &IndexEntry) -> (Digest, Option<Platform>) {
    let platform = if entry.media_type.is_index() { None } else { entry.platform.clone() };
    (entry.digest.clone(), platform)
}

/// Whether an entry may be an image that `platforms` includes.
pub(crate) fn is_child(entry: &IndexEntry, platforms: &PlatformFilter) -> bool {
    // Without a platform it may be one: its config, or the index that it is, decides.
    let may_be_included = entry.platform.as_ref().is_none_or(|platform| platforms.includes(platform));
    !entry.attestation && is_manifest(entry) && may_be_included
}

/// Whether an entry is a manifest or index: others are legal, but are not images.
fn is_manifest(entry: &IndexEntry) -> bool {
    let is_known = entry.media_type.is_empty() || ACCEPT.split(", ").any(|known| known == entry.media_type.as_str());
    is_known && !entry.artifact_type.starts_with(SOCI)
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
