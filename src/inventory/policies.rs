//! Judges what is watched by the configuration's policies, and counts what the registry would be rid of.
//!
//! A repository is judged when it changes or when time changes a verdict.

use std::sync::Arc;

use super::layer_table::{LayerTable, TagContent};
use super::reclaimable::{Counting, Holders, Judged, RepositoryReclaimable};
use super::snapshot::ReclaimableView;
use super::stale::StalePart;
use super::state::{RegistryState, RepositoryState};
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::retention::{JudgedTag, RetentionPolicy, Verdict, judge};

/// The configuration's policies.
#[derive(Default)]
pub(super) struct Policies {
    list: Vec<Arc<RetentionPolicy>>,
    /// By policy, the targets that it is about, by number.
    targets: Vec<Vec<bool>>,
}

impl Policies {
    pub(super) fn new(list: &[Arc<RetentionPolicy>], targets: &Targets) -> Self {
        let of_policy = |policy: &Arc<RetentionPolicy>| {
            targets.iter().map(|(_, target)| policy.judges(&target.name)).collect::<Vec<_>>()
        };
        Self { targets: list.iter().map(of_policy).collect(), list: list.to_vec() }
    }

    /// The same policies, of which the targets have changed.
    pub(super) fn renewed(&self, targets: &Targets) -> Self {
        Self::new(&self.list, targets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a policy is about the tags that one of these targets selects.
    fn judges(&self, policy: usize, targets: &[u32]) -> bool {
        targets.iter().any(|&target| self.targets[policy][target as usize])
    }
}

/// Judges the repositories of a registry that changed, or that time has changed. Returns whether anything else goes than
/// before.
pub(super) fn judge_all(registry: &mut RegistryState, policies: &Policies, targets: &Targets, now: Timestamp) -> bool {
    if policies.is_empty() {
        registry.holders = Holders::default();
        return !registry.reclaimable.is_empty();
    }
    let RegistryState { repositories, layers, holders, .. } = registry;
    let mut is_news = false;
    for repository in repositories.values_mut() {
        if repository.stale.is_view_stale() || repository.judged.is_over(now) {
            is_news |= judge_again(repository, policies, targets, now, layers, holders);
        }
    }
    // Each blob that several have is noted by the first of them, so that this ends.
    while let outdated @ [_, ..] = &*holders.take_outdated() {
        for repository in repositories.values_mut() {
            if outdated.binary_search(&repository.judged.holder).is_ok() {
                is_news |= judge_again(repository, policies, targets, now, layers, holders);
            }
        }
    }
    is_news
}

/// Judges a repository; returns whether anything else goes than before.
fn judge_again(
    repository: &mut RepositoryState,
    policies: &Policies,
    targets: &Targets,
    now: Timestamp,
    layers: &LayerTable,
    holders: &mut Holders,
) -> bool {
    let judged = judge_one(repository, policies, targets, now, layers, holders);
    let before = std::mem::replace(&mut repository.judged, judged);
    let same = |a: &Option<RepositoryReclaimable>, b: &Option<RepositoryReclaimable>| match (a, b) {
        (Some(a), Some(b)) => a.is_same_content(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let judged = &mut repository.judged;
    let is_same = before.is_known == judged.is_known
        && before.by_policy.len() == judged.by_policy.len()
        && before.by_policy.iter().zip(&judged.by_policy).all(|(a, b)| same(a, b));
    if is_same {
        for (of, before) in judged.by_policy.iter_mut().flatten().zip(before.by_policy.iter().flatten()) {
            of.bytes = before.bytes;
        }
    } else {
        repository.stale.mark(StalePart::View);
    }
    !is_same
}

fn judge_one(
    repository: &RepositoryState,
    policies: &Policies,
    targets: &Targets,
    now: Timestamp,
    layers: &LayerTable,
    holders: &mut Holders,
) -> Judged {
    let there = || repository.tags.iter().filter(|(_, state)| !state.gone);
    let lists = repository.targets.iter().any(|&target| targets.get(target).selection.lists());
    let holder = Some(repository.judged.holder).filter(|&holder| holder != 0).unwrap_or_else(|| holders.number());
    let contents = repository.tags.values().filter_map(|state| state.content.as_ref());
    let holdings = holders.note(holder, contents, layers);
    let mut judged = Judged {
        holder,
        by_policy: Vec::with_capacity(policies.list.len()),
        is_known: repository.partial.is_empty()
            && (repository.listed || !lists)
            && there().all(|(_, state)| state.is_complete()),
        from: now,
        until: Timestamp::INFINITY,
    };
    for (number, policy) in policies.list.iter().enumerate() {
        if !policies.judges(number, &repository.targets) {
            judged.by_policy.push(None);
            continue;
        }
        let (names, states): (Vec<_>, Vec<_>) =
            there().filter(|(_, state)| policies.judges(number, &state.settings.targets)).unzip();
        let tags: Vec<JudgedTag> = names
            .into_iter()
            .zip(&states)
            .map(|(tag, state): (_, &&TagState)| JudgedTag {
                tag,
                digest: state.content.as_ref().filter(|_| state.is_complete()).map(|content| &content.known.digest),
                created: created(state),
            })
            .collect();
        let judgement = judge(policy, &tags, now);
        judged.until = judged.until.min(judgement.until);
        let gone = states.iter().zip(&judgement.verdicts).filter(|(_, verdict)| **verdict == Verdict::Gone);
        let contents = gone.filter_map(|(state, _)| -> Option<&TagContent> { state.content.as_ref() });
        judged.by_policy.push(Some(holdings.reclaimable(contents)));
    }
    judged
}

/// When the latest of a tag's images was created; `None` where one does not say.
fn created(state: &TagState) -> Option<Timestamp> {
    let images = state.content.iter().flat_map(|content| &content.images);
    let dates: Option<Vec<Timestamp>> = images.map(|image| image.summary.created).collect();
    dates?.into_iter().max_by(f64::total_cmp)
}

/// Counts anew what each policy would free on a registry, and in each repository alone. Repositories of which the figure
/// changed become stale. Returns the registry's figures.
pub(super) fn count(registry: &mut RegistryState, policies: &Policies) -> Vec<ReclaimableView> {
    let is_known = registry.has_sums && registry.repositories.values().all(|repository| repository.judged.is_known);
    let mut views = Vec::new();
    for (number, policy) in policies.list.iter().enumerate() {
        let mut counting = Counting::new(&registry.layers, &registry.usage.disagreeing);
        let mut tags = None;
        for repository in registry.repositories.values_mut() {
            let Some(of) = repository.judged.by_policy.get_mut(number).and_then(Option::as_mut) else { continue };
            *tags.get_or_insert(0) += of.tags;
            let bytes = is_known.then(|| counting.add(of));
            if of.bytes != bytes {
                of.bytes = bytes;
                repository.stale.mark(StalePart::View);
            }
        }
        let bytes = is_known.then_some(counting.bytes);
        views.extend(tags.map(|tags| ReclaimableView {
            policy: Arc::clone(&policy.name),
            bytes,
            tags: is_known.then_some(tags),
        }));
    }
    views
}

/// What is published of a repository.
pub(super) fn views(judged: &Judged, policies: &Policies) -> Vec<ReclaimableView> {
    let views = policies.list.iter().zip(&judged.by_policy).filter_map(|(policy, of)| {
        let of = of.as_ref()?;
        Some(ReclaimableView {
            policy: Arc::clone(&policy.name),
            bytes: of.bytes,
            tags: judged.is_known.then_some(of.tags),
        })
    });
    views.collect()
}
