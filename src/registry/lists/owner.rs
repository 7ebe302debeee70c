//! The repositories of one owner (a namespace, an organisation, a group, a project), by the API of a service that has no
//! catalog, or shows it to administrators only.

mod advice;
mod api;

use std::collections::{HashMap, HashSet};

use http::{HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use rustls::RootCertStore;
use url::Url;

use self::api::{Entries, Listing};
use super::pages::{PAGES_MAX, not_understood, on_the_same_host};
use super::repositories::{REPOSITORIES_MAX, RepositoryList};

use crate::oci::{Operation, Reason, Registry, Repository};
use crate::registry::auth::{ApiSession, Session};
use crate::registry::counters::Counters;
use crate::registry::error::{self, RegistryError, SetupError};
use crate::registry::profile::Profile;
use crate::registry::settings::{ListApi, Settings};
use crate::registry::transport::body::PAGE_BYTES_MAX;
use crate::registry::transport::connect::Connections;
use crate::registry::transport::tls::Tls;
use crate::registry::transport::{ReadBody, Request, Response, Transport, api_error, link, redirect};

/// The API of one registry's owner, where it is what lists repositories.
pub(crate) struct OwnerApi {
    list: ListApi,
    /// To the API's host, with a pace and pauses of its own.
    transport: Transport,
    session: ApiSession,
    /// By prefix, which of its lists exists: once one was read, its absence is no reason to read another.
    existing: Mutex<HashMap<String, usize>>,
}

/// What was read of an owner's list.
#[derive(Default)]
struct OwnerList {
    names: Vec<String>,
    seen: HashSet<String>,
    /// Entries of all pages, repeated ones included.
    entries: u64,
    /// How many entries the first page says that there are.
    total: Option<u64>,
}

impl OwnerApi {
    /// `None` where the registry's catalog is asked.
    pub(crate) fn new(
        registry: &Registry,
        registry_home: &Url,
        profile: &Profile,
        system_roots: &RootCertStore,
        counters: &std::sync::Arc<Counters>,
    ) -> Result<Option<Self>, SetupError> {
        let Profile { settings, tls } = profile;
        let list = settings.list.unwrap_or_else(|| ListApi::by_host(registry));
        if list == ListApi::Catalog {
            return Ok(None);
        }
        let home = settings.api_url.clone().unwrap_or_else(|| list.default_url(registry_home));
        let owner = error::named(Some(registry));
        // The client certificate, and trust in any certificate, are for the registry's own host.
        let (settings, own_tls) = if redirect::is_own_host(registry_home, &home) {
            (settings.clone(), None)
        } else {
            let others = Settings { cert_file: None, key_file: None, insecure_skip_verify: false, ..settings.clone() };
            let tls = Tls::read(&owner, &others)?;
            (others, Some(tls))
        };
        let tls = own_tls.as_ref().unwrap_or(tls);
        let connections = Connections::new(&owner, &home, &settings, tls, system_roots)?;
        let trust_hint = tls.trust_hint(system_roots);
        Ok(Some(Self {
            list,
            session: ApiSession::new(list.scheme(), settings.api_token_file.clone()),
            // What this API says of limits is not about the registry.
            transport: Transport::new(registry.clone(), home, connections, &settings, counters.clone(), trust_hint)
                .without_gauges(),
            existing: Mutex::default(),
        }))
    }

    /// The repositories below `prefix`, the segments of a pattern before its first wildcard.
    pub(super) async fn list(&self, session: &Session, prefix: &[&str]) -> Result<RepositoryList, RegistryError> {
        let registry = &self.transport.registry;
        let Some(owner) = prefix.first() else {
            let problem = format!("{} lists the repositories of one {}", self.list.name(), self.list.owner());
            self.transport.failed(Operation::ListRepositories, Reason::Unsupported);
            let subject = format!("the repositories of {registry}");
            let error = RegistryError::new(Reason::Unsupported, subject, problem);
            return Err(error.followed_by(&format!("write `{registry}/{}/*`", self.list.owner().to_uppercase())));
        };
        let path = prefix.join("/");
        let existing = self.existing.lock().get(&path).copied();
        let mut refusal = None;
        for (number, listing) in api::listings(self.list, prefix).into_iter().enumerate() {
            if existing.is_some_and(|existing| existing != number) {
                continue;
            }
            match self.pages(session, &listing).await {
                Err(error) if error.reason() == Reason::NotFound => refusal = refusal.or(Some(error)),
                Err(error) => return Err(error),
                // The list of something larger, in which there is nothing of what was not found.
                Ok(list) if refusal.is_some() && !list.repositories.iter().any(|one| is_below(one.name(), &path)) => {}
                Ok(list) => {
                    self.existing.lock().insert(path, number);
                    return Ok(list);
                }
            }
        }
        self.failed(Reason::NotFound);
        Err(refusal.unwrap_or_else(|| self.error(owner, Reason::NotFound, "not found")))
    }

    /// One list to its end or to its first failure. A failure of the first page is an error.
    async fn pages(&self, session: &Session, listing: &Listing) -> Result<RepositoryList, RegistryError> {
        let mut list = OwnerList::default();
        let mut addresses = HashSet::new();
        let mut url = self.transport.home.join(&listing.first).map_err(|error| {
            self.failed(Reason::Invalid);
            self.error(&listing.owner, Reason::Invalid, error)
        })?;
        let stopped = loop {
            addresses.insert(url.clone());
            let page = match self.page(session, listing, &url, &mut list, addresses.len() == 1).await {
                Ok(next) => next,
                Err(error) if addresses.len() == 1 => return Err(error),
                Err(error) => break Some(error),
            };
            let Some(next) = page else { break None };
            let (reason, problem) = if addresses.contains(&next) {
                (Reason::Invalid, "its pages lead back to one that was already read".to_owned())
            } else if addresses.len() == PAGES_MAX {
                (Reason::Limit, format!("it has more than {PAGES_MAX} pages"))
            } else if list.names.len() > REPOSITORIES_MAX {
                break None;
            } else {
                url = next;
                continue;
            };
            self.failed(reason);
            break Some(self.error(&listing.owner, reason, problem));
        };
        let cut = list.names.len() > REPOSITORIES_MAX;
        if cut {
            self.failed(Reason::Limit);
        }
        list.names.truncate(REPOSITORIES_MAX);
        let registry = &self.transport.registry;
        let repositories = list.names.iter().filter_map(|name| Repository::new(registry.clone(), name).ok()).collect();
        Ok(RepositoryList { repositories, stopped, cut })
    }

    /// Adds one page to the list; returns the next one's address.
    async fn page(
        &self,
        session: &Session,
        listing: &Listing,
        url: &Url,
        list: &mut OwnerList,
        is_first: bool,
    ) -> Result<Option<Url>, RegistryError> {
        let subject = self.subject(&listing.owner);
        let read_body = ReadBody::Whole(PAGE_BYTES_MAX);
        let mut request = Request::new(Operation::ListRepositories, Method::GET, url.clone(), &subject, read_body);
        request.accept = Some("application/json");
        let response = self.session.send(session, &self.transport, &listing.owner, &request).await?;
        if response.status != StatusCode::OK {
            return Err(self.refused(&listing.owner, &response, is_first));
        }
        let wrong = |problem: String| {
            self.failed(Reason::Invalid);
            self.error(&listing.owner, Reason::Invalid, format!("a page of the list is invalid: {problem}"))
        };
        let entries = Entries::read(self.list, &listing.owner, &response.body).map_err(wrong)?;
        let total = entries.total.or_else(|| total(&response));
        list.entries += entries.count as u64;
        let before = list.names.len();
        for name in &entries.names {
            if list.seen.insert(name.clone()) {
                list.names.push(name.clone());
            }
        }
        let is_short = total.is_some_and(|total| list.entries < total);
        let next = self.next(url, &response, &entries, is_short).map_err(wrong)?;
        if next.is_some() && list.names.len() == before {
            return Err(wrong("it has nothing new and leads to another page".to_owned()));
        }
        // Pages are numbered: where the list changes meanwhile, an entry may slip from one page to one that was read.
        if list.total.or(total) != total {
            return Err(wrong("the list changed while it was read".to_owned()));
        }
        if next.is_none() && is_short {
            return Err(wrong("the list has more entries than its pages".to_owned()));
        }
        list.total = total;
        Ok(next)
    }

    /// The next page's address, as the body or `Link` says. GitHub leaves `Link` out at times, even where there are more
    /// entries, so that a full page is followed by the one with the next number, and so is one before the total is read.
    fn next(&self, from: &Url, response: &Response, entries: &Entries, is_short: bool) -> Result<Option<Url>, String> {
        if let Some(next) = &entries.next {
            return next.address(from).map(Some).ok_or_else(|| "the next page has no valid address".to_owned());
        }
        if !self.list.is_paged_by_number() {
            return Ok(None);
        }
        let link = link::next(response.headers.get_all(header::LINK).iter().map(HeaderValue::as_bytes));
        match link.map_err(not_understood)? {
            Some(target) => match on_the_same_host(from, target) {
                Some(next) => Ok(Some(next)),
                None => Err(not_understood("it has no valid address")),
            },
            None if entries.count >= api::PAGE_ENTRIES || is_short && entries.count > 0 => {
                Ok(Some(api::following(from)))
            }
            None => Ok(None),
        }
    }

    /// The error of an answer that is no page.
    fn refused(&self, owner: &str, response: &Response, is_first: bool) -> RegistryError {
        let host = redirect::authority(&response.url);
        let status = api_error::status(response.status);
        let detail = api_error::detail(response);
        let problem = format!("{host} answered {status}{detail}");
        // GitHub's limits: of requests an hour, and of requests in a short time.
        let is_limited =
            response.header("x-ratelimit-remaining") == Some("0") || response.header("retry-after").is_some();
        if response.status == StatusCode::FORBIDDEN && is_limited {
            self.failed(Reason::RateLimited);
            let error = self.error(owner, Reason::RateLimited, problem);
            return error.followed_by("the API's requests are used up: a token or a longer `interval` may help");
        }
        // Whether another list is to be tried is for the caller to say.
        if response.status == StatusCode::NOT_FOUND && is_first {
            return self.error(owner, Reason::NotFound, problem).followed_by(&advice::not_found(self.list));
        }
        let reason = match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
            // The owner exists: the first page was read.
            StatusCode::NOT_FOUND => Reason::Invalid,
            _ => Reason::Server,
        };
        self.failed(reason);
        let error = self.error(owner, reason, problem);
        if reason == Reason::Denied { error.followed_by(advice::denied(self.list)) } else { error }
    }

    fn failed(&self, reason: Reason) {
        self.transport.failed(Operation::ListRepositories, reason);
    }

    fn subject(&self, owner: &str) -> String {
        format!("the repositories of {}/{owner}", self.transport.registry)
    }

    fn error(&self, owner: &str, reason: Reason, problem: impl std::fmt::Display) -> RegistryError {
        RegistryError::new(reason, self.subject(owner), problem)
    }
}

/// Whether a repository is a prefix's, or has it for its own name.
fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How many entries the whole list has, where a header says it: Harbor's and GitLab's.
fn total(response: &Response) -> Option<u64> {
    ["x-total-count", "x-total"].into_iter().find_map(|name| response.header(name)?.trim().parse().ok())
}
