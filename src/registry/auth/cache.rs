//! Cached authorizations: which authentication scheme a registry uses, and the `Authorization` header for each
//! repository until it expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::credential::SourcedLogin;
use crate::oci::Repository;
use crate::registry::error::RegistryError;

/// With more repositories than this, entries without a valid authorization are dropped.
const ENTRIES_MAX: usize = 4096;

/// How long a login that was refused for a scope is not tried there before the others.
const REFUSED_FOR: Duration = Duration::from_hours(1);

/// What a request is for: one repository, or the registry's catalog.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    Repository(&'a Repository),
    Catalog,
}

/// The cached authorizations of one registry.
#[derive(Default)]
pub(crate) struct AuthorizationCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The scheme that a repository's challenge named last.
    repository_scheme: Option<Scheme>,
    /// By `Scope::name`.
    by_scope: HashMap<Arc<str>, Arc<ScopeEntry>>,
}

/// An authentication scheme (RFC 9110, section 11.1).
#[derive(Clone)]
pub(crate) enum Scheme {
    Basic,
    Bearer(Arc<TokenServer>),
}

/// Where tokens come from.
pub(crate) struct TokenServer {
    pub(crate) realm: Url,
    pub(crate) service: String,
}

/// What is cached for one scope.
#[derive(Default)]
pub(crate) struct ScopeEntry {
    authorization: Mutex<Option<Arc<Authorization>>>,
    challenged: Mutex<Challenged>,
    /// The fingerprints of logins that were refused while others were left to try, and when.
    refused: Mutex<Vec<(u64, Instant)>>,
    /// Single-flight: held while a new authorization is obtained, so that concurrent requests wait for it instead of
    /// asking too. Holds the token server's last failure.
    pub(crate) renewal: tokio::sync::Mutex<Option<(Instant, RegistryError)>>,
}

/// What the registry's last challenge asked for.
#[derive(Default)]
struct Challenged {
    scheme: Option<Scheme>,
    /// Token scopes beside the one of the request itself.
    scopes: Vec<String>,
}

/// An `Authorization` header and how long it is valid.
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// If the header is refused, cached helper answers up to this time are dropped.
    pub(crate) obtained: Instant,
    expires: Instant,
    /// Whether it is a token from a token server, which expires.
    pub(crate) is_token: bool,
    /// Where the credentials come from, for messages; `None` for anonymous tokens.
    pub(crate) source: Option<String>,
    /// The fingerprint of the login; `None` for anonymous tokens.
    pub(crate) login: Option<u64>,
    /// The registry refused it on first use: a newer one would be refused too.
    pub(crate) refused_when_new: AtomicBool,
}

impl<'a> Scope<'a> {
    /// The repository; `None` for the catalog.
    pub(crate) fn repository(self) -> Option<&'a Repository> {
        match self {
            Self::Repository(repository) => Some(repository),
            Self::Catalog => None,
        }
    }

    /// Unique among the scopes of one registry: the repository's name; empty for the catalog.
    pub(crate) fn name(self) -> &'a str {
        self.repository().map_or("", Repository::name)
    }

    /// The scope that a token must have (distribution project, "Token Scope Documentation").
    pub(crate) fn text(self) -> String {
        match self {
            Self::Repository(repository) => format!("repository:{}:pull", repository.name()),
            Self::Catalog => "registry:catalog:*".to_owned(),
        }
    }
}

impl AuthorizationCache {
    /// The entry for `scope`, and the scheme to use for it. A repository without a challenge of its own uses the scheme
    /// of the others; the catalog does not, because registries may protect it in another way (Harbor).
    pub(crate) fn entry(&self, scope: Scope<'_>) -> (Arc<ScopeEntry>, Option<Scheme>) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(scope.name());
        let own = entry.challenged.lock().scheme.clone();
        let scheme = own.or_else(|| entries.repository_scheme.clone().filter(|_| scope.repository().is_some()));
        (entry, scheme)
    }

    /// Stores the scheme of a challenge.
    pub(crate) fn set_scheme(&self, scope: Scope<'_>, entry: &ScopeEntry, scheme: Scheme) -> Scheme {
        entry.challenged.lock().scheme = Some(scheme.clone());
        if scope.repository().is_some() {
            self.entries.lock().repository_scheme = Some(scheme.clone());
        }
        scheme
    }
}

impl AuthorizationCache {
    /// Lets logins that were refused be tried again in their order.
    pub(crate) fn forget_refused(&self) {
        self.entries.lock().by_scope.values().for_each(|entry| entry.refused.lock().clear());
    }
}

impl Entries {
    fn entry(&mut self, name: &str) -> Arc<ScopeEntry> {
        if let Some(entry) = self.by_scope.get(name) {
            return Arc::clone(entry);
        }
        if self.by_scope.len() >= ENTRIES_MAX {
            self.by_scope.retain(|_, entry| entry.valid().is_some());
        }
        let entry = Arc::<ScopeEntry>::default();
        self.by_scope.insert(name.into(), Arc::clone(&entry));
        entry
    }
}

impl ScopeEntry {
    /// The cached authorization, unless it has expired.
    pub(crate) fn valid(&self) -> Option<Arc<Authorization>> {
        self.authorization.lock().as_ref().filter(|authorization| authorization.expires > Instant::now()).cloned()
    }

    /// Replaces the cached authorization.
    pub(crate) fn set(&self, authorization: Option<Arc<Authorization>>) {
        *self.authorization.lock() = authorization;
    }

    /// Notes that a login was refused, so that the next one is tried.
    pub(crate) fn note_refused(&self, login: u64) {
        let mut refused = self.refused.lock();
        refused.retain(|(other, at)| *other != login && at.elapsed() < REFUSED_FOR);
        refused.push((login, Instant::now()));
    }

    /// Whether a login was refused lately.
    pub(crate) fn is_refused(&self, login: u64) -> bool {
        self.refused.lock().iter().any(|(other, at)| *other == login && at.elapsed() < REFUSED_FOR)
    }

    /// The token scopes that the last challenge asked for, beside the request's own.
    pub(crate) fn challenged_scopes(&self) -> Vec<String> {
        self.challenged.lock().scopes.clone()
    }

    /// Stores them.
    pub(crate) fn set_challenged_scopes(&self, scopes: Vec<String>) {
        self.challenged.lock().scopes = scopes;
    }
}

impl Authorization {
    /// Whether it is a user and a password (RFC 7617).
    pub(crate) fn is_password(&self) -> bool {
        self.header.as_bytes().starts_with(b"Basic ")
    }

    /// Valid for `lifetime` from now on; `None` without a header.
    pub(crate) fn new(
        header: Option<HeaderValue>,
        lifetime: Duration,
        is_token: bool,
        login: Option<&SourcedLogin>,
    ) -> Option<Arc<Self>> {
        let obtained = Instant::now();
        Some(Arc::new(Self {
            header: header?,
            obtained,
            expires: obtained + lifetime,
            is_token,
            source: login.map(|login| login.source.clone()),
            login: login.map(|login| login.login.fingerprint()),
            refused_when_new: AtomicBool::new(false),
        }))
    }
}
