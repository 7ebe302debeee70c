//! The messages about one tag that scan, inventory and store exchange.

mod reading;
mod request;

pub use reading::{Child, Known, Observation, Outcome, Reading, TagChange, TagRecord};
pub use request::{Completeness, Discovered, DiscoveredRepository, LayerRequest, ListExtent, TagRequest, Warning};
