//! Redirects: where they lead, what goes along, and what an error shows of them.

use super::*;

#[tokio::test]
async fn redirects_are_followed_without_credentials_to_another_host() {
    let files = Files::new();
    let (registry, storage) = (registry(), registry());
    registry.require(Access::Basic(vec![("alice", "sesame")]));
    let path = files.write("password", "sesame");
    let client = registry.client_with(|settings| {
        settings.credential = Credential::PasswordFile { username: "alice".to_owned(), path };
    });
    head(&client, &registry).await.unwrap();
    // To another path at home with them, to another place without.
    registry.next("GET /v2/acme/app/manifests/v1", Reply::redirect("/v2/acme/app/manifests/v1?again"));
    registry.next(
        "GET /v2/acme/app/manifests/v1?again",
        Reply::redirect(format!("{}/v2/acme/app/manifests/v1?signature=x", storage.base())),
    );
    registry.take_counts();
    get(&client, &registry).await.unwrap();
    let at_home = registry.requests();
    assert_eq!(at_home.len(), 2);
    assert!(at_home.iter().all(|seen| seen.header("authorization").starts_with("Basic ")));
    let away = storage.requests();
    assert_eq!(
        (away.len(), away[0].header("authorization"), away[0].uri.as_str()),
        (1, "", "/v2/acme/app/manifests/v1?signature=x")
    );
}

#[tokio::test]
async fn storage_gets_the_range_and_no_password_and_may_refuse_head() {
    let files = Files::new();
    let layer = Blob::new("x", vec![1; 100]);
    let (registry, storage) = (TestRegistry::start(), TestRegistry::start());
    for one in [&registry, &storage] {
        one.push(APP, "v1", &image("linux/amd64", &[&layer]));
    }
    registry.require(Access::Basic(vec![("alice", "sesame")]));
    let path = files.write("password", "sesame");
    let client = registry.client_with(|settings| {
        settings.credential = Credential::PasswordFile { username: "alice".to_owned(), path };
    });
    let app = registry.repository(APP);
    head(&client, &registry).await.unwrap();
    registry.always(
        "* /v2/acme/app/blobs/",
        Reply::redirect(format!("{}/v2/acme/app/blobs/{}?signature=x", storage.base(), layer.digest)),
    );
    assert_eq!(client.get_blob_range(&app, &layer.digest, 92..100, 100).await.unwrap().len(), 8);
    // An address that was signed for GET is refused for HEAD.
    storage.always("HEAD *", Reply::status(403));
    assert_eq!(client.head_blob(&app, &layer.digest).await.unwrap(), 100);
    let seen = storage.requests();
    let asked: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.header("range"))).collect();
    assert_eq!(asked, [("GET", "bytes=92-99"), ("HEAD", ""), ("GET", "bytes=0-0")]);
    assert!(seen.iter().all(|seen| seen.header("authorization").is_empty()));
    assert_eq!(registry.requests().last().unwrap().header("authorization"), basic("alice", "sesame"));
}

#[tokio::test]
async fn a_challenge_from_another_host_gets_no_answer() {
    let files = Files::new();
    let (registry, thief) = (registry(), registry());
    thief.require(Access::Basic(vec![("alice", "sesame")]));
    registry.always("GET *", Reply::redirect(format!("{}/v2/acme/app/manifests/v1", thief.base())));
    let path = files.write("password", "sesame");
    let client = registry.client_with(|settings| {
        settings.credential = Credential::PasswordFile { username: "alice".to_owned(), path };
    });
    let error = get(&client, &registry).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Denied);
    assert!(error.to_string().contains("to which the registry redirects, refused access"), "{error}");
    assert!(thief.requests().iter().all(|seen| seen.header("authorization").is_empty()));
}

#[tokio::test]
async fn unsafe_redirects_are_not_followed() {
    for (to, reason, expected) in [
        ("/v2/acme/app/manifests/v1", Reason::Limit, "more than 5 redirects"),
        ("ftp://127.0.0.1/x", Reason::Server, "neither http nor https"),
        (
            "http://169.254.169.254/latest/meta-data",
            Reason::Server,
            "169.254.169.254, an address of this machine or link",
        ),
        ("http://[fe80::1]/", Reason::Server, "an address of this machine or link"),
        ("http://", Reason::Server, "without a valid `Location`"),
    ] {
        let registry = registry();
        registry.always("GET *", Reply::redirect(to));
        let error = get(&registry.client(), &registry).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{to}: {error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_error_shows_no_query_of_an_address() {
    let registry = registry();
    registry.always("GET *", Reply::redirect("http://127.0.0.1:1/x?X-Amz-Signature=sesame"));
    let error = get(&registry.client(), &registry).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Network);
    assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
}
