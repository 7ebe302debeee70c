//! Images, their layers and the arithmetic of their sizes. Pure.

pub mod accounting;
mod commands;
mod config;
mod hint;
pub(crate) mod human;
#[expect(clippy::module_inception, reason = "the room's main type, in a file of its own")]
mod image;
mod layer;
mod timestamp;

pub use commands::{Commands, layer_commands};
pub use config::ConfigFacts;
pub use hint::{Span, UncompressedHint};
pub use image::{Image, ImageSummary, LAYERS_MAX, is_container_image};
pub use layer::{Layer, LayerContent, Unpacked};
pub use timestamp::{FIRST_IMAGE_SECONDS, Timestamp};
