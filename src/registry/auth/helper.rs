//! Credential helpers: `docker-credential-SUFFIX get`, a program that prints a credential (docker-credential-helpers).

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::Instant;

use super::credential::Login;
use super::secret::Secret;

/// A helper that takes longer is killed together with the processes that it started.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer is cached. Cloud registries' passwords are valid for hours, and a refused one is requested again
/// at once.
const LIFETIME: Duration = Duration::from_mins(15);
/// How long a failure or an empty answer is cached: a helper that hangs must not delay every repository.
const FAILURE_LIFETIME: Duration = Duration::from_mins(1);
/// The most that is read of a helper's output.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// What a helper prints, beside a failure status, if it has no credentials for the registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The cached answers of one registry's helpers.
#[derive(Default)]
pub(crate) struct Helpers {
    /// By suffix and server address.
    answers: Mutex<HashMap<HelperKey, CachedAnswer>>,
    /// One helper runs at a time: some of them open a browser or a keychain.
    running: tokio::sync::Mutex<()>,
}

type HelperKey = (String, String);

#[derive(Clone)]
struct CachedAnswer {
    at: Instant,
    answer: Result<Option<Login>, Arc<str>>,
}

/// A helper's output.
#[derive(Deserialize)]
struct HelperOutput {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helpers {
    /// The login that `docker-credential-SUFFIX` has for `server_url`, if it has one.
    pub(crate) async fn get(&self, suffix: &str, server_url: &str) -> Result<Option<Login>, String> {
        let key = (suffix.to_owned(), server_url.to_owned());
        if let Some(login) = self.cached(&key) {
            return login;
        }
        let _running = self.running.lock().await;
        if let Some(login) = self.cached(&key) {
            return login;
        }
        let answer = ask(suffix, server_url).await;
        let cached = answer.clone().map_err(Arc::from);
        self.answers.lock().insert(key, CachedAnswer { at: Instant::now(), answer: cached });
        answer
    }

    /// Drops the logins that were obtained up to `then`. A later one is kept: the request that was refused was sent with
    /// an earlier one.
    pub(crate) fn forget(&self, then: Instant) {
        self.answers.lock().retain(|_, cached| cached.at > then || !matches!(cached.answer, Ok(Some(_))));
    }

    fn cached(&self, key: &HelperKey) -> Option<Result<Option<Login>, String>> {
        let answers = self.answers.lock();
        let cached = answers.get(key).filter(|cached| cached.at.elapsed() < cached.lifetime())?;
        Some(cached.answer.clone().map_err(|problem| problem.to_string()))
    }
}

impl CachedAnswer {
    fn lifetime(&self) -> Duration {
        if matches!(self.answer, Ok(Some(_))) { LIFETIME } else { FAILURE_LIFETIME }
    }
}

/// The name of a helper's program.
pub(super) fn program(suffix: &str) -> String {
    format!("docker-credential-{suffix}")
}

async fn ask(suffix: &str, server_url: &str) -> Result<Option<Login>, String> {
    let program = program(suffix);
    if suffix.contains('/') {
        return Err(format!("{program} is not a program's name: write only the part after `docker-credential-`"));
    }
    match tokio::time::timeout(TIMEOUT, run(&program, server_url)).await {
        Ok(answer) => answer.map_err(|problem| format!("{program}: {problem}")),
        Err(_) => Err(format!("{program}: no answer within {}s, killed", TIMEOUT.as_secs())),
    }
}

/// A helper and the processes that it started: a shell script's children outlive the shell that is killed. Dropped, all
/// of them are killed, unless the helper has ended.
struct ProcessGroup {
    leader: Child,
    group: Option<Pid>,
}

impl ProcessGroup {
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
        // The process ID may be reused from now on. What the helper left in the background is meant to stay.
        self.group = None;
        Ok(status)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Fails for a program that runs as another user, which cannot be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the helper; it is killed when the future is dropped. No error quotes its output.
async fn run(program: &str, server_url: &str) -> Result<Option<Login>, String> {
    let mut helper =
        ProcessGroup::start(program).map_err(|error| format!("cannot be run ({error}): is it in PATH?"))?;
    let mut input = helper.leader.stdin.take().expect("stdin is piped");
    // Fails if the helper does not read its input, which it need not.
    let _ = input.write_all(server_url.as_bytes()).await;
    drop(input);
    let mut printed = Vec::new();
    let stdout = helper.leader.stdout.take().expect("stdout is piped");
    stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut printed).await.map_err(|error| error.to_string())?;
    let status = helper.ended().await.map_err(|error| error.to_string())?;
    if !status.success() {
        let not_found = String::from_utf8_lossy(&printed).trim().eq_ignore_ascii_case(NOT_FOUND);
        return if not_found { Ok(None) } else { Err(format!("failed ({status}); run it by hand to see why")) };
    }
    // serde would accept an array as the fields in their order.
    let is_object = printed.trim_ascii_start().starts_with(b"{");
    let output: HelperOutput = Some(&printed)
        .filter(|_| is_object)
        .and_then(|printed| serde_json::from_slice(printed).ok())
        .ok_or("its output is not the JSON object of a credential helper")?;
    if output.username.is_empty() && output.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(Login::from_pair(output.username, Secret::new(output.secret))))
}
