//! Tag lists and the catalog, page by page (distribution specification, "Content Discovery").

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use http::{Method, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::auth::cache::Scope;
use super::client::Client;
use super::error::RegistryError;
use super::transport::body::PAGE_BYTES_MAX;
use super::transport::{Answer, Ask, Take, api_error, link};
use crate::oci::json::problem as json_problem;
use crate::oci::{Operation, Reason, Repository, Tag};

/// Entries that a page is asked to have. More is refused by some, and without a number some give a hundred.
const PAGE_ENTRIES: u32 = 1000;
/// Pages of one list.
const PAGES_MAX: usize = 1000;
/// Repositories of one catalog.
const REPOSITORIES_MAX: usize = 100_000;

/// The tags of a repository, as far as they could be read.
#[derive(Debug)]
pub struct TagList {
    /// In the registry's order, each once. Digests that some registries list as tags are left out, and so are the
    /// `sha256-…` tags of signatures and other referrers.
    pub tags: Vec<Tag>,
    /// Why the list ends early, if it does: what is missing from it is not known to be gone.
    pub stopped: Option<RegistryError>,
    /// Whether there are more tags than were asked for.
    pub cut: bool,
}

/// The repositories of a registry, as far as they could be read.
#[derive(Debug)]
pub struct RepositoryList {
    /// In the registry's order, each once.
    pub repositories: Vec<Repository>,
    /// Why the list ends early, if it does: what is missing from it is not known to be gone.
    pub stopped: Option<RegistryError>,
    /// Whether the catalog has more than this program reads.
    pub cut: bool,
}

/// A page of either list. `null` stands for an empty list, and in one; without the list it is no page, as what is
/// missing from a list is taken to be gone.
#[derive(Deserialize)]
struct Page {
    // Named, as serde takes a missing option for `None` otherwise.
    #[serde(alias = "repositories", deserialize_with = "Option::deserialize")]
    tags: Option<Vec<Option<String>>>,
}

/// The texts of a list, read to its end or to where it failed.
struct Pages {
    texts: Vec<String>,
    stopped: Option<RegistryError>,
    cut: bool,
}

impl Client {
    /// The tags of a repository, at most `max`. An error only where not even the first page could be read.
    pub async fn list_tags(&self, repository: &Repository, max: usize) -> Result<TagList, RegistryError> {
        let path = format!("/v2/{}/tags/list", repository.name());
        let scope = Scope::Repository(repository);
        let pages = self.pages(Operation::ListTags, scope, &path, repository, max, is_listed).await?;
        let tags = pages.texts.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(TagList { tags, stopped: pages.stopped, cut: pages.cut })
    }

    /// The registry's catalog, where it has one; `Reason::Unsupported` where it has none.
    pub async fn list_repositories(&self) -> Result<RepositoryList, RegistryError> {
        let registry = &self.transport.registry;
        let what = format!("the catalog of {registry}");
        let none = |problem: &str| {
            let problem = format!("{problem}; name the repositories one by one instead of by a wildcard");
            RegistryError::new(Reason::Unsupported, &what, problem)
        };
        if registry.is_docker_hub() {
            return Err(none("Docker Hub has none"));
        }
        let repository = |text: &str| Repository::new(registry.clone(), text).ok();
        let pages = self
            .pages(Operation::ListRepositories, Scope::Catalog, "/v2/_catalog", &what, REPOSITORIES_MAX, |text| {
                repository(text).is_some()
            })
            .await
            .map_err(|error| match error.reason() {
                Reason::NotFound | Reason::Unsupported => none("the registry has none"),
                _ => error,
            })?;
        let repositories = pages.texts.iter().filter_map(|text| repository(text)).collect();
        Ok(RepositoryList { repositories, stopped: pages.stopped, cut: pages.cut })
    }

    async fn pages(
        &self,
        operation: Operation,
        scope: Scope<'_>,
        path: &str,
        what: &(dyn std::fmt::Display + Sync),
        max: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Pages, RegistryError> {
        let mut pages = Pages { texts: Vec::new(), stopped: None, cut: false };
        let mut seen = HashSet::new();
        let mut visited = HashSet::new();
        let mut answer = self.first_page(operation, scope, path, what).await?;
        loop {
            let page: Page = match serde_json::from_slice(&answer.body) {
                Ok(page) => page,
                Err(error) => {
                    let problem = format!("page {} is not a list ({})", visited.len() + 1, json_problem(&error));
                    return pages.stop(self.wrong(operation, what, Reason::Invalid, problem), visited.is_empty());
                }
            };
            for text in page.tags.into_iter().flatten().flatten().filter(|text| is_wanted(text)) {
                if seen.contains(&text) {
                    continue;
                }
                if pages.texts.len() == max {
                    pages.cut = true;
                    self.failed(operation, Reason::Limit);
                    return Ok(pages);
                }
                seen.insert(text.clone());
                pages.texts.push(text);
            }
            let Some(next) = next_page(&self.transport.home, &answer) else { return Ok(pages) };
            if !visited.insert(answer.url.clone()) || visited.contains(&next) {
                let problem = "its pages lead back to one that was read before".to_owned();
                return pages.stop(self.wrong(operation, what, Reason::Invalid, problem), false);
            }
            if visited.len() == PAGES_MAX {
                let problem = format!("it has more than {PAGES_MAX} pages");
                return pages.stop(self.wrong(operation, what, Reason::Limit, problem), false);
            }
            let ask = Ask::new(operation, Method::GET, next, what, Take::Whole(PAGE_BYTES_MAX));
            answer = match self.ask(scope, &ask).await {
                Ok(answer) if answer.status == StatusCode::OK => answer,
                Ok(answer) => return pages.stop(self.refuse(&ask, &answer), false),
                Err(error) => return pages.stop(error, false),
            };
        }
    }

    /// The first page, with a page size if the registry takes one.
    async fn first_page(
        &self,
        operation: Operation,
        scope: Scope<'_>,
        path: &str,
        what: &(dyn std::fmt::Display + Sync),
    ) -> Result<Answer, RegistryError> {
        let sized = !self.page_size_refused.load(Ordering::Relaxed);
        if sized {
            let url = self.url(format_args!("{path}?n={PAGE_ENTRIES}"));
            let ask = Ask::new(operation, Method::GET, url, what, Take::Whole(PAGE_BYTES_MAX));
            let answer = self.ask(scope, &ask).await?;
            if answer.status == StatusCode::OK {
                return Ok(answer);
            }
            if answer.status != StatusCode::BAD_REQUEST && !api_error::is_unsupported(&answer) {
                return Err(self.refuse(&ask, &answer));
            }
        }
        let ask = Ask::new(operation, Method::GET, self.url(format_args!("{path}")), what, Take::Whole(PAGE_BYTES_MAX));
        let answer = self.ask(scope, &ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refuse(&ask, &answer));
        }
        if sized {
            self.page_size_refused.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }
}

impl Pages {
    /// Ends early: with what there is, or with nothing but the error where there is nothing at all.
    fn stop(mut self, error: RegistryError, at_first: bool) -> Result<Self, RegistryError> {
        if at_first {
            return Err(error);
        }
        self.stopped = Some(error);
        Ok(self)
    }
}

/// Where the next page is. Only the path and query of what the registry says are followed: behind a proxy it may not
/// know its own name, and its credentials go nowhere else.
fn next_page(home: &Url, answer: &Answer) -> Option<Url> {
    let links = answer.headers.get_all(header::LINK);
    let target = link::next(links.iter().filter_map(|value| value.to_str().ok()))?;
    let resolved = answer.url.join(target).ok()?;
    // Set, which leaves the host alone, and not joined: a path that begins with `//` would name another one.
    let mut next = home.clone();
    next.set_path(resolved.path());
    next.set_query(resolved.query());
    Some(next)
}

/// Whether a listed text is a tag that people gave: not a digest, nor what clients keep under tags.
fn is_listed(text: &str) -> bool {
    text.parse::<Tag>().is_ok_and(|tag| tag.is_for_people())
}
