//! Credential helpers: `docker-credential-SUFFIX get`, a program that prints a credential (docker-credential-helpers).

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::Instant;

use super::docker_config::Entry;
use super::secret::Secret;

/// A helper that takes longer is killed, and what it started with it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer is used before the helper is asked again: cloud registries' passwords live for hours, and one
/// that is refused earlier is asked for at once.
const LIFETIME: Duration = Duration::from_mins(15);
/// How long a helper that failed or knew nothing is left alone: one that hangs must not hold up every repository anew.
const SILENCE: Duration = Duration::from_mins(1);
/// Answers are short.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What a helper prints that does not know the registry, and fails.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What the helpers of one registry said.
#[derive(Default)]
pub(crate) struct Helpers {
    /// By suffix and server.
    said: Mutex<HashMap<Key, CachedAnswer>>,
    /// One helper at a time: some of them open a browser or a keychain.
    turn: tokio::sync::Mutex<()>,
}

type Key = (String, String);

#[derive(Clone)]
struct CachedAnswer {
    at: Instant,
    answer: Result<Option<Answer>, Arc<str>>,
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
    pub(crate) async fn get(&self, suffix: &str, server_url: &str) -> Result<Option<Entry>, String> {
        let key = (suffix.to_owned(), server_url.to_owned());
        if let Some(said) = self.remembered(&key) {
            return said.into_entry();
        }
        let _turn = self.turn.lock().await;
        if let Some(said) = self.remembered(&key) {
            return said.into_entry();
        }
        let answer = ask(suffix, server_url).await.map_err(Arc::from);
        let said = CachedAnswer { at: Instant::now(), answer };
        self.lock().insert(key, said.clone());
        said.into_entry()
    }

    /// Asks anew next time for what was known by `then`. A later answer is kept: whoever was refused with an earlier
    /// one has not tried it yet.
    pub(crate) fn forget(&self, then: Instant) {
        self.lock().retain(|_, said| said.at > then || !matches!(said.answer, Ok(Some(_))));
    }

    fn remembered(&self, key: &Key) -> Option<CachedAnswer> {
        self.lock().get(key).filter(|said| said.at.elapsed() < said.lasts()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, CachedAnswer>> {
        self.said.lock()
    }
}

impl CachedAnswer {
    fn lasts(&self) -> Duration {
        if matches!(self.answer, Ok(Some(_))) { LIFETIME } else { SILENCE }
    }

    fn into_entry(self) -> Result<Option<Entry>, String> {
        self.answer.map(|answer| answer.map(Answer::into_entry)).map_err(|problem| problem.to_string())
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

/// A helper with whatever it started: a shell script's children outlive the shell that is killed. Dropped, it is killed
/// unless it has ended.
struct Family {
    leader: Child,
    group: Option<Pid>,
}

impl Family {
    fn start(program: &str) -> std::io::Result<Self> {
        let leader = tokio::process::Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = leader.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { leader, group })
    }

    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.leader.wait().await?;
        // From now on its number may be somebody else's. What it left in the background is meant to stay.
        self.group = None;
        Ok(status)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Nothing can be done about one that has another user's rights.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the helper; it dies with the future. Nothing that it prints stands in an error.
async fn run(program: &str, server_url: &str) -> Result<Option<Answer>, String> {
    let mut helper = Family::start(program).map_err(|error| format!("cannot be run ({error}): is it in PATH?"))?;
    let mut input = helper.leader.stdin.take().expect("stdin is piped");
    // A helper that does not read its input has made up its mind already.
    let _ = input.write_all(server_url.as_bytes()).await;
    drop(input);
    let mut printed = Vec::new();
    let output = helper.leader.stdout.take().expect("stdout is piped");
    output.take(ANSWER_BYTES_MAX).read_to_end(&mut printed).await.map_err(|error| error.to_string())?;
    let status = helper.ended().await.map_err(|error| error.to_string())?;
    if !status.success() {
        let not_found = String::from_utf8_lossy(&printed).trim().eq_ignore_ascii_case(NOT_FOUND);
        return if not_found { Ok(None) } else { Err(format!("failed ({status}); run it by hand to see why")) };
    }
    // An array would be taken for the fields in their order.
    let is_object = printed.trim_ascii_start().starts_with(b"{");
    let printed: Printed = Some(&printed)
        .filter(|_| is_object)
        .and_then(|printed| serde_json::from_slice(printed).ok())
        .ok_or("its answer is not the JSON that credential helpers print")?;
    if printed.username.is_empty() && printed.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(Answer { username: printed.username.into(), secret: Secret::new(printed.secret) }))
}
