//! What is known of every watched tag: the one place that observations change, and that snapshots come from.

pub mod observation;
pub mod snapshot;
pub mod work;

pub use observation::{Child, Kept, Known, Observation, Outcome, Reading, TagChange};
pub use snapshot::Snapshot;
pub use work::{Discovered, DiscoveredRepository, LayerWork, ToRead, Warning};
