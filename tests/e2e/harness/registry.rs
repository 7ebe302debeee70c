//! The distribution registry, as Debian packages it: `docker-registry`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image_size_exporter::metrics::Format;

use super::exposition::Exposition;
use super::{Program, free_port, http, scratch};

/// The registry's authentication.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Open.
    #[default]
    None,
    /// Basic, by a file of `htpasswd -B`.
    Htpasswd(PathBuf),
    /// Bearer tokens of a server that signs them with a key of `certificates`.
    Token { realm: String, service: String, issuer: String, certificates: PathBuf },
}

/// A running `docker-registry`. Its storage survives a stop, and is removed with this.
pub struct Registry {
    program: Option<Program>,
    address: String,
    debug_address: String,
    directory: tempfile::TempDir,
}

impl Registry {
    /// An open one.
    pub fn start() -> Self {
        Self::start_with(&Auth::None, "")
    }

    /// One with authentication, and more lines of configuration (YAML, top level).
    pub fn start_with(auth: &Auth, more: &str) -> Self {
        let directory = scratch();
        let address = format!("127.0.0.1:{}", free_port());
        let debug_address = format!("127.0.0.1:{}", free_port());
        let mut config = format!(
            "version: 0.1\n\
             log: {{level: warn}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: {address}, secret: tests, debug: {{addr: {debug_address}, \
             prometheus: {{enabled: true, path: /metrics}}}}}}\n",
            directory.path().join("storage").display()
        );
        match auth {
            Auth::None => {}
            Auth::Htpasswd(path) => {
                writeln!(config, "auth: {{htpasswd: {{realm: tests, path: {}}}}}", path.display()).expect("a string");
            }
            Auth::Token { realm, service, issuer, certificates } => writeln!(
                config,
                "auth: {{token: {{realm: \"{realm}\", service: \"{service}\", issuer: \"{issuer}\", \
                 rootcertbundle: {}}}}}",
                certificates.display()
            )
            .expect("a string"),
        }
        config.push_str(more);
        std::fs::write(directory.path().join("config.yml"), config).expect("the configuration can be written");
        let mut registry = Self { program: None, address, debug_address, directory };
        registry.restart();
        registry
    }

    /// `host:port`, as references name it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it: connections are refused from now on.
    pub fn stop(&mut self) {
        self.program = None;
    }

    /// Starts it again, on the same port and storage.
    pub fn restart(&mut self) {
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.directory.path().join("config.yml"));
        let mut program = Program::start(&command, self.directory.path());
        program.wait_until_ready(|| http::get(&self.address, "/v2/").ok());
        self.program = Some(program);
    }

    /// Starts it again: from now on it notifies an exporter at this address, with this token.
    pub fn notify(&mut self, exporter: &str, token: &str) {
        self.stop();
        let file = File::options().append(true).open(self.directory.path().join("config.yml"));
        let endpoint = format!(
            "notifications:\n  endpoints:\n    - name: exporter\n      url: http://{exporter}/-/notify/distribution\n      \
             headers: {{Authorization: [Bearer {token}]}}\n      timeout: 1s\n      threshold: 3\n      backoff: 1s\n"
        );
        file.and_then(|mut file| file.write_all(endpoint.as_bytes())).expect("the configuration can be written");
        self.restart();
    }

    /// The blobs that it has sent, in the order in which that ended, by its own access log: digest, and bytes of the body.
    pub fn blobs_sent(&self) -> Vec<(String, u64)> {
        let log = self.program.as_ref().expect("it runs").output();
        // Apache's combined format: `127.0.0.1 - - [date] "GET /v2/acme/app/blobs/sha256:… HTTP/1.1" 200 9046 "" "…"`.
        let sent = |line: &str| {
            let (path, rest) = line.split_once("\"GET ")?.1.split_once(" HTTP/1.1\" 200 ")?;
            let digest = path.split_once("/blobs/")?.1;
            Some((digest.to_owned(), rest.split(' ').next()?.parse().expect("a size")))
        };
        log.lines().filter_map(sent).collect()
    }

    /// How many requests it has answered, by its own count: `handler` is `manifest`, `blob`, `tags`, `catalog`, …
    pub fn requests(&self, handler: &str, method: &str) -> u64 {
        let body = http::get(&self.debug_address, "/metrics").expect("the registry's counters").text();
        let wanted = |line: &&str| {
            line.starts_with("registry_http_requests_total{")
                && line.contains(&format!("handler=\"{handler}\""))
                && line.contains(&format!("method=\"{method}\""))
        };
        let lines = body.lines().filter(wanted).collect::<Vec<_>>().join("\n");
        if lines.is_empty() {
            return 0;
        }
        let header = "# HELP registry_http_requests_total x\n# TYPE registry_http_requests_total counter\n";
        let exposed = Exposition::parse(&format!("{header}{lines}\n"), Format::Text).expect("the text format");
        let total: f64 = exposed.samples.iter().map(|sample| sample.value).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests")]
        let total = total as u64;
        total
    }
}
