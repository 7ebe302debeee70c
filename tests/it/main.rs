//! Hermetic tests of what the crate offers, over real connections, one binary.

#![expect(clippy::unwrap_used, reason = "the tests' helpers may do what tests may")]

mod support;

mod auth;
mod config;
mod credentials;
mod docs;
mod plan;
mod documents;
mod lists;
mod store;
mod transport;
