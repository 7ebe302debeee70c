//! What a registry is rid of once the manifests of some tags are deleted and its garbage collector has run.
//!
//! As the distribution registry does it (`registry/storage/garbagecollect.go`): it deletes a manifest from one repository
//! by its digest, marks what the manifests that are left in any repository name, and removes the blobs that are not
//! marked. A blob is stored once for all repositories, and manifests are blobs too.

use std::collections::{HashMap, HashSet};

use crate::oci::Digest;

/// A manifest or index that a tag points at, directly or by way of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its digest.
    pub digest: Digest,
    /// Bytes of the document itself.
    pub bytes: u64,
    /// The config and the layers of a manifest; of an index the entries that are no readable documents.
    pub blobs: Vec<Blob>,
}

/// A blob that a document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes; `None` where the document names it as something that the registry need not have, such as a foreign
    /// layer. It is marked then, and freed only if another document has it.
    pub bytes: Option<u64>,
}

/// What a tag points at.
#[derive(Clone, Copy, Debug)]
pub struct TaggedContent<'a> {
    /// The number of its repository, from 0.
    pub repository: usize,
    /// Whether the tag is to go.
    pub is_gone: bool,
    /// The document that it points at, and all that are reached from it.
    pub documents: &'a [Document],
}

/// What is freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes that the registry is rid of when every tag that is to go is deleted.
    pub bytes: u64,
    /// By repository: bytes that it is rid of when only the tags of this repository are deleted. Their sum is less than
    /// `bytes` where repositories share what goes.
    pub repositories: Vec<u64>,
}

/// Who has a blob.
struct Holders {
    /// Where documents disagree, the smallest; `None` while no document has it as a blob that is stored.
    bytes: Option<u64>,
    is_kept: bool,
    /// The only repository that has it, or [`SEVERAL`].
    repository: usize,
}

const SEVERAL: usize = usize::MAX;

/// The bytes that deleting tags frees on a registry that has `repositories` repositories. `tags` are all tags on it.
pub fn freed<'a>(tags: impl IntoIterator<Item = TaggedContent<'a>>, repositories: usize) -> Freed {
    let mut holders: HashMap<&Digest, Holders> = HashMap::new();
    for tag in tags {
        let mut hold = |digest: &'a Digest, bytes: Option<u64>| {
            let none = || Holders { bytes: None, is_kept: false, repository: tag.repository };
            let blob = holders.entry(digest).or_insert_with(none);
            blob.bytes = blob.bytes.into_iter().chain(bytes).min();
            blob.is_kept |= !tag.is_gone;
            if blob.repository != tag.repository {
                blob.repository = SEVERAL;
            }
        };
        for document in tag.documents {
            hold(&document.digest, Some(document.bytes));
            document.blobs.iter().for_each(|blob| hold(&blob.digest, blob.bytes));
        }
    }
    let mut freed = Freed { bytes: 0, repositories: vec![0; repositories] };
    for blob in holders.into_values().filter(|blob| !blob.is_kept) {
        let bytes = blob.bytes.unwrap_or(0);
        freed.bytes = freed.bytes.saturating_add(bytes);
        if let Some(own) = freed.repositories.get_mut(blob.repository) {
            *own = own.saturating_add(bytes);
        }
    }
    freed
}

/// The documents that the tags of one repository hold: deleting one of them by digest would break a tag that stays, or
/// delete it.
pub fn documents_held<'a>(kept: impl IntoIterator<Item = &'a [Document]>) -> HashSet<&'a Digest> {
    kept.into_iter().flatten().map(|document| &document.digest).collect()
}

#[cfg(test)]
mod tests;
