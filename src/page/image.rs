//! One image: its sizes, its layers with their commands, and who has each layer.

use std::collections::HashMap;

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use super::find::{self, FoundTag};
use super::layer_commands::LayerCommands;
use super::sharing::{Holders, ROWS_MAX, Reach, holders};
use super::stack::{Part, parts};
use super::world::World;
use crate::image::Timestamp;
use crate::image::accounting::StoredLayer;
use crate::inventory::snapshot::{BaseView, ImageView, PastContent, TagView};
use crate::oci::Tag;

/// Tags to compare with.
const OTHERS_MAX: usize = 200;

#[derive(Serialize)]
pub(super) struct ImagePage<'a> {
    pub(super) repository: String,
    pub(super) tag: &'a str,
    /// What the tag points at.
    pub(super) digest: Option<String>,
    pub(super) media_type: Option<&'a str>,
    pub(super) up: Option<bool>,
    /// Why its last reading was not complete, as in the log.
    pub(super) message: Option<&'a str>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) changed: Option<Timestamp>,
    pub(super) attestations: Option<u32>,
    /// All selected platforms.
    pub(super) stored_bytes: Option<u64>,
    pub(super) platforms: Vec<&'a str>,
    /// What the tag pointed at before, as far as this process saw it, newest first.
    pub(super) past: Vec<PastRow>,
    /// That of one platform, where the tag was read.
    pub(super) image: Option<ImageFacts<'a>>,
    /// The platform that is asked for and that the tag has no image for, as far as the tag was read.
    #[serde(skip)]
    pub(super) unknown_platform: Option<String>,
    #[serde(skip)]
    pub(super) others: Vec<&'a str>,
    #[serde(skip)]
    pub(super) name: ImageName,
}

#[derive(Serialize)]
pub(super) struct ImageFacts<'a> {
    pub(super) platform: &'a str,
    pub(super) digest: String,
    pub(super) image_id: Option<String>,
    pub(super) media_type: &'a str,
    pub(super) artifact_type: &'a str,
    pub(super) created: Option<Timestamp>,
    pub(super) compressed_bytes: Option<u64>,
    pub(super) unique_bytes: Option<u64>,
    pub(super) proportional_bytes: Option<f64>,
    pub(super) uncompressed_bytes: Option<u64>,
    pub(super) uncompressed_estimated: Option<bool>,
    pub(super) unpacked_bytes: Option<u64>,
    pub(super) wasted_bytes: Option<u64>,
    pub(super) config_bytes: u64,
    pub(super) manifest_bytes: u64,
    pub(super) budget_bytes: Option<u64>,
    /// What it is built on, where that is known.
    pub(super) base: Option<BaseFacts<'a>>,
    /// How many layers the manifest lists.
    pub(super) layers_listed: u64,
    /// The distinct layers that the registry stores, bottom first, at most [`ROWS_MAX`].
    pub(super) layers: Vec<LayerRow>,
    /// How many of them are left out.
    pub(super) layers_more: u64,
    #[serde(skip)]
    pub(super) parts: Vec<Part>,
}

/// The image that another one is built on.
#[derive(Serialize)]
pub(super) struct BaseFacts<'a> {
    pub(super) repository: String,
    pub(super) tag: Option<&'a str>,
    /// What the tag pointed at then.
    pub(super) digest: Option<String>,
    pub(super) compressed_bytes: Option<u64>,
    /// How many of the image's layers it has, from the first one on; 0 where that is unknown.
    pub(super) layers: u32,
    /// Whether the tag still points at it; `None` where that is unknown.
    pub(super) current: Option<bool>,
    /// The page of its tag, where the tag is shown.
    #[serde(skip)]
    pub(super) link: Option<String>,
}

/// What the tag pointed at before.
#[derive(Serialize)]
pub(super) struct PastRow {
    /// When a reading found another content.
    pub(super) until: Timestamp,
    pub(super) digest: String,
    pub(super) created: Option<Timestamp>,
    pub(super) compressed_bytes: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct LayerRow {
    pub(super) digest: Option<String>,
    pub(super) bytes: u64,
    /// Whether it comes from the image's base.
    pub(super) from_base: bool,
    /// The command that made it, where the config says so.
    pub(super) command: Option<Box<str>>,
    /// `None` while it is unknown whether another image has it.
    pub(super) reach: Option<Reach>,
    /// Who else has it.
    pub(super) also_in: Holders,
}

impl<'a> ImagePage<'a> {
    pub(super) fn new(world: &World<'a>, found: FoundTag<'a>, platform: Option<&str>) -> Self {
        let FoundTag { at, tag } = found;
        let failure = if tag.up == Some(false) { world.failure(&at.repository.repository, &tag.tag) } else { None };
        let image = find::image(tag, platform);
        let is_unknown = image.is_none() && !tag.images.is_empty();
        Self {
            repository: at.repository.repository.to_string(),
            tag: tag.tag.as_str(),
            digest: tag.info.as_ref().map(|(digest, _)| digest.to_string()),
            media_type: tag.info.as_ref().map(|(_, media_type)| media_type.as_str()),
            up: tag.up,
            message: failure.map(|failure| failure.message.as_str()),
            last_success: tag.last_success,
            changed: tag.changed,
            attestations: tag.attestations,
            stored_bytes: tag.stored_bytes,
            past: past(tag, image.map(|image| image.platform.as_str())),
            platforms: tag.images.iter().map(|image| image.platform.as_str()).collect(),
            image: image.map(|image| ImageFacts::new(world, found, image)),
            unknown_platform: platform.filter(|_| is_unknown).map(str::to_owned),
            others: others(found, image),
            name: ImageName::new(&at.repository.repository, &tag.tag),
        }
    }

    pub(super) fn address(&self, platform: &str) -> Address {
        Address::of(Place::Image(self.name.clone())).on(Some(platform))
    }
}

/// What the tag pointed at before, with the size of its image for the platform.
fn past(tag: &TagView, platform: Option<&str>) -> Vec<PastRow> {
    let row = |content: &PastContent| {
        let image = content.images.iter().find(|image| Some(image.platform.as_str()) == platform);
        PastRow {
            until: content.until,
            digest: content.digest.to_string(),
            created: image.and_then(|image| image.created),
            compressed_bytes: image.and_then(|image| image.compressed_bytes),
        }
    };
    tag.past.contents().iter().rev().map(row).collect()
}

/// Tags with another image for the platform, by the time at which it was made, newest first; the first of them is the last
/// before this one.
fn others<'a>(found: FoundTag<'a>, shown: Option<&ImageView>) -> Vec<&'a str> {
    let Some(shown) = shown else { return Vec::new() };
    let tags = found.at.repository.tags.iter().filter(|other| other.tag != found.tag.tag);
    let images =
        tags.filter_map(|other| Some((other.tag.as_str(), find::image(other, Some(shown.platform.as_str()))?)));
    let made = |image: &ImageView| image.image.created.unwrap_or(f64::NEG_INFINITY);
    let mut others: Vec<(f64, &str)> = images
        .filter(|(_, image)| image.image.digest != shown.image.digest)
        .map(|(tag, image)| (made(image), tag))
        .collect();
    others.sort_by(|a, b| b.0.total_cmp(&a.0));
    let before = others.iter().position(|(at, _)| *at < made(shown)).unwrap_or_default();
    others.rotate_left(before);
    others.into_iter().map(|(_, tag)| tag).take(OTHERS_MAX).collect()
}

impl<'a> BaseFacts<'a> {
    fn new(world: &World<'a>, view: &'a BaseView) -> Self {
        let name = &view.base.name;
        let shown = name.tag.as_ref().map(|tag| ImageName::new(&name.repository, tag));
        let is_shown = |name: &ImageName| {
            find::repository(world.snapshot, &name.repository).and_then(|at| find::tag(at, &name.tag)).is_some()
        };
        let shown = shown.filter(is_shown);
        Self {
            repository: name.repository.to_string(),
            tag: name.tag.as_ref().map(Tag::as_str),
            digest: name.digest.as_ref().map(ToString::to_string),
            compressed_bytes: view.base.bytes,
            layers: view.base.layers,
            current: view.is_current,
            link: shown.map(|name| Address::of(Place::Image(name)).link()),
        }
    }
}

impl<'a> ImageFacts<'a> {
    fn new(world: &World<'a>, found: FoundTag<'a>, view: &'a ImageView) -> Self {
        let FoundTag { at, .. } = found;
        let image = &view.image;
        let holders = holders(at.registry, at.repository, view);
        let reaches: HashMap<u32, Option<Reach>> = view
            .layers
            .0
            .iter()
            .zip(&holders)
            .map(|(layer, held)| (layer.layer, held.reach().known_of(view, at.registry)))
            .collect();
        let reach = |layer| reaches.get(&layer).copied().flatten();
        let commands = LayerCommands::new(world, view);
        let row = |(place, (layer, also_in)): (usize, (&StoredLayer, Holders))| LayerRow {
            digest: at.registry.layers.get(layer.layer).map(ToString::to_string),
            bytes: layer.bytes,
            from_base: view.base.as_ref().is_some_and(|of| view.places.in_manifest(place) < of.base.layers as usize),
            command: commands.of(place),
            reach: also_in.reach().known_of(view, at.registry),
            also_in,
        };
        Self {
            platform: view.platform.as_str(),
            digest: image.digest.to_string(),
            image_id: image.image_id.as_ref().map(ToString::to_string),
            media_type: image.media_type.as_str(),
            artifact_type: &image.artifact_type,
            created: image.created,
            compressed_bytes: image.compressed_bytes,
            unique_bytes: view.unique_bytes,
            proportional_bytes: view.proportional_bytes,
            uncompressed_bytes: view.uncompressed.map(|(bytes, _)| bytes),
            uncompressed_estimated: view.uncompressed.map(|(_, estimated)| estimated),
            unpacked_bytes: view.unpacked_bytes,
            wasted_bytes: view.wasted_bytes,
            config_bytes: image.config_bytes,
            manifest_bytes: image.manifest_bytes,
            budget_bytes: view.budget_bytes,
            base: view.base.as_ref().map(|of| BaseFacts::new(world, of)),
            layers_listed: image.layers,
            parts: parts(view, reach),
            layers: view.layers.0.iter().zip(holders).take(ROWS_MAX).enumerate().map(row).collect(),
            layers_more: view.layers.0.len().saturating_sub(ROWS_MAX) as u64,
        }
    }
}
