//! Two images side by side: what they share, and what each has alone.

use std::collections::HashSet;

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use super::find::{self, FoundTag};
use super::layer_commands::LayerCommands;
use super::sharing::{ROWS_MAX, Reach};
use super::stack::{Part, parts};
use super::world::World;
use crate::image::Timestamp;
use crate::inventory::snapshot::ImageView;
use crate::oci::Digest;
use crate::target::Shard;

#[derive(Serialize)]
pub(super) struct Comparison<'a> {
    pub(super) platform: &'a str,
    pub(super) a: Side<'a>,
    pub(super) b: Side<'a>,
    /// Bytes of the distinct layers that both have; `None` where the size of a layer is unknown.
    pub(super) shared_bytes: Option<u64>,
    pub(super) shared_layers: u64,
    /// Bytes that a node with `a` fetches for `b`, as in `container_image_newest_update_size_bytes`; `None` like the former.
    pub(super) update_bytes: Option<u64>,
    /// The distinct layers of both that a pull fetches, as far as their sizes are known and
    /// at most [`ROWS_MAX`]: those that only `a` has, those that both have, those that only `b` has.
    pub(super) layers: Vec<ComparedLayer>,
    /// How many of them are left out.
    pub(super) layers_more: u64,
    /// Platforms that both have.
    pub(super) platforms: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Side<'a> {
    pub(super) repository: String,
    pub(super) tag: &'a str,
    pub(super) digest: String,
    pub(super) created: Option<Timestamp>,
    pub(super) compressed_bytes: Option<u64>,
    pub(super) unique_bytes: Option<u64>,
    pub(super) uncompressed_bytes: Option<u64>,
    pub(super) unpacked_bytes: Option<u64>,
    pub(super) wasted_bytes: Option<u64>,
    pub(super) layers: u64,
    #[serde(skip)]
    pub(super) parts: Vec<Part>,
    #[serde(skip)]
    pub(super) link: String,
}

#[derive(Serialize)]
pub(super) struct ComparedLayer {
    pub(super) digest: String,
    pub(super) bytes: u64,
    pub(super) side: LayerSide,
    pub(super) command: Option<Box<str>>,
}

/// Which of two images has a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LayerSide {
    OnlyA,
    Both,
    OnlyB,
}

/// A form for a comparison, where one or both images are not known.
#[derive(Serialize)]
pub(super) struct Missing {
    /// Images that are asked for and not watched.
    pub(super) unknown: Vec<Unknown>,
    /// The platform that is asked for and that one of them lacks.
    pub(super) platform: Option<String>,
    pub(super) a: String,
    pub(super) b: String,
}

/// An image that is not watched, or not by this shard.
#[derive(Serialize)]
pub(super) struct Unknown {
    pub(super) image: String,
    #[serde(skip)]
    pub(super) elsewhere: Option<Shard>,
}

/// Two images for the platform that is asked for, or for the usual one of those that both have.
pub(super) fn compare<'a>(
    world: &World<'a>,
    names: [Option<&ImageName>; 2],
    platform: Option<&str>,
) -> Result<Comparison<'a>, Missing> {
    let find = |name: &ImageName| find::tag(find::repository(world.snapshot, &name.repository)?, &name.tag);
    let found = names.map(|name| name.and_then(find));
    let missing = || {
        let unknown = names.iter().zip(&found).filter(|(name, found)| name.is_some() && found.is_none());
        let text = |name: Option<&ImageName>| name.map(ToString::to_string).unwrap_or_default();
        let named =
            |name: &ImageName| Unknown { image: name.to_string(), elsewhere: world.elsewhere(&name.repository) };
        Missing {
            unknown: unknown.filter_map(|(name, _)| name.map(named)).collect(),
            platform: None,
            a: text(names[0]),
            b: text(names[1]),
        }
    };
    let [Some(a), Some(b)] = found else { return Err(missing()) };
    let platforms: Vec<&str> = a.tag.images.iter().map(|image| image.platform.as_str()).collect();
    let platforms: Vec<&str> =
        platforms.into_iter().filter(|platform| find::image(b.tag, Some(platform)).is_some()).collect();
    let shown = match platform {
        Some(asked) => platforms.iter().copied().find(|platform| *platform == asked),
        None => find::usual_platform(platforms.iter().copied()),
    };
    let Some(platform) = shown else {
        return Err(Missing { platform: platform.map(str::to_owned), ..missing() });
    };
    let (Some(old), Some(new)) = (find::image(a.tag, Some(platform)), find::image(b.tag, Some(platform))) else {
        return Err(missing());
    };
    let mut layers = layers(world, (a, old), (b, new));
    let sum = |side: LayerSide| layers.iter().filter(move |layer| layer.side == side).map(|layer| layer.bytes);
    let is_known = old.image.compressed_bytes.is_some() && new.image.compressed_bytes.is_some();
    let total = |side: LayerSide| is_known.then(|| sum(side).fold(0, u64::saturating_add));
    let shared_layers = sum(LayerSide::Both).count() as u64;
    let (shared_bytes, update_bytes) = (total(LayerSide::Both), total(LayerSide::OnlyB));
    let layers_more = layers.len().saturating_sub(ROWS_MAX) as u64;
    layers.truncate(ROWS_MAX);
    Ok(Comparison {
        platform,
        shared_bytes,
        shared_layers,
        update_bytes,
        layers_more,
        a: Side::new(a, old, b, new),
        b: Side::new(b, new, a, old),
        layers,
        platforms,
    })
}

/// The distinct layers that a pull of an image fetches, foreign ones first.
fn digests<'a>(found: FoundTag<'a>, image: &'a ImageView) -> impl Iterator<Item = (&'a Digest, u64)> {
    pulled(found, image).map(|(digest, bytes, _)| (digest, bytes))
}

/// The former with the places of those that the registry stores in the image's `layers`.
fn pulled<'a>(found: FoundTag<'a>, image: &'a ImageView) -> impl Iterator<Item = (&'a Digest, u64, Option<usize>)> {
    let stored = move || {
        let digest = move |layer| found.at.registry.layers.get(layer);
        let layers = image.layers.0.iter().enumerate();
        layers.filter_map(move |(place, layer)| Some((digest(layer.layer)?, layer.bytes, Some(place))))
    };
    // One that is listed as foreign and as stored counts as stored.
    let mut seen: HashSet<&Digest> =
        if image.foreign.layers().is_empty() { HashSet::new() } else { stored().map(|(digest, ..)| digest).collect() };
    let foreign = image.foreign.layers().iter().map(|(digest, bytes)| (digest, *bytes, None));
    foreign.filter(move |(digest, ..)| seen.insert(digest)).chain(stored())
}

fn layers(world: &World, a: (FoundTag, &ImageView), b: (FoundTag, &ImageView)) -> Vec<ComparedLayer> {
    let named = |(found, image): (FoundTag, &ImageView)| -> Vec<(Digest, u64, Option<Box<str>>)> {
        let commands = LayerCommands::new(world, image);
        let command = |place: Option<usize>| place.and_then(|place| commands.of(place));
        pulled(found, image).map(|(digest, bytes, place)| (digest.clone(), bytes, command(place))).collect()
    };
    let (of_a, of_b) = (named(a), named(b));
    let in_b: HashSet<&Digest> = of_b.iter().map(|(digest, ..)| digest).collect();
    let in_a: HashSet<&Digest> = of_a.iter().map(|(digest, ..)| digest).collect();
    let layer = |(digest, bytes, command): &(Digest, u64, Option<Box<str>>), side| ComparedLayer {
        digest: digest.to_string(),
        bytes: *bytes,
        side,
        command: command.clone(),
    };
    let left =
        of_a.iter().map(|one| layer(one, if in_b.contains(&one.0) { LayerSide::Both } else { LayerSide::OnlyA }));
    let right = of_b.iter().filter(|one| !in_a.contains(&one.0)).map(|one| layer(one, LayerSide::OnlyB));
    let mut layers: Vec<ComparedLayer> = left.chain(right).collect();
    layers.sort_by_key(|layer| layer.side);
    layers
}

impl<'a> Side<'a> {
    fn new(found: FoundTag<'a>, view: &'a ImageView, other: FoundTag<'a>, other_view: &'a ImageView) -> Self {
        let name = ImageName::new(&found.at.repository.repository, &found.tag.tag);
        let has: HashSet<&Digest> = digests(other, other_view).map(|(digest, _)| digest).collect();
        let is_shared = |layer: u32| found.at.registry.layers.get(layer).is_some_and(|digest| has.contains(digest));
        Self {
            repository: name.repository.clone(),
            tag: found.tag.tag.as_str(),
            digest: view.image.digest.to_string(),
            created: view.image.created,
            compressed_bytes: view.image.compressed_bytes,
            unique_bytes: view.unique_bytes,
            uncompressed_bytes: view.uncompressed.map(|(bytes, _)| bytes),
            unpacked_bytes: view.unpacked_bytes,
            wasted_bytes: view.wasted_bytes,
            layers: view.image.layers,
            parts: parts(view, |layer| Some(if is_shared(layer) { Reach::Repository } else { Reach::Own })),
            link: Address::of(Place::Image(name)).on(Some(view.platform.as_str())).link(),
        }
    }
}
