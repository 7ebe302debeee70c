//! What the specifications define: references, digests, platforms, documents, reasons. Pure.
//!
//! Nothing here uses the network, files, a clock or the configuration.

pub mod reference;

pub mod annotations;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod document;
pub(crate) mod json;
pub mod location;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reason;
pub mod schema1;
pub mod text;

pub use annotations::Annotations;
pub use config::{History, ImageConfig, InvalidConfig};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest};
pub use document::{Document, InvalidDocument};
pub use location::{At, Location};
pub use manifest::{Index, Manifest};
pub use media_type::MediaType;
pub use platform::{DistinctPlatforms, Platform, PlatformFields, PlatformFilter};
pub use reason::{Operation, Reason};
pub use reference::{DOCKER_HUB, Reference, Registry, Repository, Tag};
pub use schema1::Schema1;
