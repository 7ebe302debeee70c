//! From a target to the repositories and tags that it selects now.

use futures_util::{StreamExt as _, stream};

use crate::oci::{Reason, Registry, Repository, Tag};
use crate::registry::{Client, RegistryError};
use crate::tag::{Discovered, DiscoveredRepository, ListExtent};
use crate::target::{LeftOut, Repositories, Target};

/// Tag lists of one target that are read concurrently. The client bounds requests per registry; this bounds memory.
const LISTS_CONCURRENT: usize = 16;

/// Why discovery is incomplete. What it found is used nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A list could not be read, or not to its end.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// A list has more selected tags than are read.
    #[error(
        "{repository}: more than {max} tags are selected: the rest is not read, and the repository's newest release, tag count and sums, and the registry's sum, are withheld; narrow `match`, `exclude` or `semver`, or raise `tags_max`"
    )]
    TooManyTags {
        /// Whose list.
        repository: Repository,
        /// The limit.
        max: usize,
    },
    /// A catalog has more repositories than are read.
    #[error(
        "{0}: the catalog has more repositories than are read: the rest is left out; name the repositories one by one"
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

/// A target that selects nothing although all lists were read: most likely a mistake in the configuration, which would
/// otherwise look like success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// A wildcard that matches no repository.
    #[error("no repository of the registry's catalog ({listed}) matches `{pattern}`")]
    Repository {
        /// The wildcard, with its registry.
        pattern: String,
        /// How many repositories the catalog has.
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
        (_, 1) => format!("selects no tag of the {tags} that the repository has: look at {LOOK_AT}"),
        _ => format!("selects no tag of the {tags} that its {repositories} repositories have: look at {LOOK_AT}"),
    }
}

/// The keys that exclude listed tags.
const LOOK_AT: &str = "`match`, `exclude` and `semver`";

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
    pub nothing: Option<Nothing>,
}

/// Asks the registry what a target selects now. A target that only names tags of one repository costs no request.
pub async fn discover(client: &Client, target: &Target) -> Discovery {
    let mut found = Discovery::default();
    let mut catalog = None;
    let repositories = match &target.repositories {
        Repositories::One(repository) => {
            found.discovered.complete = true;
            vec![repository.clone()]
        }
        Repositories::Matching(pattern) => match client.list_repositories().await {
            Ok(list) => {
                found.discovered.complete = list.stopped.is_none() && !list.cut;
                found.errors.extend(list.stopped.map(DiscoveryError::from));
                if list.cut {
                    found.errors.push(DiscoveryError::TooManyRepositories(pattern.registry.clone()));
                }
                catalog = Some(list.repositories.len());
                list.repositories.into_iter().filter(|repository| pattern.matches(repository.name())).collect()
            }
            Err(error) => {
                found.errors.push(error.into());
                return found;
            }
        },
    };
    let lists = repositories.into_iter().map(|repository| list(client, target, repository));
    let mut lists = stream::iter(lists).buffered(LISTS_CONCURRENT);
    while let Some(listed) = lists.next().await {
        found.lists.extend(listed.tags);
        found.errors.extend(listed.error);
        let repository = &listed.repository.repository;
        found.not_versions.extend(listed.not_versions.into_iter().map(|tag| (repository.clone(), tag)));
        found.discovered.repositories.push(listed.repository);
    }
    found.nothing = nothing(target, &found, catalog);
    found
}

/// Why a target selects nothing, if everything could be read.
fn nothing(target: &Target, found: &Discovery, catalog: Option<usize>) -> Option<Nothing> {
    let repositories = &found.discovered.repositories;
    if !found.errors.is_empty() {
        return None;
    }
    match catalog {
        Some(listed) if repositories.is_empty() => {
            Some(Nothing::Repository { pattern: target.repositories.to_string(), listed })
        }
        // Tags configured by name are selected without a list; none of the listed ones is.
        _ if target.selection.lists() && repositories.iter().all(|one| one.candidates.is_empty()) => {
            Some(Nothing::Tag { tags: found.lists.iter().sum(), repositories: repositories.len() })
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

/// One repository's tags, as far as the target needs a list.
async fn list(client: &Client, target: &Target, repository: Repository) -> Listed {
    let mut tags = Vec::new();
    let mut error = None;
    let mut extent = ListExtent::Whole;
    let mut count = None;
    if let Some(listing) = &target.selection.listing {
        let mut not_versions = Vec::new();
        let mut selects = |tag: &Tag| {
            let judged = listing.judge(tag);
            if judged == Err(LeftOut::NotAVersion) && not_versions.len() < target.tags_max {
                not_versions.push(tag.clone());
            }
            judged.is_ok()
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
            // The registry says that the repository does not exist. A catalog may still name a repository whose last
            // tag was just deleted.
            Err(failure) if failure.reason() == Reason::NotFound => {
                let literal = matches!(target.repositories, Repositories::One(_));
                error = literal.then(|| failure.into());
            }
            Err(failure) => {
                extent = ListExtent::Unread;
                error = Some(failure.into());
            }
        }
    }
    let selected = target.selection.select(&tags);
    let (tags, candidates) = (selected.tags, selected.candidates);
    Listed {
        repository: DiscoveredRepository { repository, tags, candidates, list: extent },
        error,
        tags: count,
        not_versions: selected.not_versions,
    }
}
