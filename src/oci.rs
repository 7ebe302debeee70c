//! The specifications' own things, pure: digests, references, platforms, documents.
//!
//! Nothing in here knows of a network, a file, a clock or a configuration.

mod reason;
pub mod schema1;

pub mod config;
pub mod digest;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;

pub use config::{History, ImageConfig};
pub use digest::{Algorithm, Digest};
pub use manifest::{Descriptor, Document, Index, Manifest};
pub use media_type::MediaType;
pub use platform::{DistinctPlatforms, Platform, PlatformFilter};
pub use reason::{Operation, Reason};
pub use reference::{Reference, Registry, Repository, Tag};
