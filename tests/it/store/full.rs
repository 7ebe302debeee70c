//! A disk that is full, played by a limit on how long the child's files may get.

use std::process::{Command, Output};

use super::*;

/// Not a test of its own: what the others start, under a limit. Writes until the file cannot grow, goes on, has the
/// limit lifted, and sees that everything comes to the disk after all.
#[test]
fn child_that_meets_a_limit() {
    let Some(path) = child_path() else { return };
    tracing_subscriber::fmt().with_writer(std::io::stdout).with_ansi(false).init();
    let store = match Store::open(&path) {
        Ok((store, _)) => store,
        Err(error) => {
            println!("refused: {error}");
            assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
            assert!(!path.exists());
            return;
        }
    };
    let rounds = 12;
    for version in 1..=rounds {
        for number in 0..TAGS {
            write(&store, number, version);
        }
        flush(&store);
        assert_eq!(versions(&store).len(), 60, "what cannot be written is still known");
    }
    let on_disk = std::fs::metadata(&path).unwrap().len();
    println!("reached {on_disk} bytes");
    let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &std::process::id().to_string()]).status();
    assert!(lifted.unwrap().success());
    flush(&store);
    drop(store);
    let (store, opened) = Store::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert_eq!(versions(&store), (0..TAGS).map(|number| (number, rounds)).collect());
    assert!(std::fs::metadata(&path).unwrap().len() > on_disk, "the limit was never met");
    println!("recovered");
}

/// Runs the child with files of at most so many blocks of 1,024 bytes.
fn with_limit(blocks: u32, path: &Path) -> Output {
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
    Command::new("bash")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::full::child_that_meets_a_limit", "--nocapture"])
        .env(CHILD, path)
        .output()
        .unwrap()
}

/// Runs the child, and checks that it logs each of `expected` once.
fn check(blocks: u32, expected: &[&str]) {
    let directory = directory();
    let path = directory.path().join("state.redb");
    let output = with_limit(blocks, &path);
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    for text in expected {
        assert_eq!(said.matches(text).count(), 1, "{text}\n{said}\n{errors}");
    }
}

#[test]
fn a_full_disk_does_not_stop_the_daemon_and_is_caught_up_with() {
    check(
        2_000,
        &["cannot write the state file: continuing in memory", "the state file can be written again", "recovered"],
    );
}

#[test]
fn a_disk_that_was_full_before_is_reported_and_leaves_no_file_behind() {
    check(8, &["refused: no room for state file"]);
}
