//! What the registry holds: manifests, blobs and tags, by repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::oci::Digest;

/// Everything in the registry. Its owner guards it with a lock; no call takes long.
#[derive(Clone, Default)]
pub struct Contents {
    repositories: BTreeMap<String, StoredRepository>,
    pub(super) page_entries_max: Option<usize>,
}

#[derive(Clone, Default)]
struct StoredRepository {
    manifests: BTreeMap<Digest, StoredManifest>,
    blobs: BTreeMap<Digest, StoredBlob>,
    tags: BTreeMap<String, Digest>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// The digest of `body`.
    pub digest: Digest,
    /// Sent as `Content-Type`.
    pub media_type: String,
    /// The bytes that were pushed.
    pub body: Bytes,
}

/// A config, a layer or any other blob.
#[derive(Clone)]
pub enum StoredBlob {
    /// Kept in memory.
    Kept(Bytes),
    /// Made anew for each request that wants it.
    Made {
        /// Bytes of the whole blob.
        size: u64,
        /// Makes all of them.
        make: Arc<MakeBlob>,
    },
}

/// Makes a blob's bytes from the first to the last. It passes them on piece by piece, and may stop once a piece is not
/// wanted.
pub type MakeBlob = dyn Fn(&mut dyn FnMut(Bytes) -> bool) + Send + Sync;

impl StoredBlob {
    /// Bytes of the whole blob.
    pub fn size(&self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Made { size, .. } => *size,
        }
    }
}

impl Contents {
    /// Stores a manifest under its SHA-256 digest, which it returns.
    pub fn put_manifest(&mut self, repository: &str, media_type: &str, body: impl Into<Bytes>) -> Digest {
        let body = body.into();
        let digest = Digest::sha256_of(&body);
        let manifest = StoredManifest { digest: digest.clone(), media_type: media_type.to_owned(), body };
        self.repository(repository).manifests.insert(digest.clone(), manifest);
        digest
    }

    /// Stores a blob under its SHA-256 digest, which it returns.
    pub fn put_blob(&mut self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256_of(&bytes);
        self.put_blob_as(repository, digest.clone(), StoredBlob::Kept(bytes));
        digest
    }

    /// Stores a blob under a digest that the caller knows, or invents.
    pub fn put_blob_as(&mut self, repository: &str, digest: Digest, blob: StoredBlob) {
        self.repository(repository).blobs.insert(digest, blob);
    }

    /// Points a tag at a digest.
    pub fn tag(&mut self, repository: &str, tag: &str, digest: Digest) {
        self.repository(repository).tags.insert(tag.to_owned(), digest);
    }

    /// Deletes a tag and returns the digest that it pointed at. The manifest stays, as in a registry that collects no
    /// garbage.
    pub fn untag(&mut self, repository: &str, tag: &str) -> Option<Digest> {
        self.repositories.get_mut(repository)?.tags.remove(tag)
    }

    /// Deletes a manifest and returns it. Tags and indexes that point at it stay.
    pub fn remove_manifest(&mut self, repository: &str, digest: &Digest) -> Option<StoredManifest> {
        self.repositories.get_mut(repository)?.manifests.remove(digest)
    }

    /// Limits the entries in a page of a list; without a limit a page is as long as the request allows.
    pub fn set_page_entries_max(&mut self, entries: usize) {
        self.page_entries_max = Some(entries);
    }

    /// The manifest that a tag or a digest names.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<&StoredManifest> {
        let stored = self.repositories.get(repository)?;
        match reference.parse() {
            Ok(digest) => stored.manifests.get(&digest),
            Err(_) => stored.manifests.get(stored.tags.get(reference)?),
        }
    }

    /// All manifests of a repository, in the order of their digests.
    pub(super) fn manifests(&self, repository: &str) -> impl Iterator<Item = &StoredManifest> {
        self.repositories.get(repository).into_iter().flat_map(|stored| stored.manifests.values())
    }

    /// The blob of a digest.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<&StoredBlob> {
        self.repositories.get(repository)?.blobs.get(digest)
    }

    /// The names of all repositories, in order.
    pub fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    /// The tags of a repository, in order; `None` if nothing was ever stored in it.
    pub fn tags(&self, repository: &str) -> Option<impl Iterator<Item = &str>> {
        Some(self.repositories.get(repository)?.tags.keys().map(String::as_str))
    }

    fn repository(&mut self, name: &str) -> &mut StoredRepository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}
