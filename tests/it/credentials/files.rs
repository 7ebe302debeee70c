//! Credentials files as other programs write and read them.

use image_size_exporter::oci::Reason;

use super::*;

/// Asks for `acme/app:v1` of a registry that wants alice's password.
async fn head(registry: &TestRegistry, credential: Credential) -> Result<(), String> {
    let client = registry.client_with(|settings| settings.credential = credential);
    match client.head_manifest(&registry.repository("acme/app"), At::Tag(&tag("v1"))).await {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(error.reason(), Reason::Denied, "{error}");
            Err(error.to_string())
        }
    }
}

/// A registry with `acme/app:v1` that wants alice's password.
fn with_password(password: &'static str) -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    registry.require(Access::Basic(vec![("alice", password)]));
    registry
}

#[tokio::test]
async fn a_pull_secrets_globs_are_read_as_kubernetes_reads_them() {
    let files = Files::new();
    let registry = with_password("sesame");
    let port = registry.name().as_str().rsplit_once(':').unwrap().1.to_owned();
    for (key, is_for_it) in [
        ("127.*.0.1:PORT", true),
        ("https://*.0.0.1:PORT", true),
        ("127.0.0.*:PORT/acme", true),
        ("127.0.0.*:PORT/other", false),
        ("127.0.0.*", false),
        ("12?.0.[0-9].1:PORT", true),
        ("12[^7].0.0.1:PORT", false),
        ("127.0.0.1:PORT/ac", true),
        ("*.0.1:PORT", false),
    ] {
        let key = key.replace("PORT", &port);
        let auth = basic("alice", "sesame").replace("Basic ", "");
        let text = format!(r#"{{"auths":{{"other.example":null,"{key}":{{"auth":"{auth}"}}}}}}"#);
        let path = files.write(".dockerconfigjson", &text);
        let asked = head(&registry, Credential::DockerConfig(path)).await;
        assert_eq!(asked.is_ok(), is_for_it, "{key}: {asked:?}");
    }
}

/// The requests that carried this user's password, to the registry or its token server.
fn times(registry: &TestRegistry, user: &str) -> usize {
    registry.requests().iter().filter(|seen| seen.header("authorization") == basic(user, "sesame")).count()
}

#[tokio::test]
async fn where_several_entries_are_for_a_repository_the_next_is_tried_after_one_is_refused() {
    let files = Files::new();
    let [bob, carol, alice] = ["bob", "carol", "alice"].map(|user| basic(user, "sesame").replace("Basic ", ""));
    for access in [
        Access::Basic(vec![("alice", "sesame")]),
        Access::Token(TokenServer { users: vec![("alice", "sesame")], ..TokenServer::default() }),
    ] {
        let registry = with_password("sesame");
        registry.require(access);
        let name = registry.name();
        let text = format!(
            r#"{{"auths":{{"{name}/acme/app":{{"auth":"{bob}"}},"{name}/acme":{{"auth":"{carol}"}},"{name}":{{"auth":"{alice}"}}}}}}"#
        );
        let credential = Credential::DockerConfig(files.write("config.json", &text));
        let client = registry.client_with(|settings| settings.credential = credential);
        for _ in 0..2 {
            client.head_manifest(&registry.repository("acme/app"), At::Tag(&tag("v1"))).await.unwrap();
        }
        assert_eq!(["bob", "carol"].map(|user| times(&registry, user)), [1, 1], "a refused password is not sent again");
        assert!(times(&registry, "alice") >= 1);
    }
}

/// A login that is right and may not pull.
#[tokio::test]
async fn the_next_entry_is_tried_after_a_403_and_no_more_than_each_once() {
    let files = Files::new();
    let registry = with_password("sesame");
    registry.require(Access::Basic(vec![("alice", "sesame"), ("bob", "sesame")]));
    let name = registry.name();
    let [bob, alice] = ["bob", "alice"].map(|user| basic(user, "sesame").replace("Basic ", ""));
    let text = format!(r#"{{"auths":{{"{name}/acme":{{"auth":"{bob}"}},"{name}":{{"auth":"{alice}"}}}}}}"#);
    let credential = Credential::DockerConfig(files.write("config.json", &text));
    let client = registry.client_with(|settings| settings.credential = credential.clone());
    let head = || async {
        let repository = registry.repository("acme/app");
        client.head_manifest(&repository, At::Tag(&tag("v1"))).await.map_err(|error| error.to_string())
    };
    let challenge = Reply::status(401).and("www-authenticate", "Basic realm=\"r\"");
    for reply in [challenge, Reply::error(403, "DENIED"), Reply::Usual] {
        registry.next("HEAD /v2/", reply);
    }
    for _ in 0..2 {
        head().await.unwrap();
    }
    assert_eq!(["bob", "alice"].map(|user| times(&registry, user)), [1, 2]);
    registry.always("HEAD /v2/", Reply::error(403, "DENIED"));
    let error = head().await.unwrap_err();
    assert!(error.contains("refused access to the credentials of alice"), "{error}");
    assert_eq!(["bob", "alice"].map(|user| times(&registry, user)), [1, 3]);
}

#[tokio::test]
async fn base64_with_line_ends_is_read_as_docker_reads_it() {
    const PASSWORD: &str = "a password that is so long that the program `base64` breaks the line, at 76 characters";
    let files = Files::new();
    let registry = with_password(PASSWORD);
    let auth = basic("alice", PASSWORD).replace("Basic ", "");
    let (first, second) = auth.split_at(76);
    for auth in [format!("{auth}\\n"), format!("{first}\\n{second}"), format!("{first}\\r\\n{second}\\r\\n")] {
        let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.name());
        let path = files.write("config.json", &text);
        head(&registry, Credential::DockerConfig(path)).await.unwrap();
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored_in_a_docker_config_and_named_in_a_password_file() {
    let files = Files::new();
    let registry = with_password("sesame");
    let text = auths(registry.name().as_str(), "alice");
    let path = files.write("config.json", &format!("\u{feff}{text}"));
    head(&registry, Credential::DockerConfig(path)).await.unwrap();

    let user = |path| Credential::PasswordFile { username: "alice".to_owned(), path };
    let path = files.write("password", "\u{feff}sesame\n");
    let utf16 = files.path().join("utf16");
    std::fs::write(&utf16, "\u{feff}sesame\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    let latin1 = files.path().join("latin1");
    std::fs::write(&latin1, b"s\xe9same\n").unwrap();
    for (key, credential, expected) in [
        ("password_file", user(path.clone()), "starts with a byte order mark: save it as UTF-8 without one"),
        (
            "token_file",
            Credential::TokenFile(path.clone()),
            "starts with a byte order mark: save it as UTF-8 without one",
        ),
        ("password_file", user(utf16.clone()), "is UTF-16 text: save it as UTF-8"),
        ("docker_config", Credential::DockerConfig(utf16.clone()), "is UTF-16 text: save it as UTF-8"),
        ("password_file", user(latin1.clone()), "is not UTF-8 text: save it as UTF-8"),
    ] {
        registry.take_counts();
        let error = head(&registry, credential).await.unwrap_err();
        assert!(error.contains(&format!(": cannot read credentials: {key} ")) && error.ends_with(expected), "{error}");
        // No request is sent, since it would be refused.
        assert_eq!(registry.counts(), "head_manifest 1");
    }
}
