//! The sums of a registry, as they were last accounted for, and which of them are whose.

use std::ops::Range;

use super::RegistryState;
use super::tag_state::TagState;
use crate::image::accounting::{RepositoryUsage, Series, SeriesUsage, StoredLayer, Usage, account};

/// Where a repository's figures stand in its registry's, which are in one piece: all of them are compared whenever
/// anything changed.
pub(super) struct Place {
    repository: usize,
    tags: Range<usize>,
    series: Range<usize>,
}

/// The sums of one repository; empty where none are published.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Figures<'a> {
    pub(super) usage: Option<RepositoryUsage>,
    /// By tag.
    pub(super) tags: &'a [Option<u64>],
    /// By counted image, in the order of tags and their images.
    pub(super) series: &'a [SeriesUsage],
}

impl<'a> Figures<'a> {
    /// What stands there.
    pub(super) fn at(place: Option<&Place>, usage: &'a Usage) -> Self {
        let Some(place) = place else { return Self::default() };
        Self {
            usage: usage.repositories[place.repository],
            tags: &usage.tag_stored_bytes[place.tags.clone()],
            series: &usage.series[place.series.clone()],
        }
    }
}

/// The images of one repository that take part in sums, with their layers, in one piece: all of a registry's are walked
/// whenever anything changed.
pub(super) struct Counted {
    /// How many tags the repository has, with or without such images.
    tags: u32,
    images: Box<[CountedImage]>,
    /// Those of the first image, then those of the second, and so on.
    layers: Box<[StoredLayer]>,
}

struct CountedImage {
    /// Which of the repository's tags.
    tag: u32,
    /// Which image digest.
    number: u32,
    /// How many of the layers are its own.
    layers: usize,
}

impl Counted {
    fn of<'a>(tags: impl Iterator<Item = &'a TagState>) -> Self {
        let (mut images, mut layers) = (Vec::new(), Vec::new());
        let mut end = 0;
        for (tag, state) in (0..).zip(tags) {
            for image in state.images().filter(|image| state.in_sums && image.is_counted) {
                images.push(CountedImage { tag, number: image.number, layers: image.stored.len() });
                layers.extend_from_slice(&image.stored);
            }
            end = tag + 1;
        }
        Self { tags: end, images: images.into(), layers: layers.into() }
    }

    /// As series of a repository whose first tag has this number.
    fn series(&self, repository: u32, first_tag: u32) -> impl Iterator<Item = Series<'_>> {
        let mut rest = &*self.layers;
        self.images.iter().map(move |image| {
            let (layers, others) = rest.split_at(image.layers);
            rest = others;
            Series { repository, tag: first_tag + image.tag, image: image.number, layers }
        })
    }
}

impl RegistryState {
    /// Accounts for all that is held. Repositories whose figures changed have no view after it.
    pub(super) fn account(&mut self) {
        for of in self.repositories.values_mut().filter(|of| of.counted.is_none()) {
            of.counted = Some(Counted::of(of.tags.values()));
        }
        let mut series = Vec::with_capacity(self.usage.series.len());
        let mut places: Vec<Place> = Vec::with_capacity(self.repositories.len());
        let mut tag = 0;
        for (repository, counted) in (0..).zip(self.repositories.values().flat_map(|of| &of.counted)) {
            let (first_tag, first_series) = (tag, series.len());
            series.extend(counted.series(repository, first_tag));
            tag += counted.tags;
            let tags = first_tag as usize..tag as usize;
            places.push(Place { repository: places.len(), tags, series: first_series..series.len() });
        }
        let mut usage = account(&series, self.holdings.layers_end());
        usage.repositories.resize(self.repositories.len(), None);
        usage.tag_stored_bytes.resize(tag as usize, None);
        for (of, place) in self.repositories.values_mut().zip(places) {
            if Figures::at(of.place.as_ref(), &self.usage) != Figures::at(Some(&place), &usage) {
                of.view = None;
            }
            of.place = Some(place);
        }
        self.usage = usage;
        self.is_accounted = true;
    }

    /// Forgets all figures, until each target has ended a pass.
    pub(super) fn unaccount(&mut self) {
        for of in self.repositories.values_mut() {
            if of.place.take().is_some() {
                of.view = None;
            }
        }
        self.usage = Usage::default();
        self.is_accounted = false;
    }
}
