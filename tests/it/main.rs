//! Hermetic tests over real connections, one binary.

#![expect(clippy::unwrap_used, reason = "the tests' helpers may do what tests may")]

mod support;

mod auth;
mod config;
mod docs;
mod plan;
mod store;
