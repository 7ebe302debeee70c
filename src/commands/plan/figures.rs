//! The figures of a plan.

use std::collections::BTreeMap;
use std::ops::Add;

use serde::Serialize;

use crate::oci::{Operation, Reason, Registry, Repository, Tag};
use crate::registry::Registries;
use crate::target::{Shard, TargetName};

/// The cost of a configuration.
#[derive(Debug, Default)]
pub struct Plan {
    /// Which shard's it is.
    pub shard: Shard,
    /// In the configuration's order.
    pub targets: Vec<TargetPlan>,
    /// The first scan of all targets together, for each registry that meters pulls.
    pub pulls: BTreeMap<Registry, Pulls>,
    /// Series of images, tags, repositories and registries, once everything is read.
    pub series: u64,
    /// Requests for layers, which `uncompressed` adds to the scans.
    pub layers: Layers,
    /// The reason of the first failure.
    pub failure: Option<Reason>,
    /// Whether no tag at all could be read.
    pub is_empty: bool,
}

impl Plan {
    /// Whether something could not be read, so that the figures may be higher.
    pub fn is_partial(&self) -> bool {
        self.targets.iter().any(|target| target.is_partial)
    }

    /// Whether the number of series and of layers may be higher.
    pub fn is_lower_bound(&self) -> bool {
        self.targets.iter().any(|target| target.is_partial || target.is_metered)
    }
}

/// One target's selection and cost.
#[derive(Debug)]
pub struct TargetPlan {
    /// The target's name.
    pub name: TargetName,
    /// Its repositories.
    pub repositories: usize,
    /// The tags that its scans read, without those that another target reads for it.
    pub tags: usize,
    /// The first scan, with an empty state. A lower bound where pulls are metered.
    pub first: Requests,
    /// A scan in which nothing changed.
    pub later: Requests,
    /// Scans in a day.
    pub scans_per_day: f64,
    /// Tags that `semver` leaves out because they are no versions.
    pub not_versions: Vec<(Repository, Tag)>,
    /// Repositories where `newest` finds no two releases to compare, since `limit` leaves some unread.
    pub without_newest: Vec<Repository>,
    /// Why it selects nothing although everything was read, as messages.
    pub empty: Vec<String>,
    /// What could not be read: reasons and messages.
    pub errors: Vec<(Reason, String)>,
    /// Whether its figures may be higher because of the errors. A tag that does not exist costs nothing more.
    pub is_partial: bool,
    /// Whether its registry meters pulls, so that no manifest was fetched.
    pub is_metered: bool,
}

/// Pulls that the first scan makes on a registry that meters them: `GET`s of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulls {
    /// One for each distinct digest that a tag points at.
    pub at_least: u64,
    /// How many of these are indexes. Each costs one more pull for each selected platform.
    pub indexes: u64,
}

/// Requests of one scan, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Pages of tag lists and catalogs.
    pub lists: u64,
    /// HEADs of manifests.
    pub heads: u64,
    /// GETs of manifests and indexes: what metering registries count.
    pub manifests: u64,
    /// GETs of configs.
    pub configs: u64,
    /// HEADs of layers whose size the manifest does not say (schema 1).
    pub layer_heads: u64,
}

impl Requests {
    /// All requests that the client has made to a registry so far, but for tokens.
    pub(super) fn so_far(registries: &Registries, registry: &Registry) -> Self {
        let count = |operation| registries.requests(registry, operation);
        Self {
            lists: count(Operation::ListTags) + count(Operation::ListRepositories),
            heads: count(Operation::HeadManifest),
            manifests: count(Operation::GetManifest),
            configs: count(Operation::GetBlob),
            layer_heads: count(Operation::HeadBlob),
        }
    }

    /// Those made after `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            lists: self.lists - before.lists,
            heads: self.heads - before.heads,
            manifests: self.manifests - before.manifests,
            configs: self.configs - before.configs,
            layer_heads: self.layer_heads - before.layer_heads,
        }
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.lists + self.heads + self.manifests + self.configs + self.layer_heads
    }
}

impl Add for Requests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lists: self.lists + other.lists,
            heads: self.heads + other.heads,
            manifests: self.manifests + other.manifests,
            configs: self.configs + other.configs,
            layer_heads: self.layer_heads + other.layer_heads,
        }
    }
}

/// Requests for layers by `uncompressed`, of all targets together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Layers {
    /// Layers of which `cheap` fetches a few bytes, by one GET each; rarely more.
    pub asked: u64,
    /// Layers that `exact` streams, by one GET each.
    pub streamed: u64,
    /// Compressed bytes that are streamed.
    pub streamed_bytes: u64,
    /// Manifests that were not fetched because their registry meters pulls. Their layers are not counted.
    pub unread_manifests: u64,
}
