//! What is remembered of authentication: how a registry wants to be asked, and what may be sent for each repository.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use url::Url;

use crate::oci::Repository;
use crate::registry::error::RegistryError;

/// More repositories than this, and what was kept for those with an expired token is dropped.
const SLOTS_MAX: usize = 4096;

/// What a request is for: one repository, or the registry's catalog.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    Repository(&'a Repository),
    Catalog,
}

/// What is remembered of one registry.
#[derive(Default)]
pub(crate) struct Grants {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How repositories are asked for, once one has been.
    scheme: Option<Scheme>,
    /// By the repository's name; empty for the catalog.
    slots: HashMap<Arc<str>, Arc<Slot>>,
}

/// How a registry wants to be asked.
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

/// What is known for one repository.
#[derive(Default)]
pub(crate) struct Slot {
    grant: Mutex<Option<Arc<Grant>>>,
    wants: Mutex<Wants>,
    /// Held while a new grant is obtained: others wait for it instead of asking too. Holds the token server's last
    /// failure.
    pub(crate) turn: tokio::sync::Mutex<Option<(Instant, RegistryError)>>,
}

/// How, and for what beyond what is asked of its own accord, a token is wanted here.
#[derive(Clone, Default)]
pub(crate) struct Wants {
    pub(crate) scheme: Option<Scheme>,
    pub(crate) scopes: Vec<String>,
}

/// A header to send, and how long.
pub(crate) struct Grant {
    /// The `Authorization` header.
    pub(crate) header: HeaderValue,
    /// When it was made: what was known then may be forgotten when it is refused.
    pub(crate) made: Instant,
    until: Instant,
    /// Whether it is a token from a token server, which expires.
    pub(crate) is_token: bool,
    /// Whose it is, in words; `None` for anonymous tokens.
    pub(crate) source: Option<String>,
    /// Refused when it was new: the registry means it, and a newer one would not help.
    pub(crate) refused: AtomicBool,
}

impl<'a> Scope<'a> {
    /// The repository; `None` for the catalog.
    pub(crate) fn repository(self) -> Option<&'a Repository> {
        match self {
            Self::Repository(repository) => Some(repository),
            Self::Catalog => None,
        }
    }

    /// What tells it from other scopes of the same registry: the repository's name; empty for the catalog.
    pub(crate) fn name(self) -> &'a str {
        self.repository().map_or("", Repository::name)
    }

    /// What a token must allow (distribution project, "Token Scope Documentation").
    pub(crate) fn text(self) -> String {
        match self {
            Self::Repository(repository) => format!("repository:{}:pull", repository.name()),
            Self::Catalog => "registry:catalog:*".to_owned(),
        }
    }
}

impl Grants {
    /// What is known for `scope`, and how it is asked for. The catalog is often asked for in another way than
    /// repositories (Harbor): what holds for these says nothing about it.
    pub(crate) fn of(&self, scope: Scope<'_>) -> (Arc<Slot>, Option<Scheme>) {
        let mut state = self.state.lock();
        let slot = state.slot(scope.name());
        let own = slot.wants.lock().scheme.clone();
        let scheme = own.or_else(|| state.scheme.clone().filter(|_| scope.repository().is_some()));
        (slot, scheme)
    }

    /// Remembers how `scope` is asked for.
    pub(crate) fn learn(&self, scope: Scope<'_>, slot: &Slot, scheme: Scheme) -> Scheme {
        slot.wants.lock().scheme = Some(scheme.clone());
        if scope.repository().is_some() {
            self.state.lock().scheme = Some(scheme.clone());
        }
        scheme
    }
}

impl State {
    fn slot(&mut self, name: &str) -> Arc<Slot> {
        if let Some(slot) = self.slots.get(name) {
            return Arc::clone(slot);
        }
        if self.slots.len() >= SLOTS_MAX {
            self.slots.retain(|_, slot| slot.current().is_some());
        }
        let slot = Arc::<Slot>::default();
        self.slots.insert(name.into(), Arc::clone(&slot));
        slot
    }
}

impl Slot {
    /// What may be sent now.
    pub(crate) fn current(&self) -> Option<Arc<Grant>> {
        self.grant.lock().as_ref().filter(|grant| grant.until > Instant::now()).cloned()
    }

    /// Remembers what may be sent.
    pub(crate) fn keep(&self, grant: Option<Arc<Grant>>) {
        *self.grant.lock() = grant;
    }

    /// What the registry wants here.
    pub(crate) fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock()
    }
}

impl Grant {
    /// Whether it is a user and a password (RFC 7617).
    pub(crate) fn is_password(&self) -> bool {
        self.header.as_bytes().starts_with(b"Basic ")
    }

    /// `None` where there is no header.
    pub(crate) fn new(
        header: Option<HeaderValue>,
        usable: Duration,
        is_token: bool,
        source: Option<String>,
    ) -> Option<Arc<Self>> {
        let made = Instant::now();
        Some(Arc::new(Self {
            header: header?,
            made,
            until: made + usable,
            is_token,
            source,
            refused: AtomicBool::new(false),
        }))
    }
}
