//! The images that enter the sums of a registry.

use std::sync::Arc;

use super::groups::{GroupSet, RepositoryGroups};
use super::tag_settings::TagSettings;
use super::tag_state::TagState;
use crate::image::accounting::{Series, StoredLayer};

/// The images of one repository that enter sums, with their layers. Few allocations, since of one change all images of many
/// repositories may be walked.
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

    /// How many tags the repository has, with or without such images.
    pub(super) fn tags(&self) -> usize {
        self.tags as usize
    }

    /// How many images.
    pub(super) fn len(&self) -> usize {
        self.images.len()
    }

    /// The distinct sets of groups of its tags; none where these are in no group.
    pub(super) fn sets(&self) -> &[GroupSet] {
        &self.sets
    }

    /// The groups of its tags, some of them repeatedly.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sets.iter().flatten()
    }

    /// The layers of all images.
    pub(super) fn layers(&self) -> &[StoredLayer] {
        &self.layers
    }

    /// The images as series. `sets`: the numbers of its sets of groups, where there are some.
    pub(super) fn series(&self, sets: &[u32]) -> impl Iterator<Item = Series<'_>> {
        let mut rest = &*self.layers;
        self.images.iter().map(move |image| {
            let (layers, others) = rest.split_at(image.layers);
            rest = others;
            let groups = sets.get(image.set as usize).copied().unwrap_or_default();
            Series { tag: image.tag, image: image.number, groups, layers }
        })
    }
}

/// The distinct sets of groups of a repository's tags. Few combinations of targets exist, and tags share their policies.
#[derive(Default)]
struct Sets {
    sets: Vec<GroupSet>,
    /// The policies that were looked at, with their sets' positions.
    policies: Vec<(*const TagSettings, u32)>,
}

impl Sets {
    /// The position of a tag's set.
    fn position(&mut self, state: &TagState, groups: &RepositoryGroups) -> u32 {
        let policy = Arc::as_ptr(&state.settings);
        if let Some((_, position)) = self.policies.iter().find(|(known, _)| *known == policy) {
            return *position;
        }
        let set = groups.of(&state.settings);
        let position = self.sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        let position = u32::try_from(position).expect("there are no more sets than tags, which u32 numbers");
        self.policies.push((policy, position));
        position
    }
}
