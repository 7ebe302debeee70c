//! Credentials and tokens that expire, are revoked, or were never valid.

use super::*;

/// Advances the clock between requests.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// How often the registry or its token server was sent this password.
fn times(registry: &TestRegistry, password: &str) -> usize {
    let sent = basic("alice", password);
    registry.requests().iter().filter(|seen| seen.header("authorization") == sent).count()
}

#[tokio::test]
async fn a_password_that_is_revoked_is_sent_once_more_and_then_blocked() {
    for token in [false, true] {
        let access = |password| {
            let users = vec![("alice", password)];
            if token { Access::Token(TokenServer { users, ..TokenServer::default() }) } else { Access::Basic(users) }
        };
        let (files, registry, client, app) = alice(access("sesame"));
        head(&client, &app).await.unwrap();
        registry.require(access("rotated"));
        registry.revoke_tokens();
        registry.take_counts();
        for _ in 0..5 {
            let error = head(&client, &app).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Denied);
            assert!(error.to_string().contains("the credentials of alice from "), "{error}");
            // Longer than any authorization or refusal is cached.
            later(600).await;
        }
        assert_eq!(times(&registry, "sesame"), 1, "token server: {token}");
        files.write("password", "rotated\n");
        head(&client, &app).await.unwrap();
        head(&client, &app).await.unwrap();
        assert_eq!(times(&registry, "sesame"), 1, "token server: {token}");
    }
}

#[tokio::test]
async fn a_password_that_was_refused_for_a_moment_is_good_again_after_an_hour() {
    let (_files, registry, client, app) = alice(Access::Basic(vec![("alice", "other")]));
    head(&client, &app).await.unwrap_err();
    registry.require(Access::Basic(vec![("alice", "sesame")]));
    later(3500).await;
    head(&client, &app).await.unwrap_err();
    later(101).await;
    head(&client, &app).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_tried_for_few_repositories_however_many_ask_at_once() {
    for access in [Access::Basic(vec![("alice", "other")]), {
        Access::Token(TokenServer { users: vec![("alice", "other")], ..TokenServer::default() })
    }] {
        let files = Files::new();
        let registry = registry(access);
        let client = registry.client_with(|settings| settings.credential = password(&files));
        let asks = (0..20).map(|number| {
            let (client, repository) = (client.clone(), registry.repository(&format!("acme/app{number}")));
            async move { head(&client, &repository).await.unwrap_err().reason() }
        });
        let reasons = futures_util::future::join_all(asks).await;
        assert!(reasons.iter().all(|reason| *reason == Reason::Denied), "{reasons:?}");
        assert_eq!(times(&registry, "sesame"), 3);
    }
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_renewed_once_for_all_waiting_requests() {
    let server = TokenServer { expires_in: Some(300), ..users() };
    let (_files, registry, client, app) = alice(Access::Token(server));
    let all = || futures_util::future::join_all((0..20).map(|_| head(&client, &app)));
    head(&client, &app).await.unwrap();
    registry.take_counts();
    later(280).await;
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(registry.take_counts(), "head_manifest 20");
    // Before the registry would have refused it, with one request to the token server.
    later(11).await;
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(registry.take_counts(), "head_manifest 20, token 1");
    // Also when it is refused before it expires.
    registry.revoke_tokens();
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(of_kind(&registry, Kind::Token).len(), 1);
}

#[tokio::test]
async fn a_password_file_is_read_again_for_every_new_token() {
    let files = Files::new();
    let registry =
        registry(Access::Token(TokenServer { users: vec![("alice", "sesame"), ("alice", "rotated")], ..users() }));
    let client = registry.client_with(|settings| settings.credential = password(&files));
    let app = registry.repository("acme/app");
    head(&client, &app).await.unwrap();
    files.write("password", "rotated");
    registry.revoke_tokens();
    registry.take_counts();
    head(&client, &app).await.unwrap();
    assert_eq!((times(&registry, "sesame"), times(&registry, "rotated")), (0, 1));
}

#[tokio::test]
async fn ghcr_says_401_or_403_at_the_token_endpoint_and_is_asked_once_for_all_waiting_requests() {
    for status in [401, 403] {
        let registry = registry(Access::Token(TokenServer::default()));
        registry.always("* /token", Reply::error(status, "DENIED"));
        let (client, app) = (registry.client(), registry.repository("acme/app"));
        for error in futures_util::future::join_all((0..5).map(|_| head(&client, &app))).await {
            let error = error.unwrap_err();
            assert_eq!(error.reason(), Reason::Denied, "{status}");
            assert!(error.to_string().contains("gives no token to anonymous clients"), "{error}");
        }
        assert_eq!(of_kind(&registry, Kind::Token).len(), 1, "{status}");
        // By the next scan it may exist, or be public.
        registry.always("* /token", Reply::Usual);
        later(60).await;
        head(&client, &app).await.unwrap();
    }
}

#[tokio::test]
async fn no_request_is_authenticated_anew_more_than_once() {
    let challenge =
        |registry: &TestRegistry, error| format!(r#"Bearer realm="{}/token",error="{error}""#, registry.base());
    for (status, header) in [
        (401, Some("invalid_token")),
        (401, Some("insufficient_scope")),
        (401, None),
        (403, Some("invalid_token")),
        (403, None),
        (400, None),
    ] {
        let registry = registry(Access::Token(TokenServer::default()));
        let client = registry.client();
        let app = registry.repository("acme/app");
        head(&client, &app).await.unwrap();
        registry.take_counts();
        let reply = Reply::error(status, "UNKNOWN");
        let reply = match header {
            Some(error) => reply.and("www-authenticate", challenge(&registry, error)),
            None => reply,
        };
        registry.always("HEAD *", reply.clone());
        registry.always("GET /v2/acme/", reply);
        let _ = head(&client, &app).await;
        let heads = of_kind(&registry, Kind::HeadManifest).len();
        assert!(heads <= 2, "{status} {header:?}: {}", registry.counts());
        assert!(of_kind(&registry, Kind::Token).len() <= 1, "{status} {header:?}: {}", registry.counts());
    }
}

#[tokio::test]
async fn a_password_that_changes_between_two_scans_is_tried_by_the_first_request_only() {
    let (_files, registry, client, app) = alice(Access::Basic(vec![("alice", "sesame")]));
    head(&client, &app).await.unwrap();
    registry.require(Access::Basic(vec![("alice", "rotated")]));
    registry.take_counts();
    later(60).await;
    for result in futures_util::future::join_all((0..60).map(|_| head(&client, &app))).await {
        assert_eq!(result.unwrap_err().reason(), Reason::Denied);
    }
    assert_eq!(times(&registry, "sesame"), 1);
}

#[tokio::test]
async fn a_password_that_changes_within_a_scan_is_sent_by_requests_under_way_and_not_by_waiting_ones() {
    let files = Files::new();
    let registry = registry(Access::Basic(vec![("alice", "sesame")]));
    let client = registry.client_with(|settings| {
        settings.credential = password(&files);
        settings.concurrency = 2;
    });
    let app = registry.repository("acme/app");
    head(&client, &app).await.unwrap();
    registry.require(Access::Basic(vec![("alice", "rotated")]));
    registry.take_counts();
    for result in futures_util::future::join_all((0..60).map(|_| head(&client, &app))).await {
        assert_eq!(result.unwrap_err().reason(), Reason::Denied);
    }
    assert!((1..=3).contains(&times(&registry, "sesame")), "{}", times(&registry, "sesame"));
}

#[tokio::test]
async fn a_password_counts_as_refused_where_a_second_attempt_ends_in_a_challenge_for_a_token() {
    let (_files, registry, client, app) = alice(Access::Open);
    registry.next("HEAD *", Reply::status(401).and("www-authenticate", r#"Basic realm="r""#));
    registry.always("HEAD *", Reply::status(401).and("www-authenticate", r#"Bearer realm="/token""#));
    for _ in 0..3 {
        let error = head(&client, &app).await.unwrap_err();
        assert!(error.to_string().contains("refused access to the credentials of alice"), "{error}");
    }
    assert_eq!(times(&registry, "sesame"), 1);
}
