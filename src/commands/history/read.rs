//! Reads what targets select: lists, then each tag once, as a first scan does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::history_report::Failure;
use crate::commands::inspect::progress::Progress;
use crate::oci::{PlatformFilter, Reason, Repository, Tag};
use crate::registry::Registries;
use crate::scan;
use crate::scan::discovery;
use crate::store::Store;
use crate::tag::{ListExtent, Outcome, Reading, TagRequest};
use crate::target::{Candidate, Target};

/// Tags that are read at the same time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 16;

/// A repository and what is read of it.
pub(super) struct ReadRepository {
    pub(super) repository: Repository,
    /// The targets that select it, with the candidates for the newest release, in the order of their versions.
    pub(super) targets: Vec<(Arc<Target>, Vec<Candidate>)>,
    pub(super) tags: BTreeMap<Tag, Arc<Reading>>,
    /// Whether its list or a tag could not be read, and may be another time.
    pub(super) is_partial: bool,
}

/// Reads everything that the targets select, by repository, and what could not be read.
pub(super) async fn read(
    registries: &Registries,
    targets: &[Arc<Target>],
    progress: &mut Progress<'_, impl Write>,
) -> (Vec<ReadRepository>, Vec<Failure>) {
    let mut errors = Vec::new();
    let mut found: BTreeMap<Repository, (ReadRepository, BTreeSet<Tag>)> = BTreeMap::new();
    for target in targets {
        progress.say(&format!("{}: listing tags", target.name));
        let Some(registry) = target.repositories.registry() else { continue };
        let client = registries.client(registry);
        let discovery = discovery::discover(&client, target).await;
        errors.extend(discovery.errors.iter().map(|error| failed(error.reason(), error.to_string())));
        for one in discovery.discovered.repositories {
            let candidates = one.candidates.iter().map(Candidate::new).collect();
            let new = || ReadRepository {
                repository: one.repository.clone(),
                targets: Vec::new(),
                tags: BTreeMap::new(),
                is_partial: false,
            };
            let (repository, tags) = found.entry(one.repository.clone()).or_insert_with(|| (new(), BTreeSet::new()));
            repository.targets.push((Arc::clone(target), candidates));
            repository.is_partial |= one.list != ListExtent::Whole;
            tags.extend(one.tags);
        }
    }
    let store = Store::memory();
    let mut repositories = Vec::new();
    for (mut repository, tags) in found.into_values() {
        read_tags(registries, &store, &mut repository, &tags, &mut errors, progress).await;
        repositories.push(repository);
    }
    progress.end();
    (repositories, errors)
}

async fn read_tags(
    registries: &Registries,
    store: &Store,
    repository: &mut ReadRepository,
    tags: &BTreeSet<Tag>,
    errors: &mut Vec<Failure>,
    progress: &mut Progress<'_, impl Write>,
) {
    let name = repository.repository.clone();
    let client = registries.client(name.registry());
    let platforms = PlatformFilter::union(repository.targets.iter().map(|(target, _)| &target.platforms));
    let read = async |tag: &Tag| {
        let request = TagRequest::unknown(name.clone(), tag.clone(), platforms.clone());
        (tag.clone(), scan::read_tag(&client, store, &request).await)
    };
    let mut reads = stream::iter(tags).map(read).buffered(TAGS_UNDER_WAY);
    let mut count = 0;
    while let Some((tag, reported)) = reads.next().await {
        count += 1;
        progress.say(&format!("{name}: {count} of {} tags", tags.len()));
        let is_expected = repository.targets.iter().any(|(target, _)| target.expects(&repository.repository, &tag));
        let is_failure = reported.outcome != Outcome::Gone || is_expected;
        errors.extend(
            reported.errors.iter().filter(|_| is_failure).map(|error| failed(error.reason(), error.to_string())),
        );
        match reported.outcome {
            Outcome::Read(reading) => {
                repository.is_partial |= reading.failed.iter().any(|child| child.reason.is_transient());
                repository.tags.insert(tag, reading);
            }
            Outcome::Failed(reason) => repository.is_partial |= reason.is_transient(),
            Outcome::Gone | Outcome::Unchanged => {}
        }
    }
}

fn failed(reason: Reason, message: String) -> Failure {
    Failure { reason, message }
}
