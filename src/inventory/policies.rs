//! Judges what is watched by the configuration's policies, and counts what the registry would be rid of.
//!
//! A repository is judged when it changes, when what others have makes a blob its own or no longer so, or when time changes a
//! verdict.

use std::fmt::Write as _;
use std::sync::Arc;

use super::blobs_elsewhere::BlobsElsewhere;
use super::elsewhere::ReclaimableElsewhere;
use super::holders::{Held, Holders};
use super::interner::Renumbered;
use super::layer_table::{LayerTable, TagContent};
use super::reclaimable::{Judged, Reclaimable, RepositoryReclaimable, Tally};
use super::running::Sources;
use super::snapshot::ReclaimableView;
use super::stale::StalePart;
use super::state::{RegistryState, RepositoryState};
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::image::Timestamp;
use crate::oci::{Digest, Registry, Repository};
use crate::retention::{JudgedTag, RetentionPolicy, Verdict, judge};
use crate::target::{Shard, Target};

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

    /// Those that are about a target on a registry. What they are about in its repositories is a part of that.
    pub(super) fn about(&self, registry: &Registry, targets: &Targets) -> impl Iterator<Item = usize> {
        let on: Vec<u32> = targets.on(registry).collect();
        (0..self.list.len()).filter(move |&policy| self.judges(policy, &on))
    }

    /// Tells what goes by these policies on a registry from what goes by others, or by the same where other tags are watched;
    /// `None` where none is about it.
    pub(super) fn identity(&self, registry: &Registry, targets: &Targets) -> Option<u64> {
        let mut text = String::new();
        for policy in self.about(registry, targets) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{policy} {}", self.list[policy].identity());
        }
        if text.is_empty() {
            return None;
        }
        for target in targets.on(registry).map(|number| targets.get(number)) {
            let _ = writeln!(text, "{}{:?}", target.scan_identity_in(Shard::default()), target.platforms);
        }
        Some(Digest::sha256_of(text.as_bytes()).beginning())
    }

    /// Whether a policy is about the tags that one of these targets selects.
    fn judges(&self, policy: usize, targets: &[u32]) -> bool {
        targets.iter().any(|&target| self.targets[policy][target as usize])
    }
}

/// What repositories are judged by.
#[derive(Clone, Copy)]
struct Context<'a> {
    policies: &'a Policies,
    targets: &'a Targets,
    sources: &'a Sources,
    now: Timestamp,
    /// Whether other shards are told what goes.
    tells_others: bool,
}

/// Judges the repositories of a registry that changed, or that time has changed, and counts what goes. Repositories of which
/// what is published changed become stale. With other shards that have policies too, `renumbered` are layers and documents since
/// the last call, and `elsewhere` is what these have.
pub(super) fn judge_all(
    registry: &mut RegistryState,
    renumbered: [&Renumbered; 2],
    targets: &Targets,
    (policies, sources, now): (&Policies, &Sources, Timestamp),
    elsewhere: Option<&mut BlobsElsewhere>,
) {
    if policies.is_empty() {
        return;
    }
    let RegistryState { repositories, layers, reclaimable, .. } = registry;
    reclaimable.tallies.resize_with(policies.list.len(), Tally::default);
    let tells_others = elsewhere.is_some();
    if let Some(elsewhere) = elsewhere {
        reclaimable.hear(renumbered, layers, elsewhere);
    }
    let is_due = |repository: &RepositoryState| repository.stale.is_view_stale() || repository.judged.is_over(now);
    for repository in repositories.values_mut().filter(|repository| repository.stale.is_view_stale()) {
        let contents = repository.tags.values().filter_map(|state| state.content.as_ref());
        let held = Held::new(contents);
        let judged = &mut repository.judged;
        if judged.holder == 0 {
            judged.holder = reclaimable.holders.number();
            reclaimable.unknown += 1;
        }
        reclaimable.holders.replace(judged.holder, &judged.held, &held);
        judged.held = held;
    }
    let outdated = reclaimable.holders.take_outdated();
    let is_outdated = |repository: &RepositoryState| {
        !outdated.is_empty() && outdated.binary_search(&repository.judged.holder).is_ok()
    };
    let context = Context { policies, targets, sources, now, tells_others };
    for (name, repository) in repositories {
        if is_due(repository) || is_outdated(repository) {
            judge_again(name, repository, context, layers, reclaimable);
        }
    }
    reclaimable.settle(layers);
}

/// Notes whether everything on a registry is known, as of its sums.
pub(super) fn note_known(registry: &mut RegistryState) {
    let is_known = registry.has_sums && registry.reclaimable.unknown == 0;
    if std::mem::replace(&mut registry.reclaimable.is_known, is_known) != is_known {
        for repository in registry.repositories.values_mut().filter(|repository| repository.judged.is_about_tags()) {
            repository.stale.mark(StalePart::View);
        }
    }
}

fn judge_again(
    name: &Repository,
    repository: &mut RepositoryState,
    context: Context<'_>,
    layers: &LayerTable,
    reclaimable: &mut Reclaimable,
) {
    let held = std::mem::take(&mut repository.judged.held);
    let judged = Judged { held, ..judge_one(name, repository, context, layers, &reclaimable.holders) };
    reclaimable.replace(&repository.judged, &judged);
    let is_same = repository.judged.is_known == judged.is_known && repository.judged.by_policy == judged.by_policy;
    if !is_same {
        repository.stale.mark(StalePart::View);
    }
    repository.judged = judged;
}

fn judge_one(
    name: &Repository,
    repository: &RepositoryState,
    Context { policies, targets, sources, now, tells_others }: Context<'_>,
    layers: &LayerTable,
    holders: &Holders,
) -> Judged {
    let there = || repository.tags.iter().filter(|(_, state)| !state.gone);
    let lists = repository.targets.iter().any(|&target| targets.get(target).selection.lists());
    let mut judged = Judged {
        holder: repository.judged.holder,
        held: Held::default(),
        by_policy: Vec::with_capacity(policies.list.len()),
        is_known: (sources.say_all_that_runs() || !policies.ask_what_runs())
            && repository.partial.is_empty()
            && (repository.listed || !lists)
            && there().all(|(_, state)| state.is_complete() && !state.has_unread() && state.covers_selection()),
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
                let runs = policy.keep_running && sources.run(name, tag, &digests(state));
                JudgedTag { tag, digest, created: created(state), runs }
            })
            .collect();
        let judgement = judge(policy, &tags, now);
        judged.until = judged.until.min(judgement.until);
        let gone = states.iter().zip(&judgement.verdicts).filter(|(_, verdict)| **verdict == Verdict::Gone);
        let contents = gone.filter_map(|(state, _)| -> Option<&TagContent> { state.content.as_ref() });
        judged.by_policy.push(Some(RepositoryReclaimable::new(contents, layers, holders, tells_others)));
    }
    judged
}

/// What a tag points at, and what its index lists.
fn digests(state: &TagState) -> Vec<&Digest> {
    let Some(content) = &state.content else { return Vec::new() };
    let images = content.images.iter().map(|image| &image.summary.digest);
    let failed = content.known.failed.iter().map(|child| &child.digest);
    std::iter::once(&content.known.digest).chain(images).chain(failed).collect()
}

/// When the latest of a tag's images was created; `None` where one does not say.
fn created(state: &TagState) -> Option<Timestamp> {
    let images = state.content.iter().flat_map(|content| &content.images);
    let dates: Option<Vec<Timestamp>> = images.map(|image| image.summary.created).collect();
    dates?.into_iter().max_by(f64::total_cmp)
}

/// What is published of a registry; `elsewhere`: what is the same in other shards.
pub(super) fn views(of: &Reclaimable, policies: &Policies, elsewhere: ReclaimableElsewhere) -> Vec<ReclaimableView> {
    let is_about = |policy: usize, tally: &Tally| tally.repositories > 0 || elsewhere.about.contains(policy);
    let all = policies.list.iter().zip(&of.tallies).enumerate();
    let views = all.filter(|(policy, (_, tally))| is_about(*policy, tally)).map(|(number, (policy, tally))| {
        let is_whole = of.is_whole(number, elsewhere);
        ReclaimableView {
            policy: Arc::clone(&policy.name),
            bytes: is_whole.then(|| of.bytes(number)),
            // Others tell what goes, and not how many tags do.
            tags: (is_whole && !of.is_shared()).then_some(tally.tags),
        }
    });
    views.collect()
}

/// What is published of a repository of it.
pub(super) fn repository_views(
    judged: &Judged,
    of: &Reclaimable,
    policies: &Policies,
    elsewhere: ReclaimableElsewhere,
) -> Vec<ReclaimableView> {
    let all = policies.list.iter().zip(&judged.by_policy).enumerate();
    let views = all.filter_map(|(number, (policy, repository))| {
        let repository = repository.as_ref()?;
        Some(ReclaimableView {
            policy: Arc::clone(&policy.name),
            bytes: of.is_whole(number, elsewhere).then_some(repository.own_bytes),
            tags: judged.is_known.then_some(repository.tags),
        })
    });
    views.collect()
}
