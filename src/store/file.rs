//! The state file: a redb database that this process alone has open.

mod catch_panic;
pub(super) mod open;
mod relocate;
pub(super) mod tables;
pub(super) mod writer;
