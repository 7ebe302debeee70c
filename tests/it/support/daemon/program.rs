//! The built program as a process.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Metrics, PATIENCE, ask, scrape, until};

/// Scrapes in a row that may take longer where a busy machine keeps the program from running.
const LATE_SCRAPES_MAX: u32 = 9;

/// A process that runs a daemon. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    address: String,
    log: PathBuf,
    first_answer: String,
}

/// The program on `config.toml` in `directory`, which is also its home.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
    command.arg("--config.file").arg(directory.join("config.toml")).current_dir(directory).env("HOME", directory);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Program {
    /// Starts the program on the configuration in `directory` and waits until it answers.
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::start_by(directory, |address| on(directory, address)).await
    }

    /// Starts what `command` makes of an address, and waits until it answers there. Another process may take the port that
    /// was free: then once more. Its output goes to `log` in `directory`.
    pub(crate) async fn start_by(directory: &Path, command: impl Fn(&str) -> Command) -> Self {
        loop {
            let mut program = Self::spawn_by(directory, &command);
            let start = Instant::now();
            while !program.has_ended() {
                if let Some(answer) = ask(&program.address, "GET /metrics").await {
                    program.first_answer = answer;
                    return program;
                }
                assert!(start.elapsed() < PATIENCE, "it does not answer\n{}", program.log());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(program.log().contains("cannot listen"), "it ended by itself\n{}", program.log());
            std::fs::remove_file(&program.log).unwrap();
        }
    }

    /// Starts the program on the configuration in `directory`, and does not wait for it.
    pub(crate) fn spawn(directory: &Path) -> Self {
        Self::spawn_by(directory, |address| on(directory, address))
    }

    fn spawn_by(directory: &Path, command: impl Fn(&str) -> Command) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let log = directory.join("log");
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = command(&address).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        Self { child, address, log, first_answer: String::new() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The log of it and of its predecessors in the same directory.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// What it published when it first answered.
    pub(crate) fn first_metrics(&self) -> Metrics {
        Metrics::of_answer(&self.first_answer)
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        scrape(&self.address).await.unwrap_or_else(|| panic!("it does not answer any more\n{}", self.log()))
    }

    /// Polls until the published values satisfy `is_so`.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
        until(&self.address, &format!("{what}\n{}", self.log()), is_so).await
    }

    /// The body of `/metrics`, which must come in time.
    pub(crate) fn body(&self, patience: Duration) -> String {
        let mut late = 0;
        loop {
            match self.body_within(patience) {
                Ok(body) => return body,
                Err(error) if late == LATE_SCRAPES_MAX => panic!("no answer in time: {error}\n{}", self.log()),
                Err(_) => late += 1,
            }
        }
    }

    fn body_within(&self, patience: Duration) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        assert!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{head}");
        Ok(body.to_owned())
    }

    /// The most memory that the program has had, in bytes; none where the system has no `/proc`.
    pub(crate) fn memory_bytes_max(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10)
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// SIGKILL: the program does not notice.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on(directory: &Path, address: &str) -> Command {
    let mut command = command(directory);
    command.args(["--web.listen-address", address]);
    command
}
