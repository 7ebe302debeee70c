//! Credential helpers: `docker-credential-SUFFIX get`, a program that prints a credential (docker-credential-helpers).

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::docker_config::Entry;
use crate::registry::locked;
use crate::registry::secret::Secret;

/// A helper that takes longer is killed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer is used before the helper is asked again: cloud registries' passwords live for hours, and one
/// that is refused earlier is asked for at once.
const LIFETIME: Duration = Duration::from_mins(15);
/// Answers are short.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What a helper prints that does not know the registry, and fails.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What the helpers of one registry said.
#[derive(Default)]
pub(super) struct Helpers {
    /// By suffix and server.
    said: Mutex<HashMap<(String, String), Said>>,
    /// One helper at a time: some of them open a browser or a keychain.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Said {
    until: Instant,
    answer: Option<Answer>,
}

#[derive(Clone)]
struct Answer {
    username: Arc<str>,
    secret: Secret,
}

#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helpers {
    /// What `docker-credential-SUFFIX` knows about `server_url`; `None` where it knows nothing.
    pub(super) async fn get(&self, suffix: &str, server_url: &str) -> Result<Option<Entry>, String> {
        let key = (suffix.to_owned(), server_url.to_owned());
        if let Some(said) = self.remembered(&key) {
            return Ok(said.answer.map(Answer::into_entry));
        }
        let _turn = self.turn.lock().await;
        if let Some(said) = self.remembered(&key) {
            return Ok(said.answer.map(Answer::into_entry));
        }
        let answer = ask(suffix, server_url).await?;
        self.lock().insert(key, Said { until: Instant::now() + LIFETIME, answer: answer.clone() });
        Ok(answer.map(Answer::into_entry))
    }

    /// Asks anew next time.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn remembered(&self, key: &(String, String)) -> Option<Said> {
        self.lock().get(key).filter(|said| said.until > Instant::now()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Said>> {
        locked(&self.said)
    }
}

impl Answer {
    fn into_entry(self) -> Entry {
        if &*self.username == "<token>" {
            Entry::Identity { username: String::new(), token: self.secret }
        } else {
            Entry::Password { username: self.username.to_string(), password: self.secret }
        }
    }
}

async fn ask(suffix: &str, server_url: &str) -> Result<Option<Answer>, String> {
    let program = format!("docker-credential-{suffix}");
    if suffix.contains('/') {
        return Err(format!("{program} is no name of a program: a credential helper is named by its suffix"));
    }
    match tokio::time::timeout(TIMEOUT, run(&program, server_url)).await {
        Ok(answer) => answer.map_err(|problem| format!("{program}: {problem}")),
        Err(_) => Err(format!("{program}: no answer within {}s, killed", TIMEOUT.as_secs())),
    }
}

/// Runs the helper; it dies with the future. Nothing that it prints stands in an error.
async fn run(program: &str, server_url: &str) -> Result<Option<Answer>, String> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot be run ({error}): is it in PATH?"))?;
    let mut input = child.stdin.take().expect("stdin is piped");
    // A helper that does not read its input has made up its mind already.
    let _ = input.write_all(server_url.as_bytes()).await;
    drop(input);
    let mut printed = Vec::new();
    let output = child.stdout.take().expect("stdout is piped");
    output.take(ANSWER_BYTES_MAX).read_to_end(&mut printed).await.map_err(|error| error.to_string())?;
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if !status.success() {
        let not_found = String::from_utf8_lossy(&printed).trim().eq_ignore_ascii_case(NOT_FOUND);
        return if not_found { Ok(None) } else { Err(format!("failed ({status}); run it by hand to see why")) };
    }
    let printed: Printed = serde_json::from_slice(&printed)
        .map_err(|_| "its answer is not the JSON that credential helpers print".to_owned())?;
    if printed.username.is_empty() && printed.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(Answer { username: printed.username.into(), secret: Secret::new(printed.secret) }))
}
