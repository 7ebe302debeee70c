//! A Docker engine of the tests' own: no bridge, no firewall rules, its own data, its own containerd.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Program, run, scratch};

/// A running engine. The tests of one process share one, which ends with the last that holds it.
pub struct Engine {
    host: String,
    // Dropped in this order: the engine unmounts what is in the directory.
    _program: Program,
    directory: tempfile::TempDir,
}

impl Engine {
    /// The engine that the others use too, or a new one.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let engine = Arc::new(Self::start());
            *shared = Arc::downgrade(&engine);
            engine
        })
    }

    fn start() -> Self {
        let user = run(Command::new("id").arg("-u"));
        assert_eq!(user.trim(), "0", "a Docker engine needs root: run the end-to-end tests as root, or leave them out");
        let directory = scratch();
        let at = |name: &str| directory.path().join(name);
        let host = format!("unix://{}", at("docker.sock").display());
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--bridge=none", "-H", &host]);
        command.arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("dockerd.pid"));
        let mut program = Program::start(&command, directory.path());
        program.wait_until_ready(|| {
            let answer = docker_at(&host).arg("version").output().ok()?;
            answer.status.success().then_some(())
        });
        Self { host, _program: program, directory }
    }

    /// The `docker` command, talking to this engine.
    pub fn docker(&self) -> Command {
        docker_at(&self.host)
    }

    /// The engine's address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// containerd's `ctr`, talking to the containerd that the engine started, in a namespace of the test's own.
    pub fn ctr(&self, namespace: &str) -> Command {
        let mut command = Command::new("ctr");
        let socket = self.directory.path().join("exec/containerd/containerd.sock");
        command.arg("--address").arg(socket).args(["--namespace", namespace]);
        command
    }

    /// Builds a `Dockerfile` in `context` as `reference`.
    pub fn build(&self, context: &Path, dockerfile: &str, reference: &str) {
        std::fs::write(context.join("Dockerfile"), dockerfile).expect("the context can be written");
        run(self.docker().args(["build", "--quiet", "--network", "host", "--tag", reference]).arg(context));
    }

    /// Pushes the built image.
    pub fn push(&self, reference: &str) {
        run(self.docker().args(["push", "--quiet", reference]));
    }
}

fn docker_at(host: &str) -> Command {
    let mut command = Command::new("docker");
    // The classic builder makes one layer a line and needs nothing else; buildx is no part of Debian's engine.
    command.env("DOCKER_HOST", host).env("DOCKER_BUILDKIT", "0");
    command
}
