//! What registries of vendors do, each as it was seen or documented.

use super::*;

#[tokio::test]
async fn harbor_says_basic_to_an_expired_token_and_gets_a_new_one() {
    let (_files, registry, client, app) = alice(Access::Token(users()));
    head(&client, &app).await.unwrap();
    registry.take_counts();
    registry.next("HEAD *", Reply::status(401).and("www-authenticate", r#"Basic realm="harbor""#));
    head(&client, &app).await.unwrap();
    let sent: Vec<String> = registry.requests().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer token-1".to_owned(), basic("alice", "sesame"), "Bearer token-2".to_owned()]);
}

#[tokio::test]
async fn harbor_wants_basic_for_its_catalog_and_tokens_for_repositories() {
    let files = Files::new();
    let registry = registry(Access::Token(users()));
    let client = registry.client_with(|settings| settings.credential = password(&files));
    head(&client, &registry.repository("acme/app")).await.unwrap();
    registry.take_counts();
    registry.next("GET /v2/_catalog", Reply::status(401).and("www-authenticate", r#"Basic realm="harbor""#));
    registry.always("GET /v2/_catalog", Reply::json(r#"{"repositories":["acme/app"]}"#));
    assert_eq!(client.list_repositories(&[]).await.unwrap().repositories.len(), 1);
    let sent: Vec<String> = registry.requests().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, [String::new(), basic("alice", "sesame")]);
    registry.take_counts();
    client.list_repositories(&[]).await.unwrap();
    head(&client, &registry.repository("acme/app")).await.unwrap();
    assert_eq!(registry.counts(), "catalog 1, head_manifest 1");
}

#[tokio::test]
async fn amazons_public_registry_says_400_to_an_expired_token() {
    let registry = registry(Access::Token(TokenServer::default()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    head(&client, &app).await.unwrap();
    registry.take_counts();
    registry.next("HEAD *", Reply::status(400));
    head(&client, &app).await.unwrap();
    assert_eq!(registry.take_counts(), "head_manifest 2, token 1");
}

#[tokio::test]
async fn amazons_private_registry_says_403_to_an_expired_password_and_a_rotated_one_is_read() {
    let (files, registry, client, app) = alice(Access::Basic(vec![("alice", "sesame")]));
    head(&client, &app).await.unwrap();
    registry.require(Access::Basic(vec![("alice", "rotated")]));
    files.write("password", "rotated");
    registry.next("HEAD *", Reply::error(403, "DENIED"));
    head(&client, &app).await.unwrap();
}

#[tokio::test]
async fn what_docker_hub_and_quay_do_not_have_is_401_with_a_valid_token() {
    let registry = registry(Access::Token(TokenServer::default()));
    let client = registry.client();
    let app = registry.repository("acme/app");
    let challenge = format!(
        r#"Bearer realm="{}/token",service="s",scope="repository:acme/app:pull",error="insufficient_scope""#,
        registry.base()
    );
    registry.always("HEAD *", Reply::error(401, "UNAUTHORIZED").and("www-authenticate", challenge));
    let error = head(&client, &app).await.unwrap_err();
    assert_eq!(registry.take_counts(), "head_manifest 2, token 1");
    assert_eq!(error.reason(), Reason::Denied);
    assert!(error.to_string().contains("is private or does not exist"), "{error}");
    // It was refused with a new token: the next scan does not ask for another one.
    head(&client, &app).await.unwrap_err();
    assert_eq!(registry.take_counts(), "head_manifest 1");
}

#[tokio::test]
async fn ghcr_refuses_at_the_token_endpoint_what_is_private_or_missing() {
    let registry = registry(Access::Token(TokenServer::default()));
    registry.always("* /token", Reply::error(401, "UNAUTHORIZED"));
    let error = head(&registry.client(), &registry.repository("acme/app")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Denied);
    let shown = error.to_string();
    assert!(
        shown.contains("gives no token to anonymous clients") && shown.contains("configure credentials"),
        "{shown}"
    );
}

#[tokio::test]
async fn google_refuses_without_a_challenge_and_is_asked_for_one() {
    let registry = registry(Access::Token(TokenServer::default()));
    registry.next("HEAD *", Reply::error(401, "UNAUTHORIZED"));
    head(&registry.client(), &registry.repository("acme/app")).await.unwrap();
    assert_eq!(registry.counts(), "head_manifest 2, ping 1, token 1");
}
