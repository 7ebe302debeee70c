//! No secret leaks: every kind is used, with registries that accept it, refuse it, and echo it in their messages; all
//! output of the program is searched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

use image_size_exporter::config::Config;
use image_size_exporter::daemon;
use image_size_exporter::daemon::Start;
use image_size_exporter::web::{Listener, Options, WebConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::ask;
use super::*;
use crate::support::files::Files;
use crate::support::registry::{Access, Seen, TokenServer, basic};

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
const OF_MISTAKE: &str = "mistaken-secret";
/// What the registries' own token servers issue.
const ISSUED: &str = "token-1";

/// Makes a process of this test program run a daemon that logs everything, its libraries included.
const FILE: &str = "TEST_DAEMON_FILE";
const CHILD: &str = "daemon::secrecy::runs_in_a_process_of_its_own";
const ADDRESS: &str = "TEST_DAEMON_ADDRESS";

/// Registries by the kind of secret that they require; the proxy; the storage of layers.
struct World {
    registries: BTreeMap<&'static str, TestRegistry>,
    proxy: TestRegistry,
    elsewhere: TestRegistry,
    files: Files,
    hash: String,
}

impl World {
    fn new() -> Self {
        let only = |user, password| Access::Basic(vec![(user, password)]);
        let tokens =
            |user, password| Access::Token(TokenServer { users: vec![(user, password)], ..TokenServer::default() });
        let identities = TokenServer { identities: vec![OF_IDENTITY], ..TokenServer::default() };
        let wanted = [
            ("file", only("alice", OF_FILE)),
            ("variable", tokens("alice", OF_VARIABLE)),
            ("config", tokens("alice", OF_CONFIG)),
            ("environment", only("alice", OF_ENVIRONMENT)),
            ("identity", Access::Token(identities)),
            ("helper", tokens("alice", OF_HELPER)),
            // Refused in any case, but sent.
            ("token-file", Access::Basic(vec![])),
            ("registry-token", Access::Basic(vec![])),
            ("redirect", Access::Open),
        ];
        let registries = wanted.map(|(kind, access)| {
            let registry = registry();
            registry.require(access);
            (kind, registry)
        });
        let world = Self {
            registries: registries.into(),
            proxy: registry(),
            elsewhere: registry(),
            files: Files::new(),
            hash: bcrypt::hash(OF_SCRAPER, 4).unwrap(),
        };
        let away = format!("{}/v2/acme/app/manifests/v1?X-Signature={OF_ADDRESS}&n=1", world.elsewhere.base());
        world.registries["redirect"].always("GET /v2/acme/app/manifests/", Reply::redirect(away));
        // The proxy answers nothing by itself.
        world.proxy.missing("http://registry.invalid/v2/acme/app/");
        world.write();
        world
    }

    /// The files: configuration, secrets, a helper.
    fn write(&self) {
        let name = |kind: &str| self.registries[kind].name();
        let encoded = |text: &str| basic("alice", text).replace("Basic ", "");
        self.files.write("password", &format!("{OF_FILE}\n"));
        self.files.write("bearer", OF_TOKEN_FILE);
        let auths = format!(
            r#"{{"auths":{{"{}":{{"auth":"{}"}},"{}":{{"identitytoken":"{OF_IDENTITY}"}},"{}":{{"registrytoken":"{OF_REGISTRY_TOKEN}"}}}},
            "credHelpers":{{"{}":"own"}}}}"#,
            name("config"),
            encoded(OF_CONFIG),
            name("identity"),
            name("registry-token"),
            name("helper"),
        );
        self.files.write("docker.json", &auths);
        let helper =
            format!("#!/bin/sh\necho {OF_HELPER} >&2\necho '{{\"Username\":\"alice\",\"Secret\":\"{OF_HELPER}\"}}'\n");
        self.files.write_program("bin/docker-credential-own", &helper);
        self.files.write("web.yml", &format!("basic_auth_users:\n  ann: '{}'\n", self.hash));
        self.files.write("config.toml", &self.config());
    }

    fn config(&self) -> String {
        let mut toml =
            "[web]\nconfig_file = 'web.yml'\n[scan]\ninterval = '200ms'\n[state]\npath = 'state.redb'\n".to_owned();
        for (kind, registry) in &self.registries {
            let credential = match *kind {
                "file" => "username = 'alice'\npassword_file = 'password'",
                "variable" => "username = 'alice'\npassword_env = 'OF_VARIABLE'",
                "token-file" => "token_file = 'bearer'",
                "environment" | "redirect" => "",
                _ => "docker_config = 'docker.json'",
            };
            write!(toml, "[registries.'{}']\n{credential}\n", registry.name()).unwrap();
        }
        let proxy = self.proxy.base().replace("http://", &format!("http://bob:{}@", escaped(OF_PROXY)));
        write!(toml, "[registries.'registry.invalid']\nplain_http = true\nproxy_url = '{proxy}/'\n").unwrap();
        for name in self.names() {
            write!(toml, "[[targets]]\nrepository = '{name}/acme/app'\ntags = ['v1']\n").unwrap();
        }
        toml
    }

    /// All registries, as references have them.
    fn names(&self) -> Vec<String> {
        let names = self.registries.values().map(|registry| registry.name().to_string());
        names.chain(["registry.invalid".to_owned()]).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &TestRegistry> {
        self.registries.values().chain([&self.proxy, &self.elsewhere])
    }

    /// All requests that match are answered so from now on, everywhere.
    fn always(&self, matching: &str, reply: &Reply) {
        self.servers().for_each(|server| server.always(matching, reply.clone()));
        // As a proxy is asked.
        self.proxy.always(&matching.replace(" /", " http://registry.invalid/"), reply.clone());
    }

    /// The program, with this environment.
    fn command(&self, program: &str) -> Command {
        let environment = r#"{"auths":{"REGISTRY":{"auth":"AUTH"}}}"#
            .replace("REGISTRY", self.registries["environment"].name().as_str())
            .replace("AUTH", &basic("alice", OF_ENVIRONMENT).replace("Basic ", ""));
        let mut command = Command::new(program);
        command
            .current_dir(self.files.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.files.path().join("bin").display()))
            .env("OF_VARIABLE", OF_VARIABLE)
            .env("DOCKER_AUTH_CONFIG", environment)
            .stdin(Stdio::null());
        command
    }

    /// Runs subcommands in parallel; returns their output.
    fn run(&self, commands: &[Vec<String>]) -> String {
        let started: Vec<Child> = commands
            .iter()
            .map(|arguments| {
                let mut command = self.command(env!("CARGO_BIN_EXE_image-size-exporter"));
                command.args(arguments).args(["--log.level", "debug"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        started.into_iter().map(|child| text(&child.wait_with_output().unwrap())).collect()
    }

    /// `inspect` of everything, for people and for programs, and `plan`.
    fn look(&self) -> String {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let inspected = self.names().into_iter().map(|name| words(&format!("inspect {name}/acme/app:v1")));
        let redirect = format!("inspect --json {}/acme/app:v1", self.registries["redirect"].name());
        let file = format!("inspect --json {}/acme/app:v1", self.registries["file"].name());
        let commands: Vec<_> = inspected.chain([words("plan"), words(&redirect), words(&file)]).collect();
        self.run(&commands)
    }

    /// All requests that any server received.
    fn seen(&self) -> Vec<Seen> {
        self.servers().flat_map(TestRegistry::requests).collect()
    }
}

/// A daemon and its output.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    /// Starts it where nobody listens at the moment; should somebody be quicker, then once more.
    async fn start(world: &World, command: impl Fn(&str) -> Command) -> Self {
        loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap().to_string();
            drop(free);
            let log = std::fs::File::create(world.files.path().join("log")).unwrap();
            let child = command(&address).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            let mut running = Self { child, address };
            while ask(&running.address, "GET /-/ready").await.is_none() && running.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            if running.child.try_wait().unwrap().is_none() {
                return running;
            }
            assert!(log_of(world).contains("cannot listen"), "{}", log_of(world));
        }
    }

    /// One request of the scraper's.
    async fn ask(&self, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{request} HTTP/1.0\r\nhost: x\r\naccept: text/html\r\nauthorization: {}\r\n\r\n",
            basic("ann", OF_SCRAPER)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What it publishes once every target was scanned, from beginning to end, after now.
    async fn scanned(&self, world: &World) -> String {
        let times = |metrics: &str| -> BTreeMap<String, String> {
            let lines = metrics.lines().filter_map(|line| line.strip_prefix(LAST_SCAN)?.rsplit_once(' '));
            lines.map(|(labels, time)| (labels.to_owned(), time.to_owned())).collect()
        };
        let mut last = BTreeMap::new();
        // The first may have begun before.
        for _ in 0..2 {
            let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
            loop {
                let now = times(&self.ask("GET /metrics").await);
                if now.len() == world.names().len() && now.iter().all(|(target, time)| last.get(target) != Some(time)) {
                    last = now;
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "not scanned: {now:?}\n{}", log_of(world));
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        self.ask("GET /metrics").await
    }

    /// All of its pages.
    async fn shown(&self, world: &World) -> String {
        let mut shown = self.scanned(world).await;
        for request in ["GET /", "GET /config", "GET /-/healthy", "POST /-/reload", "GET /nothing"] {
            shown += &self.ask(request).await;
        }
        shown
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        reloads: tokio::sync::mpsc::channel(daemon::RELOADS_WAITING_MAX),
    };
    let config = Config::load(std::path::Path::new(&file)).unwrap_or_else(|error| panic!("{error}"));
    daemon::run(config, start, tokio_util::sync::CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_output_of_the_program_contains_a_secret() {
    let world = World::new();
    let start = |address: &str| {
        let mut command = world.command(env!("CARGO_BIN_EXE_image-size-exporter"));
        command.args(["--log.level", "debug", "--web.enable-lifecycle", "--web.listen-address", address]);
        command
    };
    let running = Running::start(&world, start).await;
    let said = turns(&world, &running, World::look).await;
    assert!(said.contains("level=debug"), "{said}");
    let said = said + &mistakes(&world, &running).await;
    search(&world, said);
    travelled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_of_libraries_contains_a_secret() {
    let world = World::new();
    let start = |address: &str| {
        let mut command = world.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(["--exact", CHILD, "--nocapture"]).env(FILE, "config.toml").env(ADDRESS, address);
        command
    };
    let running = Running::start(&world, start).await;
    let said = turns(&world, &running, |_| String::new()).await;
    assert!(said.contains("TRACE") && said.contains("hyper"), "{said}");
    search(&world, said);
    travelled(&world);
}

/// Registries that work, and then everything that they can do wrong; returns the program's output.
async fn turns(world: &World, running: &Running, look: impl Fn(&World) -> String) -> String {
    let mut said = running.shown(world).await + &look(world);
    // It did work.
    assert!(said.contains("container_image_compressed_size_bytes{"), "{said}\n{}", log_of(world));
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
        world.always(matching, &reply);
        said += &running.shown(world).await;
        said += &look(world);
        world.always(matching, &Reply::Usual);
        let away = format!("{}/v2/acme/app/manifests/v1?X-Signature={OF_ADDRESS}&n=1", world.elsewhere.base());
        world.registries["redirect"].always("GET /v2/acme/app/manifests/", Reply::redirect(away));
    }
    said += &log_of(world);
    assert!(said.contains("its message contains a secret"), "{said}");
    said
}

/// Secrets in the wrong keys.
async fn mistakes(world: &World, running: &Running) -> String {
    let mut said = String::new();
    let good = world.config();
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
        world.files.write("config.toml", &format!("{good}{mistake}"));
        let answer = running.ask("POST /-/reload").await;
        assert!(answer.contains(" 500 "), "{mistake}: {answer}");
        said += &answer;
        said += &world.run(&[vec!["--config.check".to_owned()]]);
        assert!(!said.contains(OF_MISTAKE), "{mistake}: {answer}");
    }
    said + &log_of(world)
}

/// Fails where a secret is in output or in a file.
fn search(world: &World, mut said: String) {
    let state = std::fs::read(world.files.path().join("state.redb")).unwrap();
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
        OF_MISTAKE,
        ISSUED,
        &world.hash,
    ];
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        if let Some(at) = said.find(&form) {
            let start = said[..at].rfind('\n').map_or(0, |at| at + 1);
            panic!("{form} in: {}", said[start..].lines().next().unwrap());
        }
    }
}

/// Each secret was sent, so the search is meaningful.
fn travelled(world: &World) {
    let seen = world.seen();
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

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn log_of(world: &World) -> String {
    String::from_utf8_lossy(&std::fs::read(world.files.path().join("log")).unwrap()).into_owned()
}
