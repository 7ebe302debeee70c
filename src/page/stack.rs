//! An image as a bar of its layers, each coloured by how far it is shared.

use serde::Serialize;

use super::sharing::Reach;
use crate::inventory::snapshot::ImageView;

/// The most parts of a bar; smaller layers that follow one another and are shared as far are drawn as one.
const PARTS_MAX: usize = 60;

/// A part of a bar: a layer, or several that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) layers: u64,
    /// `None` while it is unknown whether another image has it.
    pub(super) reach: Option<Reach>,
}

/// An image's distinct stored layers, bottom first.
pub(super) fn parts(image: &ImageView, reach: impl Fn(u32) -> Option<Reach>) -> Vec<Part> {
    let is_many = image.layers.0.len() > PARTS_MAX;
    let mut parts: Vec<Part> = Vec::new();
    for layer in image.layers.0.iter() {
        let reach = reach(layer.layer);
        let is_full = parts.len() >= PARTS_MAX;
        match parts.last_mut() {
            Some(last) if is_many && (last.reach == reach || is_full) => {
                last.bytes = last.bytes.saturating_add(layer.bytes);
                last.layers += 1;
                last.reach = last.reach.max(reach);
            }
            _ => parts.push(Part { bytes: layer.bytes, layers: 1, reach }),
        }
    }
    parts
}
