//! A panic anywhere ends the process instead of leaving it without a task.

use std::path::Path;
use std::process::{Command, Output};

use image_size_exporter::commands::logging::panic_as_json;
use image_size_exporter::daemon::end_on_panic;
use image_size_exporter::store::{Opened, Store};

/// How the child of a test is told what to do.
const CHILD: &str = "IMAGE_SIZE_EXPORTER_TEST_PANIC";

/// Not a test of its own: what the others start.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment is how a test tells its child apart from itself")]
fn child_that_panics() {
    let Ok(how) = std::env::var(CHILD) else { return };
    end_on_panic(if how == "in JSON" { Some(panic_as_json) } else { None });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Nothing waits for the end of any of them.
        match how.as_str() {
            "a task" => drop(tokio::spawn(async { panic!("in a task") })),
            "a blocking task" => drop(tokio::task::spawn_blocking(|| panic!("in a blocking task"))),
            "a thread" | "in JSON" => drop(std::thread::spawn(|| panic!("in a thread"))),
            path => return open_damaged(Path::new(path)),
        }
        std::future::pending::<()>().await;
    });
}

/// A state file's pages, each damaged in turn. On some of them redb panics.
fn open_damaged(path: &Path) {
    drop(Store::open(path).unwrap());
    let good = std::fs::read(path).unwrap();
    let mut panicked = 0;
    for at in (0..good.len().min(65_536)).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
        if let (_, Opened::SetAside { moved_to, why }) = Store::open(path).unwrap() {
            std::fs::remove_file(moved_to).unwrap();
            panicked += u32::from(why.contains("panicked"));
        }
    }
    assert!(panicked > 0, "none of this makes redb panic");
}

fn child(how: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon::panics::child_that_panics", "--nocapture"])
        .env(CHILD, how)
        .output()
        .unwrap()
}

#[test]
fn a_panic_in_any_task_or_thread_ends_the_process_with_a_message() {
    for how in ["a task", "a blocking task", "a thread"] {
        let ended = child(how);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{how}: {said}");
        assert!(said.contains(&format!("in {how}")) && said.contains("please report it"), "{how}: {said}");
    }
}

#[test]
fn a_panic_is_one_line_of_a_log_in_json() {
    let said = String::from_utf8(child("in JSON").stderr).unwrap();
    let line: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&line["level"], &line["panic"]), (&"error".into(), &"in a thread".into()), "{said}");
    assert!(line["location"].as_str().unwrap().contains("panics.rs:"), "{said}");
}

#[test]
fn a_panic_caused_by_a_damaged_state_file_does_not_end_the_process() {
    let directory = crate::store::directory();
    let ended = child(directory.path().join("state.redb").to_str().unwrap());
    assert!(ended.status.success(), "{ended:?}");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"), "{ended:?}");
}
