//! A process that is killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

const KILLS: u32 = 40;

/// Not a test of its own: what the other one kills. Writes rounds of all tags, in ever higher versions, and says after
/// each flush which version is on the disk.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = child_path() else { return };
    let (store, opened) = Store::open(&path).unwrap();
    assert!(!matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    // The round in which the one before was killed is begun again.
    let mut version = versions(&store).values().copied().max().unwrap_or(0).saturating_sub(1);
    loop {
        version += 1;
        for number in 0..TAGS {
            write(&store, number, version);
            if number % 16 == version % 16 {
                flush(&store);
            }
        }
        flush(&store);
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nflushed {version}").unwrap();
        out.flush().unwrap();
    }
}

fn start(path: &Path) -> (Child, mpsc::Receiver<u32>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::kill::child_that_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (said, flushed) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(version) = line.strip_prefix("flushed ") {
                let _ = said.send(version.parse().unwrap());
            }
        }
    });
    (child, flushed)
}

#[test]
fn what_was_flushed_survives_any_kill() {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let mut flushed = 0;
    let mut reached = Vec::new();
    for kill in 0..KILLS {
        let (mut child, says) = start(&path);
        // At first right away, then later and later, each time at another point of a round.
        let deadline = Instant::now() + Duration::from_micros(u64::from(kill) * 3_371);
        while let Ok(version) = says.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            flushed = version;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Its last output.
        flushed = says.iter().last().unwrap_or(flushed);

        let (store, opened) = Store::open(&path).unwrap();
        assert!(!matches!(opened, Opened::SetAside { .. }), "kill {kill}: {opened:?}");
        let versions = versions(&store);
        if flushed > 0 {
            assert_eq!(versions.len(), usize::try_from(TAGS).unwrap());
        }
        let newest = versions.values().copied().max().unwrap_or(0);
        for (number, version) in versions {
            assert!(version >= flushed, "kill {kill}: {flushed} was flushed, tag {number} is at {version}");
            assert!(version + 1 >= newest, "kill {kill}: tag {number} is at {version} and another at {newest}");
        }
        reached.push(newest);
    }
    assert!(reached.last() > reached.first(), "no child got as far as writing: {reached:?}");
}
