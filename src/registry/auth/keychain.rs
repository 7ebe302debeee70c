//! Looks up a registry's credentials: where the configuration says, or in the default files of docker and podman and, where
//! they have none, with the identity of the cloud whose registry it is, or in the pull secrets that a source has found.
//!
//! The default files, in order; the first that has an entry for the registry wins:
//!
//! 1. `DOCKER_AUTH_CONFIG`: an `auth.json` as text.
//! 2. `REGISTRY_AUTH_FILE`: an `auth.json`; the files below are not read then.
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`, without that variable `/run/containers/UID/auth.json`.
//! 4. `$XDG_CONFIG_HOME/containers/auth.json`, without that variable `~/.config/containers/auth.json`.
//! 5. `$DOCKER_CONFIG/config.json`, without that variable `~/.docker/config.json`.
//! 6. `~/.dockercfg`.
//!
//! Files are read when a credential is needed, so that a rotated one takes effect without a reload.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, access};
use tokio::time::Instant;

use super::cloud::CloudIdentity;
use super::credential::{Login, SourcedLogin};
use super::docker_config::DockerConfig;
use super::environment::variable;
use super::files;
use super::helper::{self, Helpers};
use super::pull_secrets::PullSecrets;
use super::secret::Secret;
use crate::oci::{Registry, Repository};
use crate::registry::settings::Credential;

/// Looks up the credentials of one registry.
pub(crate) struct Keychain {
    source: Credential,
    helpers: Helpers,
    identity: Option<CloudIdentity>,
    pull_secrets: PullSecrets,
    /// Whether it was logged that a default file cannot be read.
    warned: AtomicBool,
}

impl Keychain {
    pub(crate) fn new(source: Credential, identity: Option<CloudIdentity>, pull_secrets: PullSecrets) -> Self {
        Self { source, helpers: Helpers::default(), identity, pull_secrets, warned: AtomicBool::new(false) }
    }

    /// The logins for a repository, or for the registry's catalog if there is none, in the order in which to try them; none
    /// means anonymous. An error names the source and the problem, and quotes nothing of its content.
    pub(crate) async fn logins(
        &self,
        registry: &str,
        repository: Option<&Repository>,
    ) -> Result<Vec<SourcedLogin>, String> {
        let name = repository.map_or("", Repository::name);
        let login = match &self.source {
            Credential::Anonymous => return Ok(Vec::new()),
            Credential::PasswordFile { username, path } => {
                let password = files::secret("password_file", path)?;
                Login::Password { username: username.clone(), password }.found_in(&path.display().to_string())
            }
            Credential::PasswordEnv { username, variable: from } => {
                let password =
                    variable(from).ok_or_else(|| "the variable that `password_env` names is not set".to_owned())?;
                let password = Secret::new(files::without_newline(password));
                Login::Password { username: username.clone(), password }.found_in(&format!("the variable {from}"))
            }
            Credential::TokenFile(path) => {
                Login::RegistryToken(files::secret("token_file", path)?).found_in(&path.display().to_string())
            }
            Credential::DockerConfig(path) => {
                let config = DockerConfig::parse(&files::text("docker_config", path)?)
                    .map_err(|problem| files::at(path, problem))?;
                return self.look_up(&config, &path.display().to_string(), registry, name).await;
            }
            Credential::Usual => {
                let mut found = self.default_logins(registry, name).await?;
                if found.is_empty() {
                    found = self.identity().await?;
                }
                return Ok(if found.is_empty() { self.pull_secrets.logins(registry, name) } else { found });
            }
            Credential::UsualFiles => {
                let found = self.default_logins(registry, name).await?;
                return Ok(if found.is_empty() { self.pull_secrets.logins(registry, name) } else { found });
            }
            Credential::Identity(_) => return self.identity().await,
        };
        Ok(vec![login])
    }

    /// Drops what helpers and a cloud answered up to `then`: the registry refused it.
    pub(crate) fn forget(&self, then: Instant) {
        self.helpers.forget(then);
        if let Some(identity) = &self.identity {
            identity.forget(then);
        }
    }

    /// What an operator should know of a cloud's identity when the registry refuses access.
    pub(crate) fn advice(&self) -> Option<String> {
        self.identity.as_ref().and_then(CloudIdentity::advice)
    }

    async fn identity(&self) -> Result<Vec<SourcedLogin>, String> {
        match &self.identity {
            Some(identity) => Ok(identity.login().await?.into_iter().collect()),
            None => Ok(Vec::new()),
        }
    }

    async fn default_logins(&self, registry: &str, name: &str) -> Result<Vec<SourcedLogin>, String> {
        if let Some(text) = variable("DOCKER_AUTH_CONFIG") {
            let config = DockerConfig::parse(&text).map_err(|problem| format!("DOCKER_AUTH_CONFIG: {problem}"))?;
            let found = self.look_up(&config.without_helpers(), "DOCKER_AUTH_CONFIG", registry, name).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        for path in default_files() {
            let text = match files::text_if_there(&path) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                // A daemon without a home directory of its own often has another user's, which it must not read.
                Err(files::Unreadable { problem, forbidden: true }) => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        tracing::warn!(registry, problem, "cannot read a credentials file, trying the next one");
                    }
                    continue;
                }
                Err(files::Unreadable { problem, forbidden: false }) => return Err(problem),
            };
            let config = DockerConfig::parse(&text).map_err(|problem| files::at(&path, problem))?;
            let found = self.look_up(&config, &path.display().to_string(), registry, name).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    async fn look_up(
        &self,
        config: &DockerConfig,
        source: &str,
        registry: &str,
        name: &str,
    ) -> Result<Vec<SourcedLogin>, String> {
        if let Some(helper) = config.helper(registry)
            && let Some(login) = self.helpers.get(helper, config.server_url(registry)).await?
        {
            return Ok(vec![login.found_in(&format!("docker-credential-{helper}, which {source} names"))]);
        }
        // As in podman, the file's own entries follow a helper that has no credentials.
        let logins = config.logins(registry, name).map_err(|problem| format!("{source}: {problem}"))?;
        Ok(logins.into_iter().map(|login| login.found_in(source)).collect())
    }
}

/// Reads what a credential names, where that is a file, and says what is wrong with it: the configuration's key, and a
/// message that quotes nothing of the content.
pub fn check_credential(credential: &Credential) -> Result<(), (&'static str, String)> {
    match credential {
        Credential::PasswordFile { path, .. } => {
            files::secret("password_file", path).map(drop).map_err(|why| ("password_file", why))
        }
        Credential::TokenFile(path) => files::secret("token_file", path).map(drop).map_err(|why| ("token_file", why)),
        Credential::DockerConfig(path) => {
            let config = files::text("docker_config", path).and_then(|text| {
                DockerConfig::parse(&text).and_then(|config| config.check()).map_err(|problem| files::at(path, problem))
            });
            config.map_err(|why| ("docker_config", why))
        }
        Credential::PasswordEnv { .. }
        | Credential::Usual
        | Credential::UsualFiles
        | Credential::Identity(_)
        | Credential::Anonymous => Ok(()),
    }
}

/// What a start of the program would find wrong with the credential helper that a credential's file names for the registry:
/// the configuration's key, and a message.
pub fn missing_helper(credential: &Credential, registry: &Registry) -> Option<(&'static str, String)> {
    let Credential::DockerConfig(path) = credential else { return None };
    let text = files::text_if_there(path).ok()??;
    let config = DockerConfig::parse(&text).ok()?;
    let program = helper::program(config.helper(registry.as_str())?);
    let in_path = |directory: PathBuf| access(directory.join(&program), Access::EXEC_OK).is_ok();
    if program.contains('/') || std::env::split_paths(&variable("PATH")?).any(in_path) {
        return None;
    }
    let advice = "install it where PATH leads, or take the helper out of that file";
    Some(("docker_config", format!("`{}` names {program}, which is in no directory of PATH: {advice}", path.display())))
}

/// The files among the default sources, in order.
fn default_files() -> Vec<PathBuf> {
    if let Some(path) = variable("REGISTRY_AUTH_FILE") {
        return vec![path.into()];
    }
    let home = variable("HOME").map(PathBuf::from);
    let under_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).or_else(runtime_directory);
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| under_home(".config"));
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| under_home(".docker"));
    let files = [
        runtime.map(|directory| directory.join("containers/auth.json")),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
        under_home(".dockercfg"),
    ];
    files.into_iter().flatten().collect()
}

/// podman's `/run/containers/UID`. This process' own entry in `/proc` belongs to the user.
fn runtime_directory() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    Some(PathBuf::from(format!("/run/containers/{uid}")))
}
