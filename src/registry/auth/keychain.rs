//! Who asks: a registry's credentials, from where the configuration says or from where docker and podman keep them.
//!
//! The usual places, the first that knows the registry wins:
//!
//! 1. `DOCKER_AUTH_CONFIG`: an `auth.json` as text.
//! 2. `REGISTRY_AUTH_FILE`: an `auth.json`; nothing below is looked at then.
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`, without that variable `/run/containers/UID/auth.json`.
//! 4. `$XDG_CONFIG_HOME/containers/auth.json`, without that variable `~/.config/containers/auth.json`.
//! 5. `$DOCKER_CONFIG/config.json`, without that variable `~/.docker/config.json`.
//! 6. `~/.dockercfg`.
//!
//! Files are read when a credential is needed, so that a rotated one counts without a reload.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;
use tokio::time::Instant;

use super::secret::Secret;
use super::token;
use crate::oci::Repository;
use crate::registry::settings::Credential;

use super::docker_config::{DockerConfig, Entry};
use super::helper::Helpers;

/// Longer files are no credentials.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where one registry's credentials come from.
pub(crate) struct Credentials {
    from: Credential,
    helpers: Helpers,
    /// Whether it was said that a usual place may not be looked at.
    warned: AtomicBool,
}

/// A credential, and in words where it was found.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) secret: LoginSecret,
    /// `the credentials of alice from ~/.docker/config.json`.
    pub(crate) source: String,
}

/// What proves who asks.
#[derive(Clone)]
pub(crate) enum LoginSecret {
    /// For Basic, and for token servers.
    Password { username: String, password: Secret },
    /// A refresh token, for token servers only.
    Identity { username: String, token: Secret },
    /// A token for the registry itself.
    Bearer(Secret),
}

impl Credentials {
    pub(crate) fn new(from: Credential) -> Self {
        Self { from, helpers: Helpers::default(), warned: AtomicBool::new(false) }
    }

    /// The credential for a repository, or for the registry's catalog where there is none; `None` to ask
    /// anonymously. An error names the place and what is wrong with it, never what stands there.
    pub(crate) async fn login(&self, registry: &str, repository: Option<&Repository>) -> Result<Option<Login>, String> {
        let name = repository.map_or("", Repository::name);
        match &self.from {
            Credential::Anonymous => Ok(None),
            Credential::PasswordFile { username, path } => {
                let password = secret("password_file", path)?;
                let source = format!("the credentials of {username} from {}", path.display());
                Ok(Some(Login { secret: LoginSecret::Password { username: username.clone(), password }, source }))
            }
            Credential::PasswordEnv { username, variable } => {
                let password = environment(variable).ok_or_else(|| format!("the variable {variable} is not set"))?;
                let source = format!("the credentials of {username} from the variable {variable}");
                let password = Secret::new(line(password));
                Ok(Some(Login { secret: LoginSecret::Password { username: username.clone(), password }, source }))
            }
            Credential::TokenFile(path) => {
                let source = format!("the token from {}", path.display());
                Ok(Some(Login { secret: LoginSecret::Bearer(secret("token_file", path)?), source }))
            }
            Credential::DockerConfig(path) => {
                let config = DockerConfig::parse(&read("docker_config", path)?).map_err(|problem| at(path, problem))?;
                self.find(&config, &path.display().to_string(), registry, name).await
            }
            Credential::Usual => self.usual(registry, name).await,
        }
    }

    /// Forgets what helpers said of this registry until `then`: it was refused.
    pub(crate) fn forget(&self, then: Instant) {
        self.helpers.forget(then);
    }

    async fn usual(&self, registry: &str, name: &str) -> Result<Option<Login>, String> {
        if let Some(text) = environment("DOCKER_AUTH_CONFIG") {
            let config = DockerConfig::parse(&text).map_err(|problem| format!("DOCKER_AUTH_CONFIG: {problem}"))?;
            if let Some(login) = self.find(&config.without_helpers(), "DOCKER_AUTH_CONFIG", registry, name).await? {
                return Ok(Some(login));
            }
        }
        for path in usual_files() {
            let text = match read_if_there(&path) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                // A daemon without a home of its own often has somebody else's, which is not for it to read.
                Err(Unreadable { problem, forbidden: true }) => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        tracing::warn!(registry, problem, "credentials are looked for elsewhere");
                    }
                    continue;
                }
                Err(Unreadable { problem, forbidden: false }) => return Err(problem),
            };
            let config = DockerConfig::parse(&text).map_err(|problem| at(&path, problem))?;
            if let Some(login) = self.find(&config, &path.display().to_string(), registry, name).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    async fn find(
        &self,
        config: &DockerConfig,
        place: &str,
        registry: &str,
        name: &str,
    ) -> Result<Option<Login>, String> {
        if let Some(helper) = config.helper(registry)
            && let Some(entry) = self.helpers.get(helper, config.server_url(registry)).await?
        {
            return Ok(Some(Login::from_entry(entry, &format!("docker-credential-{helper}, which {place} names"))));
        }
        // A helper that knows nothing leaves room for what stands in the file itself, as podman has it.
        let entry = config.entry(registry, name).map_err(|problem| format!("{place}: {problem}"))?;
        Ok(entry.map(|entry| Login::from_entry(entry, place)))
    }
}

impl Login {
    /// The header of a user and a password; `None` where it is neither, or cannot stand in one.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        match &self.secret {
            LoginSecret::Password { username, password } => token::basic_header(username, password),
            LoginSecret::Identity { .. } | LoginSecret::Bearer(_) => None,
        }
    }

    fn from_entry(entry: Entry, place: &str) -> Self {
        let source = match &entry {
            Entry::Password { username, .. } => format!("the credentials of {username} from {place}"),
            Entry::Identity { .. } => format!("the identity token from {place}"),
            Entry::Bearer(_) => format!("the token from {place}"),
        };
        let secret = match entry {
            Entry::Password { username, password } => LoginSecret::Password { username, password },
            Entry::Identity { username, token } => LoginSecret::Identity { username, token },
            Entry::Bearer(token) => LoginSecret::Bearer(token),
        };
        Self { secret, source }
    }
}

/// Why a file could not be read.
struct Unreadable {
    problem: String,
    /// Its owner does not want this program to.
    forbidden: bool,
}

/// The files of the usual places in their order.
fn usual_files() -> Vec<PathBuf> {
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

/// podman's `/run/containers/UID`. The owner of this process' own entry in `/proc` is the user's number.
fn runtime_directory() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    Some(PathBuf::from(format!("/run/containers/{uid}")))
}

#[expect(clippy::disallowed_methods, reason = "the places of credentials are named by variables; read nowhere else")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn at(path: &Path, problem: impl std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// The one secret of the file that the configuration's `key` names.
fn secret(key: &str, path: &Path) -> Result<Secret, String> {
    let text = line(read(key, path)?);
    // A file that is just being written: what is sent now would be refused, and might lock an account.
    if text.is_empty() {
        return Err(format!("{key} {} is empty: write the secret into it", path.display()));
    }
    Ok(Secret::new(text))
}

/// The file that the configuration's `key` names. It was there when the configuration was read.
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

/// Small local files: reading them does not block for longer than a lock would.
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
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(Some(text))
}

/// A newline at the end of a secret's file is no part of it.
fn line(text: String) -> String {
    let kept = text.trim_end_matches(['\r', '\n']).len();
    let mut text = text;
    text.truncate(kept);
    text
}
