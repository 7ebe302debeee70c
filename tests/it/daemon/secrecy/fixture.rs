//! Registries that want each kind of secret, and the files and commands that know them.

use std::fmt::Write as _;
use std::process::{Child, Stdio};

use super::*;
use crate::support::files::Files;
use crate::support::registry::{Access, Seen, TokenServer};

/// Registries by the kind of secret that they require; the proxy; the storage of layers.
pub(super) struct Fixture {
    pub(super) registries: BTreeMap<&'static str, TestRegistry>,
    proxy: TestRegistry,
    pub(super) elsewhere: TestRegistry,
    pub(super) files: Files,
    pub(super) hash: String,
}

impl Fixture {
    pub(super) fn new() -> Self {
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
        let fixture = Self {
            registries: registries.into(),
            proxy: registry(),
            elsewhere: registry(),
            files: Files::new(),
            hash: bcrypt::hash(OF_SCRAPER, 4).unwrap(),
        };
        let away = format!("{}/v2/acme/app/manifests/v1?X-Signature={OF_ADDRESS}&n=1", fixture.elsewhere.base());
        fixture.registries["redirect"].always("GET /v2/acme/app/manifests/", Reply::redirect(away));
        // The proxy answers nothing by itself.
        fixture.proxy.missing("http://registry.invalid/v2/acme/app/");
        fixture.write();
        fixture
    }

    /// The files: configuration, secrets, a helper.
    fn write(&self) {
        let name = |kind: &str| self.registries[kind].name();
        let encoded = |text: &str| basic("alice", text).replace("Basic ", "");
        self.files.write("password", &format!("{OF_FILE}\n"));
        self.files.write("bearer", OF_TOKEN_FILE);
        self.files.write("notifications", OF_NOTIFICATIONS);
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

    pub(super) fn config(&self) -> String {
        let mut toml = "[web]\nconfig_file = 'web.yml'\n[scan]\ninterval = '200ms'\n[state]\npath = 'state.redb'\n\
             [notifications]\ntoken_file = 'notifications'\n"
            .to_owned();
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
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.registries.values().map(|registry| registry.name().to_string());
        names.chain(["registry.invalid".to_owned()]).collect()
    }

    fn servers(&self) -> impl Iterator<Item = &TestRegistry> {
        self.registries.values().chain([&self.proxy, &self.elsewhere])
    }

    /// All requests that match are answered so from now on, everywhere.
    pub(super) fn always(&self, matching: &str, reply: &Reply) {
        self.servers().for_each(|server| server.always(matching, reply.clone()));
        // As a proxy is asked.
        self.proxy.always(&matching.replace(" /", " http://registry.invalid/"), reply.clone());
    }

    /// The program, with this environment.
    pub(super) fn command(&self, program: &str) -> Command {
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
    pub(super) fn run(&self, commands: &[Vec<String>]) -> String {
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
    pub(super) fn look(&self) -> String {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let inspected = self.names().into_iter().map(|name| words(&format!("inspect {name}/acme/app:v1")));
        let redirect = format!("inspect --json {}/acme/app:v1", self.registries["redirect"].name());
        let file = format!("inspect --json {}/acme/app:v1", self.registries["file"].name());
        let commands: Vec<_> = inspected.chain([words("plan"), words(&redirect), words(&file)]).collect();
        self.run(&commands)
    }

    /// All requests that any server received.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.servers().flat_map(TestRegistry::requests).collect()
    }
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
