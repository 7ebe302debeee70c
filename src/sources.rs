//! What runs, as orchestrators, engines and files name it: images that are watched without being typed.
//!
//! Each source is watched by a task of its own. It puts into its outbox everything that it sees, whenever that changes, or why
//! it sees nothing; what was seen before stays until the source answers again. It knows neither targets nor registries.

mod container;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod outbox;

pub use container::{Container, Workload};
pub use outbox::{Outbox, Sight, SourceError, outbox};
