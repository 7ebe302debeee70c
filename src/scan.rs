//! Reads one tag: a request with the last known state in, an observation out.
//!
//! Content with a digest is read once: what the store has is not requested again. Not here: when to scan (`daemon`),
//! which tags (`discovery`), and what an observation changes (`inventory`).

pub mod discovery;

mod children;
mod document;
mod platforms;

use std::sync::Arc;

use crate::oci::{Digest, Location, MediaType, Reason};
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
    let is_new = wanted.known.as_ref().is_none_or(|known| known.digest != reading.digest);
    let lacks_children = reading.failed.iter().any(|child| child.reason == Reason::NotFound);
    if !(is_new && reading.header.is_some() && lacks_children && client.supports_head()) {
        return false;
    }
    match client.head_manifest(&wanted.repository, At::Tag(&wanted.tag)).await {
        Ok(head) => head.digest_header != reading.header,
        Err(error) => error.reason() != Reason::Unsupported && !client.may_refuse_head_only(&error),
    }
}

async fn read_once(client: &Client, store: &Store, wanted: &TagRequest) -> Reported {
    let (head, is_head_refused) = match ask_head(client, wanted).await {
        Ok(head) => (head, false),
        Err(error) if client.may_refuse_head_only(&error) => (None, true),
        Err(error) => return unread(error),
    };
    if let (Some(header), Some(known)) = (&head, &wanted.known)
        && known.header.as_ref() == Some(header)
    {
        if !wanted.is_incomplete {
            return Reported { outcome: Outcome::Unchanged, errors: Vec::new() };
        }
        // The tag has not changed, and something is still missing.
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
    let fetched = document::fetch(client, store, &wanted.repository, At::Tag(&wanted.tag)).await;
    drop(flight);
    match fetched {
        // The tag may have changed since the HEAD: the header of the GET wins.
        Ok(fetched) => {
            if is_head_refused {
                client.note_refused_head();
            }
            let header = fetched.header.or(head);
            read_root(client, store, wanted, FetchedDocument { header, ..fetched }).await
        }
        Err(ReadError::Registry(error)) => unread(error),
        Err(error) => Reported::failed(error),
    }
}

/// The digest header of a HEAD, where a HEAD saves requests and the registry supports it.
async fn ask_head(client: &Client, wanted: &TagRequest) -> Result<Option<Arc<str>>, RegistryError> {
    if !client.supports_head() || (wanted.known.is_none() && !client.meters_pulls()) {
        return Ok(None);
    }
    match client.head_manifest(&wanted.repository, At::Tag(&wanted.tag)).await {
        Ok(head) => Ok(head.digest_header),
        Err(error) if error.reason() == Reason::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

fn unread(error: RegistryError) -> Reported {
    let outcome = if error.reason() == Reason::NotFound { Outcome::Gone } else { Outcome::Failed(error.reason()) };
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
