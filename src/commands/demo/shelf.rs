//! What the demo's registry holds: documents by digest, layers as recipes, tags.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::layers::Recipe;
use crate::oci::Digest;

/// Everything in the registry. Written by releases, read by requests.
#[derive(Default)]
pub(super) struct Shelf {
    /// Guards everything; held for a look-up, never while a layer is made.
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    manifests: HashMap<String, Manifest>,
    blobs: HashMap<String, Blob>,
    /// Repository to its tags, each with the digest that it points at.
    tags: BTreeMap<String, BTreeMap<String, String>>,
}

/// A manifest or an index.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) media_type: &'static str,
    pub(super) body: Bytes,
}

/// A blob: small ones are kept, layers are made again for whoever wants one.
#[derive(Clone)]
pub(super) enum Blob {
    TagRecord(Bytes),
    Layer { bytes: u64, recipe: Recipe },
}

impl Shelf {
    /// Keeps a manifest; gives its digest.
    pub(super) fn keep_manifest(&self, media_type: &'static str, body: Vec<u8>) -> String {
        let digest = Digest::sha256_of(&body).to_string();
        let manifest = Manifest { digest: digest.clone(), media_type, body: body.into() };
        self.content().manifests.insert(digest.clone(), manifest);
        digest
    }

    /// Keeps a blob under its digest.
    pub(super) fn keep_blob(&self, digest: &str, blob: Blob) {
        self.content().blobs.insert(digest.to_owned(), blob);
    }

    /// Points a tag at a manifest.
    pub(super) fn tag(&self, repository: &str, tag: &str, digest: &str) {
        self.content().tags.entry(repository.to_owned()).or_default().insert(tag.to_owned(), digest.to_owned());
    }

    /// Forgets a tag. What it pointed at stays, as in a registry that collects no garbage.
    pub(super) fn untag(&self, repository: &str, tag: &str) {
        if let Some(tags) = self.content().tags.get_mut(repository) {
            tags.remove(tag);
        }
    }

    /// What a tag or digest of a repository names.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let content = self.content();
        let digest = content.tags.get(repository)?.get(reference).map_or(reference, String::as_str);
        content.manifests.get(digest).cloned()
    }

    /// The blob of this digest.
    pub(super) fn blob(&self, digest: &str) -> Option<Blob> {
        self.content().blobs.get(digest).cloned()
    }

    /// All repositories, in order.
    pub(super) fn repositories(&self) -> Vec<String> {
        self.content().tags.keys().cloned().collect()
    }

    /// A repository's tags, in order.
    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.content().tags.get(repository)?.keys().cloned().collect())
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Each change is one insertion or removal: a panic elsewhere leaves nothing half done.
        self.content.lock()
    }
}
