//! Judges what is watched by the configuration's policies, and counts what the registry would be rid of.
//!
//! A repository is judged when it changes or when time changes a verdict.

use std::sync::Arc;

use super::reclaimable::{Counting, Judged, RepositoryReclaimable, held};
use super::running::Sources;
use super::snapshot::ReclaimableView;
use super::stale::StalePart;
use super::state::{RegistryState, RepositoryState};
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::oci::Repository;
use crate::retention::{JudgedTag, RetentionPolicy, Verdict, judge};
use crate::target::Target;

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
            // Of a repository of which only what runs is known, deleting the rest cannot be judged.
            let judges = |target: &Target| !target.is_of_source() && policy.judges(&target.name);
            targets.iter().map(|(_, target)| judges(target)).collect::<Vec<_>>()
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

    /// Whether one of them asks for what runs.
    pub(super) fn ask_what_runs(&self) -> bool {
        self.list.iter().any(|policy| policy.keep_running)
    }

    /// Whether a policy is about the tags that one of these targets selects.
    fn judges(&self, policy: usize, targets: &[u32]) -> bool {
        targets.iter().any(|&target| self.targets[policy][target as usize])
    }
}

/// Judges the repositories of a registry that changed, or that time has changed. Returns whether anything else goes than
/// before.
pub(super) fn judge_all(
    registry: &mut RegistryState,
    policies: &Policies,
    targets: &Targets,
    sources: &Sources,
    now: Timestamp,
) -> bool {
    if policies.is_empty() {
        return !registry.reclaimable.is_empty();
    }
    let mut is_news = false;
    for (name, repository) in &mut registry.repositories {
        if !repository.stale.is_view_stale() && !repository.judged.is_over(now) {
            continue;
        }
        let judged = judge_one(name, repository, policies, targets, sources, now);
        let before = std::mem::replace(&mut repository.judged, judged);
        let same = |a: &Option<RepositoryReclaimable>, b: &Option<RepositoryReclaimable>| match (a, b) {
            (Some(a), Some(b)) => (a.tags, &a.layers, &a.documents) == (b.tags, &b.layers, &b.documents),
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
            is_news = true;
            repository.stale.mark(StalePart::View);
        }
    }
    is_news
}

fn judge_one(
    name: &Repository,
    repository: &RepositoryState,
    policies: &Policies,
    targets: &Targets,
    sources: &Sources,
    now: Timestamp,
) -> Judged {
    let there = || repository.tags.iter().filter(|(_, state)| !state.gone);
    let lists = repository.targets.iter().any(|&target| targets.get(target).selection.lists());
    let mut judged = Judged {
        by_policy: Vec::with_capacity(policies.list.len()),
        is_known: (sources.have_answered() || !policies.ask_what_runs())
            && repository.partial.is_empty()
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
            .map(|(tag, state): (_, &&TagState)| {
                let digest =
                    state.content.as_ref().filter(|_| state.is_complete()).map(|content| &content.known.digest);
                let runs = policy.keep_running && sources.run(name, tag, digest);
                JudgedTag { tag, digest, created: created(state), runs }
            })
            .collect();
        let judgement = judge(policy, &tags, now);
        judged.until = judged.until.min(judgement.until);
        let gone = states.iter().zip(&judgement.verdicts).filter(|(_, verdict)| **verdict == Verdict::Gone);
        judged.by_policy.push(Some(held(gone.map(|(state, _)| *state))));
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
