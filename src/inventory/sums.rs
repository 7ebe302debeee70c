//! The cached sums of a registry: the images that enter them, and which figures belong to which repository.

use std::ops::Range;
use std::sync::Arc;

use super::groups::{GroupNumbers, GroupSet, RepositoryGroups};
use super::policy::TagPolicy;
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
    /// The distinct sets of groups of its tags; empty where these are in none.
    sets: Vec<GroupSet>,
    /// The layers of the first image, then those of the second, and so on.
    layers: Box<[StoredLayer]>,
}

struct CountedImage {
    /// Position of its tag in the repository.
    tag: u32,
    /// Number of its digest.
    number: u32,
    /// Position of its groups in `sets`.
    set: u32,
    /// How many of the layers are its own.
    layers: usize,
}

impl CountedImages {
    pub(super) fn new<'a>(tags: impl Iterator<Item = &'a TagState>, groups: &RepositoryGroups) -> Self {
        let (mut images, mut layers) = (Vec::new(), Vec::new());
        let mut sets = Sets::default();
        let mut end = 0;
        for (tag, state) in (0..).zip(tags) {
            let set = if groups.is_empty() { 0 } else { sets.position(state, groups) };
            for image in state.images().filter(|image| state.in_sums && image.is_sized) {
                images.push(CountedImage { tag, number: image.number, set, layers: image.stored.len() });
                layers.extend_from_slice(&image.stored);
            }
            end = tag + 1;
        }
        Self { tags: end, images: images.into(), sets: sets.sets, layers: layers.into() }
    }

    /// The groups of its tags, some of them repeatedly.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sets.iter().flatten()
    }

    /// The images as series of a repository whose first tag has this number, and whose sets have these.
    fn series(&self, repository: u32, first_tag: u32, sets: Vec<u32>) -> impl Iterator<Item = Series<'_>> {
        let mut rest = &*self.layers;
        self.images.iter().map(move |image| {
            let (layers, others) = rest.split_at(image.layers);
            rest = others;
            let groups = sets.get(image.set as usize).copied().unwrap_or_default();
            Series { repository, tag: first_tag + image.tag, image: image.number, groups, layers }
        })
    }
}

/// The distinct sets of groups of a repository's tags. Few combinations of targets exist, and tags share their policies.
#[derive(Default)]
struct Sets {
    sets: Vec<GroupSet>,
    /// The policies that were looked at, with their sets' positions.
    policies: Vec<(*const TagPolicy, u32)>,
}

impl Sets {
    /// The position of a tag's set.
    fn position(&mut self, state: &TagState, groups: &RepositoryGroups) -> u32 {
        let policy = Arc::as_ptr(&state.policy);
        if let Some((_, position)) = self.policies.iter().find(|(known, _)| *known == policy) {
            return *position;
        }
        let set = groups.of(&state.policy);
        let position = self.sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        let position = u32::try_from(position).expect("there are no more sets than tags, which u32 numbers");
        self.policies.push((policy, position));
        position
    }
}

/// The images of all repositories of a registry, for accounting.
pub(super) struct Collected<'a> {
    /// By repository.
    pub(super) ranges: Vec<FigureRange>,
    /// All series.
    pub(super) series: Vec<Series<'a>>,
    /// The number of tags.
    pub(super) tags: usize,
    /// The groups that the series are in.
    pub(super) groups: GroupNumbers<'a>,
}

/// Collects the images of all repositories for accounting: about `series_expected` series.
pub(super) fn collect_series<'a>(
    repositories: impl Iterator<Item = &'a CountedImages>,
    series_expected: usize,
) -> Collected<'a> {
    let (mut ranges, mut series) = (Vec::new(), Vec::with_capacity(series_expected));
    let mut groups = GroupNumbers::new();
    let mut tags = 0;
    for (repository, counted) in (0..).zip(repositories) {
        let (first_tag, first_series) = (tags, series.len());
        let sets = counted.sets.iter().map(|set| groups.number(set)).collect();
        series.extend(counted.series(repository, first_tag, sets));
        tags += counted.tags;
        let tags = first_tag as usize..tags as usize;
        ranges.push(FigureRange { repository: ranges.len(), tags, series: first_series..series.len() });
    }
    Collected { ranges, series, tags: tags as usize, groups }
}
