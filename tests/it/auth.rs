//! Authentication: what registries demand, and what follows a refusal.

use std::sync::Arc;
use std::time::Duration;

use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::oci::Reason;
use image_size_exporter::oci::Repository;
use image_size_exporter::registry::{At, Client, Credential, RegistryError};

use crate::support::files::Files;
use crate::support::images::{Blob, image};
use crate::support::registry::{Access, Kind, Reply, Seen, TestRegistry, TokenServer, basic, tag};

mod again;
mod identity;
mod vendors;

/// A registry with `acme/app:v1`.
fn registry(access: Access) -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push("acme/app", "v1", &image("linux/amd64", &[&Blob::named("base", 100)]));
    registry.require(access);
    registry
}

async fn head(client: &Client, repository: &Repository) -> Result<(), RegistryError> {
    client.head_manifest(repository, At::Tag(&tag("v1"))).await.map(drop)
}

fn users() -> TokenServer {
    TokenServer { users: vec![("alice", "sesame")], ..TokenServer::default() }
}

fn password(files: &Files) -> Credential {
    Credential::PasswordFile { username: "alice".to_owned(), path: files.write("password", "sesame\n") }
}

/// A registry with `acme/app:v1`, and a client with the password of alice, `sesame`, in a file.
fn alice(access: Access) -> (Files, TestRegistry, Arc<Client>, Repository) {
    let files = Files::new();
    let registry = registry(access);
    let client = registry.client_with(|settings| settings.credential = password(&files));
    let app = registry.repository("acme/app");
    (files, registry, client, app)
}

fn of_kind(registry: &TestRegistry, kind: Kind) -> Vec<Seen> {
    registry.requests().into_iter().filter(|seen| seen.kind == kind).collect()
}

#[tokio::test]
async fn an_open_registry_is_asked_without_credentials() {
    let files = Files::new();
    let registry = registry(Access::Open);
    let client = registry.client_with(|settings| settings.credential = password(&files));
    head(&client, &registry.repository("acme/app")).await.unwrap();
    assert_eq!(registry.counts(), "head_manifest 1");
    assert_eq!(registry.requests()[0].header("authorization"), "");
}

#[tokio::test]
async fn basic_is_answered_and_remembered() {
    let (_files, registry, client, app) = alice(Access::Basic(vec![("alice", "sesame")]));
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 2");
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 1");
}

#[tokio::test]
async fn an_anonymous_token_is_asked_for_once_and_used_until_it_expires() {
    let registry = registry(Access::Token(TokenServer::default()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 2, token 1");
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 1");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    // A token without `expires_in` is valid for a minute.
    for (expires_in, good, old) in [(None, 45, 10), (Some(300), 280, 15), (Some(1), 45, 10)] {
        let registry = registry(Access::Token(TokenServer { expires_in, ..TokenServer::default() }));
        let (client, app) = (registry.client(), registry.repository("acme/app"));
        head(&client, &app).await.unwrap();
        registry.take_counts();
        for (later, counts) in [(good, "head_manifest 1"), (old, "head_manifest 1, token 1")] {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(later)).await;
            tokio::time::resume();
            head(&client, &app).await.unwrap();
            assert_eq!(registry.take_counts(), counts, "{expires_in:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_with_what_the_challenge_says() {
    let registry = registry(Access::Token(TokenServer::default()));
    head(&registry.client(), &registry.repository("acme/app")).await.unwrap();
    let token = &of_kind(&registry, Kind::Token)[0];
    assert_eq!(token.parameters("service"), ["test registry"]);
    assert_eq!(token.parameters("scope"), ["repository:acme/app:pull"]);
    assert_eq!(token.parameters("client_id"), ["image-size-exporter"]);
    assert!(token.parameters("account").is_empty() && token.parameters("offline_token").is_empty());
    assert_eq!(token.header("authorization"), "");
}

#[tokio::test]
async fn a_password_goes_to_the_token_server_and_not_to_the_registry() {
    let files = Files::new();
    let registry = registry(Access::Token(users()));
    let client = registry.client_with(|settings| settings.credential = password(&files));
    head(&client, &registry.repository("acme/app")).await.unwrap();
    let token = &of_kind(&registry, Kind::Token)[0];
    assert_eq!(token.header("authorization"), basic("alice", "sesame"));
    assert_eq!(token.parameters("account"), ["alice"]);
    let sent: Vec<String> =
        of_kind(&registry, Kind::HeadManifest).iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", "Bearer token-1"]);
}

#[tokio::test]
async fn later_repositories_get_their_own_token_beforehand() {
    let registry = registry(Access::Token(TokenServer::default()));
    registry.push("acme/other", "v1", &image("linux/amd64", &[]));
    let client = registry.client();
    head(&client, &registry.repository("acme/app")).await.unwrap();
    registry.take_counts();
    head(&client, &registry.repository("acme/other")).await.unwrap();
    assert_eq!(registry.counts(), "head_manifest 1, token 1");
    assert_eq!(of_kind(&registry, Kind::Token)[0].parameters("scope"), ["repository:acme/other:pull"]);
}

#[tokio::test]
async fn many_waiters_ask_for_one_token() {
    let registry = registry(Access::Token(TokenServer::default()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let (client, app) = (client.clone(), app.clone());
            tokio::spawn(async move { head(&client, &app).await })
        })
        .collect();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(of_kind(&registry, Kind::Token).len(), 1);
}

#[tokio::test]
async fn many_waiters_share_one_refusal() {
    let registry = registry(Access::Token(users()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let (client, app) = (client.clone(), app.clone());
            tokio::spawn(async move { head(&client, &app).await })
        })
        .collect();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap_err().reason(), Reason::Denied);
    }
    assert_eq!(of_kind(&registry, Kind::Token).len(), 1);
}

#[tokio::test]
async fn every_form_of_challenge_leads_to_a_token() {
    for challenge in [
        r#"Bearer realm="{base}/token",service="test registry",scope="{scope}""#,
        r#"bearer Realm="{base}/token", Scope="{scope}""#,
        r#"Basic realm="test", Bearer realm="{base}/token""#,
        r#"Bearer realm="/token",service="a, \"b\"""#,
        r#"Bearer realm="token?tenant=x&y=z",scope="repository:acme/app:pull,push""#,
        r#"Negotiate, Bearer realm="{base}/token",scope="{scope} repository:acme/base:pull""#,
    ] {
        // Relative to the request's URL, so that `token` is a sibling of the manifest.
        let registry = registry(Access::Token(TokenServer { challenge: Some(challenge), ..TokenServer::default() }));
        if challenge.contains("realm=\"token?") {
            let token = Reply::json(r#"{"access_token":"token-x"}"#);
            registry.always("GET /v2/acme/app/manifests/token?tenant=x&y=z", token);
            head(&registry.client(), &registry.repository("acme/app")).await.unwrap_err();
            let asked = registry.requests().into_iter().find(|seen| seen.uri.contains("tenant=x")).unwrap();
            assert_eq!(asked.parameters("scope"), ["repository:acme/app:pull,push", "repository:acme/app:pull"]);
            continue;
        }
        head(&registry.client(), &registry.repository("acme/app")).await.unwrap();
        let scopes = of_kind(&registry, Kind::Token)[0].parameters("scope");
        assert_eq!(scopes.last().map(String::as_str), Some("repository:acme/app:pull"), "{challenge}");
    }
}

#[tokio::test]
async fn an_expired_token_is_replaced_once() {
    let registry = registry(Access::Token(TokenServer::default()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    head(&client, &app).await.unwrap();
    registry.revoke_tokens();
    registry.take_counts();
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 2, token 1");
    // A registry that refuses every token that it issues does not cause a loop.
    registry.always(
        "HEAD *",
        Reply::status(401)
            .and("www-authenticate", format!(r#"Bearer realm="{}/token",error="invalid_token""#, registry.base())),
    );
    assert_eq!(head(&client, &app).await.unwrap_err().reason(), Reason::Denied);
    assert_eq!(registry.take_counts(), "head_manifest 2, token 1");
}

#[tokio::test]
async fn a_refused_password_is_not_sent_again_and_again() {
    let (files, registry, client, app) = alice(Access::Basic(vec![("alice", "other")]));
    // Once. Other tags and lists are then not asked for either.
    for counts in ["head_manifest 2", "", ""] {
        let error = head(&client, &app).await.unwrap_err();
        assert_eq!((error.reason(), registry.take_counts().as_str()), (Reason::Denied, counts));
        let shown = error.to_string();
        assert!(
            shown.contains("the credentials of alice from ") && shown.contains("check that they are valid"),
            "{shown}"
        );
    }
    assert_eq!(client.list_tags(&app, 10, &mut |_| true).await.unwrap_err().reason(), Reason::Denied);
    assert_eq!(registry.take_counts(), "");
    // A new password is tried.
    files.write("password", "other");
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 1");
}

#[tokio::test]
async fn a_refusal_without_any_challenge_is_an_error_and_no_loop() {
    let registry = registry(Access::Open);
    registry.always("HEAD *", Reply::status(401));
    let error = head(&registry.client(), &registry.repository("acme/app")).await.unwrap_err();
    assert_eq!((error.reason(), registry.counts().as_str()), (Reason::Denied, "head_manifest 1, ping 1"));
}

#[tokio::test]
async fn a_token_may_come_under_either_name_and_without_a_lifetime() {
    for body in [
        r#"{"access_token":"x"}"#,
        r#"{"token":"x","expires_in":300,"issued_at":"2030-01-01T00:00:00Z"}"#,
        r#"{"token":"","access_token":"x","issued_at":"never"}"#,
        r#"{"token":"x","access_token":"x","scope":"a","refresh_token":"r"}"#,
    ] {
        let registry = registry(Access::Token(TokenServer::default()));
        registry.always("GET /token", Reply::json(body));
        registry.next("HEAD *", Reply::status(401).and("www-authenticate", r#"Bearer realm="/token""#));
        registry.always(
            "HEAD *",
            Reply::Answer(200, vec![("docker-content-digest", "sha256:1".to_owned())], String::new()),
        );
        let client = registry.client();
        head(&client, &registry.repository("acme/app")).await.unwrap();
        assert_eq!(registry.requests().last().unwrap().header("authorization"), "Bearer x", "{body}");
    }
}

#[tokio::test]
async fn a_token_server_that_answers_nonsense_is_named_with_its_fault() {
    for (reply, reason, expected) in [
        (Reply::json("{}"), Reason::Invalid, "neither `token` nor `access_token`"),
        (Reply::json("no"), Reason::Invalid, "gave no token: its answer is not a JSON object"),
        (
            Reply::json(r#"{"token":"x","expires_in":"300"}"#),
            Reason::Invalid,
            "gave no token: `expires_in` in its answer is text, not a number",
        ),
        (Reply::json(r#"{"token":"a\nb"}"#), Reason::Invalid, "contains characters that a header cannot have"),
        (Reply::status(404), Reason::Server, "404 Not Found"),
        (Reply::Answer(403, vec![], r#"{"details":"go away"}"#.to_owned()), Reason::Denied, "(go away)"),
        (Reply::Answer(200, vec![], "x".repeat((1 << 20) + 1)), Reason::Limit, "longer than 1048576 bytes"),
    ] {
        let registry = registry(Access::Token(TokenServer::default()));
        registry.always("GET /token", reply);
        let error = head(&registry.client(), &registry.repository("acme/app")).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_token_server_in_a_forbidden_place_gets_no_credentials() {
    let files = Files::new();
    let registry = registry(Access::Token(TokenServer {
        challenge: Some(r#"Bearer realm="http://169.254.169.254/token""#),
        ..TokenServer::default()
    }));
    let client = registry.client_with(|settings| settings.credential = password(&files));
    // A registry on loopback may name other loopback addresses, but no link-local one.
    let error = head(&client, &registry.repository("acme/app")).await.unwrap_err();
    assert!(error.to_string().contains("token server that is not used"), "{error}");
    assert_eq!(registry.counts(), "head_manifest 1");
}

#[tokio::test]
async fn anonymous_means_anonymous() {
    let registry = registry(Access::Basic(vec![("alice", "sesame")]));
    let error = head(&registry.client(), &registry.repository("acme/app")).await.unwrap_err();
    assert_eq!((error.reason(), registry.counts().as_str()), (Reason::Denied, "head_manifest 1"));
    assert!(error.to_string().contains("configure credentials for 127.0.0.1"), "{error}");
}
