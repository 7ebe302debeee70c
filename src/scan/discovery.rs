//! Finds the repositories and tags that a target selects now.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};

use crate::oci::{Reason, Registry, Repository, Tag};
use crate::registry::{Client, RegistryError};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent};
use crate::target::{NotSelected, Target};

/// Tag lists of one target that are read concurrently. The client limits requests per registry; this limits memory.
const LISTS_CONCURRENT: usize = 16;

/// Of one list at most so many tags that are not selected are logged in one scan.
const LOGGED_MAX: usize = 1000;

/// Why discovery is incomplete. Its findings are used nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A list could not be read, or not completely.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// A list has more selected tags than are read.
    #[error(
        "{repository}: more than {max} tags are selected: the rest is not read, and the repository's newest release, tag count and sums, and the registry's sum, are withheld; narrow `match`, `exclude` or `semver`, or raise `tags_max`"
    )]
    TooManyTags {
        /// The repository.
        repository: Repository,
        /// The limit.
        max: usize,
    },
    /// A registry lists more repositories than are read.
    #[error(
        "{0}: the list of repositories has more than are read: the rest is left out, and unique and proportional sizes on this registry and its stored size are withheld; name the repositories one by one"
    )]
    TooManyRepositories(Registry),
}

impl DiscoveryError {
    /// The label's value.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Registry(error) => error.reason(),
            Self::TooManyTags { .. } | Self::TooManyRepositories(_) => Reason::Limit,
        }
    }
}

/// Why a target selects nothing although all lists were read: most likely a mistake in the configuration, which would
/// otherwise look like success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmptySelection {
    /// A wildcard that matches no repository.
    #[error("no repository of those that the registry lists ({listed}) matches `{pattern}`")]
    Repository {
        /// The wildcard, with its registry.
        pattern: String,
        /// How many repositories are listed.
        listed: usize,
    },
    /// No listed tag is selected.
    #[error("{}", no_tag(*.tags, *.repositories))]
    Tag {
        /// How many tags are listed.
        tags: usize,
        /// In how many repositories.
        repositories: usize,
    },
}

fn no_tag(tags: usize, repositories: usize) -> String {
    match (tags, repositories) {
        (0, 1) => "the repository has no tag".to_owned(),
        (0, _) => format!("none of its {repositories} repositories has a tag"),
        (_, 1) => format!("selects no tag of the {tags} that the repository has: look at {FILTER_KEYS}"),
        _ => format!("selects no tag of the {tags} that its {repositories} repositories have: look at {FILTER_KEYS}"),
    }
}

/// The keys that exclude listed tags.
const FILTER_KEYS: &str = "`match`, `exclude` and `semver`";

/// The result of discovery.
#[derive(Debug, Default)]
pub struct Discovery {
    /// What the target selects.
    pub discovered: Discovered,
    /// What could not be read.
    pub errors: Vec<DiscoveryError>,
    /// The number of tags in each list that was read.
    pub lists: Vec<usize>,
    /// Tags that `semver` left out because they are no versions.
    pub not_versions: Vec<(Repository, Tag)>,
    /// Set where the target selects nothing, or none of the listed tags.
    pub empty: Option<EmptySelection>,
}

/// Reads the lists that a target needs. A target that only names tags of one repository costs no request. Of what runs,
/// which its source says, nothing is found. Nothing is asked of repositories that other shards have; each shard reads the
/// list of repositories, and finds its own there.
pub async fn discover(client: &Client, target: &Target) -> Discovery {
    let mut found = Discovery::default();
    if target.is_of_source() {
        return found;
    }
    let mut catalog = None;
    let mut repositories: BTreeSet<Repository> = target.repositories.names().iter().cloned().collect();
    let mut extents = Vec::new();
    let mut is_elsewhere = target.repositories.names_elsewhere() > 0;
    for pattern in target.repositories.patterns() {
        match client.list_repositories(&pattern.prefix()).await {
            Ok(list) => {
                extents.push(match &list.stopped {
                    _ if list.cut => ListExtent::Cut,
                    Some(_) => ListExtent::Partial,
                    None => ListExtent::Whole,
                });
                found.errors.extend(list.stopped.map(DiscoveryError::from));
                if list.cut {
                    found.errors.push(DiscoveryError::TooManyRepositories(pattern.registry.clone()));
                }
                *catalog.get_or_insert(0) += list.repositories.len();
                let matching = list.repositories.into_iter().filter(|repository| pattern.matches(repository.name()));
                let is_own = |repository: &Repository| target.repositories.include(repository);
                let (own, others): (Vec<Repository>, Vec<Repository>) = matching.partition(is_own);
                repositories.extend(own);
                is_elsewhere |= !others.is_empty();
            }
            Err(error) => {
                extents.push(ListExtent::Unread);
                found.errors.push(error.into());
            }
        }
    }
    found.discovered.catalog = together(&extents, !target.repositories.names().is_empty());
    let lists = repositories.into_iter().map(|repository| list(client, target, repository));
    let mut lists = stream::iter(lists).buffered(LISTS_CONCURRENT);
    while let Some(listed) = lists.next().await {
        found.lists.extend(listed.tags);
        found.errors.extend(listed.error);
        let repository = &listed.repository.repository;
        found.not_versions.extend(listed.not_versions.into_iter().map(|tag| (repository.clone(), tag)));
        found.discovered.repositories.push(listed.repository);
    }
    // What is selected in other shards is not known here.
    found.empty = if is_elsewhere { None } else { empty(target, &found, catalog) };
    found
}

/// How much of several catalogs was read together. `has_names`: repositories are known without them.
fn together(extents: &[ListExtent], has_names: bool) -> ListExtent {
    let has = |extent| extents.contains(&extent);
    if has(ListExtent::Cut) {
        ListExtent::Cut
    } else if extents.iter().all(|extent| *extent == ListExtent::Whole) {
        ListExtent::Whole
    } else if has(ListExtent::Partial) || has(ListExtent::Whole) || has_names {
        ListExtent::Partial
    } else {
        ListExtent::Unread
    }
}

/// One repository of a target, and why its list is incomplete. Reads the list if the target needs it.
pub async fn discover_repository(
    client: &Client,
    target: &Target,
    repository: Repository,
) -> (DiscoveredRepository, Option<DiscoveryError>) {
    let listed = list(client, target, repository).await;
    (listed.repository, listed.error)
}

/// Why a target selects nothing, if everything could be read.
fn empty(target: &Target, found: &Discovery, catalog: Option<usize>) -> Option<EmptySelection> {
    let repositories = &found.discovered.repositories;
    if !found.errors.is_empty() {
        return None;
    }
    match catalog {
        Some(listed) if repositories.is_empty() => {
            Some(EmptySelection::Repository { pattern: target.repositories.to_string(), listed })
        }
        // Tags configured by name are selected without a list, but no listed tag is.
        _ if target.selection.lists() && repositories.iter().all(|one| one.candidates.is_empty()) => {
            Some(EmptySelection::Tag { tags: found.lists.iter().sum(), repositories: repositories.len() })
        }
        _ => None,
    }
}

struct Listed {
    repository: DiscoveredRepository,
    error: Option<DiscoveryError>,
    /// The number of tags in the list; none where no list was read.
    tags: Option<usize>,
    not_versions: Vec<Tag>,
}

/// Says of each tag of a list why it is not selected, at debug.
struct DecisionLog<'a> {
    target: &'a Target,
    repository: Repository,
    left_out: usize,
}

impl DecisionLog<'_> {
    fn left_out(&mut self, tag: &Tag, why: NotSelected) {
        // One that the target names is read, listed or not.
        if self.target.selection.tags.contains(tag) {
            return;
        }
        self.left_out += 1;
        let (target, repository) = (&self.target.name, &self.repository);
        if self.left_out <= LOGGED_MAX {
            tracing::debug!(target_name = %target, %repository, %tag, %why, "tag not selected");
        } else if self.left_out == LOGGED_MAX + 1 {
            tracing::debug!(target_name = %target, %repository, "more tags are not selected, which are not logged");
        }
    }
}

/// One repository's tags; reads the list if the target needs it.
async fn list(client: &Client, target: &Target, repository: Repository) -> Listed {
    let mut tags = Vec::new();
    let mut error = None;
    let mut extent = ListExtent::Whole;
    let mut count = None;
    let mut log = DecisionLog { target, repository: repository.clone(), left_out: 0 };
    if let Some(listing) = &target.selection.listing {
        let mut not_versions = Vec::new();
        let mut selects = |tag: &Tag| {
            let verdict = listing.judge(tag);
            if let Err(why) = verdict {
                log.left_out(tag, why);
            }
            if verdict == Err(NotSelected::NotAVersion) && not_versions.len() < target.tags_max {
                not_versions.push(tag.clone());
            }
            verdict.is_ok()
        };
        count = Some(0);
        match client.list_tags(&repository, target.tags_max, &mut selects).await {
            Ok(list) => {
                count = Some(list.listed);
                tags = list.tags;
                tags.append(&mut not_versions);
                if list.stopped.is_some() {
                    extent = ListExtent::Partial;
                }
                error = list.stopped.map(DiscoveryError::from);
                if list.cut {
                    extent = ListExtent::Cut;
                    error = Some(DiscoveryError::TooManyTags { repository: repository.clone(), max: target.tags_max });
                }
            }
            // The registry reports that the repository does not exist. A catalog may still list a repository whose last
            // tag was just deleted.
            Err(failure) if failure.reason() == Reason::NotFound => {
                let literal = target.repositories.names().contains(&repository);
                error = literal.then(|| failure.into());
            }
            Err(failure) => {
                extent = ListExtent::Unread;
                error = Some(failure.into());
            }
        }
    }
    let selected = target.selection.select(&tags);
    for tag in selected.candidates.iter().filter(|tag| !selected.tags.contains(tag)) {
        log.left_out(tag, NotSelected::BeyondLimit);
    }
    let (tags, candidates) = (selected.tags, selected.candidates);
    Listed {
        repository: DiscoveredRepository { repository, tags, candidates, list: extent },
        error,
        tags: count,
        not_versions: selected.not_versions,
    }
}
