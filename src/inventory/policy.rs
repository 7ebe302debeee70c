//! Which targets mean a tag, and what follows where several do.

use std::collections::HashMap;
use std::sync::Arc;

use crate::oci::{Platform, Registry, Repository, Tag};
use crate::target::{Detail, Repositories, Target, TargetName, Uncompressed};

/// What holds for a tag that these targets mean.
#[derive(Debug, PartialEq)]
pub(super) struct TagPolicy {
    /// Ascending, which is the file's order.
    pub(super) targets: Box<[u32]>,
    /// The one that reads it: of the shortest interval, ties first in the file.
    pub(super) owner: u32,
    /// United, all when empty.
    pub(super) platforms: Vec<Platform>,
    /// The smallest.
    pub(super) budget_bytes: Option<u64>,
    /// The most exact of those that publish images: nothing else shows it.
    pub(super) uncompressed: Uncompressed,
    /// Whether any target wants more than the repository.
    pub(super) images: bool,
    /// Whether it is configured by name on a repository that is configured by name: then it stays visible even if
    /// it does not exist.
    pub(super) named: bool,
}

/// The configuration's targets, by their place in the file.
pub(super) struct Targets {
    list: Vec<Arc<Target>>,
    by_name: HashMap<TargetName, u32>,
    by_registry: HashMap<Registry, Vec<u32>>,
    /// Those of one repository each; there may be as many as repositories.
    by_repository: HashMap<Repository, Vec<u32>>,
    /// The others, by registry.
    wildcards: HashMap<Registry, Vec<u32>>,
    /// Few targets overlap in few ways: tags share what follows.
    meanings: HashMap<(Box<[u32]>, bool), Arc<TagPolicy>>,
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
        Self { list: targets.to_vec(), by_name, by_registry, by_repository, wildcards, meanings: HashMap::new() }
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

    /// The targets whose repositories include this one, ascending.
    pub(super) fn including(&self, repository: &Repository) -> Vec<u32> {
        let mut included = self.by_repository.get(repository).cloned().unwrap_or_default();
        let wildcards = self.wildcards.get(repository.registry()).into_iter().flatten().copied();
        included.extend(wildcards.filter(|&target| self.get(target).repositories.include(repository)));
        included.sort_unstable();
        included
    }

    /// Whether the target means this tag without looking at any list.
    pub(super) fn names(&self, target: u32, repository: &Repository, tag: &Tag) -> bool {
        let target = self.get(target);
        target.repositories.include(repository) && target.expects(tag)
    }

    /// Whether the target might mean this tag, of a repository that it includes, once its lists are read.
    pub(super) fn may_mean(&self, target: u32, tag: &Tag) -> bool {
        let selection = &self.get(target).selection;
        selection.tags.contains(tag)
            || selection.lists() && selection.select(std::slice::from_ref(tag)).tags.contains(tag)
    }

    /// What holds where these targets mean a tag; none where none does.
    pub(super) fn meaning(
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
        if let Some(meaning) = self.meanings.get(&key) {
            return Some(Arc::clone(meaning));
        }
        let all = || key.0.iter().map(|&target| (target, self.get(target)));
        let owner = all().min_by_key(|(number, target)| (target.interval, *number)).map_or(first, |(number, _)| number);
        let mut platforms: Vec<Platform> = Vec::new();
        if all().all(|(_, target)| !target.platforms.is_empty()) {
            for platform in all().flat_map(|(_, target)| &target.platforms) {
                if !platforms.contains(platform) {
                    platforms.push(platform.clone());
                }
            }
        }
        let meaning = Arc::new(TagPolicy {
            targets: key.0.clone(),
            owner,
            platforms,
            budget_bytes: all().filter_map(|(_, target)| target.budget_bytes).min(),
            uncompressed: all()
                .filter(|(_, target)| target.detail == Detail::Images)
                .map(|(_, target)| target.uncompressed)
                .max()
                .unwrap_or_default(),
            images: all().any(|(_, target)| target.detail == Detail::Images),
            named,
        });
        self.meanings.insert(key, Arc::clone(&meaning));
        Some(meaning)
    }
}

impl TagPolicy {
    /// Whether an image of this platform is wanted.
    pub(super) fn wants(&self, platform: &Platform) -> bool {
        wants(&self.platforms, platform)
    }
}

/// Whether these configured platforms, all when empty, mean this one. What has no platform, such as an artifact, is
/// meant by every choice.
pub(super) fn wants(platforms: &[Platform], platform: &Platform) -> bool {
    platforms.is_empty()
        || platform.as_str().is_empty()
        || platforms.contains(platform)
        || platforms.iter().any(|wanted| platform.as_str().contains('(') && wanted.means(platform))
}

/// Whether a reading that looked for these platforms, all when empty, looked for all that are wanted.
pub(super) fn covers(looked_for: &[Platform], wanted: &[Platform]) -> bool {
    looked_for.is_empty() || !wanted.is_empty() && wanted.iter().all(|wanted| wants(looked_for, wanted))
}
