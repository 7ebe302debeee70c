//! PostgreSQL, as Debian packages it, with files of its own. It is reached by a socket in its directory, and where a test
//! says so by TCP on loopback.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::namespace::Namespace;
use super::{Program, free_port, run, scratch, wait_for};

/// A running PostgreSQL. Its files go with this.
pub struct Postgresql {
    server: Option<Program>,
    host: Option<Namespace>,
    port: u16,
    settings: Vec<String>,
    directory: tempfile::TempDir,
}

impl Postgresql {
    /// One with a database of this name.
    pub fn start(database: &str) -> Self {
        Self::start_with(database, &[])
    }

    /// One with more settings, such as `ssl=on`.
    pub fn start_with(database: &str, settings: &[String]) -> Self {
        Self::start_on(None, database, settings)
    }

    /// One on another host, where it listens on all addresses.
    pub fn start_on(host: Option<Namespace>, database: &str, settings: &[String]) -> Self {
        let directory = scratch();
        // PostgreSQL refuses to run as root: its user has to reach its files here.
        open_to_all(directory.path());
        let files = directory.path().join("postgresql");
        std::fs::create_dir(&files).expect("a directory for the database");
        run(Command::new("chown").arg("postgres:postgres").arg(&files));
        let mut initdb = as_postgres(programs().join("initdb"), &files);
        initdb.arg("--pgdata").arg(files.join("data")).args(["--auth-local", "trust", "--auth-host", "scram-sha-256"]);
        run(initdb.args(["--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"]));
        if host.is_some() {
            let rules = std::fs::File::options().append(true).open(files.join("data/pg_hba.conf"));
            writeln!(rules.expect("initdb made it"), "host all all all scram-sha-256").expect("a rule");
        }
        let mut postgresql = Self { server: None, host, port: free_port(), settings: settings.to_vec(), directory };
        postgresql.restart();
        postgresql.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
        postgresql
    }

    /// The directory of its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("postgresql")
    }

    /// The host that it is on, if that is another one.
    pub fn host(&self) -> &Namespace {
        self.host.as_ref().expect("it is on another host")
    }

    /// Its port on loopback, or on its host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, by the socket and as the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={}&user=postgres", self.socket().display(), self.port)
    }

    /// Has a database keep its tables below a directory, such as a small file system. What it is in must let anybody pass.
    pub fn keep_tables_in(&self, database: &str, directory: &Path) {
        run(Command::new("chown").arg("postgres:postgres").arg(directory));
        self.sql("postgres", &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", directory.display()));
        self.sql("postgres", &format!("ALTER DATABASE {database} SET default_tablespace = elsewhere"));
    }

    /// Runs statements; returns what they answer, a row a line.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        run(self.psql(database).args(["--command", statements]))
    }

    /// Runs statements; returns whether they succeed.
    pub fn try_sql(&self, database: &str, statements: &str) -> bool {
        let mut psql = self.psql(database);
        psql.args(["--command", statements]).stdin(Stdio::null());
        psql.output().expect("PostgreSQL's client").status.success()
    }

    /// A session that runs until it is dropped: statements that wait, for example.
    pub fn session(&self, database: &str, statements: &str) -> Program {
        Program::start(self.psql(database).args(["--command", statements]), self.directory.path())
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username", "postgres"]);
        psql.arg("--host").arg(self.socket()).args(["--port", &self.port.to_string(), "--dbname", database]);
        psql
    }

    /// Ends every connection to a database.
    pub fn disconnect_all(&self, database: &str) {
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname";
        self.sql("postgres", &format!("{others} = '{database}'"));
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.server.as_mut().expect("it runs").kill();
        self.server = None;
    }

    /// Ends it in order: connections are refused from now on.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // At once, without waiting for clients.
            server.signal("INT");
            server.wait();
        }
    }

    /// Starts it again with the same files.
    pub fn restart(&mut self) {
        self.stop();
        let files = self.socket();
        let mut command = as_postgres(programs().join("postgres"), &files);
        command.arg("-D").arg(files.join("data")).arg("-k").arg(&files).args(["-p", &self.port.to_string()]);
        let addresses = if self.host.is_some() { "*" } else { "127.0.0.1" };
        command.args(["-c", &format!("listen_addresses={addresses}"), "-c", "fsync=off", "-c", "full_page_writes=off"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        if let Some(host) = &self.host {
            command = host.command(&command);
        }
        let port = self.port.to_string();
        let is_ready = || {
            let mut ask = Command::new(programs().join("pg_isready"));
            ask.arg("--quiet").arg("--host").arg(&files).args(["--port", &port]).stdin(Stdio::null());
            ask.status().expect("PostgreSQL's client").success().then_some(())
        };
        // After a kill its processes take a moment to end, and refuse a new one until then.
        let mut server = Program::start(&command, self.directory.path());
        let log = server.log();
        wait_for(
            "PostgreSQL",
            || {
                if server.has_ended() {
                    server = Program::start(&command, self.directory.path());
                }
                is_ready()
            },
            || std::fs::read_to_string(log).unwrap_or_default(),
        );
        self.server = Some(server);
    }
}

/// A program as PostgreSQL's user.
pub fn as_postgres(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", "TERM", "--"]);
    command.arg(program).current_dir(directory);
    command
}

/// Lets any user read what is in a directory.
pub fn open_to_all(directory: &Path) {
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, all).expect("the directory is ours");
}

/// Where Debian puts the programs of the newest PostgreSQL.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("`tests/run` installs PostgreSQL");
    let versions = versions.map(|version| version.expect("a directory").path());
    versions.max().expect("a version of PostgreSQL").join("bin")
}
