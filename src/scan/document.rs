//! Fetches one document, parses it, and stores it by its digest.

use std::collections::HashMap;
use std::sync::Arc;

use crate::image;
use crate::image::{ConfigFacts, Image, LAYERS_MAX};
use crate::oci::{
    Descriptor, Digest, Document, ImageConfig, Index, InvalidConfig, InvalidDocument, Location, Manifest, Operation,
    Platform, Reason, Repository, Schema1,
};
use crate::registry::{At, Client, HeadTrial, RegistryError};
use crate::store::{IndexEntry, Store, Stored, StoredIndex};
use crate::tag::BaseNames;

/// An index with more entries is refused.
const INDEX_ENTRIES_MAX: usize = 1000;

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The request failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The answer is not a valid document.
    #[error("{location}: {source}")]
    Invalid {
        /// The reference.
        location: String,
        /// What is wrong with it.
        source: InvalidDocument,
    },
    /// The config is invalid.
    #[error("{location}: {source}")]
    InvalidConfig {
        /// The config.
        location: String,
        /// What is wrong with it.
        source: InvalidConfig,
    },
    /// The document exceeds one of this program's limits.
    #[error("{location}: {limit}")]
    Limit {
        /// The reference.
        location: String,
        /// Which limit.
        limit: String,
    },
    /// A manifest names a config that the registry does not have: the image cannot be pulled either.
    #[error("{0}: the manifest names it, and it cannot be pulled without")]
    NoConfig(RegistryError),
}

impl ReadError {
    /// Its reason, as in metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Registry(error) => error.reason(),
            Self::Invalid { .. } | Self::InvalidConfig { .. } | Self::NoConfig(_) => Reason::Invalid,
            Self::Limit { .. } => Reason::Limit,
        }
    }
}

/// A document, just fetched or from the store.
#[derive(Debug)]
pub struct FetchedDocument {
    /// Computed from its bytes.
    pub digest: Digest,
    /// The registry's digest header, verbatim.
    pub header: Option<Arc<str>>,
    /// The document.
    pub document: Stored,
    /// Why the size of a layer that schema 1 lists stays unknown.
    pub unknown_size: Option<ReadError>,
}

/// Fetches a document and what its sizes depend on: the config, or for schema 1 the sizes of the layers. A document
/// that was read completely is stored.
pub async fn fetch(
    client: &Client,
    store: &Store,
    repository: &Repository,
    at: At<'_>,
) -> Result<FetchedDocument, ReadError> {
    let fetched = client.get_manifest(repository, at).await?;
    let digest = fetched.digest;
    let header = fetched.digest_header;
    // The tag may point at an earlier document again, under a header with another digest.
    store.load_documents(std::slice::from_ref(&digest)).await;
    if let Some(document) = store.document(&digest) {
        store.add_location(repository, &digest);
        return Ok(FetchedDocument { digest, header, document, unknown_size: None });
    }
    let bytes = fetched.body.len() as u64;
    let parsed = Document::parse(&fetched.content_type, &fetched.body).map_err(|source| {
        client.failed(Operation::GetManifest, Reason::Invalid);
        ReadError::Invalid { location: Location(repository, at).to_string(), source }
    })?;
    drop(fetched.body);
    let mut unknown_size = None;
    let base_names = match &parsed {
        Document::Index(index) => BaseNames::of_index(index),
        Document::Manifest(manifest) => BaseNames::of_manifest(manifest),
        Document::Schema1(_) => BaseNames::default(),
    };
    let document = match parsed {
        Document::Index(index) => {
            if index.manifests.len() > INDEX_ENTRIES_MAX {
                client.failed(Operation::GetManifest, Reason::Limit);
                let limit = format!("the index has {} entries, more than {INDEX_ENTRIES_MAX}", index.manifests.len());
                return Err(ReadError::Limit { location: Location(repository, at).to_string(), limit });
            }
            Stored::Index(Arc::new(stored_index(bytes, index)))
        }
        Document::Manifest(manifest) => {
            if manifest.layers.len() > LAYERS_MAX {
                client.failed(Operation::GetManifest, Reason::Limit);
                let limit = format!("the manifest has {} layers, more than {LAYERS_MAX}", manifest.layers.len());
                return Err(ReadError::Limit { location: Location(repository, at).to_string(), limit });
            }
            Stored::Image(Arc::new(read_manifest(client, store, repository, &digest, bytes, &manifest).await?))
        }
        Document::Schema1(manifest) => {
            let (image, error) = read_schema1(client, store, repository, &digest, bytes, &manifest).await?;
            unknown_size = error;
            Stored::Image(Arc::new(image))
        }
    };
    if !base_names.is_empty() {
        store.remember_base_names(&digest, base_names);
    }
    if is_whole(&document) {
        store.remember(&digest, document.clone());
    }
    store.add_location(repository, &digest);
    Ok(FetchedDocument { digest, header, document, unknown_size })
}

/// As [`fetch`], after a `HEAD` that failed, about which the outcome says something.
pub(super) async fn fetch_in(
    trial: Option<HeadTrial<'_>>,
    client: &Client,
    store: &Store,
    repository: &Repository,
    at: At<'_>,
) -> Result<FetchedDocument, ReadError> {
    let mut fetched = fetch(client, store, repository, at).await;
    if let Some(trial) = trial {
        if trial.is_alone() && matches!(&fetched, Err(ReadError::Registry(error)) if !error.was_sent()) {
            client.reachable_again().await;
            fetched = fetch(client, store, repository, at).await;
        }
        trial.ended(match &fetched {
            Err(ReadError::Registry(error)) => Some(error),
            _ => None,
        });
    }
    fetched
}

async fn read_manifest(
    client: &Client,
    store: &Store,
    repository: &Repository,
    digest: &Digest,
    bytes: u64,
    manifest: &Manifest,
) -> Result<Image, ReadError> {
    let config = match &manifest.config {
        Some(descriptor) if image::is_container_image(manifest) => {
            Some(read_config(client, store, repository, descriptor).await?)
        }
        _ => None,
    };
    Ok(Image::from_manifest(digest.clone(), bytes, manifest, config.as_deref()))
}

/// Fetches a config once, however many manifests list it.
async fn read_config(
    client: &Client,
    store: &Store,
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<Arc<ConfigFacts>, ReadError> {
    let _flight = store.blob_flight(repository.registry(), &descriptor.digest).await;
    if let Some(config) = store.config(&descriptor.digest) {
        return Ok(config);
    }
    let body = client.get_config(repository, descriptor).await.map_err(|error| match error.reason() {
        Reason::NotFound => ReadError::NoConfig(error),
        _ => ReadError::Registry(error),
    })?;
    let parsed = ImageConfig::parse(&body).map_err(|source| {
        client.failed(Operation::GetBlob, Reason::Invalid);
        ReadError::InvalidConfig { location: Location::digest(repository, &descriptor.digest).to_string(), source }
    })?;
    if let Some(commands) = image::layer_commands(&parsed) {
        store.remember_commands(&descriptor.digest, commands);
    }
    let config = Arc::new(ConfigFacts::from(parsed));
    store.remember_config(&descriptor.digest, Arc::clone(&config));
    Ok(config)
}

/// Schema 1 lists layers without sizes: requests the size of each distinct blob. Also returns why one is unknown.
async fn read_schema1(
    client: &Client,
    store: &Store,
    repository: &Repository,
    digest: &Digest,
    bytes: u64,
    manifest: &Schema1,
) -> Result<(Image, Option<ReadError>), ReadError> {
    let mut unknown_size = None;
    let mut distinct: Vec<&Digest> = manifest.layers.iter().collect();
    distinct.sort();
    distinct.dedup();
    for layer in distinct {
        let _flight = store.blob_flight(repository.registry(), layer).await;
        if store.blob_bytes(layer).is_some() {
            continue;
        }
        match client.head_blob(repository, layer).await {
            Ok(size) => store.remember_blob_bytes(layer, size),
            // A missing blob leaves only the image's size unknown.
            Err(error) if !error.is_transient() => unknown_size = Some(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((Image::from_schema1(digest.clone(), bytes, manifest, |layer| store.blob_bytes(layer)), unknown_size))
}

fn is_whole(document: &Stored) -> bool {
    match document {
        Stored::Image(image) => image.compressed_bytes().is_some(),
        Stored::Index(_) => true,
    }
}

fn stored_index(bytes: u64, index: Index) -> StoredIndex {
    let mut entries: Vec<IndexEntry> = index.manifests.iter().map(index_entry).collect();
    distinguish_by_version(&mut entries, &index.manifests);
    StoredIndex { media_type: index.media_type, bytes, entries }
}

/// Entries of one platform may be for several versions of the operating system, as with macOS. The first keeps the
/// plain name.
fn distinguish_by_version(entries: &mut [IndexEntry], descriptors: &[Descriptor]) {
    let mut first_versions: HashMap<Platform, &str> = HashMap::new();
    for (entry, descriptor) in entries.iter_mut().zip(descriptors) {
        let is_image = !entry.attestation && !entry.media_type.is_index() && entry.artifact_type.is_empty();
        let Some(platform) = entry.platform.as_mut().filter(|_| is_image) else { continue };
        let version = &*descriptor.platform.os_version;
        let first = *first_versions.entry(platform.clone()).or_insert(version);
        if version != first
            && let Some(told_apart) = platform.with_version(version)
        {
            *platform = told_apart;
        }
    }
}

fn index_entry(descriptor: &Descriptor) -> IndexEntry {
    let platform = descriptor.platform.normal();
    IndexEntry {
        digest: descriptor.digest.clone(),
        media_type: descriptor.media_type.clone(),
        bytes: descriptor.size,
        attestation: descriptor.is_attestation(),
        platform: (!platform.as_str().is_empty()).then_some(platform),
        artifact_type: descriptor.artifact_type.as_str().into(),
    }
}
