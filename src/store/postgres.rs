//! The state in a PostgreSQL database, which several exporters share: facts by digest are everybody's, tags are a shard's own.
//!
//! Lookups answer from memory alone and never wait for the database: what a scan is about to fetch is loaded beforehand
//! ([`Database::load`]), what restored tags need at the start. The schema is described in `docs/postgres.md`.
//! Not here: the queue and the order of writes, which the state file has too (`store/queue.rs`).

mod address;
mod blobs;
mod claims;
mod connection;
mod counts;
mod database;
mod elsewhere;
mod error;
mod facts;
mod holders;
mod known;
mod reader;
mod restore;
mod schema;
mod sweep;
mod sweeper;
mod tls;
mod write;
mod writer;

pub(super) use claims::Claim;
pub(super) use database::Database;
pub use tls::check_url;
pub(super) use writer::{Writer, run};
