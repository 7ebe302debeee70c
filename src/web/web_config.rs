//! exporter-toolkit's web configuration file, in its own format: TLS, client certificates, basic authentication,
//! response headers, a limit on requests (exporter-toolkit, `docs/web-configuration.md`).
//!
//! It is looked at for every connection and request, and read again when it or a certificate that it names has
//! changed. What cannot be used then changes nothing: the one before stays in force, and the log says why.

mod auth;
mod client_certificates;
mod file;
mod san;
mod tls;

use parking_lot::Mutex;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use crate::registry::TokenBucket;
pub(super) use auth::Verdict;
use auth::{Authenticator, Users};
use file::File;

/// The web configuration in use.
pub struct WebConfig {
    path: Option<PathBuf>,
    current: ArcSwap<Settings>,
    /// What the files looked like when they were last read. Held while they are read again.
    seen: Mutex<Vec<Seen>>,
    authenticator: Authenticator,
}

/// What a web configuration says.
#[derive(Default)]
pub(super) struct Settings {
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
    /// The file is no YAML, or has a key or a value that means nothing.
    #[error("web configuration `{path}`: {why}", path = .0.display(), why = .1)]
    Invalid(PathBuf, String),
}

/// What tells one state of a file from another.
#[derive(PartialEq)]
struct Seen {
    path: PathBuf,
    /// Inode, bytes, and the times of the last changes in nanoseconds; none if there is no such file.
    state: Option<[i128; 4]>,
}

impl WebConfig {
    /// Plain HTTP for everybody.
    pub fn none() -> Self {
        Self::with(None, Settings::default(), Vec::new())
    }

    /// Reads a file, and reads it again whenever it, or a file that it names, has changed.
    pub fn open(path: &Path) -> Result<Self, WebConfigError> {
        let (settings, seen) = read(path);
        Ok(Self::with(Some(path.to_owned()), settings?, seen))
    }

    fn with(path: Option<PathBuf>, settings: Settings, seen: Vec<Seen>) -> Self {
        let authenticator = Authenticator::default();
        Self { path, current: ArcSwap::from_pointee(settings), seen: Mutex::new(seen), authenticator }
    }

    /// What holds now.
    pub(super) fn current(&self) -> Arc<Settings> {
        if let Some(path) = &self.path {
            self.follow(path);
        }
        self.current.load_full()
    }

    fn follow(&self, path: &Path) {
        let mut seen = self.seen.lock();
        if seen.iter().all(|seen| *seen == Seen::now(&seen.path)) {
            return;
        }
        let (settings, now_seen) = read(path);
        *seen = now_seen;
        match settings {
            Ok(settings) => {
                tracing::info!(path = %path.display(), tls = settings.is_tls(), "web configuration read again");
                self.current.store(Arc::new(settings));
            }
            Err(error) => {
                tracing::error!(%error, "the web configuration has changed and cannot be used: the one before holds");
            }
        }
    }

    /// Whether a request with this `Authorization` header may be answered.
    pub(super) async fn authenticate(&self, settings: &Settings, authorization: Option<&HeaderValue>) -> Verdict {
        if settings.users.is_empty() {
            return Verdict::Allowed;
        }
        self.authenticator.check(&settings.users, authorization).await
    }
}

impl Settings {
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    /// What every answer's header has besides.
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether the limit on requests, if there is one, lets one more pass.
    pub(super) fn passes_rate(&self) -> bool {
        self.rate.as_ref().is_none_or(|bucket| bucket.lock().try_take())
    }
}

/// Reads the file, and says which files have to change before it is worth reading again. These are looked at before
/// they are read: a change in between is seen next time.
fn read(path: &Path) -> (Result<Settings, WebConfigError>, Vec<Seen>) {
    let mut seen = vec![Seen::now(path)];
    let file = match fs::read_to_string(path) {
        Ok(text) => File::parse(&text).map_err(|why| WebConfigError::Invalid(path.to_owned(), why)),
        Err(error) => Err(WebConfigError::Read(path.to_owned(), error)),
    };
    let file = match file {
        Ok(file) => file.relative_to(path.parent().unwrap_or(Path::new(""))),
        Err(error) => return (Err(error), seen),
    };
    seen.extend(file.tls_server_config.files().map(Seen::now));
    (settings(path, file), seen)
}

fn settings(path: &Path, file: File) -> Result<Settings, WebConfigError> {
    let invalid = |why| WebConfigError::Invalid(path.to_owned(), why);
    let headers = file.http_server_config.response_headers().map_err(invalid)?;
    let rate = file.rate_limit.interval().map_err(invalid)?;
    let rate =
        rate.map(|interval| Mutex::new(TokenBucket::new(1.0 / interval.as_secs_f64(), file.rate_limit.burst.into())));
    let tls =
        tls::server_config(&file.tls_server_config, file.http_server_config.http2).map_err(|error| match error {
            tls::TlsError::Read(path, source) => WebConfigError::Read(path, source),
            tls::TlsError::Invalid(why) => invalid(format!("tls_server_config: {why}")),
        })?;
    let users = Users::new(file.basic_auth_users).map_err(invalid)?;
    Ok(Settings { tls: tls.map(Arc::new), headers, users, rate })
}

impl Seen {
    fn now(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let state = fs::metadata(&path).ok().map(|found| {
            let (modified, changed) =
                (nanos(found.mtime(), found.mtime_nsec()), nanos(found.ctime(), found.ctime_nsec()));
            [found.ino().into(), found.len().into(), modified, changed]
        });
        Self { path, state }
    }
}
