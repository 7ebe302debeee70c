//! What is remembered across scans and restarts: documents and layers by their digest, tags by what was last known.
//!
//! Either in memory, or in a state file; memory then holds only what is not written yet. No caller waits for a write or
//! fails because of the file: what cannot be read is read from the registry again, what cannot be written stays in
//! memory and is tried again. Deliberately not here: what a tag's values mean, and when they expire (`inventory`).

#[expect(clippy::module_inception, reason = "the room's main type, in a file of its own")]
mod store;

mod batch;
mod catch_panic;
mod encoding;
mod error;
mod file;
mod locations;
mod open;
mod relocate;
mod single_flight;
mod stored;
mod sweep;
mod writer;

pub use error::StoreError;
pub use open::Opened;
pub use single_flight::Flight;
pub use store::Store;
pub use stored::{IndexEntry, LayerRecord, Stored, StoredIndex};

#[cfg(test)]
mod tests;
