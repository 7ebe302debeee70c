//! Which targets select a tag, and their merged settings.

use std::collections::HashMap;
use std::sync::Arc;

use crate::oci::{PlatformFilter, Registry, Repository, Tag};
use crate::target::{Detail, Repositories, Target, TargetName, Uncompressed};

/// The merged settings of the targets that select a tag.
#[derive(Debug, PartialEq)]
pub(super) struct TagPolicy {
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
    /// Whether the tag is configured by name on a repository that is configured by name: then it stays published even
    /// if it does not exist.
    pub(super) named: bool,
}

/// The configuration's targets, by their position in the file.
pub(super) struct Targets {
    list: Vec<Arc<Target>>,
    by_name: HashMap<TargetName, u32>,
    by_registry: HashMap<Registry, Vec<u32>>,
    /// Targets of one repository.
    by_repository: HashMap<Repository, Vec<u32>>,
    /// Targets with a wildcard, by registry.
    wildcards: HashMap<Registry, Vec<u32>>,
    /// Whether a target has groups.
    pub(super) has_groups: bool,
    /// Tags share their policies, since few combinations of targets exist.
    policies: HashMap<(Box<[u32]>, bool), Arc<TagPolicy>>,
}

impl Targets {
    pub(super) fn new(targets: &[Arc<Target>]) -> Self {
        let mut by_name = HashMap::new();
        let mut by_registry: HashMap<Registry, Vec<u32>> = HashMap::new();
        let mut by_repository: HashMap<Repository, Vec<u32>> = HashMap::new();
        let mut wildcards: HashMap<Registry, Vec<u32>> = HashMap::new();
        for (number, target) in (0..).zip(targets) {
            by_name.entry(target.name.clone()).or_insert(number);
            by_registry.entry(target.repositories.registry().clone()).or_default().push(number);
            match &target.repositories {
                Repositories::One(one) => by_repository.entry(one.clone()).or_default().push(number),
                Repositories::Matching(pattern) => {
                    wildcards.entry(pattern.registry.clone()).or_default().push(number);
                }
            }
        }
        let has_groups = targets.iter().any(|target| target.grouping.is_some());
        let list = targets.to_vec();
        Self { list, by_name, by_registry, by_repository, wildcards, has_groups, policies: HashMap::new() }
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

    /// The targets of one registry, ascending.
    pub(super) fn on(&self, registry: &Registry) -> &[u32] {
        self.by_registry.get(registry).map_or(&[], Vec::as_slice)
    }

    /// The registries of all targets.
    pub(super) fn registries(&self) -> impl Iterator<Item = &Registry> {
        self.by_registry.keys()
    }

    /// The targets whose repositories include this one, ascending.
    pub(super) fn including(&self, repository: &Repository) -> Vec<u32> {
        let mut included = self.by_repository.get(repository).cloned().unwrap_or_default();
        let wildcards = self.wildcards.get(repository.registry()).into_iter().flatten().copied();
        included.extend(wildcards.filter(|&target| self.get(target).repositories.include(repository)));
        included.sort_unstable();
        included
    }

    /// Whether the target selects this tag without reading any list.
    pub(super) fn names(&self, target: u32, repository: &Repository, tag: &Tag) -> bool {
        let target = self.get(target);
        target.repositories.include(repository) && target.expects(tag)
    }

    /// Whether the target may select this tag, of a repository that it includes, once its lists are read.
    pub(super) fn may_select(&self, target: u32, tag: &Tag) -> bool {
        let selection = &self.get(target).selection;
        selection.tags.contains(tag)
            || selection.lists() && selection.select(std::slice::from_ref(tag)).tags.contains(tag)
    }

    /// The policy of a tag that these targets select; none where no target does.
    pub(super) fn policy(
        &mut self,
        mut targets: Vec<u32>,
        repository: &Repository,
        tag: &Tag,
    ) -> Option<Arc<TagPolicy>> {
        targets.sort_unstable();
        targets.dedup();
        let first = *targets.first()?;
        let named = targets.iter().any(|&target| self.names(target, repository, tag));
        let key = (targets.into_boxed_slice(), named);
        if let Some(policy) = self.policies.get(&key) {
            return Some(Arc::clone(policy));
        }
        let all = || key.0.iter().map(|&target| (target, self.get(target)));
        let owner = all().min_by_key(|(number, target)| (target.interval, *number)).map_or(first, |(number, _)| number);
        let policy = Arc::new(TagPolicy {
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
        self.policies.insert(key, Arc::clone(&policy));
        Some(policy)
    }
}
