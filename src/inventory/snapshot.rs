//! Snapshots: everything that is published at one moment, immutable and sorted.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use super::digest_list::DigestList;
use crate::image::accounting::{GroupUsage, StoredLayer};
use crate::image::{ImageSummary, Timestamp};
use crate::oci::{Digest, MediaType, Platform, Registry, Repository, Tag};
use crate::tag::{Base, RunningImage};
use crate::target::TargetName;

/// Everything that is published at one moment. Sorted by registry, repository, tag and platform, so that the same values
/// always give the same bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// One for each registry with a watched repository; shared with the previous snapshot where nothing changed on it.
    pub registries: Vec<Arc<RegistryView>>,
    /// One for each source that has answered, by name.
    pub sources: Vec<Arc<SourceView>>,
}

/// What a source sees running.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceView {
    /// The source's name.
    pub source: TargetName,
    /// Its images, by repository and tag.
    pub images: Vec<RunningView>,
    /// Containers that are not counted: their image is no reference, or they are beyond a limit.
    pub skipped: u64,
}

/// An image that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningView {
    /// What its source says.
    pub image: Arc<RunningImage>,
    /// How many of its containers run a digest that its tag no longer has; `None` where the source knows no digest, or
    /// nothing is known of the tag.
    pub outdated: Option<u64>,
}

/// A registry's published values.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryView {
    /// The registry.
    pub registry: Registry,
    /// Bytes of the distinct layers of everything watched on it; `None` before each of its targets has ended one scan, or
    /// while only a part of a repository's list or of a target's catalog is known. Tags that a reload adds enter the sums after their target's
    /// first scan.
    pub stored_bytes: Option<u64>,
    /// What other exporters have of it.
    pub elsewhere: ElsewhereView,
    /// What is stored for each group, by name; without groups of which only a part is known.
    pub groups: Vec<GroupView>,
    /// What each policy would free on it.
    pub reclaimable: Vec<ReclaimableView>,
    /// The digests of layers, by their numbers in [`ImageView::layers`].
    pub layers: DigestList,
    /// Its watched repositories, each shared with the previous snapshot where nothing of it changed.
    pub repositories: Vec<Arc<RepositoryView>>,
}

/// What other exporters, which are shards with this one, have of a registry. The default: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ElsewhereView {
    /// Whether they may have images of it, which are in no view.
    pub has_images: bool,
    /// Whether one of them publishes what is stored on it: the first that has an image.
    pub is_told: bool,
    /// Whether one of them publishes what policies would free on it: the first that publishes anything of it.
    pub is_reclaimable_told: bool,
}

/// A group's published values.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    /// Its name.
    pub group: Arc<str>,
    /// What is stored for its images.
    pub usage: GroupUsage,
}

/// A repository's published values.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryView {
    /// The repository.
    pub repository: Repository,
    /// Bytes of its distinct layers.
    pub stored_bytes: Option<u64>,
    /// Bytes of its distinct layers that no other watched repository of the registry has; `None` while only a part of a
    /// target's catalog is known.
    pub unique_bytes: Option<u64>,
    /// The fair share of its images in what is stored.
    pub proportional_bytes: Option<f64>,
    /// Bytes of its distinct configs, manifests and indexes.
    pub metadata_bytes: Option<u64>,
    /// How many of its tags are selected; `None` while that depends on a list that was never read.
    pub tags_selected: Option<u64>,
    /// How many of these were never read.
    pub tags_unknown: Option<u64>,
    /// What each policy would free of it alone.
    pub reclaimable: Vec<ReclaimableView>,
    /// The targets' labels, merged: label name (with its `label_` prefix) to value. Empty: no sample.
    pub labels: BTreeMap<String, String>,
    /// The newest releases, by target and platform.
    pub newest: Vec<NewestView>,
    /// Its tags; empty where every target publishes only the repository.
    pub tags: Vec<TagView>,
    /// What these are together.
    pub together: TagsTogether,
}

/// Figures of a repository's tags together: who looks for the biggest of all repositories need not look at each tag.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TagsTogether {
    /// How many images they have.
    pub images: u64,
    /// How many of them could not be read the last time.
    pub unreadable: u64,
    /// How many images are beyond their budget.
    pub over_budget: u64,
    /// Compressed bytes of the biggest image.
    pub biggest_bytes: Option<u64>,
    /// The largest part that a tag's biggest image takes of its budget.
    pub budget_share: Option<f64>,
}

impl TagsTogether {
    /// Those of a repository's tags.
    pub fn of(tags: &[TagView]) -> Self {
        let mut together = Self::default();
        for tag in tags {
            together.images += tag.images.len() as u64;
            together.unreadable += u64::from(tag.up == Some(false));
            let Some((bytes, image)) = tag.biggest() else { continue };
            together.biggest_bytes = together.biggest_bytes.max(Some(bytes));
            if let Some(share) = image.budget_share() {
                together.over_budget +=
                    tag.images.iter().filter(|image| image.budget_share() > Some(1.0)).count() as u64;
                together.budget_share = Some(together.budget_share.map_or(share, |most| most.max(share)));
            }
        }
        together
    }
}

/// What a policy would free of a repository or registry, if the tags that it does not keep were deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct ReclaimableView {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Bytes of layers, configs, manifests and indexes that nothing else that is watched on the registry has; `None` while
    /// anything on the registry is unknown.
    pub bytes: Option<u64>,
    /// Tags that no rule keeps; `None` while anything of the repository, or registry, is unknown.
    pub tags: Option<u64>,
}

/// A tag's published values.
#[derive(Clone, Debug, PartialEq)]
pub struct TagView {
    /// The tag.
    pub tag: Tag,
    /// What it points at.
    pub info: Option<(Digest, MediaType)>,
    /// Bytes of the distinct layers of its selected platforms.
    pub stored_bytes: Option<u64>,
    /// How many attestation manifests its index has.
    pub attestations: Option<u32>,
    /// Whether the last reading read everything that is selected; none before the first reading ended.
    pub up: Option<bool>,
    /// When a reading last read everything that is selected.
    pub last_success: Option<Timestamp>,
    /// When this exporter saw the digest change.
    pub changed: Option<Timestamp>,
    /// Its images.
    pub images: Vec<ImageView>,
    /// What it pointed at before, as far as this process saw it.
    pub past: Past,
}

impl TagView {
    /// Its biggest image, and that one's compressed bytes.
    pub fn biggest(&self) -> Option<(u64, &ImageView)> {
        let sized = self.images.iter().filter_map(|image| Some((image.image.compressed_bytes?, image)));
        sized.max_by_key(|(bytes, _)| *bytes)
    }
}

/// What a tag pointed at before, oldest first: what this process saw of it, and no more than [`PAST_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Past(pub Option<Arc<[PastContent]>>);

/// How many earlier contents of a tag are remembered.
pub const PAST_MAX: usize = 16;

/// Always equal: what one process saw is no part of what is published.
impl PartialEq for Past {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What a tag pointed at before.
#[derive(Clone, Debug, PartialEq)]
pub struct PastContent {
    /// When a reading found another content.
    pub until: Timestamp,
    /// Digest of the document that the tag pointed at.
    pub digest: Digest,
    /// Its images.
    pub images: Box<[PastImage]>,
}

/// An image that a tag had before.
#[derive(Clone, Debug, PartialEq)]
pub struct PastImage {
    /// Its platform under the tag.
    pub platform: Platform,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Sum of its layers' sizes.
    pub compressed_bytes: Option<u64>,
}

impl Past {
    /// The contents, oldest first.
    pub fn contents(&self) -> &[PastContent] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The same with one more, without the oldest where there are too many.
    #[must_use]
    pub(super) fn and(&self, content: PastContent) -> Self {
        let contents = self.contents();
        let kept = &contents[(contents.len() + 1).saturating_sub(PAST_MAX)..];
        Self(Some(kept.iter().cloned().chain([content]).collect()))
    }
}

/// An image's published values.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// Which platform it is for under this tag; empty for an artifact.
    pub platform: Platform,
    /// The facts of its manifest and config.
    pub image: Arc<ImageSummary>,
    /// Its layers.
    pub layers: ImageLayers,
    /// Where the manifest lists them.
    pub places: LayerPlaces,
    /// The layers that a pull fetches from elsewhere.
    pub foreign: ForeignLayers,
    /// Bytes of its layers that no other image digest watched in the registry has; `None` while only a part of its
    /// repository's list, or of a target's catalog on the registry, is known.
    pub unique_bytes: Option<u64>,
    /// Its fair share of its layers' bytes; `None` like the former.
    pub proportional_bytes: Option<f64>,
    /// Bytes of its layer tars, and whether that is an estimate.
    pub uncompressed: Option<(u64, bool)>,
    /// Bytes of its files, as Docker counts them.
    pub unpacked_bytes: Option<u64>,
    /// Bytes of files in its layers that a later layer overwrites or removes.
    pub wasted_bytes: Option<u64>,
    /// The configured budget for its compressed size.
    pub budget_bytes: Option<u64>,
    /// The image that it is built on.
    pub base: Option<BaseView>,
}

impl ImageView {
    /// How much of its budget its compressed bytes take; beyond 1 they are over it. A budget of nothing counts as a byte.
    pub fn budget_share(&self) -> Option<f64> {
        Some(self.image.compressed_bytes? as f64 / self.budget_bytes?.max(1) as f64)
    }
}

/// What is published of the base of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseView {
    /// The base, shared by the images that are built on it.
    pub base: Arc<Base>,
    /// Whether its tag still has it: `Some(false)` once the tag points at something else. `None` while nothing is known of
    /// the tag.
    pub is_current: Option<bool>,
}

/// The distinct layers of an image that its registry stores and whose sizes are known, in the manifest's order: numbers,
/// which [`RegistryView::layers`] gives their digests, and bytes. Foreign layers are not in here.
#[derive(Clone, Debug, Default)]
pub struct ImageLayers(pub Arc<[StoredLayer]>);

/// The places, from 0, at which a manifest lists an image's [`ImageLayers`] first. Nothing is kept for an image whose layers
/// are all in there, as those of nearly all are: a pointer is all that these need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerPlaces(Option<Arc<Vec<u16>>>);

impl LayerPlaces {
    /// The place in the manifest of the layer that is at `at` in [`ImageLayers`].
    pub fn in_manifest(&self, at: usize) -> usize {
        self.0.as_ref().and_then(|places| places.get(at)).map_or(at, |&place| usize::from(place))
    }
}

impl FromIterator<u16> for LayerPlaces {
    fn from_iter<Places: IntoIterator<Item = u16>>(places: Places) -> Self {
        Self(Some(Arc::new(places.into_iter().collect())))
    }
}

/// The layers of an image that are distributed elsewhere and whose sizes are known, with their bytes. Few images
/// have one, and a pointer is all that the others need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignLayers(Option<Arc<Vec<(Digest, u64)>>>);

impl ForeignLayers {
    /// The layers, in the manifest's order.
    pub fn layers(&self) -> &[(Digest, u64)] {
        self.0.as_ref().map_or(&[], |layers| layers)
    }
}

impl FromIterator<(Digest, u64)> for ForeignLayers {
    fn from_iter<Layers: IntoIterator<Item = (Digest, u64)>>(layers: Layers) -> Self {
        let layers: Vec<(Digest, u64)> = layers.into_iter().collect();
        Self((!layers.is_empty()).then(|| Arc::new(layers)))
    }
}

/// By their bytes: numbers follow the order of readings, which is not part of what is published.
impl PartialEq for ImageLayers {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|layer| layer.bytes).eq(other.0.iter().map(|layer| layer.bytes))
    }
}

/// The newest release of a repository, for one target and one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct NewestView {
    /// The target whose `newest` this is.
    pub target: TargetName,
    /// The platform.
    pub platform: Platform,
    /// The newest release.
    pub release: ReleaseView,
    /// The release before it, on the same platform.
    pub previous: Option<ReleaseView>,
    /// Bytes of the newest release's distinct layers that the release before lacks; `None` where there is none before.
    pub update_bytes: Option<u64>,
    /// The layer that grew most against the release before.
    pub largest_change: Option<LargestChange>,
}

/// One platform of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseView {
    /// Its tag.
    pub tag: Tag,
    /// What that tag points at: the index where there is one.
    pub digest: Digest,
    /// The compressed bytes of the platform's image.
    pub compressed_bytes: u64,
}

/// The layer that grew most.
#[derive(Clone, Debug, PartialEq)]
pub struct LargestChange {
    /// Of its blob.
    pub digest: Digest,
    /// By how many compressed bytes it is bigger than the layer that the same command made in the release before; all of
    /// its bytes where there is none.
    pub bytes: u64,
    /// The command that made it, where the image's history says.
    pub command: Option<Arc<str>>,
}
