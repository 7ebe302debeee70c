//! The messages about one tag that scan, inventory and store exchange.
//!
//! ARCHITECTURE.md, "The shapes of a tag", says what turns one into the next.

mod base;
mod counts;
mod reading;
mod record;
mod request;
mod running;

pub use base::{Base, BaseName, BaseNames};
pub use counts::{
    BlobName, CountedLayer, CountsElsewhere, GoneBy, GroupSeries, GroupSet, PolicySet, ReclaimableSummary,
    RegistryCounts, RegistryExtent, RegistrySummary, ShardCounts,
};
pub use reading::{Child, Known, Observation, Outcome, Reading};
pub use record::{TagChange, TagRecord};
pub use request::{
    Completeness, Discovered, DiscoveredRepository, LayerFound, LayerRequest, LayerRequests, ListExtent, TagRequest,
};
pub use running::{Running, RunningImage, RunningPart};
