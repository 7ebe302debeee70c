//! What discovery found, and the requests that follow from it: tags for scans, layers for the layer worker.

use std::sync::Arc;

use super::Known;
use crate::files::Unknowable;
use crate::image::{Image, Layer, LayerContent, UncompressedHint};
use crate::oci::{Digest, MediaType, PlatformFilter, Repository, Tag};
use crate::target::Uncompressed;

/// What a target selects now, as far as its lists could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Its repositories.
    pub repositories: Vec<DiscoveredRepository>,
    /// How much of its catalog was read.
    pub catalog: ListExtent,
}

/// What a target selects of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredRepository {
    /// The repository.
    pub repository: Repository,
    /// Its selected tags, those configured by name included.
    pub tags: Vec<Tag>,
    /// The candidates for the newest release, newest first.
    pub candidates: Vec<Tag>,
    /// How much of its tag list was read.
    pub list: ListExtent,
}

/// How much of a tag list or catalog was read. Only what is missing from a complete one is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListExtent {
    /// All of it, or none was needed.
    Whole,
    /// Up to the limit of what is read of it: another scan reads no more.
    Cut,
    /// Some pages, before an error.
    Partial,
    /// Nothing.
    #[default]
    Unread,
}

/// A tag that a scan has to read.
#[derive(Clone, Debug, PartialEq)]
pub struct TagRequest {
    /// The tag's repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// Its last known state, if there is one.
    pub known: Option<Arc<Known>>,
    /// Whether that state lacks something selected: a child failed, a platform was not requested, or a layer's size is
    /// unknown. Then the tag is read even if the registry's digest header has not changed.
    pub is_incomplete: bool,
    /// The union of the platforms of all targets that select the tag.
    pub platforms: PlatformFilter,
    /// Whether the last reading found that the tag does not exist, and a HEAD that says so again is believed.
    pub is_gone: bool,
    /// Whether a target names the tag, so that it counts as a failure where it does not exist.
    pub is_expected: bool,
}

impl TagRequest {
    /// For a tag of which nothing is known.
    pub fn unknown(repository: Repository, tag: Tag, platforms: PlatformFilter) -> Self {
        Self { repository, tag, known: None, is_incomplete: false, platforms, is_gone: false, is_expected: true }
    }
}

/// How complete a target's scan was. The store remembers it across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// The catalog was read to its end, then or before: what is known of the registry is not a part of what it selects.
    Catalog,
    /// Each of its tag lists was read completely, then or before: what is known of a repository is not a part of it.
    Listed,
    /// Nothing is unread that another scan is likely to read: sums are as complete as they will be.
    Settled,
    /// It read everything that it listed.
    Whole,
}

impl Completeness {
    /// Those for which each tag list was read completely.
    pub const LISTED: [Self; 3] = [Self::Listed, Self::Settled, Self::Whole];
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Catalog, Self::Listed, Self::Settled, Self::Whole];

    /// Its name in the key of the state file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Listed => "listed",
            Self::Settled => "settled",
            Self::Whole => "whole",
        }
    }
}

/// A layer whose uncompressed size a target requests and that is unknown yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRequest {
    /// A repository that has it.
    pub repository: Repository,
    /// The manifest of an image in that repository that lists it.
    pub image: Digest,
    /// Digest of the compressed blob.
    pub digest: Digest,
    /// Compressed bytes, from the manifest.
    pub bytes: u64,
    /// Digest of the uncompressed tar, from a verified config.
    pub diff_id: Option<Digest>,
    /// From the manifest.
    pub media_type: MediaType,
    /// Its uncompressed size according to annotations.
    pub hint: Option<UncompressedHint>,
    /// The most exact mode that any target requests: never [`Uncompressed::Off`].
    pub mode: Uncompressed,
}

/// What the layer worker has to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerRequests {
    /// The layers whose content is unknown.
    pub layers: Vec<LayerRequest>,
    /// The manifests of images whose wasted bytes are unknown. Their layers are in `layers`.
    pub images: Vec<Digest>,
}

/// What the layer worker found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerFound {
    /// A layer's content, by the blob's digest.
    Content(Digest, LayerContent),
    /// The wasted bytes of an image, by its manifest's digest; an error where they cannot be known.
    Wasted(Digest, Result<u64, Unknowable>),
}

impl LayerRequest {
    /// A request for a layer of an image outside the inventory. `None` where the layer's compressed size is unknown.
    pub fn new(repository: &Repository, image: &Image, layer: &Layer, mode: Uncompressed) -> Option<Self> {
        Some(Self {
            repository: repository.clone(),
            image: image.digest.clone(),
            digest: layer.digest.clone(),
            bytes: layer.bytes?,
            diff_id: layer.diff_id.clone(),
            media_type: layer.media_type.clone(),
            hint: layer.hint.clone(),
            mode,
        })
    }
}
