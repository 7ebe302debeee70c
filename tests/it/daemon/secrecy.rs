//! No secret leaks: every kind is used, with registries that accept it, refuse it, and echo it in their messages; all
//! output of the program is searched.

use std::collections::BTreeMap;
use std::process::Command;

use image_size_exporter::config::Config;
use image_size_exporter::daemon;
use image_size_exporter::daemon::Start;
use image_size_exporter::web::{Listener, Options, WebConfig};

use super::*;
use crate::support::daemon::{Program, ask_with};
use crate::support::registry::basic;

mod fixture;

use fixture::Fixture;

const OF_FILE: &str = "file-secret &/+?%41=\u{e9}";
const OF_VARIABLE: &str = "variable-secret";
const OF_TOKEN_FILE: &str = "token-file-secret.x/y+z==";
const OF_CONFIG: &str = "config-secret:with:colons";
const OF_ENVIRONMENT: &str = "environment-secret";
const OF_IDENTITY: &str = "identity-secret/+=";
const OF_REGISTRY_TOKEN: &str = "registry-token-secret";
const OF_HELPER: &str = "helper-secret";
const OF_PROXY: &str = "proxy-secret@/";
const OF_ADDRESS: &str = "signature-secret%2F%2B";
const OF_SCRAPER: &str = "scraper-secret";
const OF_NOTIFICATIONS: &str = "notification-secret";
const OF_MISTAKE: &str = "mistaken-secret";
/// What the registries' own token servers issue.
const ISSUED: &str = "token-1";

/// Makes a process of this test program run a daemon that logs everything, its libraries included.
const FILE: &str = "TEST_DAEMON_FILE";
const CHILD: &str = "daemon::secrecy::runs_in_a_process_of_its_own";
const ADDRESS: &str = "TEST_DAEMON_ADDRESS";

/// A daemon that asks for a password.
struct Running(Program);

impl Running {
    async fn start(fixture: &Fixture, command: impl Fn(&str) -> Command) -> Self {
        Self(Program::start_by(fixture.files.path(), command).await)
    }

    /// One request of the scraper's.
    async fn ask(&self, request: &str) -> String {
        let headers = format!("accept: text/html\r\nauthorization: {}\r\n", basic("ann", OF_SCRAPER));
        ask_with(self.0.address(), request, &headers).await.unwrap()
    }

    /// What it publishes once every target was scanned, from beginning to end, after now.
    async fn scanned(&self, fixture: &Fixture) -> String {
        let mut last = BTreeMap::new();
        // The first may have begun before.
        for _ in 0..2 {
            let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
            loop {
                let now = Metrics::of_answer(&self.ask("GET /metrics").await).all(LAST_SCAN, &[]);
                if now.len() == fixture.names().len() && now.iter().all(|(target, time)| last.get(target) != Some(time))
                {
                    last = now;
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "not scanned: {now:?}\n{}", self.0.log());
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        self.ask("GET /metrics").await
    }

    /// All of its pages.
    async fn shown(&self, fixture: &Fixture) -> String {
        let mut shown = self.scanned(fixture).await;
        for request in ["GET /", "GET /config", "GET /-/healthy", "POST /-/reload", "GET /nothing"] {
            shown += &self.ask(request).await;
        }
        shown + &self.notified().await
    }

    /// Its answers to notifications without a body, with the token in each place.
    async fn notified(&self) -> String {
        let mut answers = String::new();
        for (query, header) in [
            (format!("?token={OF_NOTIFICATIONS}"), String::new()),
            (String::new(), format!("authorization: Bearer {OF_NOTIFICATIONS}\r\n")),
            (String::new(), format!("authorization: {}\r\n", basic("bob", OF_NOTIFICATIONS))),
        ] {
            let request = format!("POST /-/notify/quay{query}");
            let answer = ask_with(self.0.address(), &request, &header).await.unwrap();
            assert!(answer.contains(" 400 "), "it is authorized: {answer}");
            answers += &answer;
        }
        answers
    }
}

/// No test by itself: the daemon that the test below runs in a process of its own.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how the test tells its process what to do")]
async fn runs_in_a_process_of_its_own() {
    let (Ok(file), Ok(address)) = (std::env::var(FILE), std::env::var(ADDRESS)) else { return };
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::stderr).init();
    let start = Start {
        listeners: vec![Listener::bind(&address.parse().unwrap()).await.unwrap()],
        options: Options { enable_lifecycle: true, ..Options::default() },
        web_config: WebConfig::open(std::path::Path::new("web.yml")).unwrap(),
        config_file: Some(file.clone().into()),
        overrides: image_size_exporter::config::Overrides::default(),
        reloads: tokio::sync::mpsc::channel(daemon::RELOADS_WAITING_MAX),
    };
    let config = Config::load(std::path::Path::new(&file)).unwrap_or_else(|error| panic!("{error}"));
    daemon::run(config, start, tokio_util::sync::CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_output_of_the_program_contains_a_secret() {
    let fixture = Fixture::new();
    let start = |address: &str| {
        let mut command = fixture.command(env!("CARGO_BIN_EXE_image-size-exporter"));
        command.args(["--log.level", "debug", "--web.enable-lifecycle", "--web.listen-address", address]);
        command
    };
    let running = Running::start(&fixture, start).await;
    let said = turns(&fixture, &running, Fixture::look).await;
    assert!(said.contains("level=debug"), "{said}");
    let said = said + &mistakes(&fixture, &running).await;
    search(&fixture, said);
    travelled(&fixture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_of_libraries_contains_a_secret() {
    let fixture = Fixture::new();
    let start = |address: &str| {
        let mut command = fixture.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(["--exact", CHILD, "--nocapture"]).env(FILE, "config.toml").env(ADDRESS, address);
        command
    };
    let running = Running::start(&fixture, start).await;
    let said = turns(&fixture, &running, |_| String::new()).await;
    assert!(said.contains("TRACE") && said.contains("hyper"), "{said}");
    search(&fixture, said);
    travelled(&fixture);
}

/// Registries that work, and then everything that they can do wrong; returns the program's output.
async fn turns(fixture: &Fixture, running: &Running, look: impl Fn(&Fixture) -> String) -> String {
    let mut said = running.shown(fixture).await + &look(fixture);
    // It did work.
    assert!(said.contains("container_image_compressed_size_bytes{"), "{said}\n{}", running.0.log());
    let json = "application/json";
    for (matching, reply) in [
        ("* /v2/", Reply::Echo(500, json)),
        ("* /v2/", Reply::Echo(401, json)),
        ("* /v2/", Reply::Echo(403, "text/plain")),
        ("* /v2/", Reply::Echo(400, "text/plain")),
        ("* /v2/", Reply::Echo(200, json)),
        ("* /token", Reply::Echo(401, json)),
        ("* /token", Reply::Echo(400, "text/plain")),
        ("* /token", Reply::Echo(501, "text/plain")),
        ("* /token", Reply::Echo(200, json)),
    ] {
        fixture.always(matching, &reply);
        said += &running.shown(fixture).await;
        said += &look(fixture);
        fixture.always(matching, &Reply::Usual);
        let away = format!("{}/v2/acme/app/manifests/v1?X-Signature={OF_ADDRESS}&n=1", fixture.elsewhere.base());
        fixture.registries["redirect"].always("GET /v2/acme/app/manifests/", Reply::redirect(away));
    }
    said += &running.0.log();
    assert!(said.contains("its message contains a secret"), "{said}");
    said
}

/// Secrets in the wrong keys.
async fn mistakes(fixture: &Fixture, running: &Running) -> String {
    let mut said = String::new();
    let good = fixture.config();
    for mistake in [
        format!("[registries.'x.example']\npassword = '{OF_MISTAKE}'\n"),
        format!("[registries.'x.example']\npassword = {OF_MISTAKE}\n"),
        format!("[registries.'x.example']\npassword = '{OF_MISTAKE}\n"),
        format!("[registries.'x.example']\ntoken = ['{OF_MISTAKE}']\n"),
        format!("[registries.'x.example']\nauth = {{ x = '{OF_MISTAKE}' }}\n"),
        format!("[registries.'x.example']\nusername = 'bob:{OF_MISTAKE}'\n"),
        format!("[registries.'x.example']\nusername = 'bob'\npassword_file = '{OF_MISTAKE}'\n"),
        format!("[registries.'x.example']\nusername = 'bob'\npassword_env = '{OF_MISTAKE}'\n"),
        format!("[registries.'x.example']\ntoken_file = '/{OF_MISTAKE}/{OF_MISTAKE}'\n"),
        format!("[registries.'x.example']\ndocker_config = '{{\"auths\":{{\"x\":\"{OF_MISTAKE}\"}}}}'\n"),
        format!("[registries.'x.example']\nproxy_url = 'http://bob:{OF_MISTAKE}@'\n"),
        format!("[registries.'x.example']\nproxy_url = 'ftp://bob:{OF_MISTAKE}@proxy.example'\n"),
        format!("[registries.'x.example']\nproxy_url = 'http://bob:{OF_MISTAKE}@proxy.example:99999'\n"),
        format!("[registries.'x.example']\nproxy_url = ['http://bob:{OF_MISTAKE}@proxy.example']\n"),
        format!("[registries.'bob:{OF_MISTAKE}@x.example']\n"),
        format!("[registries.'https://bob:{OF_MISTAKE}@x.example']\n"),
        format!("[[targets]]\nrepository = 'bob:{OF_MISTAKE}@x.example/app'\ntags = ['v1']\n"),
        format!("[[targets]]\nrepository = 'https://bob:{OF_MISTAKE}@x.example/app'\ntags = ['v1']\n"),
    ] {
        fixture.files.write("config.toml", &format!("{good}{mistake}"));
        let answer = running.ask("POST /-/reload").await;
        assert!(answer.contains(" 500 "), "{mistake}: {answer}");
        said += &answer;
        said += &fixture.run(&[vec!["--config.check".to_owned()]]);
        assert!(!said.contains(OF_MISTAKE), "{mistake}: {answer}");
    }
    said + &running.0.log()
}

/// Fails where a secret is in output or in a file.
fn search(fixture: &Fixture, mut said: String) {
    let state = std::fs::read(fixture.files.path().join("state.redb")).unwrap();
    said += &String::from_utf8_lossy(&state);
    let secrets = [
        OF_FILE,
        OF_VARIABLE,
        OF_TOKEN_FILE,
        OF_CONFIG,
        OF_ENVIRONMENT,
        OF_IDENTITY,
        OF_REGISTRY_TOKEN,
        OF_HELPER,
        OF_PROXY,
        OF_ADDRESS,
        OF_SCRAPER,
        OF_NOTIFICATIONS,
        OF_MISTAKE,
        ISSUED,
        &fixture.hash,
    ];
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        if let Some(at) = said.find(&form) {
            let start = said[..at].rfind('\n').map_or(0, |at| at + 1);
            panic!("{form} in: {}", said[start..].lines().next().unwrap());
        }
    }
}

/// Each secret was sent, so the search is meaningful.
fn travelled(fixture: &Fixture) {
    let seen = fixture.seen();
    let sent = |header: &str, value: &str| {
        assert!(seen.iter().any(|seen| seen.header(header) == value), "nobody sent {header}: {value}");
    };
    for password in [OF_FILE, OF_VARIABLE, OF_CONFIG, OF_ENVIRONMENT, OF_HELPER] {
        sent("authorization", &basic("alice", password));
    }
    for token in [OF_TOKEN_FILE, OF_REGISTRY_TOKEN, ISSUED] {
        sent("authorization", &format!("Bearer {token}"));
    }
    sent("proxy-authorization", &basic("bob", OF_PROXY));
    assert!(seen.iter().any(|seen| seen.method == "POST" && seen.parameters("refresh_token") == [OF_IDENTITY]));
    assert!(seen.iter().any(|seen| seen.uri.contains(OF_ADDRESS)));
}

/// A secret plain, in base64 alone and with its user, and percent-encoded.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    let with_users = ["alice", "bob", "ann"].map(|user| encode(&format!("{user}:{secret}")));
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    [secret.to_owned(), encode(secret), escaped(secret), form].into_iter().chain(with_users).collect()
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
