//! The metrics of the body, in its order: families of the snapshot, and of targets; and what each is about.

use super::family::Family;
use super::targets::TargetFamily;

/// A metric of the body. All are gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Family(Family),
    Target(TargetFamily),
}

/// What the samples of a metric are about: whatever of these changes, only its samples do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The images of a tag.
    Images,
    Tag,
    /// A repository, its newest releases, and what policies would free of it.
    Repository,
    /// A registry, its groups, and what policies would free on it.
    Registry,
    /// An image that runs.
    Running,
    Target,
}

/// Some metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metrics(u64);

const _: () =
    assert!(Family::ALL.len() + TargetFamily::ALL.len() <= u64::BITS as usize, "`Metrics` has a bit for each");

impl Metric {
    /// All of them, in the body's order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of_targets = TargetFamily::ALL.into_iter().map(Self::Target);
        Family::ALL.into_iter().map(Self::Family).chain(of_targets)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Family(family) => family.name(),
            Self::Target(family) => family.name(),
        }
    }

    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Family(family) => family.help(),
            Self::Target(family) => family.help(),
        }
    }

    pub(crate) const fn subject(self) -> Subject {
        match self {
            Self::Family(family) => subject(family),
            Self::Target(_) => Subject::Target,
        }
    }

    const fn bit(self) -> u64 {
        match self {
            Self::Family(family) => 1 << family as usize,
            Self::Target(family) => 1 << (Family::ALL.len() + family as usize),
        }
    }
}

const fn subject(family: Family) -> Subject {
    match family {
        Family::ImageCompressedSize
        | Family::ImageUniqueSize
        | Family::ImageProportionalSize
        | Family::ImageUncompressedSize
        | Family::ImageUncompressedSizeEstimated
        | Family::ImageUnpackedSize
        | Family::ImageWastedSize
        | Family::ImageConfigSize
        | Family::ImageManifestSize
        | Family::ImageLayers
        | Family::ImageCreated
        | Family::ImageSizeBudget
        | Family::ImageInfo
        | Family::ImageBaseSize
        | Family::ImageBaseCurrent
        | Family::ImageBaseInfo => Subject::Images,
        Family::TagInfo
        | Family::TagStoredSize
        | Family::TagAttestations
        | Family::TagUp
        | Family::TagLastSuccess
        | Family::TagChanged => Subject::Tag,
        Family::NewestCompressedSize
        | Family::NewestPreviousCompressedSize
        | Family::NewestUpdateSize
        | Family::NewestInfo
        | Family::NewestPreviousInfo
        | Family::NewestLargestChangeInfo
        | Family::RepositoryStoredSize
        | Family::RepositoryUniqueSize
        | Family::RepositoryProportionalSize
        | Family::RepositoryMetadataSize
        | Family::RepositoryTags
        | Family::RepositoryTagsUnknown
        | Family::RepositoryLabels
        | Family::RepositoryReclaimableSize
        | Family::RepositoryReclaimableTags => Subject::Repository,
        Family::GroupStoredSize
        | Family::GroupUniqueSize
        | Family::GroupProportionalSize
        | Family::RegistryStoredSize
        | Family::RegistryReclaimableSize => Subject::Registry,
        Family::RunningContainers | Family::RunningNodes | Family::RunningOutdatedContainers | Family::RunningInfo => {
            Subject::Running
        }
    }
}

impl Subject {
    /// All of them, by number.
    pub(crate) const ALL: [Self; 6] =
        [Self::Images, Self::Tag, Self::Repository, Self::Registry, Self::Running, Self::Target];
}

impl Metrics {
    pub(crate) fn contains(self, metric: Metric) -> bool {
        self.0 & metric.bit() != 0
    }

    pub(crate) fn insert(&mut self, metric: Metric) {
        self.0 |= metric.bit();
    }
}

impl std::ops::BitOrAssign for Metrics {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
