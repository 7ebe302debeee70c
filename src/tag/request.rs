//! What discovery tells the inventory, and what it then wants read: tags by scans, layers by the lane of
//! uncompressed sizes.

use std::sync::Arc;

use super::Known;
use crate::image::{Image, Layer, UncompressedHint};
use crate::oci::{Digest, MediaType, Platform, Registry, Repository, Tag};
use crate::target::{TargetName, Uncompressed};

/// What a target means now, as far as its registry could be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Its repositories.
    pub repositories: Vec<DiscoveredRepository>,
    /// Whether these are all of them: not where a catalog was read in part.
    pub complete: bool,
}

/// What a target means of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredRepository {
    /// Which.
    pub repository: Repository,
    /// Its selected tags, those configured by name included.
    pub tags: Vec<Tag>,
    /// Those among which the newest release is, newest first; empty where the target does not ask for it.
    pub candidates: Vec<Tag>,
    /// How much of its tag list was read.
    pub list: ListExtent,
}

/// How much of a repository's tag list was read. Only what a whole list lacks is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListExtent {
    /// All of it, or none was needed.
    Whole,
    /// As many selected tags as are read at most: more of it will not come.
    Cut,
    /// Some pages, before an error.
    Partial,
    /// Nothing.
    Unread,
}

/// A tag that a scan has to read.
#[derive(Clone, Debug, PartialEq)]
pub struct TagRequest {
    /// Where the tag stands.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// What is known of it, if anything is.
    pub known: Option<Arc<Known>>,
    /// Whether that lacks something that is wanted: a child failed, a platform was not looked for, or a layer's
    /// size is unknown. Then it has to be read even if the registry's digest header says that nothing changed.
    pub lacking: bool,
    /// The platforms that all targets that mean the tag want; all when empty.
    pub platforms: Vec<Platform>,
}

/// What is to be remembered, across a restart, of a target's scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// One ended and left nothing unread that another one is likely to read: sums are as whole as they will be.
    Settled,
    /// One ended and read everything.
    Whole,
}

/// What somebody should hear of. Each is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Manifests of one registry disagree about one layer's size: the smallest counts for storage.
    SizesDisagree {
        /// Where.
        registry: Registry,
        /// The layer.
        digest: Digest,
        /// The smallest of the sizes, in bytes.
        bytes: u64,
    },
    /// Two targets give one repository different values for one label: the first in the file wins.
    LabelsDisagree {
        /// The first repository where that was met.
        repository: Repository,
        /// The label, without its `label_` prefix.
        label: String,
        /// Whose value counts.
        counts: TargetName,
        /// Whose does not.
        ignored: TargetName,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SizesDisagree { registry, digest, bytes } => write!(
                f,
                "manifests on {registry} disagree about the size of layer {digest}: the smallest, {bytes} bytes, counts for storage"
            ),
            Self::LabelsDisagree { repository, label, counts, ignored } => write!(
                f,
                "targets `{counts}` and `{ignored}` give {repository} different labels `{label}`: that of `{counts}`, the first in the file, counts"
            ),
        }
    }
}

/// A layer whose size after decompression a target wants and nobody knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRequest {
    /// One of the repositories that have it.
    pub repository: Repository,
    /// One of the images there that list it: its manifest.
    pub image: Digest,
    /// Of the compressed blob.
    pub digest: Digest,
    /// Compressed bytes, as the manifest says.
    pub bytes: u64,
    /// Of the layer's tar, where a verified config says so.
    pub diff_id: Option<Digest>,
    /// As the manifest says.
    pub media_type: MediaType,
    /// What annotations say of its size after decompression.
    pub hint: Option<UncompressedHint>,
    /// The most exact that any target wants: never [`Uncompressed::Off`].
    pub mode: Uncompressed,
}

impl LayerRequest {
    /// Of an image that is not held here. None where nobody knows how long the layer is.
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
