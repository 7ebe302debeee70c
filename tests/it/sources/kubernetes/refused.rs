//! What goes wrong keeps what was seen, and is said so that a person can act.

use image_size_exporter::oci::Reason;
use image_size_exporter::sources::kubernetes::Settings;

use super::{Watched, images, web};
use crate::api_server::{ApiServer, Fault, kubeconfig, pod};

#[tokio::test]
async fn a_missing_permission_is_named_with_its_account() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.forbid(Some("/api/v1/pods"));
    let mut watched = Watched::start(&server, Settings::default());
    let error = watched.until_error("cannot list the pods in the whole cluster: 403").await.error.unwrap();
    assert_eq!(error.reason, Reason::Denied);
    for part in [
        "User \"system:serviceaccount:monitoring:image-size-exporter\" cannot list resource \"pods\"",
        "give this account a role with `list` and `watch` of `pods`",
    ] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    server.forbid(None);
    assert_eq!(watched.until_images(&["a:1"]).await.error, None);
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_hides_no_other() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.put(pod("secret", "web-1", "node-1", "b:1", "sha256:0"));
    server.forbid(Some("/api/v1/namespaces/secret/pods"));
    let namespaces = ["default", "secret"].map(str::to_owned).to_vec();
    let mut watched = Watched::start(&server, Settings { namespaces, ..Settings::default() });
    let sight = watched.until("one of them", |sight| images(sight) == ["a:1"] && sight.error.is_some()).await;
    assert!(sight.is_part, "more may run");
    assert!(sight.error.unwrap().message.contains("in the namespace `secret`: 403"));
    server.put(web(2, "a:2"));
    watched.until("a change there", |sight| images(sight) == ["a:1", "a:2"] && sight.error.is_some()).await;
    server.forbid(None);
    let sight = watched.until_images(&["a:1", "a:2", "b:1"]).await;
    assert_eq!((sight.error, sight.is_part), (None, false));
}

#[tokio::test]
async fn what_was_seen_stays_while_the_server_fails() {
    let cases = [
        (Fault::Status(500, "etcd is away"), Reason::Server, "500 etcd is away"),
        (Fault::Status(429, "too many requests"), Reason::RateLimited, "429 too many requests"),
        (Fault::Status(400, "unable to parse requirement"), Reason::Invalid, "is `selector` a label selector"),
        (Fault::Closed, Reason::Network, "cannot watch the pods in the whole cluster"),
        (
            Fault::Body("{\"type\":\"ADDED\",\"object\":{\"spec\":7,\"password\":\"hunter2\"}}\n"),
            Reason::Invalid,
            "this is no answer that Kubernetes defines",
        ),
        (Fault::Endless, Reason::Limit, "an event has more than 8 MiB"),
    ];
    for (fault, reason, message) in cases {
        let server = ApiServer::start().await;
        server.put(web(1, "a:1"));
        server.fail_watches([fault.clone()]);
        let mut watched = Watched::start(&server, Settings::default());
        let sight = watched.until_error(message).await;
        let error = sight.error.clone().unwrap();
        assert_eq!(error.reason, reason, "{fault:?}");
        assert!(!error.message.contains("hunter2"), "{}", error.message);
        let sight =
            watched.until("it is well again", |sight| sight.error.is_none() && sight.containers.is_some()).await;
        assert_eq!(images(&sight), ["a:1"], "{fault:?}");
        server.put(web(2, "a:2"));
        watched.until_images(&["a:1", "a:2"]).await;
    }
}

#[tokio::test]
async fn nothing_is_seen_before_a_list_is_whole() {
    let cases = [
        (Fault::Status(503, "starting"), "503 starting"),
        (Fault::Status(404, "404 page not found"), "is this the address of a Kubernetes API server?"),
        (Fault::Status(0, "hunter2"), "this is no answer that Kubernetes defines"),
        (Fault::Body("<html>proxy</html>"), "no list of pods"),
        (Fault::Body("{\"items\":[{\"spec\":\"hunter2\"}],\"metadata\":{}}"), "no list of pods"),
        (Fault::Body("{\"items\":[],\"metadata\":{}}"), "resourceVersion"),
        (Fault::Closed, "cannot list the pods"),
    ];
    for (fault, message) in cases {
        let server = ApiServer::start().await;
        server.put(web(1, "a:1"));
        server.fail_lists([fault.clone()]);
        let mut watched = Watched::start(&server, Settings::default());
        let sight = watched.until_error(message).await;
        assert_eq!(sight.containers, None, "{fault:?}");
        assert!(!sight.error.unwrap().message.contains("hunter2"));
        watched.until_images(&["a:1"]).await;
    }
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.fail_lists([Fault::Slow]);
    Watched::start(&server, Settings::default()).until_images(&["a:1"]).await;
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    let page = "{\"kind\":\"PodList\",\"items\":[],\"metadata\":{\"resourceVersion\":\"1\",\"continue\":\"x\"}}";
    server.fail_lists(std::iter::repeat_n(Fault::Body(page), 1000));
    let mut watched = Watched::start(&server, Settings::default());
    let sight = watched.until_error("the list of pods has more than 1000 pages").await;
    assert_eq!((sight.error.unwrap().reason, sight.containers), (Reason::Limit, None));
    assert_eq!(watched.until_images(&["a:1"]).await.error, None);
}

#[tokio::test]
async fn credentials_that_are_replaced_are_read_again() {
    let server = ApiServer::start().await;
    server.put(web(1, "a:1"));
    server.require("new");
    let mut watched = Watched::start_with(&server.kubeconfig("old"), Settings::default());
    let error = watched.until_error("401").await.error.unwrap();
    assert_eq!(error.reason, Reason::Denied);
    watched.files.write("kubeconfig", &server.kubeconfig("new"));
    watched.until_images(&["a:1"]).await;
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named_and_not_quoted() {
    let nowhere = kubeconfig("http://127.0.0.1:1", "", "hunter2");
    let cases = [
        ("users: [{name: u, user: {token: hunter2, token: hunter2}}]: x", "it is no kubeconfig"),
        ("users: hunter2", "it is no kubeconfig"),
        ("{}", "cannot use the kubeconfig"),
        (&nowhere, "cannot list the pods in the whole cluster"),
    ];
    for (kubeconfig, message) in cases {
        let mut watched = Watched::start_with(kubeconfig, Settings::default());
        let error = watched.until_error(message).await.error.unwrap();
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
    let mut watched =
        Watched::start_with(&nowhere, Settings { context: Some("missing".to_owned()), ..Settings::default() });
    watched.until_error("missing").await;
}
