//! The treemap of what is stored: registry → repository → tag, laid out here, since pages work without script.
//!
//! The area of a tile is the fair share of its images in what their registry stores: these add up, which no other size
//! does. Layout by the rule of Bruls, Huizing and van Wijk ("Squarified Treemaps", 2000).

use std::collections::HashMap;
use std::sync::Arc;

use super::address::{Address, ImageName, Place};
use super::top::Top;
use crate::inventory::snapshot::{ImageView, RegistryView, RepositoryView, TagView};
use crate::oci::Digest;

/// The most repositories with a tile of their own.
const REPOSITORIES_MAX: usize = 48;

/// The most tags of a repository with a tile of their own.
const TAGS_MAX: usize = 12;

/// The smallest share of everything that is divided further, or shown at all.
const SHARE_MIN: f64 = 0.004;

/// A tile, with what it consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tile {
    pub(super) name: String,
    /// The whole name, for a tooltip.
    pub(super) title: String,
    pub(super) bytes: f64,
    /// From 0, all of it is shared, to 1, nothing else has it; `None` where that is unknown.
    pub(super) unique: Option<f64>,
    pub(super) link: Option<String>,
    pub(super) inner: Vec<Self>,
}

/// The tiles of the registries; none before fair shares are known.
pub(super) fn tiles(registries: &[Arc<RegistryView>]) -> Vec<Tile> {
    let share = |view: &RepositoryView| view.proportional_bytes.unwrap_or_default();
    let all = || registries.iter().flat_map(|registry| registry.repositories.iter().map(move |view| (registry, view)));
    let total: f64 = all().map(|(_, view)| share(view)).sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut top = Top::new(REPOSITORIES_MAX);
    for (registry, view) in all().filter(|(_, view)| share(view) >= total * SHARE_MIN) {
        top.add(share(view), (&registry.registry, view));
    }
    let of_registry = |registry: &Arc<RegistryView>| {
        let own = top.iter().filter(|(name, _)| **name == registry.registry);
        let own: Vec<_> = own.map(|(_, view)| (*view, shown_tags(view, total))).collect();
        let series = series(registry, own.iter().flat_map(|(_, tags)| tags).map(|(tag, _)| *tag));
        let mut inner: Vec<Tile> = own.into_iter().map(|(view, tags)| repository(view, &tags, &series)).collect();
        let bytes: f64 = registry.repositories.iter().map(|view| share(view)).sum();
        let rest = bytes - inner.iter().map(|tile| tile.bytes).sum::<f64>();
        let others = registry.repositories.iter().filter(|view| share(view) > 0.0).count() - inner.len();
        if others > 0 {
            inner.push(remainder(format!("{others} smaller repositories"), rest));
        }
        let name = registry.registry.to_string();
        Tile { title: name.clone(), name, bytes, unique: None, link: None, inner }
    };
    let mut tiles: Vec<Tile> = registries.iter().map(of_registry).filter(|tile| tile.bytes > 0.0).collect();
    tiles.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    tiles
}

/// In how many series of a registry each image of some tags is: these divide its fair share, and what only it has.
type SeriesOf<'a> = HashMap<&'a Digest, u32>;

/// Looks at all images of the registry, unless there are no such tags.
fn series<'a>(registry: &'a RegistryView, tags: impl Iterator<Item = &'a TagView>) -> SeriesOf<'a> {
    let digests = tags.flat_map(shared_images).map(|image| &image.image.digest);
    let mut series: SeriesOf = digests.map(|digest| (digest, 0)).collect();
    if !series.is_empty() {
        let all = registry.repositories.iter().flat_map(|view| &view.tags).flat_map(shared_images);
        for image in all {
            if let Some(count) = series.get_mut(&image.image.digest) {
                *count += 1;
            }
        }
    }
    series
}

/// The images of a tag that have a fair share.
fn shared_images(tag: &TagView) -> impl Iterator<Item = &ImageView> {
    tag.images.iter().filter(|image| image.proportional_bytes.is_some())
}

/// What of a tag's fair share only its images have; `None` where that is unknown of one of them.
fn unique(tag: &TagView, series: &SeriesOf<'_>) -> Option<f64> {
    let of = |image: &ImageView| {
        let count = series.get(&image.image.digest).copied().unwrap_or(1).max(1);
        Some(image.unique_bytes? as f64 / f64::from(count))
    };
    shared_images(tag).map(of).sum()
}

/// The tags of a repository with a tile of their own, and their fair shares.
fn shown_tags(view: &RepositoryView, total: f64) -> Vec<(&TagView, f64)> {
    let mut top = Top::new(TAGS_MAX);
    for tag in &view.tags {
        let share: f64 = tag.images.iter().filter_map(|image| image.proportional_bytes).sum();
        if share >= total * SHARE_MIN {
            top.add(share, (tag, share));
        }
    }
    top.into_vec()
}

fn repository(view: &RepositoryView, shown: &[(&TagView, f64)], series: &SeriesOf<'_>) -> Tile {
    let bytes = view.proportional_bytes.unwrap_or_default();
    let own = shown.iter().map(|(tag, share)| {
        let name = ImageName::new(&view.repository, &tag.tag);
        Tile {
            name: name.tag.clone(),
            title: name.to_string(),
            bytes: *share,
            unique: unique(tag, series).and_then(|unique| ratio(unique, *share)),
            link: Some(Address::of(Place::Image(name)).link()),
            inner: Vec::new(),
        }
    });
    let mut inner: Vec<Tile> = own.collect();
    let rest = bytes - inner.iter().map(|tile| tile.bytes).sum::<f64>();
    if !inner.is_empty() && rest > bytes * 1e-6 {
        inner.push(remainder("other tags".to_owned(), rest));
    }
    let name = view.repository.to_string();
    Tile {
        name: view.repository.name().to_owned(),
        bytes,
        unique: view.unique_bytes.and_then(|unique| ratio(unique as f64, bytes)),
        link: Some(Address::of(Place::Repository(name.clone())).link()),
        title: name,
        inner,
    }
}

fn remainder(name: String, bytes: f64) -> Tile {
    Tile { title: name.clone(), name, bytes: bytes.max(0.0), unique: None, link: None, inner: Vec::new() }
}

/// The part of a fair share that nothing else has.
fn ratio(unique: f64, share: f64) -> Option<f64> {
    (share > 0.0).then(|| (unique / share).clamp(0.0, 1.0))
}

/// A rectangle; y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Its left side.
    pub x: f64,
    /// Its upper side.
    pub y: f64,
    /// At least 0.
    pub width: f64,
    /// At least 0.
    pub height: f64,
}

impl Rect {
    /// What is left inside a border, with more of it above.
    pub(super) fn within(self, border: f64, above: f64) -> Self {
        Self {
            x: self.x + border,
            y: self.y + above,
            width: (self.width - 2.0 * border).max(0.0),
            height: (self.height - above - border).max(0.0),
        }
    }
}

/// Divides a frame among values, which are not negative: one rectangle for each, in their order, as square as the rule
/// makes them when the values fall. Areas are proportional to the values, and fill the frame unless all of them are 0.
pub fn squarify(values: &[f64], frame: Rect) -> Vec<Rect> {
    let total: f64 = values.iter().sum();
    let none = Rect { width: 0.0, height: 0.0, ..frame };
    if total <= 0.0 || frame.width <= 0.0 || frame.height <= 0.0 {
        return vec![none; values.len()];
    }
    let scale = frame.width * frame.height / total;
    let areas: Vec<f64> = values.iter().map(|value| value * scale).collect();
    let (mut rects, mut rest) = (Vec::with_capacity(values.len()), frame);
    while rects.len() < areas.len() {
        let left = &areas[rects.len()..];
        let side = rest.width.min(rest.height);
        let mut count = 1;
        while count < left.len() && worst(&left[..=count], side) <= worst(&left[..count], side) {
            count += 1;
        }
        rest = lay(&left[..count], rest, &mut rects);
    }
    rects
}

/// The worst ratio of sides in a row of areas along a side.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let ratio = |area: &f64| {
        let ratio = side * side * area / (sum * sum);
        ratio.max(1.0 / ratio)
    };
    if sum > 0.0 { row.iter().filter(|area| **area > 0.0).map(ratio).fold(0.0, f64::max) } else { f64::INFINITY }
}

/// Lays a row along the shorter side of `rest`; returns what is left beside it.
fn lay(row: &[f64], rest: Rect, rects: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let is_wide = rest.width >= rest.height;
    let side = if is_wide { rest.height } else { rest.width };
    let depth = if side > 0.0 { (sum / side).min(if is_wide { rest.width } else { rest.height }) } else { 0.0 };
    let mut along = 0.0;
    for area in row {
        let length = if sum > 0.0 { side * area / sum } else { 0.0 };
        rects.push(if is_wide {
            Rect { x: rest.x, y: rest.y + along, width: depth, height: length }
        } else {
            Rect { x: rest.x + along, y: rest.y, width: length, height: depth }
        });
        along += length;
    }
    if is_wide {
        Rect { x: rest.x + depth, width: (rest.width - depth).max(0.0), ..rest }
    } else {
        Rect { y: rest.y + depth, height: (rest.height - depth).max(0.0), ..rest }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn areas_are_proportional_inside_the_frame_and_do_not_overlap(
            values in proptest::collection::vec(prop_oneof![Just(0.0), 1e-3..1e12_f64], 0..40),
            width in 1.0..2000.0_f64,
            height in 1.0..2000.0_f64,
        ) {
            let frame = Rect { x: 10.0, y: 20.0, width, height };
            let rects = squarify(&values, frame);
            prop_assert_eq!(rects.len(), values.len());
            let total: f64 = values.iter().sum();
            let near = width * height * 1e-9;
            for (rect, value) in rects.iter().zip(&values) {
                let expected = if total > 0.0 { width * height * value / total } else { 0.0 };
                prop_assert!((rect.width * rect.height - expected).abs() <= near, "{rect:?} {expected}");
                prop_assert!(rect.x >= 10.0 - 1e-6 && rect.x + rect.width <= 10.0 + width + 1e-6, "{rect:?}");
                prop_assert!(rect.y >= 20.0 - 1e-6 && rect.y + rect.height <= 20.0 + height + 1e-6, "{rect:?}");
            }
            for (place, a) in rects.iter().enumerate() {
                for b in &rects[place + 1..] {
                    let across = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
                    let down = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
                    prop_assert!(across <= 1e-6 || down <= 1e-6 || across * down <= near.max(1e-6), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn falling_values_give_tiles_that_are_nearly_square() {
        // The example of the paper.
        let frame = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let rects = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], frame);
        let shapes: Vec<(f64, f64)> = rects.iter().map(|rect| (rect.width, rect.height)).collect();
        assert_eq!(shapes[..2], [(3.0, 2.0), (3.0, 2.0)]);
        assert!(shapes.iter().all(|(width, height)| width.max(*height) / width.min(*height) < 3.1), "{shapes:?}");
    }
}
