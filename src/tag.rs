//! The messages about one tag that scan, inventory and store exchange.
//!
//! ARCHITECTURE.md, "The shapes of a tag", says what turns one into the next.

mod reading;
mod record;
mod request;
mod running;

pub use reading::{Child, Known, Observation, Outcome, Reading};
pub use record::{TagChange, TagRecord};
pub use request::{Completeness, Discovered, DiscoveredRepository, LayerRequest, ListExtent, TagRequest};
pub use running::{Running, RunningImage, RunningPart};
