//! Credential helpers, run as real programs: slow ones, empty ones and broken ones.
//!
//! Helpers are found in `PATH`, so that each test runs again in a process of its own, whose `PATH` begins with the test's
//! directory. There the clock is advanced where hours pass.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::registry::Client;

use super::*;

/// Tells the process of a test where its helpers are.
const PLACE: &str = "TEST_HELPERS";
/// How long a helper may run, and how long its answers and its failures are used.
const TIMEOUT: Duration = Duration::from_secs(30);
const LIFETIME: Duration = Duration::from_mins(15);
const FAILURE_LIFETIME: Duration = Duration::from_mins(1);

/// Longer than a process takes to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The helpers of one test, in the test's own process; `None` in the process that starts it.
fn place(test: &str) -> Option<Helpers> {
    #[expect(clippy::disallowed_methods, reason = "how a test tells its process where its helpers are")]
    if let Ok(place) = std::env::var(PLACE) {
        return Some(Helpers(place.into()));
    }
    let files = Files::new();
    let place = files.path().display().to_string();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("credentials::helpers::{test}"), "--nocapture"])
        .env_clear()
        .env(PLACE, &place)
        .env("PATH", format!("{place}:/usr/bin:/bin"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("test result: ok. 1 passed"), "{said}");
    None
}

/// A directory of helpers, which write a line to `asked` when they run.
struct Helpers(PathBuf);

impl Helpers {
    /// Writes `docker-credential-NAME`.
    fn write(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let asked = self.path("asked");
        let text = format!("#!/bin/sh\necho {name} >>'{}'\n{script}\n", asked.display());
        // Renamed when complete: a file that is open for writing cannot be run.
        let path = self.path("new");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(path, self.path(&format!("docker-credential-{name}"))).unwrap();
    }

    /// Writes one that prints this password.
    fn answer(&self, name: &str, password: &str) {
        self.write(name, &format!(r#"echo '{{"Username":"helper","Secret":"{password}"}}'"#));
    }

    /// A pipe, which is at its end when no process has it open any more.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// How often helpers ran since the last call.
    fn asked(&self) -> usize {
        let asked = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("asked"));
        asked.lines().count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A client that asks `docker-credential-NAME`.
    fn client(&self, registry: &TestRegistry, name: &str) -> Arc<Client> {
        let path = self.path(&format!("{name}.json"));
        std::fs::write(&path, format!(r#"{{"credsStore":"{name}"}}"#)).unwrap();
        registry.client_with(|settings| settings.credential = Credential::DockerConfig(path))
    }
}

fn with_password(password: &'static str) -> TestRegistry {
    let registry = registry();
    registry.require(Access::Basic(vec![("helper", password)]));
    registry
}

async fn head(client: &Client, registry: &TestRegistry) -> Result<(), String> {
    let repository = registry.repository("acme/app");
    client.head_manifest(&repository, At::Tag(&tag("v1"))).await.map(drop).map_err(|error| error.to_string())
}

/// Advances the clock. Only between requests: one under way would time out.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Opens a helper's pipe and reads the line that it writes when it runs.
async fn running(pipe: &Path) -> BufReader<std::fs::File> {
    let pipe = pipe.to_owned();
    let read = move || {
        let mut reader = BufReader::new(std::fs::File::open(pipe).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "running\n");
        reader
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Reads until no process has the pipe open: all that had it have ended.
async fn gone(mut reader: BufReader<std::fs::File>) {
    let (tell, told) = tokio::sync::oneshot::channel();
    // In a thread of its own, in case that never happens.
    std::thread::spawn(move || tell.send(reader.read_to_end(&mut Vec::new()).unwrap()));
    tokio::time::timeout(PATIENCE, told).await.expect("all that held the pipe have ended").unwrap();
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed_with_its_children() {
    let Some(helpers) = place("a_helper_that_hangs_is_killed_with_its_children") else { return };
    let registry = with_password("sesame");
    let pipe = helpers.pipe("pipe");
    let hang = format!("exec 3>'{}'\nsleep 1000 &\necho running >&3\nwait", pipe.display());
    helpers.write("slow", &hang);
    let client = helpers.client(&registry, "slow");
    let asking = async {
        let error = head(&client, &registry).await.unwrap_err();
        assert!(error.contains("docker-credential-slow: no answer within 30s, killed"), "{error}");
    };
    let watching = async {
        let reader = running(&pipe).await;
        later(TIMEOUT).await;
        // The shell and its child have the pipe open.
        gone(reader).await;
    };
    tokio::join!(asking, watching);
    assert_eq!((helpers.asked(), registry.take_counts().as_str()), (1, "head_manifest 1"));
    // Other requests to the same registry do not wait for it again, and after a while it is tried again.
    let error = head(&client, &registry).await.unwrap_err();
    assert!(error.contains("no answer within 30s"), "{error}");
    assert_eq!(helpers.asked(), 0);
    helpers.answer("slow", "sesame");
    later(FAILURE_LIFETIME).await;
    head(&client, &registry).await.unwrap();
    assert_eq!(helpers.asked(), 1);
}

#[tokio::test]
async fn a_helper_is_killed_with_the_request_that_started_it() {
    let Some(helpers) = place("a_helper_is_killed_with_the_request_that_started_it") else { return };
    let registry = with_password("sesame");
    let pipe = helpers.pipe("pipe");
    helpers.write("slow", &format!("exec 3>'{}'\necho running >&3\nsleep 1000", pipe.display()));
    let client = helpers.client(&registry, "slow");
    let reader = tokio::select! {
        answered = head(&client, &registry) => panic!("{answered:?}"),
        reader = running(&pipe) => reader,
    };
    gone(reader).await;
}

#[tokio::test]
async fn a_helper_that_hangs_stops_no_other_registry() {
    let Some(helpers) = place("a_helper_that_hangs_stops_no_other_registry") else { return };
    let (slow, quick) = (with_password("sesame"), with_password("open"));
    let pipe = helpers.pipe("pipe");
    helpers.write("slow", &format!("exec 3>'{}'\necho running >&3\nsleep 1000", pipe.display()));
    helpers.answer("quick", "open");
    let (asks_slow, asks_quick) = (helpers.client(&slow, "slow"), helpers.client(&quick, "quick"));
    // All in one thread: if it waited for the helper, no request would proceed.
    let quickly = async {
        let reader = running(&pipe).await;
        head(&asks_quick, &quick).await.unwrap();
        reader
    };
    tokio::select! {
        answered = head(&asks_slow, &slow) => panic!("{answered:?}"),
        _reader = quickly => {}
    }
}

#[tokio::test]
async fn a_helper_is_asked_once_for_all_requests_and_again_after_its_answers_lifetime() {
    let test = "a_helper_is_asked_once_for_all_requests_and_again_after_its_answers_lifetime";
    let Some(helpers) = place(test) else { return };
    let registry = with_password("sesame");
    helpers.answer("own", "sesame");
    let client = helpers.client(&registry, "own");
    let repositories: Vec<String> = (0..8).map(|number| format!("acme/app{number}")).collect();
    for repository in &repositories {
        registry.push(repository, "v1", &image("linux/amd64", &[]));
    }
    let all = || {
        let asks = repositories.iter().map(|name| {
            let (client, repository) = (client.clone(), registry.repository(name));
            async move { client.head_manifest(&repository, At::Tag(&tag("v1"))).await.map(drop) }
        });
        futures_util::future::join_all(asks)
    };
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(helpers.asked(), 1);
    later(LIFETIME * 9 / 10).await;
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(helpers.asked(), 0);
    // The header that was sent last is used for a few minutes more.
    later(LIFETIME).await;
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(helpers.asked(), 1);
}

#[tokio::test]
async fn a_helper_is_asked_again_when_its_answer_is_refused_and_once_for_all_repositories() {
    let test = "a_helper_is_asked_again_when_its_answer_is_refused_and_once_for_all_repositories";
    let Some(helpers) = place(test) else { return };
    let registry = with_password("old");
    registry.push("acme/two", "v1", &image("linux/amd64", &[]));
    helpers.answer("own", "old");
    let client = helpers.client(&registry, "own");
    let two = registry.repository("acme/two");
    let both = async || {
        head(&client, &registry).await.unwrap();
        client.head_manifest(&two, At::Tag(&tag("v1"))).await.unwrap();
    };
    both().await;
    assert_eq!(helpers.asked(), 1);
    registry.take_counts();
    helpers.answer("own", "new");
    registry.require(Access::Basic(vec![("helper", "new")]));
    both().await;
    // The second repository still had the old one, and used the cached new one.
    assert_eq!((helpers.asked(), registry.take_counts().as_str()), (1, "head_manifest 4"));
    both().await;
    assert_eq!((helpers.asked(), registry.take_counts().as_str()), (0, "head_manifest 2"));
}

#[tokio::test]
async fn a_refused_answer_is_not_sent_again_until_the_helper_has_another() {
    let Some(helpers) = place("a_refused_answer_is_not_sent_again_until_the_helper_has_another") else { return };
    for access in [
        Access::Basic(vec![("helper", "right")]),
        Access::Token(TokenServer { users: vec![("helper", "right")], ..TokenServer::default() }),
    ] {
        let registry = registry();
        registry.require(access);
        helpers.answer("own", "wrong");
        let client = helpers.client(&registry, "own");
        let sent = basic("helper", "wrong");
        let times = || registry.requests().iter().filter(|seen| seen.header("authorization") == sent).count();
        for _ in 0..5 {
            head(&client, &registry).await.unwrap_err();
        }
        assert_eq!(times(), 1);
        // Once for the first request, and once for another password after the refusal.
        assert_eq!(helpers.asked(), 2);
        later(LIFETIME).await;
        head(&client, &registry).await.unwrap_err();
        assert_eq!((times(), helpers.asked()), (1, 1));
        helpers.answer("own", "right");
        later(LIFETIME).await;
        head(&client, &registry).await.unwrap();
        assert_eq!((times(), helpers.asked()), (1, 1));
    }
}

#[tokio::test]
async fn a_token_that_expires_does_not_make_a_helper_be_asked_again() {
    let Some(helpers) = place("a_token_that_expires_does_not_make_a_helper_be_asked_again") else { return };
    let registry = registry();
    let users = vec![("helper", "sesame")];
    registry.require(Access::Token(TokenServer { users, ..TokenServer::default() }));
    helpers.answer("own", "sesame");
    let client = helpers.client(&registry, "own");
    for _ in 0..3 {
        head(&client, &registry).await.unwrap();
        registry.revoke_tokens();
    }
    assert_eq!(helpers.asked(), 1);
}

#[tokio::test]
async fn a_broken_helper_is_named_with_its_fault_and_nothing_of_what_it_prints() {
    let Some(helpers) = place("a_broken_helper_is_named_with_its_fault_and_nothing_of_what_it_prints") else { return };
    let not_json = "its output is not the JSON object of a credential helper";
    let anonymous = "the registry refused anonymous access";
    for (script, expected) in [
        ("echo sesame", not_json),
        ("printf '\\377\\376sesame\\000'", not_json),
        (r#"echo '{"Username":"sesame","Secret":1}'"#, not_json),
        (r#"echo '["sesame"]'"#, not_json),
        ("", not_json),
        ("echo sesame; echo sesame >&2; exit 7", "failed (exit status: 7); run it by hand to see why"),
        (r#"echo '{"Username":"helper","Secret":"sesame"}'; exit 1"#, "failed (exit status: 1)"),
        ("kill -9 $$", "failed (signal: 9 (SIGKILL))"),
        // More output than is read.
        ("exec yes sesame", "docker-credential-x: "),
        ("exec /nowhere/sesame 2>/dev/null", "failed (exit status: 127)"),
        ("echo 'credentials not found in native keychain'; exit 1", anonymous),
        ("echo 'Credentials not found in native keychain' ; exit 1", anonymous),
        (r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#, anonymous),
        ("echo 'no credentials'; exit 1", "failed (exit status: 1)"),
        // A helper that does not read its input may still answer.
        (r#"exec <&-; echo '{"Username":"helper","Secret":"sesame"}'"#, ""),
    ] {
        let registry = with_password("sesame");
        helpers.write("x", script);
        match head(&helpers.client(&registry, "x"), &registry).await {
            Ok(()) => assert_eq!(expected, "", "{script}"),
            Err(said) => {
                assert!(
                    !expected.is_empty() && said.contains(expected) && !said.contains("sesame"),
                    "{script}: {said}"
                );
            }
        }
    }
    let registry = with_password("sesame");
    let said = head(&helpers.client(&registry, "absent"), &registry).await.unwrap_err();
    assert!(said.contains("docker-credential-absent: cannot be run"), "{said}");
    let said = head(&helpers.client(&registry, "../x"), &registry).await.unwrap_err();
    assert!(said.contains("docker-credential-../x is not a program's name"), "{said}");
}

#[tokio::test]
async fn a_helper_without_credentials_is_asked_again_soon() {
    let Some(helpers) = place("a_helper_without_credentials_is_asked_again_soon") else { return };
    let registry = with_password("sesame");
    helpers.write("own", "echo 'credentials not found in native keychain'; exit 1");
    let client = helpers.client(&registry, "own");
    for _ in 0..3 {
        head(&client, &registry).await.unwrap_err();
    }
    assert_eq!(helpers.asked(), 1);
    helpers.answer("own", "sesame");
    later(FAILURE_LIFETIME).await;
    head(&client, &registry).await.unwrap();
    assert_eq!(helpers.asked(), 1);
}

#[tokio::test]
async fn a_helpers_password_that_is_wrong_now_is_tried_for_few_repositories_however_many_ask_at_once() {
    let test = "a_helpers_password_that_is_wrong_now_is_tried_for_few_repositories_however_many_ask_at_once";
    let Some(helpers) = place(test) else { return };
    let registry = with_password("sesame");
    // As slow as one that asks a cloud: many requests could be sent meanwhile.
    helpers.write("stale", r#"sleep 0.1; echo '{"Username":"helper","Secret":"sesame"}'"#);
    let client = helpers.client(&registry, "stale");
    head(&client, &registry).await.unwrap();
    registry.require(Access::Basic(vec![("helper", "rotated")]));
    registry.take_counts();
    later(Duration::from_mins(1)).await;
    let asks = (0..20).map(|number| {
        let (client, repository) = (client.clone(), registry.repository(&format!("acme/app{number}")));
        async move { client.head_manifest(&repository, At::Tag(&tag("v1"))).await.unwrap_err() }
    });
    for error in futures_util::future::join_all(asks).await {
        assert!(error.to_string().contains("refused access to the credentials of helper"), "{error}");
    }
    let sent = basic("helper", "sesame");
    assert_eq!(registry.requests().iter().filter(|seen| seen.header("authorization") == sent).count(), 3);
}
