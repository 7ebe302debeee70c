//! Hermetic tests of what the crate offers, over real connections, one binary.

#![expect(clippy::unwrap_used, reason = "the tests' helpers may do what tests may")]

mod support;

mod architecture;
mod auth;
mod config;
mod credentials;
mod docs;
mod documents;
mod lists;
mod plan;
mod restart;
mod store;
mod transport;
