//! The state file: a redb database that this process alone has open.

mod catch_panic;
mod definitions;
pub(super) mod open;
mod relocate;
mod sweep;
pub(super) mod tables;
pub(super) mod writer;
