//! Keeps documents and layers by their digest, and tags' last known states, across scans and restarts.
//!
//! In memory, in a state file, or in a database that several exporters share. With a file memory holds only what is not
//! written yet, with a database also what is in use. No caller waits for a write or fails because of the file or database:
//! entries that cannot be read are fetched from the registry again, entries that cannot be written stay in memory and are
//! retried. Not here: what a tag's values mean, and when they expire (`inventory`).

#[expect(clippy::module_inception, reason = "the room's main type, in a file of its own")]
mod store;

mod backend;
mod batch;
mod changes;
mod counts;
mod encoding;
mod error;
mod file;
mod locations;
mod opening;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
mod restored;
mod single_flight;
mod stored;
mod sweep;

pub use error::StoreError;
pub use file::open::{Opened, is_foreign, special_kind};
#[cfg(feature = "postgres")]
pub use postgres::check_url;
pub use restored::RestoredTag;
pub use single_flight::Flight;
pub use store::{Store, StoreReader};
pub use stored::{IndexEntry, LayerRecord, Stored, StoredIndex};

#[cfg(test)]
mod tests;
