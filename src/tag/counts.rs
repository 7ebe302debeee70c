//! What exporters that share the repositories of a registry tell each other: what each counts of its layers.

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
