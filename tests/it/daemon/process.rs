//! The real program: signals, exit codes and log.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::support::daemon::{Program, command};

/// The program on this configuration, in a directory of its own.
async fn start(toml: &str) -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.toml"), toml).unwrap();
    let program = Program::start(directory.path()).await;
    (directory, program)
}

fn lines<'a>(log: &'a str, what: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(what)).collect()
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let registry = registry();
    for signal in ["TERM", "INT"] {
        let (_directory, mut program) =
            start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"])).await;
        program.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
        program.signal(signal);
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.log());
    }
}

#[tokio::test]
async fn sigterm_ends_it_while_a_registry_does_not_answer() {
    let registry = registry();
    registry.always("* /v2/", Reply::Stall);
    let (_directory, mut program) =
        start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"])).await;
    program.signal("TERM");
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.log());
}

#[test]
fn a_bad_configuration_ends_it_with_64_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.toml"), "[scan]\ninterval = '0s'\n").unwrap();
    let mut child = command(directory.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(64));
    assert!(said.contains("config.toml") && said.contains("interval"), "{said}");
}

#[test]
fn checking_a_configuration_sends_no_request_and_warns_about_probable_mistakes() {
    let registry = registry();
    let directory = tempfile::tempdir().unwrap();
    let target = "repository = 'REGISTRY/acme/*'\nnewest = 'semver'\nlimit = 1";
    std::fs::write(directory.path().join("config.toml"), config(&registry, &[target])).unwrap();
    let output = command(directory.path()).arg("--config.check").stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(said(&output.stdout).contains("the configuration is valid"));
    let warned = said(&output.stderr);
    assert!(
        warned.contains("warning: ") && warned.contains("targets[0] (") && warned.contains(").limit: "),
        "{warned}"
    );
    assert_eq!(registry.counts(), "");
}

#[tokio::test]
async fn a_failing_target_is_logged_once_and_its_recovery_once() {
    let registry = registry();
    registry.push("acme/two", "v1", &image_of(200));
    let targets =
        ["app", "two"].map(|name| format!("repository = 'REGISTRY/acme/{name}'\ntags = ['v1']\nname = '{name}'"));
    let (_directory, program) = start(&config(&registry, &[&targets[0], &targets[1]])).await;
    program.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    assert_eq!(lines(&program.log(), "cannot read").len(), 0, "{}", program.log());
    registry.always("* /v2/acme/two/", Reply::status(500));
    let is_down = |m: &Metrics| m.one(TARGET_UP, &[("target", "two")]) == Some(0.0);
    let scan = |m: &Metrics| m.one(LAST_SCAN, &[("target", "two")]);
    let mut last = scan(&program.until("one fails", is_down).await);
    for _ in 0..3 {
        last = scan(&program.until("it fails again", |m| scan(m) > last && is_down(m)).await);
    }
    let log = program.log();
    assert_eq!(lines(&log, "cannot read").len(), 1, "{log}");
    assert!(lines(&log, "cannot read")[0].contains("two"), "{log}");
    registry.always("* /v2/acme/two/", Reply::Usual);
    program.until("it is well", |m| m.one(TARGET_UP, &[("target", "two")]) == Some(1.0)).await;
    while lines(&program.log(), "can be read again").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = program.log();
    assert_eq!((lines(&log, "cannot read").len(), lines(&log, "can be read again").len()), (1, 1), "{log}");
    // It was scraped meanwhile: scrapes are not logged.
    let first_scan = "level=info msg=\"the first scan of all targets has ended\" targets=2 down=0 seconds=";
    for said in ["msg=started", "msg=listening", first_scan] {
        assert_eq!(lines(&log, said).len(), 1, "{log}");
    }
    assert_eq!(log.lines().count(), 5, "{log}");
}

#[tokio::test]
async fn the_first_scan_of_all_targets_says_how_many_are_down() {
    let registry = registry();
    registry.always("* /v2/acme/two/", Reply::status(500));
    let targets = [
        "name = 'up'\nrepository = 'REGISTRY/acme/app'\ntags = ['v1']",
        "name = 'failing'\nrepository = 'REGISTRY/acme/two'\ntags = ['v1']",
        "name = 'unreachable'\nrepository = '127.0.0.1:9/acme/app'\ntags = ['v1']",
    ];
    let (_directory, program) = start(&config(&registry, &targets)).await;
    program.until("all are scanned", |m| m.all(TARGET_UP, &[]).len() == 3).await;
    let log = program.log();
    let said = "level=info msg=\"the first scan of all targets has ended\" targets=3 down=2 seconds=";
    assert_eq!(lines(&log, said).len(), 1, "{log}");
}

#[tokio::test]
async fn sighup_reads_the_configuration_again() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    let toml = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]);
    let (directory, program) = start(&toml).await;
    program.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml.replace("v1", "v2")).unwrap();
    program.signal("HUP");
    let metrics = program.until("v2 is read", |m| m.tag(COMPRESSED, "v2") == Some(200.0)).await;
    assert!(metrics.tag(UP, "v1").is_none());
    std::fs::write(&file, "nonsense").unwrap();
    program.signal("HUP");
    let failed = "image_size_exporter_config_last_reload_successful";
    let metrics = program.until("the gauge tells", |m| m.one(failed, &[]) == Some(0.0)).await;
    assert_eq!(metrics.tag(COMPRESSED, "v2"), Some(200.0));
}

#[tokio::test]
async fn a_target_that_selects_nothing_is_reported_once() {
    let registry = registry();
    registry.push("acme/app", "v2", &index(&[("linux/amd64", &image_of(1)), ("linux/arm64", &image_of(2))]));
    let slips = [
        (
            "repository = 'REGISTRY/acme/app'\nmatch = ['^release-']",
            "selects no tag of the 2 that the repository has: look at `match`, `exclude` and `semver`",
        ),
        (
            "repository = 'REGISTRY/acme/*'\nsemver = '>=4'",
            "selects no tag of the 2 that the repository has: look at `match`, `exclude` and `semver`",
        ),
        (
            "repository = 'REGISTRY/acne/**'\ntags = ['v1']",
            "no repository of those that the registry lists (1) matches `REGISTRY/acne/**`",
        ),
        (
            "repository = 'REGISTRY/acme/app'\ntags = ['v2']\nplatforms = ['linux/s390x']",
            "none of the platforms of REGISTRY/acme/app:v2 (linux/amd64, linux/arm64) is among the target's `platforms`",
        ),
        (
            "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nplatforms = ['linux/s390x']",
            "none of the platforms of REGISTRY/acme/app:v1 (linux/amd64) is among the target's `platforms`",
        ),
        ("repository = 'REGISTRY/acme/app'\ntags = ['v2']\nplatforms = ['linux/amd64']", ""),
    ];
    for (target, expected) in slips {
        let toml = config(&registry, &[&format!("name = 't'\n{target}")]);
        let (_directory, program) = start(&toml).await;
        let scan = |m: &Metrics| m.one(LAST_SCAN, &[]);
        let mut last = None;
        for _ in 0..3 {
            last = scan(&program.until("a scan ends", |m| scan(m) > last).await);
        }
        let log = program.log().replace(registry.name().as_str(), "REGISTRY");
        assert_eq!(lines(&log, "level=warn").len(), usize::from(!expected.is_empty()), "{log}");
        assert!(log.contains(expected), "{expected}\n{log}");
    }
}

/// Makes a FIFO that nobody writes: opening it to read waits for ever.
fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn sigterm_ends_it_while_it_waits_for_a_file() {
    let registry = registry();
    let targets = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]);
    for file in ["config.toml", "web.yml", "ca.pem"] {
        let directory = tempfile::tempdir().unwrap();
        let settings = match file {
            "web.yml" => "[web]\nconfig_file = 'web.yml'\n".to_owned(),
            "ca.pem" => format!("[registries.'{}']\nca_file = 'ca.pem'\n", registry.name()),
            _ => String::new(),
        };
        if file != "config.toml" {
            std::fs::write(directory.path().join("config.toml"), format!("{settings}{targets}")).unwrap();
        }
        make_fifo(&directory.path().join(file));
        let mut program = Program::spawn(directory.path());
        // Before this, a signal has its default action, which ends it as well; unless it is process 1 of a container.
        while !handles_sigterm(program.pid()) {
            assert!(!program.has_ended(), "{file}: {}", program.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        program.signal("TERM");
        assert_eq!(program.wait().await.code(), Some(0), "{file}: {}", program.log());
    }
}

#[test]
fn a_pipe_as_state_path_is_refused_as_a_directory_is() {
    let directory = tempfile::tempdir().unwrap();
    let toml = "[state]\npath = 'state.redb'\n[[targets]]\nrepository = 'r.example.com/app'\n";
    std::fs::write(directory.path().join("config.toml"), toml).unwrap();
    make_fifo(&directory.path().join("state.redb"));
    for check in [&[][..], &["--config.check"]] {
        let output = command(directory.path()).args(check).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("state.redb` is a named pipe: name an ordinary file"), "{said}");
    }
}

/// Process 1 of a PID namespace, as in a container, ignores the signals that it does not handle. Here it never gets as
/// far as handling them: it prints its help into a pipe that nobody reads.
#[tokio::test]
async fn sigterm_ends_it_from_its_first_moment_although_it_is_process_1() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]);
        command
    };
    if !unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("not tried: `unshare --pid` is not there, or this user may not make a PID namespace");
        return;
    }
    let (reader, mut writer) = std::io::pipe().unwrap();
    let full = writer.try_clone().unwrap();
    let (wrote, written) = std::sync::mpsc::channel();
    let filling = std::thread::spawn(move || {
        while std::io::Write::write(&mut writer, &[b'x'; 4096]).is_ok() {
            let _ = wrote.send(());
        }
    });
    while written.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let program = env!("CARGO_BIN_EXE_image-size-exporter");
    let mut child = unshare().args([program, "help"]).stdout(full).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let started = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
        let pid = std::fs::read_to_string(&children).unwrap_or_default();
        let path = pid.trim().parse::<u32>().ok().and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
        if path.is_some_and(|path| path == Path::new(program)) {
            Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(143));
    drop(reader);
    filling.join().unwrap();
}

/// Whether SIGTERM (15) is among the signals that a process catches (`proc_pid_status(5)`).
fn handles_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(caught, 16).unwrap() & (1 << 14) != 0
}
