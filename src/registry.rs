//! The distribution specification's verbs, and one concern of speaking to a registry a file.
//!
//! What an answer means for sizes is not decided here: bytes, digests and lists go out, checked. A request that
//! fails says what was asked, of whom, and what a person can do about it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderValue, Method};
use rustls::RootCertStore;
use url::Url;

use crate::metrics::Telemetry;
use crate::oci::{Digest, Operation, Reason, Registry, Repository, Tag};

pub mod settings;

pub mod manifests;

pub mod blobs;

pub mod lists;

mod referrers;

pub mod error;

mod auth;

mod transport;

mod profile;

mod quirks;

pub use blobs::BlobStream;
pub use error::{RegistryError, SetupError};
pub use lists::{RepositoryList, TagList};
pub use manifests::{Fetched, Head};
pub use settings::{Credential, Settings};
pub use transport::tls::check_files;

use auth::Auth;
use auth::cache::Scope;
use profile::{Profile, Profiles};
use quirks::Quirks;
use transport::{Answer, Ask, Take, Transport};
use transport::{api_error, connect, redirect, tls};

/// All registries: one client each, made when it is first needed.
pub struct Registries {
    profiles: Profiles,
    system_roots: Arc<RootCertStore>,
    telemetry: Arc<Telemetry>,
    clients: Mutex<BTreeMap<Registry, Arc<Client>>>,
}

/// One registry. Keeps its connections, tokens, and what it learnt of the registry's profiles.
pub struct Client {
    transport: Transport,
    auth: Auth,
    reserve: u64,
    quirks: Quirks,
    /// Whether it may have the referrers API.
    referrers: AtomicBool,
}

/// What of a repository is asked for.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// What the tag points at now.
    Tag(&'a Tag),
    /// Content that never changes.
    Digest(&'a Digest),
}

impl Registries {
    /// Reads and checks the files that the settings name.
    pub fn new(
        settings: BTreeMap<Registry, Settings>,
        defaults: Settings,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, SetupError> {
        Self::with(Profiles::read(settings, defaults)?, tls::system_roots(), telemetry, BTreeMap::new())
    }

    /// The same with other settings, or none where nothing is spoken otherwise. The client of a registry that is spoken
    /// to as before goes on, with all that it learnt: tokens, how long the registry is to be left alone, its profiles.
    pub fn renewed(
        &self,
        settings: BTreeMap<Registry, Settings>,
        defaults: Settings,
    ) -> Result<Option<Self>, SetupError> {
        let profiles = Profiles::read(settings, defaults)?;
        if profiles == self.profiles {
            return Ok(None);
        }
        let mut clients = self.clients.lock().clone();
        clients.retain(|registry, _| profiles.to(registry) == self.profiles.to(registry));
        Self::with(profiles, Arc::clone(&self.system_roots), Arc::clone(&self.telemetry), clients).map(Some)
    }

    /// Lets passwords be tried again at once that rest since they were refused.
    pub fn forgive_passwords(&self) {
        self.clients.lock().values().for_each(|client| client.auth.forgive());
    }

    fn with(
        profiles: Profiles,
        system_roots: Arc<RootCertStore>,
        telemetry: Arc<Telemetry>,
        mut clients: BTreeMap<Registry, Arc<Client>>,
    ) -> Result<Self, SetupError> {
        for (registry, profile) in &profiles.configured {
            if !clients.contains_key(registry) {
                let client = Client::new(registry, profile, &system_roots, &telemetry)?;
                clients.insert(registry.clone(), Arc::new(client));
            }
            telemetry.add_registry(registry);
        }
        // What one registry with these settings would fail on, all would. It is none that is watched: its counters
        // are nobody's.
        let example = Registry::docker_hub();
        Client::new(&example, &profiles.others, &system_roots, &Arc::new(Telemetry::new()))?;
        Ok(Self { profiles, system_roots, telemetry, clients: Mutex::new(clients) })
    }

    /// The client for one registry.
    ///
    /// # Panics
    /// Never: what could be wrong with the defaults was found when they were checked.
    pub fn client(&self, registry: &Registry) -> Arc<Client> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(registry) {
            return Arc::clone(client);
        }
        let client = Client::new(registry, self.profiles.to(registry), &self.system_roots, &self.telemetry);
        let client = Arc::new(client.expect("the defaults made a client when they were checked"));
        self.telemetry.add_registry(registry);
        clients.insert(registry.clone(), Arc::clone(&client));
        client
    }
}

impl Client {
    fn new(
        registry: &Registry,
        Profile { settings, tls }: &Profile,
        system_roots: &RootCertStore,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self, SetupError> {
        let owner = error::named(Some(registry));
        let home = home(registry, settings);
        let connections = connect::Connections::new(&owner, &home, settings, tls, system_roots)?;
        let trust_hint = tls.trust_hint(system_roots);
        let telemetry = Arc::clone(telemetry);
        Ok(Self {
            transport: Transport::new(registry.clone(), home, connections, settings, telemetry, trust_hint),
            auth: Auth::new(settings.credential.clone()),
            reserve: settings.ratelimit_reserve.unwrap_or(0),
            quirks: Quirks::default(),
            referrers: AtomicBool::new(true),
        })
    }

    /// Whether this registry counts `GET`s of manifests against a limit, so that a `HEAD` should come first.
    pub fn meters_pulls(&self) -> bool {
        self.transport.registry.is_docker_hub() || self.transport.metering.is_metered()
    }

    /// Whether one more `GET` of a manifest leaves the configured reserve untouched.
    pub fn may_pull(&self) -> bool {
        self.transport.metering.may_pull(self.reserve)
    }

    /// Counts a failure that only the reader of an answer could find: what came is no manifest, or past a limit.
    pub fn failed(&self, operation: Operation, reason: Reason) {
        self.transport.failed(operation, reason);
    }

    fn url(&self, path: fmt::Arguments<'_>) -> Url {
        self.transport.home.join(&path.to_string()).expect("names, tags and digests are made of what addresses allow")
    }

    async fn ask(&self, scope: Scope<'_>, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        self.auth.send(&self.transport, scope, ask).await
    }

    /// What an answer that is none of the expected ones means, counted.
    fn refuse(&self, ask: &Ask<'_>, answer: &Answer) -> RegistryError {
        let reason = api_error::reason(answer);
        self.transport.failed(ask.operation, reason);
        let host = redirect::authority(&answer.url);
        let status = api_error::status(answer.status);
        let detail = api_error::detail(answer);
        let problem = match reason {
            Reason::NotFound => format!("not found on the registry{detail}"),
            Reason::Unsupported => format!("the registry does not do this: {status}{detail}"),
            _ if answer.status == http::StatusCode::NOT_FOUND => {
                format!(
                    "{host} answered {status}, but not as a registry does: is the address right, and is something in front of it?"
                )
            }
            _ => format!("{host} answered {status}{detail}"),
        };
        RegistryError::new(reason, ask.what, problem)
    }

    /// An error about content that was read, counted.
    fn wrong(&self, operation: Operation, what: &dyn fmt::Display, reason: Reason, problem: String) -> RegistryError {
        self.transport.failed(operation, reason);
        RegistryError::new(reason, what, problem)
    }
}

/// Where the registry's API is. Plain HTTP is spoken where the configuration says so, and on this machine itself
/// unless the configuration says something about TLS.
fn home(registry: &Registry, settings: &Settings) -> Url {
    let wants_tls = settings.ca_file.is_some() || settings.cert_file.is_some() || settings.insecure_skip_verify;
    let plain = settings.plain_http || registry.is_loopback() && !wants_tls && !registry.as_str().ends_with(":443");
    let scheme = if plain { "http" } else { "https" };
    format!("{scheme}://{}/", registry.api_host()).parse().expect("a registry is a host and a port")
}

/// A manifest, as errors call it: `registry/repository:tag` or `registry/repository@digest`.
struct What<'a>(&'a Repository, At<'a>);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            At::Tag(tag) => write!(f, "{}:{tag}", self.0),
            At::Digest(digest) => write!(f, "{}@{digest}", self.0),
        }
    }
}

/// As it stands in a path.
impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl<'a> Ask<'a> {
    fn new(operation: Operation, method: Method, url: Url, what: &'a (dyn fmt::Display + Sync), take: Take) -> Self {
        Self { operation, method, url, what, accept: None, range: None, form: None, take }
    }

    fn bytes(mut self, first: u64, last: Option<u64>) -> Self {
        let range = last.map_or_else(|| format!("bytes={first}-"), |last| format!("bytes={first}-{last}"));
        self.range = Some(HeaderValue::from_str(&range).expect("digits and dashes may stand in a header"));
        self
    }
}
