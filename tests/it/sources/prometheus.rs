//! A Prometheus that answers as it is told.

use std::process::Stdio;

use serde_json::json;

use super::http::{Answer, Server};
use super::*;
use crate::support::daemon::command;

const QUERY: &str = "/api/v1/query";

/// An answer with these samples' labels.
fn vector(metrics: &serde_json::Value) -> Answer {
    let result: Vec<_> =
        metrics.as_array().unwrap().iter().map(|metric| json!({ "metric": metric, "value": [1.5, "1"] })).collect();
    let body = json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
    Answer::Body(200, body.to_string())
}

fn source(server: &Server, more: &str) -> String {
    toml(&format!("prometheus = {{ url = 'http://127.0.0.1:{}/', interval = '100ms'{more} }}", server.port))
}

/// One container of `acme/app:v1` in `shop`, on the node `a`.
fn app(registry: &TestRegistry, pod: &str, node: &str) -> serde_json::Value {
    let image = format!("{}/acme/app:v1", registry.name());
    let image_id = format!("{}/acme/app@{}", registry.name(), image_of(100).digest());
    json!({
        "__name__": "kube_pod_container_info", "namespace": "shop", "pod": pod, "container": "app", "node": node,
        "image": image, "image_spec": image, "image_id": image_id, "owner_kind": "StatefulSet", "owner_name": "app",
    })
}

#[tokio::test]
async fn what_kube_state_metrics_says_is_watched() {
    let (registry, server) = (registry(), Server::on_port().await);
    server.answer(
        QUERY,
        vector(&json!([app(&registry, "app-0", "a"), app(&registry, "app-1", "b"), app(&registry, "app-2", "b")])),
    );
    let daemon = Daemon::start(&source(&server, "")).await;
    let metrics = daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    assert_eq!((metrics.tag(CONTAINERS, "v1"), metrics.tag(NODES, "v1")), (Some(3.0), Some(2.0)));
    assert_eq!(metrics.tag(OUTDATED, "v1"), Some(0.0));
    let part = [("namespace", "shop"), ("workload_kind", "StatefulSet"), ("workload", "app"), ("container", "app")];
    assert_eq!((metrics.one(INFO, &part), metrics.count(INFO)), (Some(1.0), 1), "replicas are one series");
    assert_eq!(server.requests()[0], ("/api/v1/query?query=kube_pod_container_info".to_owned(), None));
    let web = json!({ "image": format!("{}/acme/web:v1", registry.name()), "namespace": "shop", "pod": "web" });
    let nameless = json!({ "namespace": "shop", "pod": "nameless" });
    server.answer(QUERY, vector(&json!([app(&registry, "app-0", "a"), web, nameless])));
    let metrics =
        daemon.until("the new one is read", |m| has_sizes(m, &[("app", "v1", 100), ("web", "v1", 200)])).await;
    assert_eq!(metrics.one(SKIPPED, &[]), Some(1.0), "a container without an image is counted");
    daemon.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_none_keeps_what_was_said() {
    let (registry, server) = (registry(), Server::on_port().await);
    let good = || vector(&json!([app(&registry, "app-0", "a")]));
    server.answer(QUERY, good());
    let daemon = Daemon::start(&source(&server, ", timeout = '200ms'")).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    let bad = [
        vector(&json!([])),
        Answer::Body(200, "{\"status\":\"error\",\"error\":\"why\"}".to_owned()),
        Answer::Body(400, "{\"status\":\"error\",\"error\":\"parse error\"}".to_owned()),
        Answer::Body(503, "starting".to_owned()),
        Answer::Body(401, String::new()),
        Answer::Body(302, String::new()),
        Answer::Body(200, "<html>".to_owned()),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".to_owned()),
        Answer::Raw(String::new()),
        Answer::Silence,
    ];
    for answer in bad {
        server.answer(QUERY, answer);
        let metrics = daemon.until("it is down", |m| m.one(UP, &[]) == Some(0.0)).await;
        assert!(has_sizes(&metrics, &[("app", "v1", 100)]) && metrics.count(CONTAINERS) == 1, "{}", metrics.text());
        server.answer(QUERY, good());
        daemon.until("it is up", |m| m.one(UP, &[]) == Some(1.0)).await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn it_is_asked_with_a_password_or_a_token() {
    let (registry, server, files) = (registry(), Server::on_port().await, Files::new());
    server.answer(QUERY, vector(&json!([app(&registry, "app-0", "a")])));
    let file = files.write("secret", "s3same\n");
    let file = file.display();
    for (keys, expected) in [
        (format!(", username = 'me', password_file = '{file}'"), "Basic bWU6czNzYW1l"),
        (format!(", token_file = '{file}'"), "Bearer s3same"),
    ] {
        let daemon = Daemon::start(&source(&server, &keys)).await;
        daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
        assert_eq!(server.requests().last().unwrap().1.as_deref(), Some(expected));
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_quotes_the_credential_is_not_shown() {
    let (_registry, server, files) = (registry(), Server::on_port().await, Files::new());
    let file = files.write("secret", "s3sa\"me\n");
    let keys = format!(", username = 'me', password_file = '{}'", file.display());
    let basic = "bWU6czNzYSJtZQ==";
    let quoting = |secret: &str| {
        [
            (200, json!({ "status": "error", "error": format!("bad header {secret}") })),
            (200, json!({ "status": "success", "warnings": [format!("got {secret}")] })),
            (200, json!({ "status": "success", "data": { "resultType": secret, "result": [] } })),
            (200, json!({ "status": "success", "data": { "resultType": "vector", "result": secret } })),
            (400, json!({ "status": "error", "error": secret })),
        ]
    };
    for (status, body) in [basic, "s3sa\"me"].into_iter().flat_map(quoting) {
        server.answer(QUERY, Answer::Body(status, body.to_string()));
        files.write("config.toml", &source(&server, &keys));
        let mut plan = command(files.path());
        plan.args(["plan", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || plan.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains(basic) && !said.contains("s3sa"), "{body}: {said}");
        assert!(said.contains("quotes the password or token"), "{body}: {said}");
    }
}

#[tokio::test]
async fn a_registry_that_hangs_delays_no_answer() {
    let (server, hanging) = (Server::on_port().await, Server::on_port().await);
    hanging.answer("/", Answer::Silence);
    let answer = |count: usize| {
        let images = (0..count).map(|n| json!({ "image": format!("127.0.0.1:{}/acme/app-{n}:v1", hanging.port) }));
        server.answer(QUERY, vector(&images.collect()));
    };
    answer(1);
    let daemon = Daemon::start(&source(&server, "")).await;
    // More than are read at once.
    for count in 1..=20 {
        answer(count);
        daemon.until("it is seen", |m| m.count(CONTAINERS) == count).await;
    }
    daemon.stop().await;
}
