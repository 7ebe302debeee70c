//! What sources see running, joined to what is known of its tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Inventory;
use super::snapshot::{RunningView, SourceView};
use super::stale::StalePart;
use super::tag_settings::Targets;
use super::tag_state::TagState;
use crate::oci::{Digest, Registry, Repository, Tag};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent, Running, RunningImage, TagChange, TagRequest};
use crate::target::TargetName;

/// What each source said last.
#[derive(Default)]
pub(super) struct Sources {
    /// By target; `None` before its first answer, and of targets that are of no source.
    seen: Vec<Option<Arc<Running>>>,
    /// How many there are.
    count: usize,
    /// Whether it differs from that in `views`.
    is_stale: bool,
    views: Vec<Arc<SourceView>>,
}

impl Sources {
    /// The same of the targets of now: `before` gives each one's number of before.
    pub(super) fn renumbered(&self, targets: &Targets, before: impl Fn(u32) -> Option<u32>) -> Self {
        let seen = |(number, _)| self.seen.get(before(number)? as usize)?.clone();
        let seen = targets.iter().map(seen).collect();
        Self { seen, count: targets.sources().len(), is_stale: true, views: Vec::new() }
    }

    /// Whether each of them has answered, and its answer is whole.
    pub(super) fn say_all_that_runs(&self) -> bool {
        self.seen.iter().flatten().filter(|running| running.is_whole()).count() == self.count
    }

    /// Whether one of them sees a tag running, or the digest that it points at.
    pub(super) fn run(&self, repository: &Repository, tag: &Tag, digests: &[&Digest]) -> bool {
        self.seen.iter().flatten().any(|running| running.runs(repository, tag, digests))
    }

    fn at(&self, target: u32) -> Option<&Arc<Running>> {
        self.seen.get(target as usize)?.as_ref()
    }
}

/// What a source's answer changes.
#[derive(Debug, Default)]
pub struct Seen {
    /// For the store.
    pub changes: Vec<TagChange>,
    /// What is new, or runs in another version than is known: to be read at once.
    pub requests: Vec<TagRequest>,
}

impl Inventory {
    /// A source answered: these are all of its images. They become its target's tags. While a part of it was never read,
    /// what a restart has restored and it has not seen yet stays.
    pub fn seen(&mut self, source: &TargetName, running: Running) -> Seen {
        let Some(number) = self.targets.find(source) else { return Seen::default() };
        let running = Arc::new(running);
        let before = self.sources.at(number).cloned();
        let mut seen = Seen::default();
        let is_same = |before: &Arc<Running>| before.has_same_images(&running) && before.is_part == running.is_part;
        if !before.as_ref().is_some_and(is_same) {
            let mut tags = tags(&running);
            if running.is_part {
                self.add_unseen(number, before.as_deref(), &mut tags);
            }
            seen.changes = self.select(source, discovered(tags));
        }
        for image in &running.images {
            let before = before.as_ref().and_then(|before| before.image(&image.repository, &image.tag));
            let state = self.repository(&image.repository).and_then(|repository| repository.tags.get(&image.tag));
            if let Some(state) = state.filter(|state| is_news(state, image, before.map(|before| &**before))) {
                seen.requests.push(state.request(&image.repository, &image.tag));
            }
        }
        let targets = self.targets.iter().count();
        self.sources.seen.resize(targets, None);
        self.sources.seen[number as usize] = Some(Arc::clone(&running));
        self.sources.count = self.targets.sources().len();
        self.sources.is_stale = true;
        if self.policies.ask_what_runs() {
            self.judge_again(before.as_deref(), &running);
        }
        seen
    }

    /// Adds the tags of a source's target that it has not seen since the program started.
    fn add_unseen(&self, number: u32, before: Option<&Running>, tags: &mut BTreeMap<Repository, BTreeSet<Tag>>) {
        for (name, repository) in self.selected_repositories(number) {
            let was_seen = |tag: &Tag| before.is_some_and(|before| before.image(name, tag).is_some());
            let unseen = repository.selected_by(number).map(|(tag, _)| tag).filter(|tag| !was_seen(tag));
            let unseen: BTreeSet<Tag> = unseen.cloned().collect();
            if !unseen.is_empty() {
                tags.entry(name.clone()).or_default().extend(unseen);
            }
        }
    }

    /// Other tags of some repositories run now, and may be kept; of all of them where it changed whether more may run.
    fn judge_again(&mut self, before: Option<&Running>, now: &Running) {
        let differing =
            before.filter(|before| before.is_whole() == now.is_whole()).map(|before| differing(before, now));
        for registry in self.registries.values_mut() {
            for (name, repository) in &mut registry.repositories {
                if differing.as_ref().is_none_or(|differing| differing.contains(name)) {
                    registry.stale.mark_with(&mut repository.stale, StalePart::View);
                }
            }
        }
    }

    /// The registries on which something is selected.
    pub fn registries(&self) -> impl Iterator<Item = &Registry> {
        self.registries.keys()
    }

    /// Makes the sources' views again where they, or any tag, have changed; returns whether it did.
    pub(super) fn refresh_sources(&mut self, any_tag: bool) -> bool {
        if !(std::mem::take(&mut self.sources.is_stale) || any_tag && !self.sources.views.is_empty()) {
            return false;
        }
        let view = |image: &Arc<RunningImage>| {
            let repository = self.repository(&image.repository);
            let state = repository.and_then(|repository| repository.tags.get(&image.tag));
            RunningView { image: Arc::clone(image), outdated: state.and_then(|state| outdated(state, image)) }
        };
        let seen = self.targets.iter().filter_map(|(number, target)| Some((target, self.sources.at(number)?)));
        let views = seen.map(|(target, running)| {
            let images = running.images.iter().map(view).collect();
            Arc::new(SourceView { source: target.name.clone(), images, skipped: running.skipped })
        });
        let mut views: Vec<Arc<SourceView>> = views.collect();
        views.sort_unstable_by(|a, b| a.source.cmp(&b.source));
        self.sources.views = views;
        true
    }

    /// As of the last refresh.
    pub(super) fn source_views(&self) -> Vec<Arc<SourceView>> {
        self.sources.views.clone()
    }
}

/// The tags that run.
fn tags(running: &Running) -> BTreeMap<Repository, BTreeSet<Tag>> {
    let mut tags: BTreeMap<Repository, BTreeSet<Tag>> = BTreeMap::new();
    for image in &running.images {
        tags.entry(image.repository.clone()).or_default().insert(image.tag.clone());
    }
    tags
}

/// What a source's target selects.
fn discovered(tags: BTreeMap<Repository, BTreeSet<Tag>>) -> Discovered {
    let repository = |(repository, tags): (Repository, BTreeSet<Tag>)| DiscoveredRepository {
        repository,
        tags: tags.into_iter().collect(),
        candidates: Vec::new(),
        list: ListExtent::Whole,
    };
    Discovered { repositories: tags.into_iter().map(repository).collect(), catalog: ListExtent::Whole }
}

/// The repositories of which other tags or digests run than before, as far as [`Running::runs`] asks.
fn differing<'a>(before: &'a Running, now: &'a Running) -> BTreeSet<&'a Repository> {
    let what_runs = |running: &'a Running| -> BTreeSet<(&'a Repository, &'a Tag, Vec<&'a Digest>)> {
        let images = running.images.iter().map(|image| (&image.repository, &image.tag, image.digests.keys().collect()));
        let unwatched =
            running.unwatched.iter().flat_map(|(name, tags)| tags.iter().map(move |tag| (name, tag, Vec::new())));
        images.chain(unwatched).collect()
    };
    what_runs(before).symmetric_difference(&what_runs(now)).map(|(repository, _, _)| *repository).collect()
}

/// Whether an image that was not seen before is unknown, or whether it runs, only now, in a version that its tag was not
/// known to have: then it was pushed.
fn is_news(state: &TagState, image: &RunningImage, before: Option<&RunningImage>) -> bool {
    if before.is_none() && !state.covers_selection() {
        return true;
    }
    let is_new = |digest: &Digest| before.is_none_or(|before| !before.digests.contains_key(digest));
    let pushed = |digest: &Digest| is_new(digest) && !state.has_digest(digest);
    image.tag.digest().is_none() && image.digests.keys().any(pushed)
}

/// How many containers run what the tag no longer has; `None` where that is unknown: what differs from the last reading may be
/// newer, unless that reading is the last one that was tried.
fn outdated(state: &TagState, image: &RunningImage) -> Option<u64> {
    if image.digests.is_empty() || state.content.is_none() && !state.gone {
        return None;
    }
    if image.tag.digest().is_some() {
        return (!state.gone).then_some(0);
    }
    let differ = image.digests.iter().filter(|(digest, _)| !state.has_digest(digest));
    let outdated: u64 = differ.map(|(_, containers)| containers).sum();
    (outdated == 0 || state.is_confirmed()).then_some(outdated)
}
