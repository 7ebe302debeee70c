//! A query to a Prometheus, for what another exporter knows: `kube_pod_container_info` of kube-state-metrics, for example
//! (Prometheus HTTP API, "Instant queries").

mod answer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

use super::{Outbox, SourceError};
use crate::clock::unix_now;
use crate::oci::Reason;
use crate::oci::text::shown;
use crate::registry::{NoAnswer, Server};

/// The most bytes of an answer: some 100,000 series.
const ANSWER_BYTES_MAX: u64 = 128 << 20;

/// The most bytes of a password's or token's file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The most bytes of a message of the server's that are shown.
const MESSAGE_BYTES_MAX: usize = 300;

/// What is asked, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its address, to which `api/v1/query` is appended.
    pub url: Url,
    /// An expression that gives a vector, with an image in the labels of each sample.
    pub query: String,
    /// Time between two queries.
    pub interval: Duration,
    /// Time for an answer.
    pub timeout: Duration,
    /// How to authenticate.
    pub credential: Option<PrometheusCredential>,
    /// Authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// How to authenticate. The files are read for each query, so that a rotated secret takes effect.
#[derive(Clone, PartialEq, Eq)]
pub enum PrometheusCredential {
    /// Basic authentication.
    Password {
        /// The user.
        username: String,
        /// The file with the password.
        path: PathBuf,
    },
    /// The file with a bearer token.
    Token(PathBuf),
}

/// Asks again and again; never returns.
pub async fn watch(settings: &Settings, outbox: &Outbox) {
    let mut server = None;
    loop {
        let next = Instant::now() + settings.interval;
        let asked = match &server {
            Some(server) => ask(settings, server).await,
            None => match Server::new(&settings.url, settings.ca_file.clone(), settings.timeout) {
                Ok(new) => ask(settings, server.insert(new)).await,
                Err(error) => Err(SourceError { reason: Reason::Invalid, message: error.to_string() }),
            },
        };
        match asked {
            Ok(containers) => outbox.saw(containers, unix_now()),
            Err(error) => outbox.failed(error),
        }
        sleep_until(next).await;
        // Not in a circle, whatever the clock does.
        sleep(Duration::from_millis(1)).await;
    }
}

/// Asks once.
async fn ask(settings: &Settings, server: &Server) -> Result<Vec<super::Container>, SourceError> {
    let mut url = settings.url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/api/v1/query"));
    url.query_pairs_mut().append_pair("query", &settings.query);
    let secret = settings.credential.as_ref().map(Authorization::read).transpose()?;
    let authorization = secret.as_ref().map(|secret| secret.header.clone());
    let (status, body) = server
        .get(url, authorization, ANSWER_BYTES_MAX)
        .await
        .map_err(|NoAnswer { reason, problem }| SourceError { reason, message: problem })?;
    let place = settings.url.host_str().unwrap_or_default();
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let message = format!("{place} answers {status}: look at `username` and `password_file`, or `token_file`");
            return Err(SourceError { reason: Reason::Denied, message });
        }
        // A wrong expression is answered 400 with the reason in the same form as a result.
        _ => {
            let reason = if status.is_client_error() { Reason::Invalid } else { Reason::Server };
            let why = answer::error(&body).unwrap_or_else(|| "it says nothing more".to_owned());
            let message = said(place, &format!("answers {status}: {why}"), secret.as_ref());
            return Err(SourceError { reason, message });
        }
    }
    let containers = tokio::task::spawn_blocking(move || answer::containers(&body)).await;
    match containers {
        Ok(Ok(containers)) => Ok(containers),
        Ok(Err(why)) => {
            Err(SourceError { reason: Reason::Invalid, message: said(place, &why.to_string(), secret.as_ref()) })
        }
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(SourceError { reason: Reason::Network, message: "the program ends".to_owned() }),
    }
}

/// A message with what the server says. Whatever part of its answer that quotes, it may be what was sent.
fn said(place: &str, why: &str, secret: Option<&Authorization>) -> String {
    if secret.is_some_and(|secret| secret.is_in(why)) {
        return format!("{place} gives an answer that is not shown, since it quotes the password or token");
    }
    format!("{place} {}", shown(why, MESSAGE_BYTES_MAX))
}

/// The header of a request, and what no message may quote of it, even if the server does.
struct Authorization {
    header: HeaderValue,
    secrets: [String; 2],
}

impl Authorization {
    fn read(credential: &PrometheusCredential) -> Result<Self, SourceError> {
        let (scheme, sent, secret) = match credential {
            PrometheusCredential::Password { username, path } => {
                let password = secret(path)?;
                ("Basic", STANDARD.encode(format!("{username}:{password}")), password)
            }
            PrometheusCredential::Token(path) => {
                let token = secret(path)?;
                ("Bearer", token.clone(), token)
            }
        };
        let mut header = HeaderValue::from_str(&format!("{scheme} {sent}")).map_err(|_| SourceError {
            reason: Reason::Invalid,
            message: "the file of the password or token has characters that no header may have".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(Self { header, secrets: [sent, secret] })
    }

    fn is_in(&self, text: &str) -> bool {
        // An error of the parser quotes with escapes.
        let is_quoted = |secret: &String| text.contains(&*secret.escape_debug().to_string());
        self.secrets.iter().any(|secret| text.contains(secret) || is_quoted(secret))
    }
}

fn secret(path: &Path) -> Result<String, SourceError> {
    use std::io::Read as _;
    let failed = |reason, why: &dyn fmt::Display| SourceError {
        reason,
        message: format!("the file of the password or token, `{}`: {why}", path.display()),
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| failed(Reason::Denied, &error))?;
    match text.trim() {
        "" => Err(failed(Reason::Denied, &"is empty: write the secret into it")),
        secret => Ok(secret.to_owned()),
    }
}
