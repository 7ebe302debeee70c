//! Hermetic tests of what the crate offers, over real connections, one binary.

#![expect(unreachable_pub, reason = "helpers are a library to the modules beside them")]
#![expect(clippy::unwrap_used, reason = "the tests' helpers may do what tests may")]

#[cfg(feature = "kubernetes")]
#[path = "../common/api_server.rs"]
mod api_server;
#[path = "../common/exposition.rs"]
mod exposition_reader;
mod snapshots;
mod support;

mod architecture;
mod auth;
mod bases;
mod certificates;
mod check;
mod command_line;
mod config;
mod credentials;
mod daemon;
mod docs;
mod documents;
mod exposition;
mod history;
mod hostile;
mod http;
mod identity;
mod inspect;
mod lists;
mod manual;
mod pace;
mod page;
mod plan;
mod restart;
mod retain;
mod scan;
mod shards;
mod sources;
mod store;
mod transport;
mod uncompressed;
