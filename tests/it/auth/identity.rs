//! Identity tokens, registry tokens and the files that have them.

use super::*;

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let files = Files::new();
    let registry = registry(Access::Token(TokenServer { identities: vec!["refresh"], ..users() }));
    let entry = r#"{"auth":"YWxpY2U6","identitytoken":"refresh"}"#;
    let path = files.write("config.json", &format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.name()));
    let client = registry.client_with(|settings| settings.credential = Credential::DockerConfig(path));
    head(&client, &registry.repository("acme/app")).await.unwrap();
    let token = &of_kind(&registry, Kind::Token)[0];
    assert_eq!(token.method, "POST");
    assert_eq!(token.parameters("grant_type"), ["refresh_token"]);
    assert_eq!(token.parameters("refresh_token"), ["refresh"]);
    assert_eq!(token.parameters("scope"), ["repository:acme/app:pull"]);
    assert_eq!(token.parameters("service"), ["test registry"]);
    assert!(!token.uri.contains("refresh"), "the identity token must not stand in an address");
}

#[tokio::test]
async fn an_identity_token_is_not_posted_to_where_a_token_server_redirects() {
    for status in [301, 302, 303, 307, 308] {
        let files = Files::new();
        let registry = registry(Access::Token(TokenServer { identities: vec!["refresh"], ..users() }));
        let thief = TestRegistry::start();
        let away = Reply::status(status).and("location", format!("{}/token", thief.base()));
        registry.always("POST /token", away);
        let entry = r#"{"auth":"YWxpY2U6","identitytoken":"refresh"}"#;
        let path = files.write("config.json", &format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.name()));
        let client = registry.client_with(|settings| settings.credential = Credential::DockerConfig(path));
        let error = head(&client, &registry.repository("acme/app")).await.unwrap_err();
        assert_eq!((error.reason(), thief.requests().len()), (Reason::Server, 0), "{status}");
        assert!(error.to_string().contains("redirects a request with credentials to 127.0.0.1"), "{error}");
        assert_eq!(registry.counts(), "head_manifest 1, token 1", "{status}");
    }
}

#[tokio::test]
async fn where_post_is_refused_an_identity_token_is_exchanged_by_get() {
    for status in [400, 401, 404, 405] {
        let files = Files::new();
        let registry =
            registry(Access::Token(TokenServer { users: vec![("alice", "refresh")], ..TokenServer::default() }));
        registry.always("POST /token", Reply::status(status));
        let entry = r#"{"auth":"YWxpY2U6","identitytoken":"refresh"}"#;
        let path = files.write("config.json", &format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.name()));
        let client = registry.client_with(|settings| settings.credential = Credential::DockerConfig(path));
        head(&client, &registry.repository("acme/app")).await.unwrap();
        assert_eq!(registry.counts(), "head_manifest 2, token 2", "{status}");
    }
}

#[tokio::test]
async fn a_mounted_dockercfg_is_a_docker_config() {
    let files = Files::new();
    let registry = registry(Access::Basic(vec![("alice", "sesame")]));
    let auth = basic("alice", "sesame").replace("Basic ", "");
    let text = format!(r#"{{"https://{}/v1/":{{"email":"a@example.com","auth":"{auth}"}}}}"#, registry.name());
    let path = files.write("secret/..data/pull", &text);
    let client = registry.client_with(|settings| settings.credential = Credential::DockerConfig(path));
    head(&client, &registry.repository("acme/app")).await.unwrap();
}

#[tokio::test]
async fn a_registry_token_is_used_as_it_is() {
    let files = Files::new();
    let registry = registry(Access::Token(TokenServer::default()));
    registry.require(Access::Open);
    registry.next("HEAD *", Reply::status(401).and("www-authenticate", r#"Bearer realm="/token""#));
    let path = files.write("token", "x.y.z\n");
    let client = registry.client_with(|settings| settings.credential = Credential::TokenFile(path));
    head(&client, &registry.repository("acme/app")).await.unwrap();
    assert_eq!(registry.requests().last().unwrap().header("authorization"), "Bearer x.y.z");
    assert_eq!(registry.counts(), "head_manifest 2");
}

#[tokio::test]
async fn a_file_that_has_gone_since_the_start_is_named_with_what_to_do() {
    let files = Files::new();
    let user = |path| Credential::PasswordFile { username: "alice".to_owned(), path };
    let (gone, empty) = (files.path().join("gone"), files.write("empty", "\n"));
    let directory = files.path().to_owned();
    for (credential, expected) in [
        (
            user(gone.clone()),
            format!("password_file {}: no such file: put it back, or correct the path", gone.display()),
        ),
        (user(empty.clone()), format!("password_file {} is empty: write the secret into it", empty.display())),
        (user(directory.clone()), format!("password_file {}: cannot be read: Is a directory", directory.display())),
        (
            Credential::TokenFile(gone.clone()),
            format!("token_file {}: no such file: put it back, or correct the path", gone.display()),
        ),
        (Credential::TokenFile(empty.clone()), format!("token_file {} is empty", empty.display())),
        (
            Credential::DockerConfig(gone.clone()),
            format!("docker_config {}: no such file: put it back, or correct the path", gone.display()),
        ),
    ] {
        let registry = registry(Access::Basic(vec![("alice", "sesame")]));
        let (client, counters) = registry.client_counted(|settings| settings.credential = credential);
        let error = head(&client, &registry.repository("acme/app")).await.unwrap_err();
        assert!(error.to_string().contains(&format!(": cannot read credentials: {expected}")), "{error}");
        // No anonymous request and no empty password is sent instead, and the error is transient: last values are kept.
        assert_eq!((error.reason(), registry.counts().as_str()), (Reason::Denied, "head_manifest 1"));
        assert!(error.is_transient());
        let text = String::from_utf8(Telemetry::new(counters).encode(Format::OpenMetrics)).unwrap();
        assert!(text.lines().any(|line| line.ends_with("reason=\"denied\"} 1")), "{text}");
    }
}
