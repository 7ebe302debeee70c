//! Pulp, as its packages on PyPI install it: a registry with a token server of its own, over PostgreSQL.
//!
//! Its API answers requests for lists and manifests, and redirects those for blobs to its content server.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::postgresql::Postgresql;
use super::{Program, free_port, http, noise, run, scratch};

/// Where `tests/run` installs it.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pulp-venv/bin");

/// Its only user.
pub const USER: &str = "admin";
pub const PASSWORD: &str = "of the tests";

/// A running Pulp. Its database and files go with this.
pub struct Pulp {
    // In this order they are ended: the database last.
    api: Program,
    _content: Program,
    _worker: Program,
    _database: Postgresql,
    address: String,
    _directory: tempfile::TempDir,
}

impl Pulp {
    /// One with an empty database.
    pub fn start() -> Self {
        let directory = scratch();
        let database = Postgresql::start("pulp");
        let [api, content] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let settings = write_settings(directory.path(), &database, &api, &content);
        let program = |name: &str| {
            let mut command = Command::new(Path::new(PROGRAMS).join(name));
            command.current_dir(directory.path()).env("PULP_SETTINGS", &settings).env("HOME", directory.path());
            command
        };
        run(program("pulpcore-manager").args(["migrate", "--noinput"]));
        run(program("pulpcore-manager").args(["reset-admin-password", "--password", PASSWORD]));
        let serve = |name: &str, address: &str| {
            let mut command = program(name);
            command.args(["--bind", address, "--workers", "1", "--access-logfile", "-"]);
            Program::start(&command, directory.path())
        };
        let mut pulp = Self {
            api: serve("pulpcore-api", &api),
            _content: serve("pulpcore-content", &content),
            _worker: Program::start(program("pulpcore-worker"), directory.path()),
            _database: database,
            address: api,
            _directory: directory,
        };
        let address = pulp.address.clone();
        pulp.api.wait_until_ready(|| {
            let status = http::get(&address, "/pulp/api/v3/status/").ok()?.json();
            let alive = |servers: &str| status[servers].as_array().is_some_and(|all| !all.is_empty());
            (alive("online_content_apps") && alive("online_workers")).then_some(())
        });
        pulp
    }

    /// `host:port`, as references name it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many requests it has answered of which a line of its log has this in it, such as `"HEAD /v2/`.
    pub fn requests(&self, beginning: &str) -> usize {
        self.api.output().lines().filter(|line| line.contains(beginning)).count()
    }
}

/// Pulp's settings (its documentation, "Settings"; for the token server, that of `pulp_container`).
fn write_settings(directory: &Path, database: &Postgresql, api: &str, content: &str) -> PathBuf {
    for name in ["media", "tmp", "assets"] {
        std::fs::create_dir(directory.join(name)).expect("a directory for Pulp's files");
    }
    let (private, public) = (directory.join("private.pem"), directory.join("public.pem"));
    run(Command::new("openssl").args(["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"]).arg(&private));
    run(Command::new("openssl").args(["ec", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
    std::fs::write(directory.join("fields.key"), URL_SAFE.encode(noise(32))).expect("the key can be written");
    let settings = directory.join("settings.py");
    let at = directory.display();
    let (socket, port) = (database.socket(), database.port());
    let socket = socket.display();
    let text = format!(
        "SECRET_KEY = 'tests'\n\
         DB_ENCRYPTION_KEY = '{at}/fields.key'\n\
         DATABASES = {{'default': {{'ENGINE': 'django.db.backends.postgresql', 'NAME': 'pulp', 'USER': 'postgres', \
         'HOST': '{socket}', 'PORT': '{port}'}}}}\n\
         DEPLOY_ROOT = '{at}'\n\
         MEDIA_ROOT = '{at}/media'\n\
         WORKING_DIRECTORY = FILE_UPLOAD_TEMP_DIR = '{at}/tmp'\n\
         STATIC_ROOT = '{at}/assets'\n\
         CONTENT_ORIGIN = 'http://{content}'\n\
         CACHE_ENABLED = False\n\
         ANALYTICS = False\n\
         TOKEN_SERVER = 'http://{api}/token/'\n\
         TOKEN_SIGNATURE_ALGORITHM = 'ES256'\n\
         PRIVATE_KEY_PATH = '{at}/private.pem'\n\
         PUBLIC_KEY_PATH = '{at}/public.pem'\n"
    );
    std::fs::write(&settings, text).expect("the settings can be written");
    settings
}
