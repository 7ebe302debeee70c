//! One repository: its tags, their sizes over time, and what shares layers with what.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::address::{Address, ImageName, Place, Sort};
use super::find::{self, FoundRepository};
use super::overview::ReclaimableRow;
use super::releases::Release;
use super::sharing::{Neighbour, Sharing};
use super::stack::{Part, parts};
use super::world::World;
use crate::image::Timestamp;
use crate::inventory::snapshot::{ImageView, RepositoryView, TagView};
use crate::oci::Digest;

/// Tags on one page.
pub(super) const TAGS_PER_PAGE: usize = 100;

/// The newest images in the chart.
const POINTS_MAX: usize = 400;

/// The newest images of which the layers are drawn.
const STACKS_MAX: usize = 20;

/// Platforms to choose from.
const PLATFORMS_MAX: usize = 24;

/// Releases, one for each target and platform.
const RELEASES_MAX: usize = 24;

#[derive(Serialize)]
pub(super) struct RepositoryPage<'a> {
    pub(super) repository: String,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) stored_bytes: Option<u64>,
    pub(super) unique_bytes: Option<u64>,
    pub(super) proportional_bytes: Option<f64>,
    pub(super) metadata_bytes: Option<u64>,
    pub(super) tags_selected: Option<u64>,
    pub(super) tags_unknown: Option<u64>,
    pub(super) platforms: Vec<&'a str>,
    /// The platform of the tags' sizes.
    pub(super) platform: Option<&'a str>,
    pub(super) newest: Vec<Release>,
    pub(super) reclaimable: Vec<ReclaimableRow>,
    /// Those of this page.
    pub(super) tags: Vec<TagRow<'a>>,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) sort: &'static str,
    /// The layers of the newest images.
    pub(super) stacks: Vec<Stack>,
    pub(super) shares_with: Vec<Neighbour<'a>>,
    /// How many repositories have a layer of this one.
    pub(super) shares_with_count: u64,
    #[serde(skip)]
    pub(super) points: Vec<Point>,
    #[serde(skip)]
    pub(super) address: Address,
}

/// A tag, with the sizes of its image for the page's platform.
#[derive(Serialize)]
pub(super) struct TagRow<'a> {
    pub(super) tag: &'a str,
    pub(super) digest: Option<String>,
    /// Whether its last reading was complete.
    pub(super) up: Option<bool>,
    /// Why it was not, as in the log.
    pub(super) message: Option<&'a str>,
    pub(super) created: Option<Timestamp>,
    pub(super) changed: Option<Timestamp>,
    pub(super) platforms: u64,
    pub(super) compressed_bytes: Option<u64>,
    pub(super) unique_bytes: Option<u64>,
    pub(super) budget_bytes: Option<u64>,
    /// All selected platforms.
    pub(super) stored_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) link: String,
}

/// An image in the chart.
pub(super) struct Point {
    pub(super) tag: String,
    pub(super) at: Timestamp,
    pub(super) bytes: u64,
    pub(super) link: String,
}

/// An image and its layers.
#[derive(Serialize)]
pub(super) struct Stack {
    pub(super) tag: String,
    pub(super) bytes: u64,
    pub(super) parts: Vec<Part>,
    #[serde(skip)]
    pub(super) link: String,
}

impl<'a> RepositoryPage<'a> {
    pub(super) fn new(world: &World<'a>, at: FoundRepository<'a>, address: Address) -> Self {
        let view = at.repository;
        let platforms = platforms(view);
        let asked = address.platform.as_deref().and_then(|asked| platforms.iter().find(|known| **known == asked));
        let platform = asked.copied().or_else(|| find::usual_platform(platforms.iter().copied()));
        let on = |tag: &'a TagView| tag.images.iter().find(|image| Some(image.platform.as_str()) == platform);
        let mut tags: Vec<(&TagView, Option<&ImageView>)> = view.tags.iter().map(|tag| (tag, on(tag))).collect();
        sort(&mut tags, Sort::Usual);
        let sharing = Sharing::of(at);
        let drawn = distinct(&tags);
        let now = drawn.iter().filter_map(|(tag, image)| point(view, tag, image));
        let points = now.chain(past(view, platform)).take(POINTS_MAX).collect();
        let stacks =
            drawn.iter().take(STACKS_MAX).filter_map(|(tag, image)| stack(view, tag, image, &sharing)).collect();
        if address.sort != Sort::Usual {
            sort(&mut tags, address.sort);
        }
        let pages = tags.len().div_ceil(TAGS_PER_PAGE).max(1);
        let page = address.page.min(pages);
        let shown = tags.iter().skip((page - 1) * TAGS_PER_PAGE).take(TAGS_PER_PAGE);
        Self {
            repository: view.repository.to_string(),
            labels: &view.labels,
            stored_bytes: view.stored_bytes,
            unique_bytes: view.unique_bytes,
            proportional_bytes: view.proportional_bytes,
            metadata_bytes: view.metadata_bytes,
            tags_selected: view.tags_selected,
            tags_unknown: view.tags_unknown,
            platform,
            newest: view.newest.iter().take(RELEASES_MAX).map(|newest| Release::new(view, newest)).collect(),
            reclaimable: reclaimable(view),
            tags: shown.map(|(tag, image)| TagRow::new(world, view, tag, *image)).collect(),
            page,
            pages,
            sort: address.sort.as_str(),
            stacks,
            shares_with: sharing.neighbours,
            shares_with_count: sharing.neighbours_count,
            points,
            address: Address { platform: asked.map(|asked| (*asked).to_owned()), page, ..address },
            platforms,
        }
    }
}

impl<'a> TagRow<'a> {
    fn new(world: &World<'a>, view: &RepositoryView, tag: &'a TagView, image: Option<&ImageView>) -> Self {
        let failure = if tag.up == Some(false) { world.failure(&view.repository, &tag.tag) } else { None };
        let shown = Address::of(Place::Image(ImageName::new(&view.repository, &tag.tag)));
        Self {
            tag: tag.tag.as_str(),
            digest: tag.info.as_ref().map(|(digest, _)| digest.to_string()),
            up: tag.up,
            message: failure.map(|failure| failure.message.as_str()),
            created: image.and_then(|image| image.image.created),
            changed: tag.changed,
            platforms: tag.images.len() as u64,
            compressed_bytes: image.and_then(|image| image.image.compressed_bytes),
            unique_bytes: image.and_then(|image| image.unique_bytes),
            budget_bytes: image.and_then(|image| image.budget_bytes),
            stored_bytes: tag.stored_bytes,
            link: shown.on(image.map(|image| image.platform.as_str())).link(),
        }
    }
}

/// The platforms of all tags, in their order.
fn platforms(view: &RepositoryView) -> Vec<&str> {
    let mut platforms: Vec<&str> = Vec::new();
    for image in view.tags.iter().flat_map(|tag| &tag.images) {
        let platform = image.platform.as_str();
        if platforms.len() < PLATFORMS_MAX && !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    platforms.sort_unstable();
    platforms
}

/// Sorts tags: names rise, everything else falls, and what is unknown comes last.
fn sort(tags: &mut [(&TagView, Option<&ImageView>)], by: Sort) {
    let figure = |(tag, image): &(&TagView, Option<&ImageView>)| -> Option<f64> {
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        match by {
            Sort::Usual | Sort::Created => image.and_then(|image| image.image.created),
            Sort::Size => bytes(image.and_then(|image| image.image.compressed_bytes)),
            Sort::Unique => bytes(image.and_then(|image| image.unique_bytes)),
            Sort::Stored => bytes(tag.stored_bytes),
            Sort::Name => None,
        }
    };
    let falling = |figure: Option<f64>| figure.unwrap_or(f64::NEG_INFINITY);
    tags.sort_by(|a, b| {
        let by_figure = falling(figure(b)).total_cmp(&falling(figure(a)));
        by_figure.then_with(|| a.0.tag.as_str().cmp(b.0.tag.as_str()))
    });
}

/// Those with an image, each image once, under the tag that comes first.
fn distinct<'a>(tags: &[(&'a TagView, Option<&'a ImageView>)]) -> Vec<(&'a TagView, &'a ImageView)> {
    let mut seen = HashSet::new();
    let with_image = tags.iter().filter_map(|(tag, image)| Some((*tag, (*image)?)));
    with_image.filter(|(_, image)| seen.insert(&image.image.digest)).take(POINTS_MAX).collect()
}

fn point(view: &RepositoryView, tag: &TagView, image: &ImageView) -> Option<Point> {
    let name = ImageName::new(&view.repository, &tag.tag);
    Some(Point {
        tag: name.tag.clone(),
        at: image.image.created?,
        bytes: image.image.compressed_bytes?,
        link: Address::of(Place::Image(name)).on(Some(image.platform.as_str())).link(),
    })
}

/// What tags of a platform pointed at before, as far as this process saw it and it says when it was made: each content
/// once, and none that a tag points at now.
fn past<'a>(view: &'a RepositoryView, platform: Option<&'a str>) -> impl Iterator<Item = Point> + 'a {
    let now = view.tags.iter().filter_map(|tag| tag.info.as_ref());
    let mut seen: HashSet<&Digest> = now.map(|(digest, _)| digest).collect();
    let contents = view.tags.iter().flat_map(|tag| tag.past.contents().iter().map(move |content| (tag, content)));
    let once = contents.filter(move |(_, content)| seen.insert(&content.digest));
    once.filter_map(move |(tag, content)| {
        let link = Address::of(Place::Image(ImageName::new(&view.repository, &tag.tag))).on(platform).link();
        let image = content.images.iter().find(|image| Some(image.platform.as_str()) == platform)?;
        Some(Point { tag: format!("{}, earlier", tag.tag), at: image.created?, bytes: image.compressed_bytes?, link })
    })
}

fn stack(view: &RepositoryView, tag: &TagView, image: &ImageView, sharing: &Sharing) -> Option<Stack> {
    let name = ImageName::new(&view.repository, &tag.tag);
    Some(Stack {
        tag: name.tag.clone(),
        bytes: image.image.compressed_bytes?,
        parts: parts(image, |layer| sharing.known_reach(layer, image)),
        link: Address::of(Place::Image(name)).on(Some(image.platform.as_str())).link(),
    })
}

fn reclaimable(view: &RepositoryView) -> Vec<ReclaimableRow> {
    let row = |of: &crate::inventory::snapshot::ReclaimableView| ReclaimableRow {
        policy: of.policy.to_string(),
        place: view.repository.to_string(),
        bytes: of.bytes,
        tags: of.tags,
        link: None,
    };
    view.reclaimable.iter().map(row).collect()
}
