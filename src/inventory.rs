//! What is known of every watched tag: the one place that observations change, and that snapshots come from.

pub mod observation;
pub mod snapshot;

pub use observation::{Child, Observation, Outcome, Reading};
pub use snapshot::Snapshot;
