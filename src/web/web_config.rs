//! exporter-toolkit's web configuration file, in its own format: TLS, client certificates, basic authentication,
//! response headers, a limit on requests (exporter-toolkit, `docs/web-configuration.md`).
//!
//! Every connection and request checks whether it, or a file that it names, has changed; then it is read again. An
//! invalid version changes nothing: the previous one stays in use, and the log says why.

mod auth;
mod client_certificates;
mod file;
mod san;
mod tls;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::registry::TokenBucket;
pub(super) use auth::Verdict;
use auth::{Authenticator, Users};
use file::WebConfigFile;

/// The web configuration in use.
pub struct WebConfig {
    path: Option<PathBuf>,
    current: ArcSwap<WebSettings>,
    /// The files' versions when they were last read. Locked while they are read again.
    versions: Mutex<Vec<FileVersion>>,
    authenticator: Authenticator,
}

/// The settings of a web configuration.
#[derive(Default)]
pub(super) struct WebSettings {
    tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Users,
    rate: Option<Mutex<TokenBucket>>,
}

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read `{path}`: {source}", path = .0.display(), source = .1)]
    Read(PathBuf, std::io::Error),
    /// The file is not YAML, or has an unknown key or an invalid value.
    #[error("web configuration `{path}`: {why}", path = .0.display(), why = .1)]
    Invalid(PathBuf, String),
}

impl WebConfigError {
    /// Whether a file is not there.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Read(_, error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Identifies a version of a file.
#[derive(PartialEq)]
struct FileVersion {
    path: PathBuf,
    /// Inode, bytes, and the times of modification and status change in nanoseconds; none if there is no such file.
    metadata: Option<[i128; 4]>,
}

impl WebConfig {
    /// Plain HTTP without authentication.
    pub fn none() -> Self {
        Self::with(None, WebSettings::default(), Vec::new())
    }

    /// Reads a file, and reads it again whenever it, or a file that it names, has changed.
    pub fn open(path: &Path) -> Result<Self, WebConfigError> {
        let (settings, versions) = read(path);
        Ok(Self::with(Some(path.to_owned()), settings?, versions))
    }

    fn with(path: Option<PathBuf>, settings: WebSettings, versions: Vec<FileVersion>) -> Self {
        let authenticator = Authenticator::default();
        Self { path, current: ArcSwap::from_pointee(settings), versions: Mutex::new(versions), authenticator }
    }

    /// The settings in use.
    pub(super) fn current(&self) -> Arc<WebSettings> {
        if let Some(path) = &self.path {
            self.refresh(path);
        }
        self.current.load_full()
    }

    fn refresh(&self, path: &Path) {
        let mut versions = self.versions.lock();
        if versions.iter().all(|version| *version == FileVersion::now(&version.path)) {
            return;
        }
        let (settings, now) = read(path);
        *versions = now;
        match settings {
            Ok(settings) => {
                tracing::info!(path = %path.display(), tls = settings.is_tls(), "web configuration reloaded");
                self.current.store(Arc::new(settings));
            }
            Err(error) => {
                tracing::error!(%error, "the changed web configuration is invalid: the previous one stays in use");
            }
        }
    }

    /// Whether a request with this `Authorization` header may be answered.
    pub(super) async fn authenticate(&self, settings: &WebSettings, authorization: Option<&HeaderValue>) -> Verdict {
        if settings.users.is_empty() {
            return Verdict::Allowed;
        }
        self.authenticator.check(&settings.users, authorization).await
    }
}

impl WebSettings {
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// The headers that every answer gets.
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether the rate limit, if there is one, allows another request.
    pub(super) fn passes_rate(&self) -> bool {
        self.rate.as_ref().is_none_or(|bucket| bucket.lock().try_take())
    }
}

/// Reads the file. The versions are those of all files that it depends on, taken before the files are read, so that a
/// change in between is noticed next time.
fn read(path: &Path) -> (Result<WebSettings, WebConfigError>, Vec<FileVersion>) {
    let mut versions = vec![FileVersion::now(path)];
    let file = match fs::read_to_string(path) {
        Ok(text) => WebConfigFile::parse(&text).map_err(|why| WebConfigError::Invalid(path.to_owned(), why)),
        Err(error) => Err(WebConfigError::Read(path.to_owned(), error)),
    };
    let file = match file {
        Ok(file) => file.relative_to(path.parent().unwrap_or(Path::new(""))),
        Err(error) => return (Err(error), versions),
    };
    versions.extend(file.tls_server_config.files().map(FileVersion::now));
    (settings(path, file), versions)
}

fn settings(path: &Path, file: WebConfigFile) -> Result<WebSettings, WebConfigError> {
    let invalid = |why| WebConfigError::Invalid(path.to_owned(), why);
    let headers = file.http_server_config.response_headers().map_err(invalid)?;
    let rate = file.rate_limit.interval().map_err(invalid)?;
    let rate =
        rate.map(|interval| Mutex::new(TokenBucket::new(1.0 / interval.as_secs_f64(), file.rate_limit.burst.into())));
    let tls =
        tls::server_config(&file.tls_server_config, file.http_server_config.http2).map_err(|error| match error {
            tls::TlsConfigError::Read(path, source) => WebConfigError::Read(path, source),
            tls::TlsConfigError::Invalid(why) => invalid(format!("tls_server_config: {why}")),
        })?;
    let users = Users::new(file.basic_auth_users).map_err(invalid)?;
    Ok(WebSettings { tls: tls.map(Arc::new), headers, users, rate })
}

impl FileVersion {
    fn now(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let metadata = fs::metadata(&path).ok().map(|found| {
            let (modified, changed) =
                (nanos(found.mtime(), found.mtime_nsec()), nanos(found.ctime(), found.ctime_nsec()));
            [found.ino().into(), found.len().into(), modified, changed]
        });
        Self { path, metadata }
    }
}
