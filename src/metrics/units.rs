//! What is published, in units: the smallest parts of which is known whether they changed.
//!
//! Units are numbered in the order in which they are published: all tags of all repositories, for example. A unit's
//! number changes with each unit before it; what stays is its name.

use std::ops::Range;
use std::sync::Arc;

use super::metric::Subject;
use super::own::TargetState;
use super::rows::Rows;
use crate::inventory::Snapshot;
use crate::inventory::snapshot::{RegistryView, RepositoryView, RunningView, SourceView, TagView};

/// Where what registries and sources have begins among all units.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    /// By registry, the number of its first repository; and last, how many there are.
    pub(crate) repositories: Vec<u32>,
    /// By repository, the number of its first tag; and last, how many there are.
    pub(crate) tags: Vec<u32>,
    /// By source, the number of its first image that runs; and last, how many there are.
    pub(crate) running: Vec<u32>,
    pub(crate) targets: u32,
}

/// What is published at one moment, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Units<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) targets: &'a [TargetState],
    pub(crate) positions: &'a Positions,
}

/// What decides where a run of units ends: both depend on the unit's name and shape alone, and not on its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Landmark {
    /// Of its name.
    pub(crate) hash: u32,
    /// Samples in each metric, about.
    pub(crate) weight: u32,
}

impl Default for Positions {
    fn default() -> Self {
        Self { repositories: vec![0], tags: vec![0], running: vec![0], targets: 0 }
    }
}

impl Positions {
    /// How many units there are.
    pub(crate) fn units(&self, subject: Subject) -> u32 {
        match subject {
            Subject::Images | Subject::Tag => last(&self.tags),
            Subject::Repository => last(&self.repositories),
            Subject::Registry => count(self.repositories.len() - 1),
            Subject::Running => last(&self.running),
            Subject::Target => self.targets,
        }
    }
}

/// A number of units.
pub(crate) fn count(units: usize) -> u32 {
    u32::try_from(units).expect("there are no more than fit into memory, each with more bytes than one")
}

fn last(ends: &[u32]) -> u32 {
    ends.last().copied().unwrap_or_default()
}

/// Which of the parts has a unit, and which place it has there. Parts may be empty.
fn find(firsts: &[u32], unit: u32) -> (usize, usize) {
    let part = firsts[..firsts.len() - 1].partition_point(|first| *first <= unit).saturating_sub(1);
    (part, (unit - firsts[part]) as usize)
}

impl<'a> Units<'a> {
    /// The landmarks of the units from the given one on.
    pub(crate) fn landmarks(self, subject: Subject, from: u32) -> Box<dyn Iterator<Item = Landmark> + 'a> {
        match subject {
            Subject::Images => Box::new(self.tags(from).map(|(repository, tag)| Landmark {
                hash: hash(&[repository.repository.name(), tag.tag.as_str()]),
                weight: images(tag),
            })),
            Subject::Tag => Box::new(self.tags(from).map(|(repository, tag)| Landmark {
                hash: hash(&[repository.repository.name(), tag.tag.as_str()]),
                weight: 1,
            })),
            Subject::Repository => Box::new(
                self.repositories(from)
                    .map(|view| Landmark { hash: hash(&[view.repository.name()]), weight: repository(view) }),
            ),
            Subject::Registry => Box::new(
                self.registries(from)
                    .map(|view| Landmark { hash: hash(&[view.registry.as_str()]), weight: registry(view) }),
            ),
            Subject::Running => Box::new(self.running(from).map(|(_, view)| {
                let (repository, tag) = (view.image.repository.name(), view.image.tag.as_str());
                Landmark { hash: hash(&[repository, tag]), weight: running(view) }
            })),
            Subject::Target => Box::new(
                self.targets[from as usize..]
                    .iter()
                    .map(|target| Landmark { hash: hash(&[&target.name.0]), weight: 1 }),
            ),
        }
    }

    /// Adds the rows of these units.
    pub(crate) fn fill(self, subject: Subject, units: Range<u32>, rows: &mut Rows<'a>) {
        let count = (units.end - units.start) as usize;
        match subject {
            Subject::Images => self.tags(units.start).take(count).for_each(|(of, tag)| rows.images(of, tag)),
            Subject::Tag => self.tags(units.start).take(count).for_each(|(of, tag)| rows.tag(of, tag)),
            Subject::Repository => self.repositories(units.start).take(count).for_each(|view| rows.repository(view)),
            Subject::Registry => self.registries(units.start).take(count).for_each(|view| rows.registry(view)),
            Subject::Running => self.running(units.start).take(count).for_each(|(of, view)| rows.running(of, view)),
            Subject::Target => {
                self.targets[units.start as usize..].iter().take(count).for_each(|target| rows.target(target));
            }
        }
    }

    fn registries(self, from: u32) -> impl Iterator<Item = &'a Arc<RegistryView>> {
        self.snapshot.registries[from as usize..].iter()
    }

    fn repositories(self, from: u32) -> impl Iterator<Item = &'a Arc<RepositoryView>> {
        let (registry, place) = find(&self.positions.repositories, from);
        self.snapshot.registries[registry..].iter().flat_map(|registry| &registry.repositories).skip(place)
    }

    fn tags(self, from: u32) -> impl Iterator<Item = (&'a RepositoryView, &'a TagView)> {
        let (repository, place) = find(&self.positions.tags, from);
        let repositories = self.repositories(count(repository));
        repositories.flat_map(|repository| repository.tags.iter().map(move |tag| (&**repository, tag))).skip(place)
    }

    fn running(self, from: u32) -> impl Iterator<Item = (&'a SourceView, &'a RunningView)> {
        let (source, place) = find(&self.positions.running, from);
        let sources = self.snapshot.sources[source..].iter();
        sources.flat_map(|source| source.images.iter().map(move |view| (&**source, view))).skip(place)
    }
}

/// The weight of a tag among images.
pub(crate) fn images(tag: &TagView) -> u32 {
    count(tag.images.len())
}

/// The weight of a repository.
pub(crate) fn repository(view: &RepositoryView) -> u32 {
    count(view.newest.len().max(view.reclaimable.len()).max(1))
}

/// The weight of a registry.
pub(crate) fn registry(view: &RegistryView) -> u32 {
    count(view.groups.len().max(view.reclaimable.len()).max(1))
}

/// The weight of an image that runs.
pub(crate) fn running(view: &RunningView) -> u32 {
    count(view.image.parts.len().max(1))
}

fn hash(names: &[&str]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for name in names {
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
    }
    // Names that differ in their last digit differ in few bits of the checksum: the product spreads these.
    hasher.finalize().wrapping_mul(0x9e37_79b1) >> 8
}
