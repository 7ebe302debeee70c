//! The specifications' own things, pure: digests, references, platforms, documents.
//!
//! Nothing in here knows of a network, a file, a clock or a configuration.

pub mod digest;
pub mod manifest;
pub mod platform;
pub mod reference;

pub use digest::{Algorithm, Digest};
pub use manifest::{Descriptor, Document, ImageConfig, Index, Manifest, MediaType};
pub use platform::Platform;
pub use reference::{Reference, Registry, Repository, Tag};
