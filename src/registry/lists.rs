//! Tag lists and lists of repositories, page by page (distribution specification, "Content Discovery").
//!
//! What is missing from a complete list counts as deleted. So a list is complete only if its last page says so: a
//! malformed `Link`, or a page without new entries, is an error.

mod catalog;
pub(super) mod owner;
mod page;
mod pages;
mod repositories;

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
use crate::oci::{Operation, Reason, Repository, Tag};
use page::Page;
use pages::{Judged, PAGES_MAX, PageName, Pages, not_understood, on_the_same_host};

pub use repositories::RepositoryList;

/// The page size that is requested. Some registries refuse more, and some send only a hundred unless asked.
const PAGE_ENTRIES: u32 = 1000;

/// The tags of a repository, as far as they could be read.
#[derive(Debug)]
pub struct TagList {
    /// In the registry's order, each once. Digests that some registries list as tags are left out, and unless every tag
    /// was asked for, so are the `sha256-…` tags of signatures and other referrers.
    pub tags: Vec<Tag>,
    /// Why the list ends early, if it does: a tag that it lacks may still exist.
    pub stopped: Option<RegistryError>,
    /// Whether more tags are selected than were asked for.
    pub cut: bool,
    /// Tags in the pages that were read, selected or not.
    pub listed: usize,
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
        self.tags(repository, max, &mut |tag| tag.is_for_people(), selects).await
    }

    /// All tags of a repository, at most `max`: those of signatures and other referrers too.
    ///
    /// # Errors
    /// As [`Self::list_tags`].
    pub async fn list_every_tag(&self, repository: &Repository, max: usize) -> Result<TagList, RegistryError> {
        self.tags(repository, max, &mut |_| true, &mut |_| true).await
    }

    async fn tags(
        &self,
        repository: &Repository,
        max: usize,
        counts: &mut (dyn FnMut(&Tag) -> bool + Send),
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
            let tag = text.parse().ok().filter(&mut *counts)?;
            listed += 1;
            selects(&tag).then_some(tag)
        };
        let Pages { kept: tags, stopped, cut, .. } = self.pages(&list, &mut keep).await?;
        Ok(TagList { tags, stopped, cut, listed })
    }

    /// The tags on the first page of a repository's list, by one request, and whether that is all of them.
    pub async fn first_tags(&self, repository: &Repository) -> Result<(Vec<Tag>, bool), RegistryError> {
        let path = format!("/v2/{}/tags/list", repository.name());
        let list = ListRequest {
            operation: Operation::ListTags,
            scope: Scope::Repository(repository),
            path: &path,
            subject: repository,
            max: usize::MAX,
        };
        let answer = self.first_page(&list).await?;
        let links_on = answer.headers.contains_key(header::LINK);
        let mut pages = Pages::default();
        let read = pages.read(&answer, links_on, list.max, &mut |text| text.parse().ok().filter(Tag::is_for_people));
        read.map_err(|problem| self.wrong(list.operation, list.subject, Reason::Invalid, problem))?;
        Ok((pages.kept, !links_on))
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
                Ok(response) if !is_repaired => return Ok(response),
                Ok(response) => match pages.judge(&response) {
                    Judged::LeadsOn => {
                        if !quirks.wrong_link_paths.swap(true, Ordering::Relaxed) {
                            self.warn_repaired("the list's own path is used");
                        }
                        return Ok(response);
                    }
                    Judged::Ends => return Ok(response),
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
            let entries =
                |response: &Response| Page::read(&response.body, &mut |_, _| {}).map_or(0, |page| page.entries);
            if let Some(response) = whole.ok().filter(|response| entries(response) > pages.entries) {
                if !quirks.page_size_refused.swap(true, Ordering::Relaxed) {
                    self.warn_repaired("lists are read without a page size");
                }
                return Ok(response);
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let page = self.page_name(list, pages.number, from);
            let problem = "its `Link` leads to another path, and the list's own path brings nothing new".to_owned();
            self.wrong(list.operation, &page, Reason::Invalid, problem)
        }))
    }

    /// A page after the first, at `url`.
    async fn page<T>(&self, list: &ListRequest<'_>, url: Url, pages: &Pages<T>) -> Result<Response, RegistryError> {
        let page = self.page_name(list, pages.number + 1, &url);
        if pages.addresses.contains(&url) {
            let problem = "its pages link back to one that was already read".to_owned();
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
                    format!(
                        "the previous page links to it, and {} answers {status}{detail}",
                        redirect::authority(&url)
                    ),
                )
            }
        };
        Err(self.wrong(list.operation, &page, reason, problem))
    }

    fn page_name<'a>(&self, list: &ListRequest<'a>, number: usize, url: &'a Url) -> PageName<'a> {
        let other_host = !redirect::shares_credentials(&self.transport.home, url);
        PageName { list: list.subject, number, url, other_host }
    }

    /// Logs that the registry's links are wrong.
    fn warn_repaired(&self, repair: &str) {
        let registry = &self.transport.registry;
        tracing::warn!(%registry, "the registry's link to the next page of a list is wrong: {repair} instead");
    }
}

/// Whether the cause of an error may be a wrong address rather than the registry's state.
fn may_be_wrong_address(error: &RegistryError) -> bool {
    matches!(error.reason(), Reason::Denied | Reason::Server | Reason::Invalid | Reason::Unsupported)
}
