//! Messages and exit codes before the daemon starts: wrong flags, wrong files, and checks.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::support::daemon::command;

/// Exit code and standard error.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn with(toml: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "config.toml", toml);
    directory
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
    std::fs::write(directory.path().join(name), text).unwrap();
}

fn check(directory: &Path) -> (Option<i32>, String) {
    ended(command(directory).arg("--config.check"))
}

const TARGET: &str = "[[targets]]\nrepository = 'r.example.com/app'\n";

#[test]
fn a_check_prints_the_daemons_warnings_and_succeeds() {
    let directory = with(&format!("[registries.\"ghcr.io\"]\n{TARGET}"));
    let file = directory.path().join("config.toml").display().to_string();
    let warning = format!("warning: {file}:1: registries.\"ghcr.io\": no target uses this registry\n");
    assert_eq!(check(directory.path()), (Some(0), warning));
    assert_eq!(check(with(TARGET).path()), (Some(0), String::new()));
}

#[test]
fn wrong_flags_end_it_with_2_and_say_what_to_do() {
    let directory = with(TARGET);
    for (flag, said) in [
        ("--web.listen-address=foo", "write \"0.0.0.0:10048\""),
        ("--web.telemetry-path=metrics", "a path begins with a slash: write `/metrics`"),
        ("--web.telemetry-path=", "a path begins with a slash"),
        ("--web.telemetry-path=/a?b", "a path has no `?`"),
        ("--web.telemetry-path=/config", "something else is served at this path"),
        ("--web.telemetry-path=/-/healthy", "something else is served at this path"),
        ("--web.telemetry-path=/-/reload", "something else is served at this path"),
        ("--web.max-requests=many", "invalid digit"),
        ("--log.level=loud", "possible values"),
    ] {
        let (code, text) = ended(command(directory.path()).arg(flag));
        assert_eq!(code, Some(2), "{flag}: {text}");
        assert!(text.contains(said), "{flag}: {text}");
    }
    assert_eq!(ended(command(directory.path()).args(["--config.check", "--web.telemetry-path=/"])).0, Some(0));
    // Another host's name may end in a number.
    let elsewhere = ["--config.check", "--shard.from-hostname", "--total-shards=2"];
    assert_eq!(ended(command(directory.path()).args(elsewhere)).0, Some(0));
    for (flags, said) in [
        (&["--shard=0"][..], "--total-shards <M>"),
        (&["--shard.from-hostname"], "--total-shards <M>"),
        (&["--shard=0", "--shard.from-hostname", "--total-shards=2"], "cannot be used with"),
        (&["--shard=-1", "--total-shards=2"], "--shard"),
        (&["--total-shards=2"], "write --shard=N, or --shard.from-hostname in a StatefulSet"),
        (&["--shard=2", "--total-shards=2"], "counted from 0, so that the last one is 1"),
        (&["--shard=0", "--total-shards=0"], "write 1 or more"),
        (&["--shard=0", "--total-shards=1001"], "write 1000 or less"),
        (&["--config.check", "--shard=2", "--total-shards=2"], "counted from 0, so that the last one is 1"),
        (&["--config.check", "--shard.from-hostname", "--total-shards=0"], "write 1 or more"),
        (&["plan", "--shard=2", "--total-shards=2"], "counted from 0, so that the last one is 1"),
        (&["inspect", "alpine", "--shard=0", "--total-shards=2"], "unexpected argument"),
    ] {
        let (code, text) = ended(command(directory.path()).args(flags));
        assert_eq!(code, Some(2), "{flags:?}: {text}");
        assert!(text.contains(said), "{flags:?}: {text}");
    }
}

#[test]
fn an_invalid_certificate_is_found_by_the_check_and_at_the_start() {
    let toml = format!("[registries.\"r.example.com\"]\nca_file = 'ca.pem'\n{TARGET}");
    let directory = with(&toml);
    write(&directory, "ca.pem", "not a certificate");
    let (code, text) = check(directory.path());
    let file = directory.path().display();
    assert_eq!(
        text,
        format!(
            "{file}/config.toml:2: registries.\"r.example.com\".ca_file: `{file}/ca.pem`: no certificate in PEM form in it: \
             name a file with a line -----BEGIN CERTIFICATE-----\n"
        )
    );
    assert_eq!(code, Some(64));
    assert_eq!(ended(&mut command(directory.path())), (code, text));
}

#[test]
fn a_configuration_is_judged_where_its_secrets_are_not_unless_the_check_is_strict() {
    let toml = format!(
        "[registries.\"r.example.com\"]\nusername = 'me'\npassword_env = 'PASSWORD_OF_NOBODY'\n[web]\nconfig_file = 'web.yml'\n{TARGET}"
    );
    let directory = with(&toml);
    let file = directory.path().join("config.toml").display().to_string();
    let (code, lenient) = check(directory.path());
    assert_eq!((code, lenient.lines().count()), (Some(0), 2), "{lenient}");
    for (line, key) in [(3, "registries.\"r.example.com\".password_env"), (5, "web.config_file")] {
        assert!(lenient.contains(&format!("warning: {file}:{line}: {key}: ")), "{lenient}");
    }
    let explicit = ended(command(directory.path()).arg("--config.check=lenient"));
    assert_eq!(explicit, (code, lenient.clone()));
    let (code, strict) = ended(command(directory.path()).arg("--config.check=strict"));
    assert_eq!((code, strict.as_str()), (Some(64), lenient.replace("warning: ", "").as_str()));
    assert_eq!(ended(&mut command(directory.path())), (Some(64), strict), "a start says the same");
}

#[test]
fn a_web_configuration_whose_certificate_is_elsewhere_is_a_warning_of_the_check() {
    let directory = with(&format!("[web]\nconfig_file = 'web.yml'\n{TARGET}"));
    write(&directory, "web.yml", "tls_server_config:\n  cert_file: nowhere.crt\n  key_file: nowhere.key\n");
    let (code, text) = check(directory.path());
    assert!(code == Some(0) && text.starts_with("warning: ") && text.contains("nowhere.crt"), "{code:?} {text}");
    let (code, text) = ended(command(directory.path()).arg("--config.check=strict"));
    assert!(code == Some(64) && text.contains("nowhere.crt"), "{code:?} {text}");
    write(&directory, "web.yml", "tls_server: {}\n");
    assert_eq!(check(directory.path()).0, Some(64), "what is wrong stays wrong");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_found_by_the_check() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let directory = with(&format!("[state]\npath = 'state/file.redb'\n{TARGET}"));
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    mode(&state, 0o555);
    // Permissions do not hold for root: another user runs a copy that it can reach.
    let program = directory.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_image-size-exporter"), &program).unwrap();
    mode(directory.path(), 0o755);
    let check = || {
        let mut command = Command::new(&program);
        command.arg("--config.check").arg("--config.file").arg(directory.path().join("config.toml"));
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        ended(&mut command)
    };
    let (code, text) = check();
    let expected = format!(":2: state.path: no file can be created in `{}`: Permission denied", state.display());
    assert!(code == Some(64) && text.contains(&expected), "{code:?} {text}");
    mode(&state, 0o777);
    assert_eq!(check(), (Some(0), String::new()));
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "a check writes nothing");
}

#[test]
fn the_schema_is_printed_without_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let output =
        command(directory.path()).arg("--config.schema").stdout(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, format!("{}\n", image_size_exporter::config::json_schema()));
}

#[test]
fn the_configuration_file_is_refused_as_state_file() {
    let toml = format!("[state]\npath = 'config.toml'\n{TARGET}");
    let directory = with(&toml);
    let (code, text) = ended(&mut command(directory.path()));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("state.path: ") && text.contains("is this configuration file: name another one"), "{text}");
    assert_eq!(std::fs::read_to_string(directory.path().join("config.toml")).unwrap(), toml);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn health_takes_host_and_port_or_a_url_and_says_what_is_wrong_with_others() {
    let registry = registry();
    let daemon = Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"])).await;
    let health = async |url: String| {
        let directory = with(TARGET);
        tokio::task::spawn_blocking(move || ended(command(directory.path()).args(["health", &url]))).await.unwrap()
    };
    let address = &daemon.address;
    for url in [address.clone(), format!("http://{address}"), format!("http://{address}/-/ready")] {
        assert_eq!(health(url.clone()).await, (Some(0), String::new()), "{url}");
    }
    let (code, text) = health(format!("http://{address}/nothing")).await;
    assert!(code == Some(1) && text.contains("/nothing answered 404"), "{text}");
    for url in ["ftp://localhost:1", "http://", "local host"] {
        let (code, text) = health(url.to_owned()).await;
        assert!(code == Some(2) && text.contains("write for example `localhost:10048`"), "{url}: {text}");
    }
    daemon.stop().await;
}
