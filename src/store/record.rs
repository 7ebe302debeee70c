//! The bytes of the state file's keys and values.
//!
//! Values are postcard, and end in a checksum over key and value: the file's own checksums are looked at when it is
//! opened, these whenever a value is read. A tag's record names its images by digest, so that what a hundred tags share
//! is stored once.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::{Image, Timestamp};
use crate::inventory::observation::{Child, Kept, Reading};
use crate::oci::{Digest, MediaType, Platform, Registry, Repository, Tag};

/// The version of everything here. A file of another is set aside: raise it with every change of what the bytes
/// mean, that of a type of [`crate::image`] or [`crate::inventory::observation`] included.
pub(super) const VERSION: u32 = 1;

/// A tag's record: [`Kept`] with its images by reference.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TagRecord {
    digest: Digest,
    header: Option<Arc<str>>,
    media_type: MediaType,
    index_bytes: u64,
    images: Vec<ImageRecord>,
    attestations: u32,
    failed: Vec<Child>,
    up: bool,
    last_success: Option<Timestamp>,
    changed: Option<Timestamp>,
}

/// An image of a tag.
#[derive(Debug, Serialize, Deserialize)]
enum ImageRecord {
    /// It stands among the documents, and here under the platform that its index says.
    Document(Digest, Platform),
    /// It does not.
    Own(Arc<Image>),
}

impl TagRecord {
    /// The record of `kept`; `document` gives the image that is stored under a digest.
    pub(super) fn new(kept: &Kept, document: impl Fn(&Digest) -> Option<Arc<Image>>) -> Self {
        // Named one by one: a new field must not be forgotten here.
        let Kept { reading, up, last_success, changed } = kept;
        let Reading { digest, header, media_type, index_bytes, images, attestations, failed } = &**reading;
        let image = |image: &Arc<Image>| match document(&image.digest) {
            Some(stored) if under(&stored, &image.platform) == *image => {
                ImageRecord::Document(image.digest.clone(), image.platform.clone())
            }
            _ => ImageRecord::Own(Arc::clone(image)),
        };
        Self {
            digest: digest.clone(),
            header: header.clone(),
            media_type: media_type.clone(),
            index_bytes: *index_bytes,
            images: images.iter().map(image).collect(),
            attestations: *attestations,
            failed: failed.clone(),
            up: *up,
            last_success: *last_success,
            changed: *changed,
        }
    }

    /// What was kept; none where an image is not among the documents any more. `document` gives the image that is
    /// stored under a digest, under the given platform.
    pub(super) fn into_kept(self, mut document: impl FnMut(&Digest, &Platform) -> Option<Arc<Image>>) -> Option<Kept> {
        let mut image = |image: ImageRecord| match image {
            ImageRecord::Document(digest, platform) => document(&digest, &platform),
            ImageRecord::Own(image) => Some(image),
        };
        Some(Kept {
            reading: Arc::new(Reading {
                digest: self.digest,
                header: self.header,
                media_type: self.media_type,
                index_bytes: self.index_bytes,
                images: self.images.into_iter().map(&mut image).collect::<Option<_>>()?,
                attestations: self.attestations,
                failed: self.failed,
            }),
            up: self.up,
            last_success: self.last_success,
            changed: self.changed,
        })
    }
}

/// `image` under `platform`.
pub(super) fn under(image: &Arc<Image>, platform: &Platform) -> Arc<Image> {
    if image.platform == *platform {
        return Arc::clone(image);
    }
    Arc::new(Image { platform: platform.clone(), ..(**image).clone() })
}

/// The key of what is stored by digest.
pub(super) fn digest_key(digest: &Digest) -> Vec<u8> {
    encode(digest)
}

/// The key of a tag: its registry, repository and tag, divided by a byte that no name has.
pub(super) fn tag_key(repository: &Repository, tag: &Tag) -> Vec<u8> {
    [repository.registry().as_str(), repository.name(), tag.as_str()].join("\0").into_bytes()
}

/// The tag that a key names; none where the key is none.
pub(super) fn parse_tag_key(key: &[u8]) -> Option<(Repository, Tag)> {
    let mut parts = std::str::from_utf8(key).ok()?.split('\0');
    let registry: Registry = parts.next()?.parse().ok()?;
    let repository = Repository::new(registry, parts.next()?).ok()?;
    let tag = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((repository, tag))
}

/// The bytes of a value.
pub(super) fn seal(key: &[u8], value: &impl Serialize) -> Vec<u8> {
    let mut bytes = encode(value);
    let checksum = checksum(key, &bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The value that `bytes` hold under `key`; none where they are damaged.
pub(super) fn unseal<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Option<T> {
    let (value, sealed_with) = bytes.split_last_chunk::<4>()?;
    if checksum(key, value) != *sealed_with {
        return None;
    }
    match postcard::take_from_bytes(value) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("every type of a record has a length that is known before it is written")
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}
