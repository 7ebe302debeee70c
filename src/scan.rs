//! Reads one tag: a request with the last known state in, an observation out.
//!
//! Content with a digest is read once: what the store has is not requested again. Not here: when to scan (`daemon`),
//! which tags (`discovery`), and what an observation changes (`inventory`).

pub mod discovery;

mod children;
mod document;
mod platforms;

use std::sync::Arc;

use crate::oci::{Digest, Location, MediaType, Operation, Reason};
use crate::registry::{At, Client, RegistryError};
use crate::store::{Store, Stored};
use crate::tag::{Outcome, Reading, TagRequest};

pub(crate) use children::{Children, has_all_entries, names_document, read as read_children, read_child};
pub use document::{FetchedDocument, ReadError, fetch as fetch_document};
pub use platforms::NoPlatform;

/// The outcome of reading a tag, and the failures to report.
#[derive(Debug)]
pub struct Reported {
    /// For the inventory.
    pub outcome: Outcome,
    /// What failed: the tag itself, or single platforms.
    pub errors: Vec<ReadError>,
}

impl Reported {
    fn failed(error: ReadError) -> Self {
        Self { outcome: Outcome::Failed(error.reason()), errors: vec![error] }
    }
}

/// Reads a tag, in as few requests as possible.
///
/// An unchanged tag costs one HEAD. A new one is fetched without a HEAD first, unless the registry meters GETs of
/// manifests: then a free HEAD shows whether its digest is already known.
pub async fn read_tag(client: &Client, store: &Store, wanted: &TagRequest) -> Reported {
    let mut reported = read_once(client, store, wanted).await;
    if has_moved(client, wanted, &reported).await {
        reported = read_once(client, store, wanted).await;
    }
    let decided = match &reported.outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Read(_) => "read",
        Outcome::Gone => "gone",
        Outcome::Failed(reason) => reason.as_str(),
    };
    tracing::debug!(tag = %Location::tag(&wanted.repository, &wanted.tag), decided, "tag");
    reported
}

/// Whether the tag was pushed again while it was read. Checked only for a new index that lacks children, which
/// otherwise counts as sparse.
async fn has_moved(client: &Client, wanted: &TagRequest, reported: &Reported) -> bool {
    let Outcome::Read(reading) = &reported.outcome else { return false };
    if wanted.tag.digest().is_some() {
        return false;
    }
    let is_new = wanted.known.as_ref().is_none_or(|known| known.digest != reading.digest);
    let lacks_children = reading.failed.iter().any(|child| child.reason == Reason::NotFound);
    if !(is_new && reading.header.is_some() && lacks_children && client.supports_head()) {
        return false;
    }
    match client.head_manifest(&wanted.repository, At::Tag(&wanted.tag)).await {
        Ok(head) => head.digest_header != reading.header,
        Err(error) => error.reason() != Reason::Unsupported && client.head_has_worked(),
    }
}

async fn read_once(client: &Client, store: &Store, wanted: &TagRequest) -> Reported {
    if let Some(digest) = wanted.tag.digest() {
        return read_digest(client, store, wanted, digest).await;
    }
    // A HEAD that never worked may say 404 of everything, and so may a cache that fetches what a GET asks for.
    let was_gone = wanted.is_gone && client.head_has_worked() && !client.is_pull_through();
    let (head, trial) = match ask_head(client, wanted, was_gone).await {
        Ok(head) => (head, None),
        Err(error) if was_gone && error.reason() == Reason::NotFound => {
            return unread(client, wanted, Operation::HeadManifest, error);
        }
        Err(error) => match client.doubt_head(&wanted.repository, &error).await {
            Some(trial) => (None, Some(trial)),
            None => return unread(client, wanted, Operation::GetManifest, error),
        },
    };
    if let (Some(header), Some(known)) = (&head, &wanted.known)
        && known.header.as_ref() == Some(header)
    {
        if !wanted.is_incomplete {
            return Reported { outcome: Outcome::Unchanged, errors: Vec::new() };
        }
        // The tag has not changed, and something is still missing.
        store.load_documents(std::slice::from_ref(&known.digest)).await;
        if let Some(document) = store.document(&known.digest) {
            let root = FetchedDocument { digest: known.digest.clone(), header: head, document, unknown_size: None };
            return read_root(client, store, wanted, root).await;
        }
    }
    // The digest of a header is used only to look up the store, whose documents were verified when they were fetched.
    let named = head.as_deref().and_then(|header| header.parse::<Digest>().ok());
    let flight = match &named {
        Some(digest) => Some(store.document_flight(wanted.repository.registry(), digest).await),
        None => None,
    };
    if let Some((digest, document)) = named.and_then(|digest| store.document(&digest).map(|root| (digest, root))) {
        drop(flight);
        store.add_location(&wanted.repository, &digest);
        return read_root(
            client,
            store,
            wanted,
            FetchedDocument { digest, header: head, document, unknown_size: None },
        )
        .await;
    }
    let fetched = document::fetch_in(trial, client, store, &wanted.repository, At::Tag(&wanted.tag)).await;
    drop(flight);
    match fetched {
        // The tag may have changed since the HEAD: the header of the GET wins.
        Ok(fetched) => {
            let header = fetched.header.or(head);
            read_root(client, store, wanted, FetchedDocument { header, ..fetched }).await
        }
        Err(ReadError::Registry(error)) => unread(client, wanted, Operation::GetManifest, error),
        Err(error) => Reported::failed(error),
    }
}

/// Reads an image that is named by its digest. It never changes, so that it is read once.
async fn read_digest(client: &Client, store: &Store, wanted: &TagRequest, digest: Digest) -> Reported {
    if wanted.known.is_some() && !wanted.is_incomplete {
        return Reported { outcome: Outcome::Unchanged, errors: Vec::new() };
    }
    let (repository, at) = (&wanted.repository, At::Digest(&digest));
    let flight = store.document_flight(repository.registry(), &digest).await;
    if let Some(document) = store.document(&digest) {
        // Another repository's document says nothing about this one.
        let is_there = if wanted.known.is_some() || store.has_location(repository, &digest) {
            Ok(())
        } else {
            client.head_manifest(repository, at).await.map(|_| ())
        };
        match is_there {
            Ok(()) => {
                drop(flight);
                store.add_location(repository, &digest);
                let root = FetchedDocument { digest, header: None, document, unknown_size: None };
                return read_root(client, store, wanted, root).await;
            }
            Err(error) if error.reason() == Reason::Unsupported => {}
            Err(error) => return unread(client, wanted, Operation::HeadManifest, error),
        }
    }
    let fetched = document::fetch(client, store, repository, at).await;
    drop(flight);
    match fetched {
        Ok(fetched) => read_root(client, store, wanted, fetched).await,
        Err(ReadError::Registry(error)) => unread(client, wanted, Operation::GetManifest, error),
        Err(error) => Reported::failed(error),
    }
}

/// The digest header of a HEAD, where a HEAD saves requests and the registry supports it.
async fn ask_head(client: &Client, wanted: &TagRequest, was_gone: bool) -> Result<Option<Arc<str>>, RegistryError> {
    let is_known = wanted.known.is_some() || was_gone;
    if !client.supports_head() || (!is_known && !client.meters_pulls()) {
        return Ok(None);
    }
    let at = At::Tag(&wanted.tag);
    let asked = if was_gone {
        client.head_missing(&wanted.repository, at).await
    } else {
        client.head_manifest(&wanted.repository, at).await
    };
    match asked {
        Ok(head) => Ok(head.digest_header),
        Err(error) if error.reason() == Reason::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// A tag that could not be read. One that does not exist counts as a failed request only where a target names it.
fn unread(client: &Client, wanted: &TagRequest, operation: Operation, error: RegistryError) -> Reported {
    let outcome = if error.reason() == Reason::NotFound {
        if wanted.is_expected {
            client.failed(operation, Reason::NotFound);
        }
        Outcome::Gone
    } else {
        Outcome::Failed(error.reason())
    };
    Reported { outcome, errors: vec![error.into()] }
}

/// Reads all images of the document that the tag points at.
async fn read_root(client: &Client, store: &Store, wanted: &TagRequest, root: FetchedDocument) -> Reported {
    let mut reading = Reading {
        digest: root.digest,
        header: root.header,
        media_type: MediaType::default(),
        index_bytes: 0,
        images: Vec::new(),
        attestations: 0,
        failed: Vec::new(),
        platforms: wanted.platforms.clone(),
    };
    let mut errors = Vec::from_iter(root.unknown_size);
    match root.document {
        Stored::Image(image) => {
            reading.media_type = image.media_type.clone();
            reading.images.push(image);
        }
        Stored::Index(index) => {
            let read =
                children::read(client, store, &wanted.repository, &wanted.platforms, &reading.digest, &index).await;
            reading.media_type = index.media_type.clone();
            reading.index_bytes = index.bytes + read.index_bytes;
            reading.images = read.images;
            reading.attestations = read.attestations;
            reading.failed = read.failed;
            errors.extend(read.errors);
        }
    }
    Reported { outcome: Outcome::Read(Arc::new(reading)), errors }
}
