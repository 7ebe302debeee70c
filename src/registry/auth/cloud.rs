//! The identity that a cloud gives to the programs that run on it, as a login for the cloud's registries.
//!
//! It is looked up when a registry asks for a login and nothing else is configured for it. It is kept until shortly
//! before it ends; one request renews it, and others use it meanwhile.

pub(crate) mod host;

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) mod http;

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcp")]
mod gcp;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use url::Url;

use super::credential::{Lease, Login, SourcedLogin};
use crate::oci::Registry;
use crate::registry::settings::{Cloud, Credential};

/// The longest that looking up an identity may take, with all of its requests.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long before its end a login is renewed, and the most of its lifetime that this may be.
const RENEWAL: Duration = Duration::from_mins(5);
const RENEWAL_SHARE: u32 = 10;
/// The least lifetime that is assumed, so that no request is needed for every tag.
const LIFETIME_MIN: Duration = Duration::from_mins(1);
/// How long a failure is kept.
const FAILURE_LIFETIME: Duration = Duration::from_mins(1);
/// How long it is kept that there is no identity.
const ABSENCE_LIFETIME: Duration = Duration::from_mins(10);

/// The identity that one registry is read with.
pub(crate) struct CloudIdentity {
    choice: Choice,
    registry: Registry,
    /// The address of the registry's API.
    #[cfg(feature = "azure")]
    home: Url,
    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    http: http::IdentityHttp,
    kept: Mutex<Option<Kept>>,
    /// Single-flight: held while the identity is looked up.
    renewal: tokio::sync::Mutex<()>,
    /// Whether it was logged that the identity is not used.
    noted: AtomicBool,
}

/// Which cloud, and why.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) cloud: Cloud,
    /// The configuration names it. Otherwise the registry's host does, and without an identity requests are anonymous.
    is_configured: bool,
}

/// A login that a cloud gave.
#[derive(Clone)]
pub(crate) struct CloudLogin {
    pub(crate) login: Login,
    /// Whose it is, for messages: `the credentials of the AWS role arn:aws:iam::123456789012:role/reader`.
    pub(crate) owner: String,
    /// How long it is valid from now on.
    pub(crate) lifetime: Duration,
    /// When it ends by the cloud's clock, in seconds since the epoch.
    pub(crate) expires_at: f64,
}

/// Why there is no login.
#[derive(Clone)]
pub(crate) enum NoLogin {
    /// Nothing gives this program an identity of this cloud.
    Absent(String),
    /// There is one, and it is refused or cannot be used now.
    Failed(String),
}

/// What is known of the identity.
#[derive(Default)]
struct Kept {
    login: Option<KeptLogin>,
    /// The last failure and when it is tried again.
    failure: Option<(NoLogin, Instant)>,
}

struct KeptLogin {
    login: SourcedLogin,
    obtained: Instant,
    renew_at: Instant,
    ends: Instant,
}

impl Choice {
    /// The identity that `credential` allows for the registry.
    pub(crate) fn of(credential: &Credential, registry: &Registry, home: &Url) -> Option<Self> {
        match credential {
            Credential::Identity(cloud) => Some(Self { cloud: *cloud, is_configured: true }),
            // Nobody asked for it, so that it is not sent in clear text.
            Credential::Usual if home.scheme() == "https" => {
                host::cloud(registry.as_str()).map(|cloud| Self { cloud, is_configured: false })
            }
            _ => None,
        }
    }
}

impl CloudIdentity {
    pub(crate) fn new(
        choice: Choice,
        registry: Registry,
        #[cfg(feature = "azure")] home: Url,
        #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))] http: http::IdentityHttp,
    ) -> Self {
        Self {
            choice,
            registry,
            #[cfg(feature = "azure")]
            home,
            #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
            http,
            kept: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
            noted: AtomicBool::new(false),
        }
    }

    /// The login for the registry; `None` where there is no identity and none is configured. An error says which
    /// identity it is about, and what it needs.
    pub(crate) async fn login(&self) -> Result<Option<SourcedLogin>, String> {
        if let Some(answer) = self.kept() {
            return answer;
        }
        let _renewing = match self.valid() {
            None => self.renewal.lock().await,
            // Another request renews it.
            Some(login) => match self.renewal.try_lock() {
                Ok(renewing) => renewing,
                Err(_) => return Ok(Some(login)),
            },
        };
        if let Some(answer) = self.kept() {
            return answer;
        }
        let obtained = timeout(TIMEOUT, self.obtain()).await.unwrap_or_else(|_| {
            let name = self.choice.cloud.name();
            Err(NoLogin::Failed(format!("no identity of {name} within {}", humantime::format_duration(TIMEOUT))))
        });
        self.keep(obtained);
        self.kept().unwrap_or(Ok(None))
    }

    /// Drops a login that was obtained up to `then`: the registry refused it. One that is new is kept, since the next
    /// would be refused as well.
    pub(crate) fn forget(&self, then: Instant) {
        if let Some(kept) = &mut *self.kept.lock() {
            let is_new = |login: &KeptLogin| login.obtained > then || login.obtained.elapsed() < FAILURE_LIFETIME;
            kept.login = kept.login.take().filter(is_new);
        }
    }

    /// What an operator should know of the identity when the registry refuses access.
    pub(crate) fn advice(&self) -> Option<String> {
        let kept = self.kept.lock();
        let kept = kept.as_ref()?;
        match (&kept.login, &kept.failure) {
            (Some(login), _) => Some(format!("{} need {}", login.login.source, self.permissions())),
            (None, Some((NoLogin::Absent(problem) | NoLogin::Failed(problem), _))) if !self.choice.is_configured => {
                Some(format!("no identity of {} is used: {problem}", self.choice.cloud.name()))
            }
            _ => None,
        }
    }

    /// What reading a registry's images takes, in the words of the cloud's documentation.
    fn permissions(&self) -> &'static str {
        match self.choice.cloud {
            Cloud::Aws => {
                "`ecr:BatchGetImage` and `ecr:GetDownloadUrlForLayer` on the repository, and `ecr:ListImages` for its tags"
            }
            Cloud::Azure => {
                "the role `AcrPull` on the registry, or `Container Registry Repository Reader` where it has repository permissions"
            }
            Cloud::Gcp => "the role `roles/artifactregistry.reader` on the repository",
        }
    }

    /// What is known well enough not to look it up again.
    fn kept(&self) -> Option<Result<Option<SourcedLogin>, String>> {
        let kept = self.kept.lock();
        let kept = kept.as_ref()?;
        let now = Instant::now();
        let failure = kept.failure.as_ref().filter(|(_, until)| *until > now).map(|(failure, _)| failure);
        match (&kept.login, failure) {
            (Some(login), _) if login.renew_at > now => Some(Ok(Some(login.login.clone()))),
            // Its renewal failed lately, and it is still good.
            (Some(login), Some(_)) if login.ends > now => Some(Ok(Some(login.login.clone()))),
            (Some(_), Some(NoLogin::Absent(problem) | NoLogin::Failed(problem))) => Some(Err(problem.clone())),
            (None, Some(NoLogin::Absent(problem) | NoLogin::Failed(problem))) => {
                Some(if self.choice.is_configured { Err(problem.clone()) } else { Ok(None) })
            }
            (_, None) => None,
        }
    }

    /// The login, unless it has ended.
    fn valid(&self) -> Option<SourcedLogin> {
        let kept = self.kept.lock();
        let login = kept.as_ref()?.login.as_ref().filter(|login| login.ends > Instant::now())?;
        Some(login.login.clone())
    }

    fn keep(&self, obtained: Result<CloudLogin, NoLogin>) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        let kept = kept.get_or_insert_default();
        match obtained {
            Ok(CloudLogin { login, owner, lifetime, expires_at }) => {
                let lifetime = lifetime.max(LIFETIME_MIN);
                let ends = now + lifetime;
                let lease = Lease { cloud: self.choice.cloud, ends, expires_at };
                let login = SourcedLogin { login, source: owner, lease: Some(lease) };
                let renew_at = ends - RENEWAL.min(lifetime / RENEWAL_SHARE);
                kept.login = Some(KeptLogin { login, obtained: now, renew_at, ends });
                kept.failure = None;
            }
            Err(failure) => {
                self.note(&failure, kept.login.is_some());
                let lifetime = match failure {
                    NoLogin::Absent(_) if kept.login.is_none() => ABSENCE_LIFETIME,
                    _ => FAILURE_LIFETIME,
                };
                kept.failure = Some((failure, now + lifetime));
            }
        }
    }

    /// Logs what no error says: why an identity that nobody configured is not used, once, and why a login that is still
    /// good is not renewed.
    fn note(&self, failure: &NoLogin, has_login: bool) {
        let (registry, cloud) = (&self.registry, self.choice.cloud.name());
        match failure {
            NoLogin::Absent(problem) | NoLogin::Failed(problem) if has_login => {
                tracing::warn!(%registry, cloud, problem, "cannot renew the login of an identity");
            }
            _ if self.choice.is_configured || self.noted.swap(true, Ordering::Relaxed) => {}
            NoLogin::Absent(problem) => {
                tracing::info!(%registry, cloud, problem, "no identity for this registry, requests are anonymous");
            }
            NoLogin::Failed(problem) => {
                tracing::warn!(%registry, cloud, problem, "an identity is not used, requests are anonymous");
            }
        }
    }

    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "gcp")),
        expect(clippy::unused_async, reason = "there is nothing to ask")
    )]
    async fn obtain(&self) -> Result<CloudLogin, NoLogin> {
        match self.choice.cloud {
            #[cfg(feature = "aws")]
            Cloud::Aws => aws::login(&self.http, self.registry.as_str(), self.choice.is_configured).await,
            #[cfg(feature = "azure")]
            Cloud::Azure => {
                azure::login(&self.http, self.registry.as_str(), &self.home, self.choice.is_configured).await
            }
            #[cfg(feature = "gcp")]
            Cloud::Gcp => gcp::login(&self.http, self.choice.is_configured).await,
            #[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
            cloud => Err(NoLogin::Absent(cloud.not_built_in())),
        }
    }
}
