//! The biggest, the fastest growing, the newest of everything: what has a row in the first page's tables.

use super::releases::{created, growth};
use super::top::Top;
use crate::inventory::snapshot::{ImageView, RepositoryView, TagView, TagsTogether};

/// Rows of a table on the first page.
const ROWS_MAX: usize = 10;

/// Tags that cannot be read.
const UNREADABLE_MAX: usize = 50;

/// A repository and the place of one of its newest releases.
type NewestPlace<'a> = (&'a RepositoryView, usize);

pub(super) type TaggedImage<'a> = (&'a RepositoryView, &'a TagView, &'a ImageView);

/// What has a row on the first page.
pub(super) struct Tops<'a> {
    pub(super) biggest: Top<u64, TaggedImage<'a>>,
    pub(super) budgets: Top<f64, TaggedImage<'a>>,
    pub(super) newest: Top<f64, NewestPlace<'a>>,
    pub(super) growing: Top<u64, NewestPlace<'a>>,
    pub(super) reclaimable: Top<u64, (&'a RepositoryView, usize)>,
    pub(super) unreadable: Vec<(&'a RepositoryView, &'a TagView)>,
}

impl<'a> Tops<'a> {
    pub(super) fn new() -> Self {
        Self {
            biggest: Top::new(ROWS_MAX),
            budgets: Top::new(ROWS_MAX),
            newest: Top::new(ROWS_MAX),
            growing: Top::new(ROWS_MAX),
            reclaimable: Top::new(ROWS_MAX),
            unreadable: Vec::new(),
        }
    }

    pub(super) fn add_repository(&mut self, view: &'a RepositoryView) {
        for (place, newest) in view.newest.iter().enumerate() {
            // One row for each target: that of the platform that grew most, or is the biggest.
            let key = |place: usize| (growth(&view.newest[place]), view.newest[place].release.compressed_bytes);
            let same = |other: usize| view.newest[other].target == newest.target;
            let is_shown = (0..view.newest.len()).filter(|other| same(*other)).max_by_key(|other| key(*other));
            if is_shown != Some(place) {
                continue;
            }
            self.newest.add(created(view, newest).unwrap_or(0.0), (view, place));
            if growth(newest) > 0 {
                self.growing.add(growth(newest), (view, place));
            }
        }
        for (place, of) in view.reclaimable.iter().enumerate() {
            if let Some(bytes) = of.bytes.filter(|bytes| *bytes > 0) {
                self.reclaimable.add(bytes, (view, place));
            }
        }
    }

    /// Looks at a repository's tags only if one of them has a row: most have none, and there are many.
    pub(super) fn add_tags(&mut self, view: &'a RepositoryView) {
        let TagsTogether { unreadable, biggest_bytes, budget_share, .. } = view.together;
        if unreadable > 0 && self.unreadable.len() < UNREADABLE_MAX {
            let unreadable = view.tags.iter().filter(|tag| tag.up == Some(false)).map(|tag| (view, tag));
            self.unreadable.extend(unreadable.take(UNREADABLE_MAX - self.unreadable.len()));
        }
        if biggest_bytes.is_some_and(|bytes| self.biggest.takes(bytes))
            || budget_share.is_some_and(|share| self.budgets.takes(share))
        {
            view.tags.iter().for_each(|tag| self.add_biggest(view, tag));
        }
    }

    /// One row for each tag: that of its biggest image.
    fn add_biggest(&mut self, view: &'a RepositoryView, tag: &'a TagView) {
        let Some((bytes, image)) = tag.biggest() else { return };
        // The same image under another tag is one of the biggest once.
        let is_listed = || self.biggest.iter().any(|(_, _, other)| other.image.digest == image.image.digest);
        if self.biggest.takes(bytes) && !is_listed() {
            self.biggest.add(bytes, (view, tag, image));
        }
        if let Some(share) = image.budget_share() {
            self.budgets.add(share, (view, tag, image));
        }
    }
}
