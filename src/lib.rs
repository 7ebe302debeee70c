//! A Prometheus exporter that knows how big container images are without pulling them.
//!
//! Six storeys, in the order in which a configured repository becomes a sample. A room uses only rooms below it;
//! `ARCHITECTURE.md` draws them.
//!
//! 1. **What the specifications define**, pure: names, digests, platforms, documents.
//! 2. **What a figure is**, pure: images and their accounting, their files, targets and what they select, what policies keep, the messages
//!    about a tag.
//! 3. **How registries are spoken to**: the distribution API's endpoints, transport, authentication.
//! 4. **What is known**: sources say what runs, scans read tags, layers are measured, the inventory holds it, the store remembers it.
//! 5. **What people and programs see**: the configuration they write, the metrics and pages they read.
//! 6. **What runs**: the daemon and the commands.
//!
//! Beside them stands a registry in memory, which uses only the first storey: what the demo shows and the tests talk to.

mod clock;
pub mod oci;

pub mod files;
pub mod image;
pub mod retention;
pub mod tag;
pub mod target;

pub mod registry;

pub mod inventory;
pub mod layer;
pub mod local;
pub mod notify;
pub mod scan;
pub mod sources;
pub mod store;

pub mod config;
pub mod metrics;
pub mod page;
pub mod web;

pub mod memory_registry;

pub mod commands;
pub mod daemon;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

// Cargo.toml chooses its version: `url` reads host names beyond ASCII with it.
use idna_adapter as _;
