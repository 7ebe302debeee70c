//! The cached sums of a registry: the images that enter them, and which figures belong to which repository.

use std::ops::Range;

use super::tag_state::TagState;
use crate::image::accounting::{RepositoryUsage, Series, SeriesUsage, StoredLayer, Usage};

/// The range of a repository's figures in its registry's. Those are in one allocation, since all of them are compared
/// whenever anything changed.
pub(super) struct FigureRange {
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
    /// The figures in that range.
    pub(super) fn at(range: Option<&FigureRange>, usage: &'a Usage) -> Self {
        let Some(range) = range else { return Self::default() };
        Self {
            usage: usage.repositories[range.repository],
            tags: &usage.tag_stored_bytes[range.tags.clone()],
            series: &usage.series[range.series.clone()],
        }
    }
}

/// The images of one repository that enter sums, with their layers. One allocation, since all images of a registry are
/// walked whenever anything changed.
#[derive(Default)]
pub(super) struct CountedImages {
    /// How many tags the repository has, with or without such images.
    tags: u32,
    images: Box<[CountedImage]>,
    /// The layers of the first image, then those of the second, and so on.
    layers: Box<[StoredLayer]>,
}

struct CountedImage {
    /// Position of its tag in the repository.
    tag: u32,
    /// Number of its digest.
    number: u32,
    /// How many of the layers are its own.
    layers: usize,
}

impl CountedImages {
    pub(super) fn new<'a>(tags: impl Iterator<Item = &'a TagState>) -> Self {
        let (mut images, mut layers) = (Vec::new(), Vec::new());
        let mut end = 0;
        for (tag, state) in (0..).zip(tags) {
            for image in state.images().filter(|image| state.in_sums && image.is_sized) {
                images.push(CountedImage { tag, number: image.number, layers: image.stored.len() });
                layers.extend_from_slice(&image.stored);
            }
            end = tag + 1;
        }
        Self { tags: end, images: images.into(), layers: layers.into() }
    }

    /// The images as series of a repository whose first tag has this number.
    fn series(&self, repository: u32, first_tag: u32) -> impl Iterator<Item = Series<'_>> {
        let mut rest = &*self.layers;
        self.images.iter().map(move |image| {
            let (layers, others) = rest.split_at(image.layers);
            rest = others;
            Series { repository, tag: first_tag + image.tag, image: image.number, layers }
        })
    }
}

/// Collects the images of all repositories for accounting: each repository's range, all series (about
/// `series_expected`), and the number of tags.
pub(super) fn collect_series<'a>(
    repositories: impl Iterator<Item = &'a CountedImages>,
    series_expected: usize,
) -> (Vec<FigureRange>, Vec<Series<'a>>, usize) {
    let (mut ranges, mut series) = (Vec::new(), Vec::with_capacity(series_expected));
    let mut tags = 0;
    for (repository, counted) in (0..).zip(repositories) {
        let (first_tag, first_series) = (tags, series.len());
        series.extend(counted.series(repository, first_tag));
        tags += counted.tags;
        let tags = first_tag as usize..tags as usize;
        ranges.push(FigureRange { repository: ranges.len(), tags, series: first_series..series.len() });
    }
    (ranges, series, tags as usize)
}
