//! Looks up a registry's credentials: where the configuration says, or in the default files of docker and podman.
//!
//! The default sources, in order; the first that has an entry for the registry wins:
//!
//! 1. `DOCKER_AUTH_CONFIG`: an `auth.json` as text.
//! 2. `REGISTRY_AUTH_FILE`: an `auth.json`; the files below are not read then.
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`, without that variable `/run/containers/UID/auth.json`.
//! 4. `$XDG_CONFIG_HOME/containers/auth.json`, without that variable `~/.config/containers/auth.json`.
//! 5. `$DOCKER_CONFIG/config.json`, without that variable `~/.docker/config.json`.
//! 6. `~/.dockercfg`.
//!
//! Files are read when a credential is needed, so that a rotated one takes effect without a reload.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::credential::{Login, SourcedLogin};
use super::docker_config::DockerConfig;
use super::helper::Helpers;
use super::secret::Secret;
use crate::oci::Repository;
use crate::registry::settings::Credential;

/// The most that is read of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Looks up the credentials of one registry.
pub(crate) struct Keychain {
    source: Credential,
    helpers: Helpers,
    /// Whether it was logged that a default file cannot be read.
    warned: AtomicBool,
}

impl Keychain {
    pub(crate) fn new(source: Credential) -> Self {
        Self { source, helpers: Helpers::default(), warned: AtomicBool::new(false) }
    }

    /// The login for a repository, or for the registry's catalog if there is none; `None` means anonymous. An error
    /// names the source and the problem, and quotes nothing of its content.
    pub(crate) async fn login(
        &self,
        registry: &str,
        repository: Option<&Repository>,
    ) -> Result<Option<SourcedLogin>, String> {
        let name = repository.map_or("", Repository::name);
        let login = match &self.source {
            Credential::Anonymous => return Ok(None),
            Credential::PasswordFile { username, path } => {
                let password = secret("password_file", path)?;
                Login::Password { username: username.clone(), password }.found_in(&path.display().to_string())
            }
            Credential::PasswordEnv { username, variable } => {
                let password = environment(variable)
                    .ok_or_else(|| "the variable that `password_env` names is not set".to_owned())?;
                let password = Secret::new(without_newline(password));
                Login::Password { username: username.clone(), password }.found_in(&format!("the variable {variable}"))
            }
            Credential::TokenFile(path) => {
                Login::RegistryToken(secret("token_file", path)?).found_in(&path.display().to_string())
            }
            Credential::DockerConfig(path) => {
                let config = DockerConfig::parse(&read("docker_config", path)?).map_err(|problem| at(path, problem))?;
                return self.look_up(&config, &path.display().to_string(), registry, name).await;
            }
            Credential::Usual => return self.default_login(registry, name).await,
        };
        Ok(Some(login))
    }

    /// Drops what helpers answered up to `then`: the registry refused it.
    pub(crate) fn forget(&self, then: Instant) {
        self.helpers.forget(then);
    }

    async fn default_login(&self, registry: &str, name: &str) -> Result<Option<SourcedLogin>, String> {
        if let Some(text) = environment("DOCKER_AUTH_CONFIG") {
            let config = DockerConfig::parse(&text).map_err(|problem| format!("DOCKER_AUTH_CONFIG: {problem}"))?;
            let found = self.look_up(&config.without_helpers(), "DOCKER_AUTH_CONFIG", registry, name).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        for path in default_files() {
            let text = match read_if_there(&path) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                // A daemon without a home directory of its own often has another user's, which it must not read.
                Err(Unreadable { problem, forbidden: true }) => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        tracing::warn!(registry, problem, "cannot read a credentials file, trying the next one");
                    }
                    continue;
                }
                Err(Unreadable { problem, forbidden: false }) => return Err(problem),
            };
            let config = DockerConfig::parse(&text).map_err(|problem| at(&path, problem))?;
            let found = self.look_up(&config, &path.display().to_string(), registry, name).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn look_up(
        &self,
        config: &DockerConfig,
        source: &str,
        registry: &str,
        name: &str,
    ) -> Result<Option<SourcedLogin>, String> {
        if let Some(helper) = config.helper(registry)
            && let Some(login) = self.helpers.get(helper, config.server_url(registry)).await?
        {
            return Ok(Some(login.found_in(&format!("docker-credential-{helper}, which {source} names"))));
        }
        // As in podman, the file's own entries follow a helper that has no credentials.
        let login = config.login(registry, name).map_err(|problem| format!("{source}: {problem}"))?;
        Ok(login.map(|login| login.found_in(source)))
    }
}

/// Reads what a credential names, where that is a file, and says what is wrong with it: the configuration's key, and a
/// message that quotes nothing of the content.
pub fn check_credential(credential: &Credential) -> Result<(), (&'static str, String)> {
    match credential {
        Credential::PasswordFile { path, .. } => {
            secret("password_file", path).map(drop).map_err(|why| ("password_file", why))
        }
        Credential::TokenFile(path) => secret("token_file", path).map(drop).map_err(|why| ("token_file", why)),
        Credential::DockerConfig(path) => {
            let config = read("docker_config", path).and_then(|text| {
                DockerConfig::parse(&text).and_then(|config| config.check()).map_err(|problem| at(path, problem))
            });
            config.map_err(|why| ("docker_config", why))
        }
        Credential::PasswordEnv { .. } | Credential::Usual | Credential::Anonymous => Ok(()),
    }
}

/// Why a file could not be read.
struct Unreadable {
    problem: String,
    /// Permission was denied.
    forbidden: bool,
}

/// The files among the default sources, in order.
fn default_files() -> Vec<PathBuf> {
    if let Some(path) = environment("REGISTRY_AUTH_FILE") {
        return vec![path.into()];
    }
    let home = environment("HOME").map(PathBuf::from);
    let under_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let runtime = environment("XDG_RUNTIME_DIR").map(PathBuf::from).or_else(runtime_directory);
    let config = environment("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| under_home(".config"));
    let docker = environment("DOCKER_CONFIG").map(PathBuf::from).or_else(|| under_home(".docker"));
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

#[expect(clippy::disallowed_methods, reason = "variables name the places of credentials; read nowhere else")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn at(path: &Path, problem: impl std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// The secret in the file that the configuration's `key` names.
pub(super) fn secret(key: &str, path: &Path) -> Result<Secret, String> {
    let text = without_newline(read(key, path)?);
    // It would be sent as part of the secret, which the registry would refuse, and editors do not show it.
    if text.starts_with('\u{feff}') {
        return Err(format!("{key} {} starts with a byte order mark: save it as UTF-8 without one", path.display()));
    }
    // The file may be in the middle of a rewrite: an empty password would be refused, and might lock the account.
    if text.is_empty() {
        return Err(format!("{key} {} is empty: write the secret into it", path.display()));
    }
    Ok(Secret::new(text))
}

/// The text of the file that the configuration's `key` names. It existed when the configuration was read.
fn read(key: &str, path: &Path) -> Result<String, String> {
    match read_if_there(path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("{key} {}: no such file: put it back, or correct the path", path.display())),
        Err(Unreadable { problem, forbidden: true }) => {
            Err(format!("{key} {problem}: let the user that runs this program read it"))
        }
        Err(Unreadable { problem, forbidden: false }) => Err(format!("{key} {problem}")),
    }
}

/// `None` where there is no such file. Blocks: reading a small local file takes no longer than taking a lock.
fn read_if_there(path: &Path) -> Result<Option<String>, Unreadable> {
    use std::io::{Error, ErrorKind, Read as _};
    let unreadable = |error: Error| Unreadable {
        forbidden: error.kind() == ErrorKind::PermissionDenied,
        problem: at(path, format!("cannot be read: {error}")),
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let is_utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let found = if is_utf16 { "is UTF-16 text" } else { "is not UTF-8 text" };
        Unreadable { forbidden: false, problem: format!("{} {found}: save it as UTF-8", path.display()) }
    })
}

/// A newline at the end of a file is not part of the secret.
fn without_newline(mut text: String) -> String {
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    text
}
