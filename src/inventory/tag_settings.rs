//! Which targets select a tag, and their merged settings.

use std::collections::HashMap;
use std::sync::Arc;

use crate::oci::{PlatformFilter, Registry, Repository, Tag};
use crate::target::{Detail, Shard, Target, TargetName, Uncompressed};

/// The merged settings of the targets that select a tag.
#[derive(Debug, PartialEq)]
pub(super) struct TagSettings {
    /// Ascending, which is the file's order.
    pub(super) targets: Box<[u32]>,
    /// The target that reads the tag: that of the shortest interval, of several the first in the file.
    pub(super) owner: u32,
    /// United.
    pub(super) platforms: PlatformFilter,
    /// The smallest.
    pub(super) budget_bytes: Option<u64>,
    /// The most exact one among the targets that publish images: only images show it.
    pub(super) uncompressed: Uncompressed,
    /// Whether any of the targets publishes more than the repository.
    pub(super) images: bool,
    /// Whether the tag is configured by name on a repository that is configured by name, or runs: then it stays published
    /// even if it does not exist.
    pub(super) named: bool,
}

/// The configuration's targets, by their position in the file.
pub(super) struct Targets {
    list: Vec<Arc<Target>>,
    by_name: HashMap<TargetName, u32>,
    by_registry: HashMap<Registry, Vec<u32>>,
    /// The targets that name a repository.
    by_repository: HashMap<Repository, Vec<u32>>,
    /// Targets with a wildcard, by registry.
    wildcards: HashMap<Registry, Vec<u32>>,
    /// Those of sources, which may have something to say about any registry.
    sources: Vec<u32>,
    /// Whether a target has groups.
    pub(super) has_groups: bool,
    /// Which of several exporters this is.
    pub(super) shard: Shard,
    /// Tags share their settings, since few combinations of targets exist.
    merged: HashMap<(Box<[u32]>, bool), Arc<TagSettings>>,
}

impl Targets {
    pub(super) fn new(targets: &[Arc<Target>]) -> Self {
        let mut by_name = HashMap::new();
        let mut by_registry: HashMap<Registry, Vec<u32>> = HashMap::new();
        let mut by_repository: HashMap<Repository, Vec<u32>> = HashMap::new();
        let mut wildcards: HashMap<Registry, Vec<u32>> = HashMap::new();
        let mut sources = Vec::new();
        for (number, target) in (0..).zip(targets) {
            by_name.entry(target.name.clone()).or_insert(number);
            if let Some(registry) = target.repositories.registry() {
                by_registry.entry(registry.clone()).or_default().push(number);
            }
            for name in target.repositories.names() {
                by_repository.entry(name.clone()).or_default().push(number);
            }
            if let Some(pattern) = target.repositories.patterns().first() {
                wildcards.entry(pattern.registry.clone()).or_default().push(number);
            }
            if target.is_of_source() {
                sources.push(number);
            }
        }
        let has_groups = targets.iter().any(|target| target.grouping.is_some());
        let shard = targets.first().map(|target| target.repositories.shard()).unwrap_or_default();
        let (list, merged) = (targets.to_vec(), HashMap::new());
        Self { list, by_name, by_registry, by_repository, wildcards, sources, has_groups, shard, merged }
    }

    pub(super) fn get(&self, target: u32) -> &Arc<Target> {
        &self.list[target as usize]
    }

    pub(super) fn find(&self, name: &TargetName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Target>)> {
        (0..).zip(&self.list)
    }

    /// The targets that may select something on a registry: its own, and those of sources.
    pub(super) fn on(&self, registry: &Registry) -> impl Iterator<Item = u32> {
        let own = self.by_registry.get(registry).into_iter().flatten();
        own.chain(&self.sources).copied()
    }

    /// The targets of sources, ascending.
    pub(super) fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The registries that targets name.
    pub(super) fn registries(&self) -> impl Iterator<Item = &Registry> {
        self.by_registry.keys()
    }

    /// Whether a target names a registry.
    pub(super) fn name_registry(&self, registry: &Registry) -> bool {
        self.by_registry.contains_key(registry)
    }

    /// The targets whose repositories include this one, ascending.
    pub(super) fn including(&self, repository: &Repository) -> Vec<u32> {
        let mut included = self.by_repository.get(repository).cloned().unwrap_or_default();
        let wildcards = self.wildcards.get(repository.registry()).into_iter().flatten().copied();
        included.extend(wildcards.filter(|&target| self.get(target).repositories.include(repository)));
        included.sort_unstable();
        included.dedup();
        included
    }

    /// The targets that may select a known tag, as long as they say nothing of it: those that may find it in their lists,
    /// or else sources, which did not answer yet. Ascending. None where another shard has the repository.
    pub(super) fn may_claim(&self, repository: &Repository, tag: &Tag) -> Vec<u32> {
        let including = self.including(repository).into_iter();
        let listing: Vec<u32> = including.filter(|&target| self.may_select(target, tag)).collect();
        if !listing.is_empty() {
            return listing;
        }
        let has = |target: &u32| self.get(*target).repositories.include(repository);
        self.sources.iter().copied().filter(has).collect()
    }

    /// Whether the target selects this tag without reading any list or asking a source.
    pub(super) fn names(&self, target: u32, repository: &Repository, tag: &Tag) -> bool {
        let target = self.get(target);
        !target.is_of_source() && target.repositories.include(repository) && target.expects(repository, tag)
    }

    /// Whether the target may select this tag, of a repository that it includes, once its lists are read.
    pub(super) fn may_select(&self, target: u32, tag: &Tag) -> bool {
        let selection = &self.get(target).selection;
        selection.tags.contains(tag)
            || selection.lists() && selection.select(std::slice::from_ref(tag)).tags.contains(tag)
    }

    /// The settings of a tag that these targets select; none where no target does.
    pub(super) fn settings(
        &mut self,
        mut targets: Vec<u32>,
        repository: &Repository,
        tag: &Tag,
    ) -> Option<Arc<TagSettings>> {
        targets.sort_unstable();
        targets.dedup();
        let first = *targets.first()?;
        let is_named = |&target: &u32| self.get(target).is_of_source() || self.names(target, repository, tag);
        let named = targets.iter().any(is_named);
        let key = (targets.into_boxed_slice(), named);
        if let Some(settings) = self.merged.get(&key) {
            return Some(Arc::clone(settings));
        }
        let all = || key.0.iter().map(|&target| (target, self.get(target)));
        let owner = all().min_by_key(|(number, target)| (target.interval, *number)).map_or(first, |(number, _)| number);
        let settings = Arc::new(TagSettings {
            targets: key.0.clone(),
            owner,
            platforms: PlatformFilter::union(all().map(|(_, target)| &target.platforms)),
            budget_bytes: all().filter_map(|(_, target)| target.budget_bytes).min(),
            uncompressed: all()
                .filter(|(_, target)| target.detail == Detail::Images)
                .map(|(_, target)| target.uncompressed)
                .max()
                .unwrap_or_default(),
            images: all().any(|(_, target)| target.detail == Detail::Images),
            named,
        });
        self.merged.insert(key, Arc::clone(&settings));
        Some(settings)
    }
}

/// Whether the discovery of one target also holds for the other.
pub(super) fn selects_the_same(a: &Target, b: &Target) -> bool {
    a.repositories == b.repositories && a.selection == b.selection && a.tags_max == b.tags_max
}
