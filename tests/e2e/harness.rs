//! Real programs, started on free ports with directories of their own, awaited by asking them, ended by process id.

pub mod aws;
pub mod engine;
pub mod exporter;
pub mod exposed;
#[path = "../common/exposition.rs"]
pub mod exposition;
pub mod http;
pub mod namespace;
pub mod parsers;
pub mod postgresql;
pub mod prometheus;
pub mod pulp;
pub mod push;
pub mod registry;

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow, busy machine. Only a failure waits that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Polls until there is an answer, or panics with the text of `why`.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>, why: impl FnOnce() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}\n{}", why());
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests are plain threads: there is no worker to block")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A port that nobody listens on. Below the range that the kernel gives to outgoing connections, so that it is still
/// free a moment later; each process of the tests looks at another place.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 211) * 100;
    for _ in 0..21_000 {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_300 + (first + offset) % 21_100).expect("below 31,400");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10300 and 31400");
}

/// A directory that is removed when its owner is dropped.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("image-size-exporter-e2e-").tempdir().expect("a directory for the test's files")
}

/// A program that runs until this is dropped. Its output is kept, to explain failures.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it in a process group of its own, its output in `directory`.
    pub fn start(command: impl std::borrow::Borrow<Command>, directory: &Path) -> Self {
        let command = command.borrow();
        let name = Path::new(command.get_program()).file_name().expect("a name").to_string_lossy().into_owned();
        let log = directory.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let mut command = tied_to_the_tests(command);
        command.stdin(Stdio::null()).stdout(out.try_clone().expect("a second handle of the log")).stderr(out);
        command.process_group(0);
        let child = spawn(command)
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}; `tests/run` installs what these tests need"));
        Self { name, child, log }
    }

    /// Waits until `ready` returns true; panics with the output when the program ends instead.
    pub fn wait_until_ready<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let name = self.name.clone();
        let log = self.log.clone();
        wait_for(
            &format!("{name} to be ready"),
            || {
                if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                    panic!("{name} ended with {status}:\n{}", output(&log));
                }
                ready()
            },
            || output(&log),
        )
    }

    /// Its output so far.
    pub fn output(&self) -> String {
        output(&self.log)
    }

    /// The file with its output.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "cannot send {signal} to {}", self.name);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let log = self.log.clone();
        let child = &mut self.child;
        wait_for(
            &format!("{} to end", self.name),
            || child.try_wait().expect("a child can be asked for"),
            || output(&log),
        )
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }
}

/// The same command, but the kernel sends it SIGTERM when the tests die before they end it.
fn tied_to_the_tests(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        tied.current_dir(directory);
    }
    tied
}

/// Starts it from a thread that lives as long as the tests do: to the kernel, the parent's death is its thread's.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in requests {
                // The caller may have given up.
                drop(reply.send(command.spawn()));
            }
        });
        sender
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).expect("the thread never ends");
    answer.recv().expect("the thread answers")
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // SIGTERM first: a Docker engine has mounts and a containerd to clean up.
        drop(Command::new("kill").args(["-s", "TERM", &self.pid().to_string()]).status());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            pause();
        }
        drop(Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", self.pid())]).status());
        drop(self.child.wait());
    }
}

fn output(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// Runs a tool and returns its standard output; panics with all its output when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; `tests/run` installs what these tests need"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// `skopeo`, without the machine's trust policy.
pub fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy");
    command
}

/// `buildah`, with its storage in `storage`, and without features that need kernel modules.
pub fn buildah(storage: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
    command.args(["--storage-driver", "vfs"]);
    command
}

/// Incompressible bytes that differ in each call, so that layers differ between runs too.
pub fn noise(bytes: usize) -> Vec<u8> {
    use std::io::Read;
    let mut noise = vec![0; bytes];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut noise)).expect("the kernel has random bytes");
    noise
}
