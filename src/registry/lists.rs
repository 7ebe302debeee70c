//! Tag lists and the catalog, page by page (distribution specification, "Content Discovery").
//!
//! What is missing from a complete list is taken to be deleted. So a list is complete only if its last page says so:
//! a `Link` that is not understood, or a page that brings nothing new, is an error.

mod page;
mod pages;

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use url::Url;

use super::auth::cache::Scope;
use super::client::Client;
use super::error::RegistryError;
use super::transport::body::PAGE_BYTES_MAX;
use super::transport::{Answer, Ask, Take, api_error, link, redirect};
use crate::oci::{Operation, Reason, Repository, Tag};
use page::Page;
use pages::{Judged, Pages};

/// Entries that a page is asked to have. Some registries refuse more, and some send only a hundred unless asked.
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
    /// Why the list ends early, if it does: a tag that it lacks may still exist.
    pub stopped: Option<RegistryError>,
    /// Whether more tags are selected than were asked for.
    pub cut: bool,
    /// Tags in the pages that were read, selected or not.
    pub listed: usize,
}

/// The repositories of a registry, as far as they could be read.
#[derive(Debug)]
pub struct RepositoryList {
    /// In the registry's order, each once.
    pub repositories: Vec<Repository>,
    /// Why the list ends early, if it does: a repository that it lacks may still exist.
    pub stopped: Option<RegistryError>,
    /// Whether the catalog has more repositories than are read.
    pub cut: bool,
}

/// Which list to read.
struct ListRequest<'a> {
    operation: Operation,
    scope: Scope<'a>,
    path: &'a str,
    /// What an error is about.
    what: &'a (dyn fmt::Display + Sync),
    /// At most so many entries are kept.
    max: usize,
}

/// A page, as errors call it.
struct PageName<'a> {
    list: &'a (dyn fmt::Display + Sync),
    number: usize,
    url: &'a Url,
    /// Of a host that the registry redirects to, only the host may be shown.
    elsewhere: bool,
}

impl Client {
    /// The tags of a repository that `selects` selects, at most `max`. It is asked page by page, so that a list may be
    /// much longer than what is kept of it.
    ///
    /// # Errors
    /// Only if the first page could not be read; later errors are in [`TagList::stopped`].
    pub async fn list_tags(
        &self,
        repository: &Repository,
        max: usize,
        selects: &mut (dyn FnMut(&Tag) -> bool + Send),
    ) -> Result<TagList, RegistryError> {
        let path = format!("/v2/{}/tags/list", repository.name());
        let list = ListRequest {
            operation: Operation::ListTags,
            scope: Scope::Repository(repository),
            path: &path,
            what: repository,
            max,
        };
        let mut listed = 0;
        let mut keep = |text: &str| {
            let tag = text.parse().ok().filter(Tag::is_for_people)?;
            listed += 1;
            selects(&tag).then_some(tag)
        };
        let Pages { kept: tags, stopped, cut, .. } = self.pages(&list, &mut keep).await?;
        Ok(TagList { tags, stopped, cut, listed })
    }

    /// The registry's catalog.
    ///
    /// # Errors
    /// Only if the first page could not be read; `Reason::Unsupported` where the registry has no catalog.
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
        let list = ListRequest {
            operation: Operation::ListRepositories,
            scope: Scope::Catalog,
            path: "/v2/_catalog",
            what: &what,
            max: REPOSITORIES_MAX,
        };
        let pages =
            self.pages(&list, &mut |text| Repository::new(registry.clone(), text).ok()).await.map_err(|error| {
                match error.reason() {
                    Reason::Unsupported => none("the registry has none"),
                    _ => error,
                }
            })?;
        Ok(RepositoryList { repositories: pages.kept, stopped: pages.stopped, cut: pages.cut })
    }

    /// Reads a list to its end, or to where it fails, and keeps what `keep` makes of its entries.
    async fn pages<T: Clone + Eq + Hash>(
        &self,
        list: &ListRequest<'_>,
        keep: &mut (dyn FnMut(&str) -> Option<T> + Send),
    ) -> Result<Pages<T>, RegistryError> {
        let mut pages = Pages::default();
        let mut answer = self.first_page(list).await?;
        loop {
            let link = link::next(answer.headers.get_all(header::LINK).iter().map(HeaderValue::as_bytes));
            let links_on = !matches!(link, Ok(None));
            let read = pages.read(&answer, links_on, list.max, keep).and_then(|()| link.map_err(not_understood));
            // Lists wait for their turn to ask for a page; what waits must not hold one.
            answer.body = Bytes::new();
            let target = match read {
                Ok(_) if pages.cut => {
                    self.failed(list.operation, Reason::Limit);
                    return Ok(pages);
                }
                Ok(None) => return Ok(pages),
                Ok(Some(target)) => target,
                Err(problem) => {
                    let page = self.page_name(list, pages.number, &answer.url);
                    let error = self.wrong(list.operation, &page, Reason::Invalid, problem);
                    // Without any page that is a list, nothing was read.
                    return if pages.fingerprints.is_empty() { Err(error) } else { Ok(pages.stop(error)) };
                }
            };
            if pages.number == PAGES_MAX {
                let problem = format!("it has more than {PAGES_MAX} pages");
                return Ok(pages.stop(self.wrong(list.operation, list.what, Reason::Limit, problem)));
            }
            answer = match self.next_page(list, &answer.url, target, &pages).await {
                Ok(answer) => answer,
                Err(error) => return Ok(pages.stop(error)),
            };
        }
    }

    /// The first page, with a page size if the registry accepts one.
    async fn first_page(&self, list: &ListRequest<'_>) -> Result<Answer, RegistryError> {
        let sized = !self.quirks.page_size_refused.load(Ordering::Relaxed);
        if sized {
            let url = self.url(format_args!("{}?n={PAGE_ENTRIES}", list.path));
            let ask = Ask::new(list.operation, Method::GET, url, list.what, Take::Whole(PAGE_BYTES_MAX));
            let answer = self.ask(list.scope, &ask).await?;
            if answer.status == StatusCode::OK {
                return Ok(answer);
            }
            if answer.status != StatusCode::BAD_REQUEST && !api_error::is_unsupported(&answer) {
                return Err(self.refuse_list(list, &ask, &answer));
            }
        }
        let url = self.url(format_args!("{}", list.path));
        let ask = Ask::new(list.operation, Method::GET, url, list.what, Take::Whole(PAGE_BYTES_MAX));
        let answer = self.ask(list.scope, &ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refuse_list(list, &ask, &answer));
        }
        if sized {
            self.quirks.page_size_refused.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// A catalog is optional, so 404 means that there is none, even from a proxy.
    fn refuse_list(&self, list: &ListRequest<'_>, ask: &Ask<'_>, answer: &Answer) -> RegistryError {
        if list.operation == Operation::ListRepositories && answer.status == StatusCode::NOT_FOUND {
            return self.wrong(list.operation, list.what, Reason::Unsupported, "the registry has none".to_owned());
        }
        self.refuse(ask, answer)
    }

    /// The page that the one at `from` links to.
    ///
    /// Behind a path of its own, Artifactory leaves that path out of the link, and Nexus puts its internal one in. The
    /// list's own path with the link's cursor leads on; failing that, the list without a page size is a single page.
    async fn next_page<T>(
        &self,
        list: &ListRequest<'_>,
        from: &Url,
        target: &str,
        pages: &Pages<T>,
    ) -> Result<Answer, RegistryError> {
        let Some(next) = on_the_same_host(from, target) else {
            let page = self.page_name(list, pages.number, from);
            return Err(self.wrong(list.operation, &page, Reason::Invalid, not_understood("it has no valid address")));
        };
        if next.path() == from.path() {
            return self.page(list, next, pages).await;
        }
        let quirks = &self.quirks;
        let has_cursor = next.query().is_some();
        let mut repaired = from.clone();
        repaired.set_query(next.query());
        let as_linked = (!has_cursor || !quirks.links_have_wrong_path.load(Ordering::Relaxed)).then_some((next, false));
        let mut refusal = None;
        for (url, is_repaired) in as_linked.into_iter().chain(has_cursor.then_some((repaired, true))) {
            match self.page(list, url, pages).await {
                Ok(answer) if !is_repaired => return Ok(answer),
                Ok(answer) => match pages.judge(&answer) {
                    Judged::LeadsOn => {
                        if !quirks.links_have_wrong_path.swap(true, Ordering::Relaxed) {
                            self.say_repaired("the list's own path is used");
                        }
                        return Ok(answer);
                    }
                    Judged::Ends => return Ok(answer),
                    // It ignores the cursor: the path was not what is wrong.
                    Judged::Repeats => {}
                },
                Err(error) if !may_be_wrong_address(&error) => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if !quirks.page_size_refused.load(Ordering::Relaxed) {
            let url = self.url(format_args!("{}", list.path));
            let whole = self.page(list, url, pages).await;
            let entries = |answer: &Answer| Page::read(&answer.body, &mut |_| {}).map_or(0, |page| page.entries);
            if let Some(answer) = whole.ok().filter(|answer| entries(answer) > pages.entries) {
                if !quirks.page_size_refused.swap(true, Ordering::Relaxed) {
                    self.say_repaired("lists are read without a page size");
                }
                return Ok(answer);
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let page = self.page_name(list, pages.number, from);
            let problem = "its `Link` leads to another path, and the list's own path brings nothing new".to_owned();
            self.wrong(list.operation, &page, Reason::Invalid, problem)
        }))
    }

    /// A page after the first, at `url`.
    async fn page<T>(&self, list: &ListRequest<'_>, url: Url, pages: &Pages<T>) -> Result<Answer, RegistryError> {
        let page = self.page_name(list, pages.number + 1, &url);
        if pages.addresses.contains(&url) {
            let problem = "its pages lead back to one that was read before".to_owned();
            return Err(self.wrong(list.operation, list.what, Reason::Invalid, problem));
        }
        let ask = Ask::new(list.operation, Method::GET, url.clone(), &page, Take::Whole(PAGE_BYTES_MAX));
        let answer = if page.elsewhere {
            // The registry redirected the list to another host, which gets no credentials.
            self.transport.send(&ask, None).await?
        } else {
            self.ask(list.scope, &ask).await?
        };
        let is_json = answer.body.trim_ascii_start().starts_with(b"{");
        let (reason, problem) = match api_error::reason(&answer) {
            _ if answer.status == StatusCode::OK && is_json => return Ok(answer),
            _ if answer.status == StatusCode::OK => (Reason::Invalid, "it is not a list".to_owned()),
            reason => {
                let (status, detail) = (api_error::status(answer.status), api_error::detail(&answer));
                // The repository exists: its first page was read.
                let reason = if reason == Reason::NotFound { Reason::Invalid } else { reason };
                (
                    reason,
                    format!("the page before links to it, and {} answers {status}{detail}", redirect::authority(&url)),
                )
            }
        };
        Err(self.wrong(list.operation, &page, reason, problem))
    }

    fn page_name<'a>(&self, list: &ListRequest<'a>, number: usize, url: &'a Url) -> PageName<'a> {
        let elsewhere = !redirect::shares_credentials(&self.transport.home, url);
        PageName { list: list.what, number, url, elsewhere }
    }

    /// Logs that the registry's links are repaired.
    fn say_repaired(&self, repair: &str) {
        let registry = &self.transport.registry;
        tracing::warn!(%registry, "the registry links to a wrong address for the next page of a list: {repair} instead");
    }
}

impl fmt::Display for PageName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.elsewhere { "" } else { self.url.path() };
        write!(f, "{}: page {} of the list ({}{path})", self.list, self.number, redirect::authority(self.url))
    }
}

/// Where a link leads, on the host of the page that has it. A link may name another host: behind a proxy a registry may
/// not know its own name. That is not followed, since credentials must go nowhere else.
fn on_the_same_host(from: &Url, target: &str) -> Option<Url> {
    let resolved = from.join(target).ok()?;
    let mut next = from.clone();
    // Not joined: a path that begins with `//` would name another host.
    next.set_path(resolved.path());
    next.set_query(resolved.query());
    Some(next)
}

/// Whether an error may come of an address that leads nowhere, and not of the registry's state.
fn may_be_wrong_address(error: &RegistryError) -> bool {
    matches!(error.reason(), Reason::Denied | Reason::Server | Reason::Invalid | Reason::Unsupported)
}

fn not_understood(problem: impl fmt::Display) -> String {
    format!("its `Link` header is not understood: {problem}")
}
