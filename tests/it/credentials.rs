//! Where credentials and proxies are found. The environment names them, so each case runs this test program in a process
//! of its own, which asks the registry of the case and prints the outcome.

use std::process::Stdio;

use image_size_exporter::oci::Repository;
use image_size_exporter::registry::{At, Credential, Registries, Settings};

use crate::support::files::Files;
use crate::support::images::{Blob, image};
use crate::support::registry::{Access, Kind, Reply, TestRegistry, TokenServer, basic, tag};

mod files;
mod helpers;

/// Names the repository to the process of a case.
const ASK: &str = "TEST_ASK_REPOSITORY";
const CHILD: &str = "credentials::asks_in_a_process_of_its_own";

/// A registry that requires the password of any of these users.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    let users = ["env", "authfile", "runtime", "config", "docker", "old", "helper", "store", "namespace", "k8s"];
    registry.require(Access::Basic(users.iter().map(|user| (*user, "sesame")).collect()));
    registry
}

/// `auths` with one entry for the registry.
fn auths(key: &str, user: &str) -> String {
    let auth = basic(user, "sesame").replace("Basic ", "");
    format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#)
}

/// Sends a request with only these variables. Returns the output of the process.
fn ask(registry: &TestRegistry, variables: &[(&str, &str)]) -> String {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env_clear()
        .env(ASK, registry.repository("acme/app").to_string())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{said}");
    said
}

/// As `ask`, for a registry whose name does not resolve.
fn ask_for_a_name(variables: &[(&str, &str)]) -> String {
    let registry = TestRegistry::start();
    let mut all = vec![("TEST_PLAIN_HTTP", "yes"), (ASK, "registry.invalid/acme/app")];
    all.extend(variables);
    ask(&registry, &all)
}

/// The user of the last request; empty if it was anonymous.
fn user(registry: &TestRegistry) -> String {
    use base64::Engine as _;
    let requests = registry.requests();
    let sent = requests.last().map_or("", |seen| seen.header("authorization"));
    let decoded = base64::engine::general_purpose::STANDARD.decode(sent.trim_start_matches("Basic ")).unwrap();
    String::from_utf8(decoded).unwrap().split(':').next().unwrap().to_owned()
}

/// Not a test: the others run it in a process of its own.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how a case tells its process what to ask")]
async fn asks_in_a_process_of_its_own() {
    let Ok(repository) = std::env::var(ASK) else { return };
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::stderr).init();
    let repository: Repository = repository.parse().unwrap();
    let credential = match std::env::var("TEST_PASSWORD_VARIABLE") {
        Ok(variable) => Credential::PasswordEnv { username: "env".to_owned(), variable },
        Err(_) => Credential::Usual,
    };
    let plain_http = std::env::var("TEST_PLAIN_HTTP").is_ok();
    let settings = Settings { credential, plain_http, ..Settings::default() };
    let registries = Registries::new([].into(), settings).unwrap();
    let asked = registries.client(repository.registry()).head_manifest(&repository, At::Tag(&tag("v1"))).await;
    println!("{asked:?}");
    if let Err(error) = asked {
        println!("{error}");
    }
}

#[test]
fn the_default_sources_are_looked_up_in_order() {
    let files = Files::new();
    let registry = registry();
    let key = registry.name().to_string();
    let home = files.path().join("home").display().to_string();
    let runtime = files.path().join("runtime").display().to_string();
    let config = files.path().join("xdg").display().to_string();
    let docker = files.path().join("docker").display().to_string();
    let authfile = files.write("authfile.json", &auths(&key, "authfile")).display().to_string();
    let in_variable = auths(&key, "env");
    files.write("home/.dockercfg", &auths(&key, "old").replace(r#"{"auths":"#, "").replace("}}}", "}}"));
    let check = |variables: &[(&str, &str)], expected: &str| {
        registry.take_counts();
        let said = ask(&registry, variables);
        assert_eq!(user(&registry), expected, "{variables:?}: {said}");
    };
    let mut variables = vec![("HOME", home.as_str())];
    check(&variables, "old");
    files.write("home/.docker/config.json", &auths(&key, "docker"));
    check(&variables, "docker");
    files.write("home/.config/containers/auth.json", &auths(&key, "config"));
    check(&variables, "config");
    variables.push(("DOCKER_CONFIG", &docker));
    variables.push(("XDG_CONFIG_HOME", &config));
    files.write("docker/config.json", &auths(&format!("https://{key}/v1/"), "k8s"));
    check(&variables, "k8s");
    files.write("xdg/containers/auth.json", &auths(&key, "config"));
    check(&variables, "config");
    variables.push(("XDG_RUNTIME_DIR", &runtime));
    files.write("runtime/containers/auth.json", &auths("somewhere.else", "runtime"));
    check(&variables, "config");
    files.write("runtime/containers/auth.json", &auths(&format!("{key}/acme"), "namespace"));
    check(&variables, "namespace");
    variables.push(("REGISTRY_AUTH_FILE", &authfile));
    check(&variables, "authfile");
    variables.push(("DOCKER_AUTH_CONFIG", &in_variable));
    check(&variables, "env");
}

#[test]
fn an_authfile_that_is_named_is_looked_up_alone() {
    let files = Files::new();
    let registry = registry();
    let key = registry.name().to_string();
    files.write("home/.docker/config.json", &auths(&key, "docker"));
    let home = files.path().join("home").display().to_string();
    let other = files.write("auth.json", r#"{"auths":{}}"#).display().to_string();
    let said = ask(&registry, &[("HOME", &home), ("REGISTRY_AUTH_FILE", &other)]);
    assert_eq!(user(&registry), "");
    assert!(said.contains("refused anonymous access"), "{said}");
}

#[test]
fn a_password_comes_from_a_variable_of_its_own() {
    let registry = registry();
    ask(&registry, &[("TEST_PASSWORD_VARIABLE", "SECRET"), ("SECRET", "sesame")]);
    assert_eq!(user(&registry), "env");
    let said = ask(&registry, &[("TEST_PASSWORD_VARIABLE", "SECRET")]);
    assert!(said.contains("cannot read credentials: the variable that `password_env` names is not set"), "{said}");
}

#[test]
fn helpers_come_before_the_files_own_entries() {
    let files = Files::new();
    let registry = registry();
    let key = registry.name().to_string();
    let answers = |user: &str| {
        format!(
            "#!/bin/sh\nread -r url\n[ \"$1\" = get ] && [ \"$url\" = \"{key}\" ] || exit 3\necho '{{\"ServerURL\":\"{key}\",\"Username\":\"{user}\",\"Secret\":\"sesame\"}}'\n"
        )
    };
    files.write_program("bin/docker-credential-own", &answers("helper"));
    files.write_program("bin/docker-credential-all", &answers("store"));
    files.write_program(
        "bin/docker-credential-empty",
        "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n",
    );
    let path = format!("{}:/usr/bin:/bin", files.path().join("bin").display());
    for (helpers, expected) in [
        (format!(r#""credHelpers":{{"{key}":"own"}},"credsStore":"all""#), "helper"),
        (r#""credHelpers":{"other.example":"own"},"credsStore":"all""#.to_owned(), "store"),
        (r#""credsStore":"empty""#.to_owned(), "docker"),
    ] {
        let entries = auths(&key, "docker");
        files.write("docker/config.json", &format!("{},{helpers}}}", entries.strip_suffix('}').unwrap()));
        let docker = files.path().join("docker").display().to_string();
        let said = ask(&registry, &[("DOCKER_CONFIG", &docker), ("PATH", &path)]);
        assert_eq!(user(&registry), expected, "{helpers}: {said}");
    }
}

#[test]
fn a_helpers_identity_token_is_exchanged() {
    let files = Files::new();
    let registry = registry();
    registry.require(Access::Token(TokenServer { identities: vec!["refresh"], ..TokenServer::default() }));
    let program = "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'\n";
    files.write_program("bin/docker-credential-own", program);
    files.write("docker/config.json", r#"{"credsStore":"own"}"#);
    let docker = files.path().join("docker").display().to_string();
    let path = format!("{}:/usr/bin:/bin", files.path().join("bin").display());
    ask(&registry, &[("DOCKER_CONFIG", &docker), ("PATH", &path)]);
    let token = registry.requests().into_iter().find(|seen| seen.kind == Kind::Token).unwrap();
    assert_eq!((token.method.as_str(), token.parameters("refresh_token")), ("POST", vec!["refresh".to_owned()]));
}

#[test]
fn a_helper_that_fails_is_named_with_its_fault() {
    let files = Files::new();
    let registry = registry();
    let docker = files.path().join("docker").display().to_string();
    let path = format!("{}:/usr/bin:/bin", files.path().join("bin").display());
    for (program, expected) in [
        ("#!/bin/sh\necho sesame\nexit 1\n", "docker-credential-x: failed (exit status: 1); run it by hand to see why"),
        ("#!/bin/sh\necho sesame\n", "docker-credential-x: its output is not the JSON object of a credential helper"),
        ("", "docker-credential-x: cannot be run"),
    ] {
        if program.is_empty() {
            std::fs::remove_file(files.path().join("bin/docker-credential-x")).unwrap();
        } else {
            files.write_program("bin/docker-credential-x", program);
        }
        files.write("docker/config.json", r#"{"credsStore":"x"}"#);
        let said = ask(&registry, &[("DOCKER_CONFIG", &docker), ("PATH", &path)]);
        assert!(said.contains(expected) && !said.contains("sesame"), "{said}");
    }
}

#[test]
fn a_broken_file_is_named_and_nothing_of_it_is_shown() {
    let files = Files::new();
    let registry = registry();
    let docker = files.path().join("docker").display().to_string();
    let path = files.write("docker/config.json", r#"{"auths":{"x":{"auth": sesame}}}"#);
    let said = ask(&registry, &[("DOCKER_CONFIG", &docker)]);
    let expected = format!("cannot read credentials: {}: not a docker config.json (line 1, column ", path.display());
    assert!(said.contains(&expected) && !said.contains("sesame"), "{said}");
}

#[test]
fn proxies_are_those_of_the_environment() {
    let proxy = TestRegistry::start();
    let answer = Reply::Answer(200, vec![("docker-content-digest", "sha256:1".to_owned())], String::new());
    proxy.always("HEAD http://registry.invalid/", answer);
    let url = proxy.base();
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let said = ask_for_a_name(&[(variable, &url)]);
        assert_eq!(proxy.take_counts(), "head_manifest 1", "{variable}: {said}");
    }
    for exception in ["registry.invalid", "example.com, .invalid", "*"] {
        let said = ask_for_a_name(&[("HTTP_PROXY", &url), ("NO_PROXY", exception)]);
        assert_eq!(proxy.take_counts(), "", "{exception}: {said}");
        assert!(said.contains("cannot reach registry.invalid"), "{said}");
    }
    // Loopback is never asked through a proxy.
    let registry = registry();
    registry.require(Access::Open);
    ask(&registry, &[("HTTP_PROXY", &url)]);
    assert_eq!((proxy.counts().as_str(), registry.counts().as_str()), ("", "head_manifest 1"));
}

#[test]
fn no_output_of_a_run_contains_a_secret() {
    // All kinds of secrets, accepted and refused, logged at every level.
    let secrets = ["sesame", "refresh-secret", "token-1", "token-2", "x-registry-token"];
    let files = Files::new();
    let docker = files.path().join("docker").display().to_string();
    let encoded = basic("docker", "sesame");
    let check = |registry: &TestRegistry, config: &str| {
        files.write("docker/config.json", config);
        let said = ask(registry, &[("DOCKER_CONFIG", &docker)]);
        assert!(said.contains("TRACE"), "the run logs everything: {said}");
        for secret in secrets.iter().chain([&encoded.trim_start_matches("Basic ")]) {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    };
    let name = |registry: &TestRegistry| registry.name().to_string();
    for users in [vec![("docker", "sesame")], vec![("docker", "another")]] {
        let registry = registry();
        registry.require(Access::Basic(users.clone()));
        check(&registry, &auths(&name(&registry), "docker"));
        registry.require(Access::Token(TokenServer { users: users.clone(), ..TokenServer::default() }));
        check(&registry, &auths(&name(&registry), "docker"));
        for identities in [vec!["refresh-secret"], vec!["another"]] {
            registry.require(Access::Token(TokenServer { users: users.clone(), identities, ..TokenServer::default() }));
            check(&registry, &format!(r#"{{"auths":{{"{}":{{"identitytoken":"refresh-secret"}}}}}}"#, name(&registry)));
        }
        check(&registry, &format!(r#"{{"auths":{{"{}":{{"registrytoken":"x-registry-token"}}}}}}"#, name(&registry)));
    }
}
