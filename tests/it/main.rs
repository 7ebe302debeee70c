//! Hermetic tests of what the crate offers.

#![expect(clippy::unwrap_used, reason = "the tests' helpers may do what tests may")]

mod config;
mod docs;
mod store;
