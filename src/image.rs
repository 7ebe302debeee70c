//! Images, their layers and the arithmetic of their sizes. Pure.

pub mod accounting;
mod config;
mod hint;
#[expect(clippy::module_inception, reason = "the room's main type, in a file of its own")]
mod image;
mod layer;
mod timestamp;

pub use config::ConfigFacts;
pub use hint::{Span, UncompressedHint};
pub use image::{Image, ImageSummary, LAYERS_MAX, is_container_image};
pub use layer::{Layer, LayerContent, Unpacked};
pub use timestamp::{FIRST_IMAGE_SECONDS, Timestamp};
