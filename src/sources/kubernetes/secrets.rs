//! The pull secrets that pods name: read when a pod names a new one, and again from time to time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use super::client::Connector;
use super::cluster::SecretKey;
use super::failure::Failure;
use crate::registry::{FoundSecrets, PullSecret, PullSecrets};

/// How old what was read of a secret may be.
const AGE_MAX: Duration = Duration::from_mins(5);

/// Time for all that are to be read: until then no container is reported, so that its image is read with its login.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The most secrets of a source.
const SECRETS_MAX: usize = 1000;

/// Requests under way.
const CONCURRENCY: usize = 8;

/// The fields of a secret that matter here (Kubernetes API reference, "Secret" v1).
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct SecretObject {
    #[serde(skip)]
    meta: ObjectMeta,
    data: Option<Data>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Data {
    #[serde(rename = ".dockerconfigjson")]
    docker_config: Option<String>,
    #[serde(rename = ".dockercfg")]
    old: Option<String>,
}

/// `kube` wants it, and must not have the content.
impl std::fmt::Debug for SecretObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret")
    }
}

impl kube::Resource for SecretObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Secret".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "secrets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl SecretObject {
    fn text(&self) -> Option<PullSecret> {
        let data = self.data.as_ref()?;
        let bytes = STANDARD.decode(data.docker_config.as_ref().or(data.old.as_ref())?).ok()?;
        String::from_utf8(bytes).ok().map(PullSecret::new)
    }
}

/// The secrets of one source.
pub(super) struct Secrets<'s> {
    settings: &'s Settings,
    found: FoundSecrets,
    connector: Connector,
    client: Option<Client>,
    /// `None`: it is not there, is no pull secret, or may not be read.
    known: BTreeMap<SecretKey, Option<PullSecret>>,
    read_at: Instant,
    /// What was said last.
    warned: String,
}

impl<'s> Secrets<'s> {
    pub(super) fn new(settings: &'s Settings, all: &PullSecrets) -> Self {
        Self {
            settings,
            found: all.of_a_source(),
            connector: Connector::default(),
            client: None,
            known: BTreeMap::new(),
            read_at: Instant::now(),
            warned: String::new(),
        }
    }

    /// Waits until what is known should be read again; for ever if secrets are not read.
    pub(super) async fn until_old(&self) {
        if self.known.is_empty() {
            return std::future::pending().await;
        }
        sleep_until(self.read_at + AGE_MAX).await;
    }

    /// Reads those that are new, and all where what is known is old. A failure is said, and stops nothing: the registry says
    /// what cannot be read without a login.
    pub(super) async fn update(&mut self, named: impl FnOnce() -> BTreeSet<SecretKey>) {
        if !self.settings.pull_secrets {
            return;
        }
        let named: BTreeSet<SecretKey> = named().into_iter().take(SECRETS_MAX).collect();
        let is_old = self.read_at.elapsed() >= AGE_MAX;
        let wanted: Vec<SecretKey> =
            named.iter().filter(|key| is_old || !self.known.contains_key(*key)).cloned().collect();
        let count = self.known.len();
        self.known.retain(|key, _| named.contains(key));
        if wanted.is_empty() && self.known.len() == count {
            return;
        }
        let mut problem = None;
        if !wanted.is_empty() {
            // What fails is read again when it is old, and not with each change of a pod.
            for key in &wanted {
                self.known.entry(key.clone()).or_insert(None);
            }
            match timeout(TIME_MAX, self.read(wanted)).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => problem = Some(failure.error.message),
                Err(_) => problem = Some("cannot read all pull secrets within 10 seconds".to_owned()),
            }
            if is_old {
                self.read_at = Instant::now();
            }
        }
        let known = self
            .known
            .iter()
            .filter_map(|((namespace, name), secret)| Some((format!("{namespace}/{name}"), secret.as_ref()?)));
        let known: Vec<(String, &PullSecret)> = known.collect();
        let wrong = self.found.replace(known.iter().map(|(place, secret)| (place.as_str(), *secret)));
        if let Some(problem) = problem.or_else(|| wrong.into_iter().next())
            && problem != self.warned
        {
            tracing::warn!(problem, "some pull secrets are not used");
            self.warned = problem;
        }
    }

    /// The first failure, after all that can be read.
    async fn read(&mut self, wanted: Vec<SecretKey>) -> Result<(), Failure> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(self.connector.connect(self.settings).await?.0).clone(),
        };
        let reads = wanted.into_iter().map(|key| async {
            let secrets: Api<SecretObject> = Api::namespaced(client.clone(), &key.0);
            let read = secrets.get_opt(&key.1).await;
            (key, read)
        });
        let mut reads = stream::iter(reads).buffer_unordered(CONCURRENCY);
        let mut first = Ok(());
        while let Some((key, read)) = reads.next().await {
            match read {
                Ok(secret) => {
                    self.known.insert(key, secret.and_then(|secret| secret.text()));
                }
                // What was read before stays.
                Err(error) => {
                    let failure = Failure::of_secret(&error, &key.0, &key.1);
                    first = first.and(Err(failure));
                    // Its credentials may have been replaced.
                    self.client = None;
                }
            }
        }
        first
    }
}
