//! The clients of registries: one for each, made when it is first needed, and kept for as long as its settings hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::RootCertStore;
use url::Url;

use super::auth::cache::Scope;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
use super::auth::cloud::http::IdentityHttp;
use super::auth::cloud::{Choice, CloudIdentity};
use super::auth::{PullSecrets, Session};
use super::counters::Counters;
use super::error::{self, RegistryError, SetupError};
use super::lists::owner::OwnerApi;
use super::profile::{Profile, Profiles};
use super::quirks::Quirks;
use super::settings::Settings;
use super::transport::connect::Connections;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
use super::transport::connect::IdentityConnections;
use super::transport::{Request, Response, Transport, api_error, redirect, tls};
use crate::oci::{Operation, Reason, Registry};

/// The clients of all registries.
pub struct Registries {
    profiles: Profiles,
    system_roots: Arc<RootCertStore>,
    counters: Arc<Counters>,
    pull_secrets: PullSecrets,
    clients: Mutex<BTreeMap<Registry, Arc<Client>>>,
}

/// The client of one registry. Holds its connections, its tokens and what it has learnt of the registry's behaviour.
pub struct Client {
    pub(super) transport: Transport,
    pub(super) auth: Session,
    /// What lists its repositories, if not its catalog.
    pub(super) owner_api: Option<OwnerApi>,
    /// Metered pulls reserved for people.
    pub(super) reserve: u64,
    pull_through: bool,
    pub(super) quirks: Quirks,
}

impl Registries {
    /// Clients for the configured registries, and for any other with the default settings. Reads and checks the files
    /// that the settings name.
    pub fn new(settings: BTreeMap<Registry, Settings>, defaults: Settings) -> Result<Self, SetupError> {
        let profiles = Profiles::read(settings, defaults)?;
        Self::with(profiles, tls::system_roots(), Arc::default(), PullSecrets::default(), BTreeMap::new())
    }

    /// The same with other settings; `None` where they have the same effect. A registry whose settings did not change
    /// keeps its client, with its tokens and everything that it has learnt.
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
        clients.retain(|registry, _| {
            let stays = profiles.to(registry) == self.profiles.to(registry);
            if !stays {
                self.counters.forget_learnt(registry);
            }
            stays
        });
        let (roots, counters) = (Arc::clone(&self.system_roots), Arc::clone(&self.counters));
        Self::with(profiles, roots, counters, self.pull_secrets.clone(), clients).map(Some)
    }

    /// Where sources put logins that they find. They outlive a change of the settings.
    pub fn pull_secrets(&self) -> &PullSecrets {
        &self.pull_secrets
    }

    /// What the clients count.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// How many requests of one kind the registry has answered or failed so far.
    pub fn requests(&self, registry: &Registry, operation: Operation) -> u64 {
        self.counters.read(|all| all.get(registry).map_or(0, |counters| counters.requests[operation as usize].get()))
    }

    /// Lets refused passwords be tried again at once.
    pub fn reset_lockouts(&self) {
        self.clients.lock().values().for_each(|client| client.auth.reset_lockout());
    }

    fn with(
        profiles: Profiles,
        system_roots: Arc<RootCertStore>,
        counters: Arc<Counters>,
        pull_secrets: PullSecrets,
        mut clients: BTreeMap<Registry, Arc<Client>>,
    ) -> Result<Self, SetupError> {
        for (registry, profile) in &profiles.configured {
            if !clients.contains_key(registry) {
                let client = Client::new(registry, profile, &system_roots, &counters, &pull_secrets)?;
                clients.insert(registry.clone(), Arc::new(client));
            }
        }
        // Making a client with the default settings fails for every registry or for none.
        Client::new(&Registry::docker_hub(), &profiles.others, &system_roots, &counters, &pull_secrets)?;
        Ok(Self { profiles, system_roots, counters, pull_secrets, clients: Mutex::new(clients) })
    }

    /// The client for one registry.
    ///
    /// # Panics
    /// Never: the default settings were checked when `self` was made.
    pub fn client(&self, registry: &Registry) -> Arc<Client> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(registry) {
            return Arc::clone(client);
        }
        let profile = self.profiles.to(registry);
        let client = Client::new(registry, profile, &self.system_roots, &self.counters, &self.pull_secrets);
        let client = Arc::new(client.expect("the default settings were checked"));
        clients.insert(registry.clone(), Arc::clone(&client));
        client
    }
}

impl Client {
    fn new(
        registry: &Registry,
        profile: &Profile,
        system_roots: &RootCertStore,
        counters: &Arc<Counters>,
        pull_secrets: &PullSecrets,
    ) -> Result<Self, SetupError> {
        let Profile { settings, tls } = profile;
        let owner = error::named(Some(registry));
        let home = home(registry, settings);
        let connections = Connections::new(&owner, &home, settings, tls, system_roots)?;
        let trust_hint = tls.trust_hint(system_roots);
        let owner_api = OwnerApi::new(registry, &home, profile, system_roots, counters)?;
        let counters = Arc::clone(counters);
        let identity = |choice| {
            Ok::<_, SetupError>(CloudIdentity::new(
                choice,
                registry.clone(),
                #[cfg(feature = "azure")]
                home.clone(),
                #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
                IdentityHttp::new(IdentityConnections::new(&owner, &home, settings, tls, system_roots)?),
            ))
        };
        let identity = Choice::of(&settings.credential, registry, &home).map(identity).transpose()?;
        Ok(Self {
            owner_api,
            transport: Transport::new(registry.clone(), home, connections, settings, counters, trust_hint),
            auth: Session::new(settings.credential.clone(), identity, pull_secrets.clone()),
            reserve: settings.ratelimit_reserve.unwrap_or(0),
            pull_through: settings.pull_through,
            quirks: Quirks::default(),
        })
    }

    /// Whether this registry meters `GET`s of manifests, so that a `HEAD` comes first.
    pub fn meters_pulls(&self) -> bool {
        self.transport.registry.is_docker_hub() || self.transport.metering.is_metered()
    }

    /// Whether the registry is configured as a pull-through cache.
    pub fn is_pull_through(&self) -> bool {
        self.pull_through
    }

    /// Counts a failure found while reading an answer: for example not a manifest, or past a limit.
    pub fn failed(&self, operation: Operation, reason: Reason) {
        self.transport.failed(operation, reason);
    }

    pub(super) fn url(&self, path: fmt::Arguments<'_>) -> Url {
        self.transport.home.join(&path.to_string()).expect("names, tags and digests are valid in an address")
    }

    pub(super) async fn send(&self, scope: Scope<'_>, request: &Request<'_>) -> Result<Response, RegistryError> {
        self.auth.send(&self.transport, scope, request).await
    }

    /// The error for an unexpected answer, counted.
    pub(super) fn refuse(&self, request: &Request<'_>, response: &Response) -> RegistryError {
        let (reason, error) = Self::refusal(request, response);
        self.transport.failed(request.operation, reason);
        error
    }

    /// The same, not counted.
    pub(super) fn refusal(request: &Request<'_>, response: &Response) -> (Reason, RegistryError) {
        let reason = api_error::reason(response);
        let host = redirect::authority(&response.url);
        let status = api_error::status(response.status);
        let detail = api_error::detail(response);
        let problem = match reason {
            Reason::NotFound => format!("not found on the registry{detail}"),
            Reason::Unsupported => format!("the registry does not support this: {status}{detail}"),
            _ if response.status == http::StatusCode::NOT_FOUND => {
                format!(
                    "{host} answered {status}, but not like a registry: check the address, and any proxy in front of it"
                )
            }
            _ => format!("{host} answered {status}{detail}"),
        };
        (reason, RegistryError::new(reason, request.subject, problem))
    }

    /// An error about the content of an answer, counted.
    pub(super) fn wrong(
        &self,
        operation: Operation,
        subject: &dyn fmt::Display,
        reason: Reason,
        problem: String,
    ) -> RegistryError {
        self.transport.failed(operation, reason);
        RegistryError::new(reason, subject, problem)
    }
}

/// The address of the registry's API: plain HTTP where the configuration says so, and on loopback unless the
/// configuration has TLS settings.
fn home(registry: &Registry, settings: &Settings) -> Url {
    let wants_tls = settings.ca_file.is_some() || settings.cert_file.is_some() || settings.insecure_skip_verify;
    let plain = settings.plain_http || registry.is_loopback() && !wants_tls && !registry.as_str().ends_with(":443");
    let scheme = if plain { "http" } else { "https" };
    format!("{scheme}://{}/", registry.api_host()).parse().expect("a registry is a host and a port")
}
