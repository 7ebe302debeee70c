//! Tag lists and the catalog, page by page (distribution specification, "Content Discovery").
//!
//! What is missing from a complete list counts as deleted. So a list is complete only if its last page says so: a
//! malformed `Link`, or a page without new entries, is an error.

mod page;

use std::collections::HashSet;
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
use super::transport::{ReadBody, Request, Response, api_error, link, redirect};
use crate::oci::json::problem as json_problem;
use crate::oci::{Operation, Reason, Repository, Tag};
use page::Page;

/// The page size that is requested. Some registries refuse more, and some send only a hundred unless asked.
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
    subject: &'a (dyn fmt::Display + Sync),
    /// At most so many entries are kept.
    max: usize,
}

/// The kept entries of a list, and how far it was read.
struct Pages<T> {
    kept: Vec<T>,
    seen: HashSet<T>,
    /// The number of the last page read.
    number: usize,
    /// Entries of all pages so far.
    entries: usize,
    fingerprints: HashSet<u64>,
    addresses: HashSet<Url>,
    stopped: Option<RegistryError>,
    cut: bool,
}

/// A page, as errors call it.
struct PageName<'a> {
    list: &'a (dyn fmt::Display + Sync),
    number: usize,
    url: &'a Url,
    /// Of a host that the registry redirects to, only the host may be shown.
    other_host: bool,
}

impl Client {
    /// The tags of a repository that `selects` accepts, at most `max`. It is called while pages arrive, so that a list
    /// may be much longer than what is kept of it.
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
            subject: repository,
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
        let subject = format!("the catalog of {registry}");
        let none = |problem: &str| {
            let problem = format!("{problem}; name the repositories one by one instead of by a wildcard");
            RegistryError::new(Reason::Unsupported, &subject, problem)
        };
        if registry.is_docker_hub() {
            return Err(none("Docker Hub has none"));
        }
        let list = ListRequest {
            operation: Operation::ListRepositories,
            scope: Scope::Catalog,
            path: "/v2/_catalog",
            subject: &subject,
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

    /// Reads a list to its end or to its first failure, and keeps what `keep` returns for its entries.
    async fn pages<T: Clone + Eq + Hash>(
        &self,
        list: &ListRequest<'_>,
        keep: &mut (dyn FnMut(&str) -> Option<T> + Send),
    ) -> Result<Pages<T>, RegistryError> {
        let mut pages = Pages::default();
        let mut response = self.first_page(list).await?;
        loop {
            let link = link::next(response.headers.get_all(header::LINK).iter().map(HeaderValue::as_bytes));
            let links_on = !matches!(link, Ok(None));
            let read = pages.read(&response, links_on, list.max, keep).and_then(|()| link.map_err(not_understood));
            // A list may wait for permission to request the next page: it must not hold the last one in memory
            // meanwhile.
            response.body = Bytes::new();
            let target = match read {
                Ok(_) if pages.cut => {
                    self.failed(list.operation, Reason::Limit);
                    return Ok(pages);
                }
                Ok(None) => return Ok(pages),
                Ok(Some(target)) => target,
                Err(problem) => {
                    let page = self.page_name(list, pages.number, &response.url);
                    let error = self.wrong(list.operation, &page, Reason::Invalid, problem);
                    // No page was a list, so nothing was read.
                    return if pages.fingerprints.is_empty() { Err(error) } else { Ok(pages.stop(error)) };
                }
            };
            if pages.number == PAGES_MAX {
                let problem = format!("it has more than {PAGES_MAX} pages");
                return Ok(pages.stop(self.wrong(list.operation, list.subject, Reason::Limit, problem)));
            }
            response = match self.next_page(list, &response.url, target, &pages).await {
                Ok(response) => response,
                Err(error) => return Ok(pages.stop(error)),
            };
        }
    }

    /// The first page, with a page size if the registry accepts one.
    async fn first_page(&self, list: &ListRequest<'_>) -> Result<Response, RegistryError> {
        let sized = !self.quirks.page_size_refused.load(Ordering::Relaxed);
        if sized {
            let url = self.url(format_args!("{}?n={PAGE_ENTRIES}", list.path));
            let request = Request::new(list.operation, Method::GET, url, list.subject, ReadBody::Whole(PAGE_BYTES_MAX));
            let response = self.send(list.scope, &request).await?;
            if response.status == StatusCode::OK {
                return Ok(response);
            }
            if response.status != StatusCode::BAD_REQUEST && !api_error::is_unsupported(&response) {
                return Err(self.refuse_list(list, &request, &response));
            }
        }
        let url = self.url(format_args!("{}", list.path));
        let request = Request::new(list.operation, Method::GET, url, list.subject, ReadBody::Whole(PAGE_BYTES_MAX));
        let response = self.send(list.scope, &request).await?;
        if response.status != StatusCode::OK {
            return Err(self.refuse_list(list, &request, &response));
        }
        if sized {
            self.quirks.page_size_refused.store(true, Ordering::Relaxed);
        }
        Ok(response)
    }

    /// A catalog is optional, so 404 means that there is none, even from a proxy.
    fn refuse_list(&self, list: &ListRequest<'_>, request: &Request<'_>, response: &Response) -> RegistryError {
        if list.operation == Operation::ListRepositories && response.status == StatusCode::NOT_FOUND {
            return self.wrong(list.operation, list.subject, Reason::Unsupported, "the registry has none".to_owned());
        }
        self.refuse(request, response)
    }

    /// The page that the one at `from` links to.
    ///
    /// Behind a path of its own, Artifactory leaves that path out of the link, and Nexus puts in an internal one. The
    /// list's own path with the link's cursor is tried then; if that fails too, the list without a page size, which is
    /// a single page.
    async fn next_page<T>(
        &self,
        list: &ListRequest<'_>,
        from: &Url,
        target: &str,
        pages: &Pages<T>,
    ) -> Result<Response, RegistryError> {
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
        let as_linked = (!has_cursor || !quirks.wrong_link_paths.load(Ordering::Relaxed)).then_some((next, false));
        let mut refusal = None;
        for (url, is_repaired) in as_linked.into_iter().chain(has_cursor.then_some((repaired, true))) {
            match self.page(list, url, pages).await {
                Ok(response) => {
                    if is_repaired {
                        self.warn_repaired("the list's own path is used");
                    }
                    return Ok(response);
                }
                Err(error) if !may_be_wrong_address(&error) => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if !quirks.page_size_refused.load(Ordering::Relaxed) {
            let url = self.url(format_args!("{}", list.path));
            let whole = self.page(list, url, pages).await;
            let entries = |response: &Response| Page::read(&response.body, &mut |_| {}).map_or(0, |page| page.entries);
            if let Some(response) = whole.ok().filter(|response| entries(response) > pages.entries) {
                quirks.page_size_refused.store(true, Ordering::Relaxed);
                self.warn_repaired("lists are read without a page size");
                return Ok(response);
            }
        }
        Err(refusal.expect("one of the two addresses was refused"))
    }

    /// A page after the first, at `url`.
    async fn page<T>(&self, list: &ListRequest<'_>, url: Url, pages: &Pages<T>) -> Result<Response, RegistryError> {
        let page = self.page_name(list, pages.number + 1, &url);
        if pages.addresses.contains(&url) {
            let problem = "its pages lead back to one that was read before".to_owned();
            return Err(self.wrong(list.operation, list.subject, Reason::Invalid, problem));
        }
        let request = Request::new(list.operation, Method::GET, url.clone(), &page, ReadBody::Whole(PAGE_BYTES_MAX));
        let response = if page.other_host {
            // The registry redirected the list to another host, which gets no credentials.
            self.transport.send(&request, None).await?
        } else {
            self.send(list.scope, &request).await?
        };
        let is_json = response.body.trim_ascii_start().starts_with(b"{");
        let (reason, problem) = match api_error::reason(&response) {
            _ if response.status == StatusCode::OK && is_json => return Ok(response),
            _ if response.status == StatusCode::OK => (Reason::Invalid, "it is not a list".to_owned()),
            reason => {
                let (status, detail) = (api_error::status(response.status), api_error::detail(&response));
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
        let other_host = !redirect::shares_credentials(&self.transport.home, url);
        PageName { list: list.subject, number, url, other_host }
    }

    /// Logs once for each registry that its links are wrong.
    fn warn_repaired(&self, repair: &str) {
        if !self.quirks.wrong_link_paths.swap(true, Ordering::Relaxed) {
            let registry = &self.transport.registry;
            tracing::warn!(%registry, "the registry links to a wrong address for the next page of a list: {repair} instead");
        }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            seen: HashSet::new(),
            number: 0,
            entries: 0,
            fingerprints: HashSet::new(),
            addresses: HashSet::new(),
            stopped: None,
            cut: false,
        }
    }
}

impl<T: Clone + Eq + Hash> Pages<T> {
    /// Adds a page. Errors say what is wrong with it.
    fn read(
        &mut self,
        response: &Response,
        links_on: bool,
        max: usize,
        keep: &mut (dyn FnMut(&str) -> Option<T> + Send),
    ) -> Result<(), String> {
        self.number += 1;
        self.addresses.insert(response.url.clone());
        let before = self.kept.len();
        let Self { kept, seen, cut, .. } = self;
        let read = Page::read(&response.body, &mut |text| {
            let Some(entry) = keep(text).filter(|entry| !seen.contains(entry)) else { return };
            if kept.len() == max {
                *cut = true;
            } else {
                seen.insert(entry.clone());
                kept.push(entry);
            }
        });
        let page = read.map_err(|error| {
            self.kept.truncate(before);
            self.cut = false;
            format!("it is not a list ({})", json_problem(&error))
        })?;
        self.entries += page.entries;
        let is_new = self.fingerprints.insert(page.fingerprint);
        if page.entries == 0 && links_on {
            return Err("it is empty and links to another page".to_owned());
        }
        if page.entries > 0 && !is_new {
            return Err("it brings nothing new: its entries are those of a page before".to_owned());
        }
        Ok(())
    }

    /// Ends early, with what was read so far.
    fn stop(mut self, error: RegistryError) -> Self {
        self.stopped = Some(error);
        self
    }
}

impl fmt::Display for PageName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.other_host { "" } else { self.url.path() };
        write!(f, "{}: page {} of the list ({}{path})", self.list, self.number, redirect::authority(self.url))
    }
}

/// Resolves a link on the host of its page. A link may name another host, since behind a proxy a registry may not know
/// its own name; that host is ignored, since credentials must go nowhere else.
fn on_the_same_host(from: &Url, target: &str) -> Option<Url> {
    let resolved = from.join(target).ok()?;
    let mut next = from.clone();
    // Not by `join`: a path that begins with `//` would name another host.
    next.set_path(resolved.path());
    next.set_query(resolved.query());
    Some(next)
}

/// Whether the cause of an error may be a wrong address rather than the registry's state.
fn may_be_wrong_address(error: &RegistryError) -> bool {
    matches!(error.reason(), Reason::Denied | Reason::Server | Reason::Invalid | Reason::Unsupported)
}

fn not_understood(problem: impl fmt::Display) -> String {
    format!("its `Link` header is not understood: {problem}")
}
