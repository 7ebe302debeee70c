//! The groups of a repository's tags: a tag is in those of the targets that select it.

use std::collections::HashMap;
use std::sync::Arc;

use super::policy::{TagPolicy, Targets};
use crate::oci::Repository;

/// The groups that targets give to a repository.
#[derive(Default)]
pub(super) struct RepositoryGroups(Box<[(u32, Arc<str>)]>);

/// The distinct groups of a tag, ascending.
pub(super) type GroupSet = Box<[Arc<str>]>;

impl RepositoryGroups {
    /// Of these targets, which select the repository.
    pub(super) fn new(repository: &Repository, selecting: &[u32], targets: &Targets) -> Self {
        if !targets.has_groups {
            return Self::default();
        }
        let group = |&target: &u32| Some((target, targets.get(target).grouping.as_ref()?.group(repository)?));
        Self(selecting.iter().filter_map(group).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The groups of a tag.
    pub(super) fn of(&self, policy: &TagPolicy) -> GroupSet {
        let mut groups: Vec<Arc<str>> = self.given_by(|target| policy.targets.contains(&target)).cloned().collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into()
    }

    /// The groups that some of the targets give.
    pub(super) fn given_by(&self, is_one: impl Fn(u32) -> bool) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(move |(target, _)| is_one(*target)).map(|(_, group)| group)
    }
}

/// Numbers for groups and for sets of them. The empty set is number 0.
pub(super) struct GroupNumbers<'a> {
    groups: HashMap<&'a str, u32>,
    numbers: HashMap<&'a [Arc<str>], u32>,
    /// The groups, by number.
    pub(super) names: Vec<Arc<str>>,
    /// The sets, by number.
    pub(super) sets: Vec<Box<[u32]>>,
}

impl<'a> GroupNumbers<'a> {
    pub(super) fn new() -> Self {
        let sets = vec![Box::default()];
        Self { groups: HashMap::new(), numbers: HashMap::from([(&[][..], 0)]), names: Vec::new(), sets }
    }

    /// The number of a set.
    pub(super) fn number(&mut self, set: &'a [Arc<str>]) -> u32 {
        if let Some(&number) = self.numbers.get(set) {
            return number;
        }
        let next = |len: usize| u32::try_from(len).expect("there are fewer groups than tags, which u32 numbers");
        let group = |group: &'a Arc<str>| {
            *self.groups.entry(group).or_insert_with(|| {
                self.names.push(Arc::clone(group));
                next(self.names.len() - 1)
            })
        };
        let groups = set.iter().map(group).collect();
        let number = next(self.sets.len());
        self.sets.push(groups);
        self.numbers.insert(set, number);
        number
    }
}
