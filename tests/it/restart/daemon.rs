//! The real program as a child, and what it publishes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine. Only a failure waits that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program, until it is killed or ended.
pub(super) struct Daemon {
    child: Child,
    address: String,
    log: PathBuf,
}

/// What was published at one moment: sample name and labels, as they stand in the text, to value.
pub(super) struct Published(BTreeMap<String, f64>);

/// The program, on the configuration in `directory`.
pub(super) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
    command.current_dir(directory).env("HOME", directory);
    command
}

impl Daemon {
    /// Starts the program on the configuration in `directory` and waits until it answers. Its log is kept there, too.
    pub(super) fn start(directory: &Path) -> (Self, Published) {
        let log = directory.join("log");
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let out = fs::File::options().create(true).append(true).open(&log).unwrap();
            let child = command(directory)
                .args(["--web.listen-address", &address])
                .stdin(Stdio::null())
                .stdout(out.try_clone().unwrap())
                .stderr(out)
                .spawn()
                .unwrap();
            let mut daemon = Self { child, address, log: log.clone() };
            let start = Instant::now();
            while daemon.child.try_wait().unwrap().is_none() {
                if let Ok(published) = daemon.try_scrape() {
                    return (daemon, published);
                }
                assert!(start.elapsed() < PATIENCE, "it does not answer\n{}", daemon.log());
                std::thread::yield_now();
            }
            // Another process took the port in between.
            assert!(daemon.log().contains("cannot listen"), "it ended by itself\n{}", daemon.log());
            fs::remove_file(&log).unwrap();
        }
    }

    pub(super) fn scrape(&self) -> Published {
        self.try_scrape().unwrap_or_else(|error| panic!("it does not answer any more: {error}\n{}", self.log()))
    }

    /// Scrapes until something is found in it.
    pub(super) fn wait_for<T>(&self, mut find: impl FnMut(&Published) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = find(&self.scrape()) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain\n{}", self.log());
        }
    }

    /// SIGKILL: the program does not notice.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(super) fn end(mut self) -> ExitStatus {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }

    /// The log of it and of its predecessors in the same directory.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn try_scrape(&self) -> io::Result<Published> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(Published::parse(body))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Published {
    fn parse(body: &str) -> Self {
        let samples = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(
            samples
                .map(|line| line.rsplit_once(' ').unwrap())
                .map(|(k, v)| (k.to_owned(), v.parse().unwrap()))
                .collect(),
        )
    }

    /// The samples of a family, by the labels `repository` and `tag`. They have no other labels that differ.
    pub(super) fn of_tags(&self, family: &str) -> BTreeMap<(String, String), f64> {
        let mut values = BTreeMap::new();
        for (series, value) in self.family(family) {
            let label = |key: &str| {
                let from = series.find(&format!("{key}=\"")).unwrap() + key.len() + 2;
                series[from..].split('"').next().unwrap().to_owned()
            };
            assert!(values.insert((label("repository"), label("tag")), value).is_none(), "{series} stands twice");
        }
        values
    }

    /// How many samples a family has.
    pub(super) fn count(&self, family: &str) -> usize {
        self.family(family).count()
    }

    /// The sample without labels of this name.
    pub(super) fn one(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn family(&self, family: &str) -> impl Iterator<Item = (&String, f64)> {
        self.0.iter().filter(move |(key, _)| key.split('{').next() == Some(family)).map(|(key, value)| (key, *value))
    }
}
