//! What exporters that share the repositories of a registry tell each other: what each counts of its layers, and which of its
//! blobs go by which policies.

use std::sync::Arc;

use crate::image::accounting::LayerCount;
use crate::oci::{Digest, Registry};

/// What one exporter counts, or how that changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardCounts {
    /// Whether these are all of its registries; otherwise those that changed.
    pub is_all: bool,
    /// Whether it knows that no other registry has anything that it watches.
    pub is_settled: bool,
    /// By registry.
    pub registries: Vec<(Registry, RegistryCounts)>,
}

/// What it counts on one registry, or how that changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegistryCounts {
    /// `None` where it no longer watches the registry.
    pub summary: Option<RegistrySummary>,
    /// Whether these are all layers; otherwise those that changed.
    pub is_all: bool,
    /// Those that no series of it lists any more are among them too.
    pub layers: Vec<(Digest, CountedLayer)>,
    /// Whether these are all blobs; otherwise those that changed.
    pub are_all_blobs: bool,
    /// What its tags have, where policies are about the registry: `None` for what none has any more.
    pub blobs: Vec<(BlobName, Option<GoneBy>)>,
}

/// What it counts of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedLayer {
    /// Of all series.
    pub count: LayerCount,
    /// By the groups that these are in.
    pub groups: GroupSeries,
}

/// How many series of each set of groups list a layer. Those in no group are left out: `None` where all are in none.
pub type GroupSeries = Option<Arc<[(GroupSet, u32)]>>;

/// The distinct groups of a tag, ascending.
pub type GroupSet = Arc<[Arc<str>]>;

/// What a registry stores under a digest. One digest may be both, as the empty JSON of artifacts is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobName {
    /// Of images.
    Layer(Digest),
    /// A manifest, config or index.
    Document(Digest),
}

/// By which policies a blob goes: all tags of an exporter that have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoneBy {
    /// The policies.
    pub policies: PolicySet,
    /// Its bytes; where manifests disagree, the smallest. Zero where it goes by no policy.
    pub bytes: u64,
}

impl GoneBy {
    /// The same of all tags of both exporters.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { policies: self.policies.and(other.policies), bytes: self.bytes.min(other.bytes) }
    }
}

/// Policies, by their places in the configuration, from 0. Those from [`PolicySet::END`] on are in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicySet(u64);

impl PolicySet {
    /// The places in sets are below this.
    pub const END: usize = 64;

    /// As bits, the lowest for the first policy.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Adds a policy.
    pub fn insert(&mut self, policy: usize) {
        if policy < Self::END {
            self.0 |= 1 << policy;
        }
    }

    /// Whether a policy is in it.
    pub fn contains(self, policy: usize) -> bool {
        policy < Self::END && self.0 >> policy & 1 == 1
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in one of them.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The places of its policies, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let policies = std::iter::successors(Some(self.0), |bits| Some(bits & bits.wrapping_sub(1)));
        policies.take_while(|bits| *bits != 0).map(|bits| bits.trailing_zeros() as usize)
    }
}

/// How much of a registry an exporter knows and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrySummary {
    /// How much it knows of its part.
    pub extent: RegistryExtent,
    /// How many series it counts.
    pub series: u64,
    /// How many repositories it watches there, with or without series.
    pub repositories: u64,
    /// Tells what it counts from what an exporter with another configuration does, or one that has not yet read all of it once:
    /// made of the targets of which a scan has ended.
    pub selection: u64,
    /// What it says of policies; `None` while something of its part is unknown, and where no policy is about the registry.
    pub reclaimable: Option<ReclaimableSummary>,
}

/// What policies are about in an exporter's part of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReclaimableSummary {
    /// Tells what goes by these policies from what goes by others, or by the same of other targets.
    pub identity: u64,
    /// Those that are about a repository of it.
    pub about: PolicySet,
    /// Whether it publishes anything of the registry: of those that do, the first says what all of them would free together.
    pub is_shown: bool,
}

/// How much an exporter knows of its part of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegistryExtent {
    /// Its repositories may be unknown, or unread.
    #[default]
    Unknown,
    /// All of its repositories are known; of one of them only a part of its list.
    PartOfLists,
    /// All of them.
    Whole,
}

/// What other exporters count, as far as that changed: by the number of the shard, `None` where it became unknown.
pub type CountsElsewhere = Vec<(u32, Option<ShardCounts>)>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_has_the_policies_that_were_added_and_have_a_place_in_it(added in prop::collection::vec(0..80_usize, 0..20)) {
            let mut set = PolicySet::default();
            for &policy in &added {
                set.insert(policy);
            }
            let mut expected: Vec<usize> = added.into_iter().filter(|policy| *policy < PolicySet::END).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert!((0..90).all(|policy| set.contains(policy) == expected.contains(&policy)));
            prop_assert_eq!(PolicySet::from_bits(set.bits()), set);
        }
    }
}
