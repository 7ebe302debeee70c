//! A Prometheus exporter that knows how big container images are without pulling them.
//!
//! The modules, in the order in which a configured repository becomes a sample. `ARCHITECTURE.md` draws them.

pub mod oci;

pub mod reason;

pub mod family;

pub mod selection;

pub mod target;

pub mod config;

pub mod registry;

pub mod telemetry;

pub mod discovery;

pub mod scan;

pub mod store;

pub mod uncompressed;

pub mod image;

pub mod accounting;

pub mod inventory;

pub mod scheduler;

pub mod exposition;

pub mod http;

pub mod daemon;

mod units;

pub mod plan;

pub mod logging;

pub mod demo;
pub mod inspect;

pub mod cli;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

// Cargo.toml chooses its version: `url` reads host names beyond ASCII with it.
use idna_adapter as _;
