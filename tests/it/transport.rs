//! Retries, limits, redirects and rate limits, over connections that break and stall.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::oci::Reason;
use image_size_exporter::oci::{Registry, Repository};
use image_size_exporter::registry::{At, Client, Credential, Registries, RegistryError, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::files::Files;
use crate::support::images::{Blob, Pushed, image};
use crate::support::registry::{Access, Reply, TestRegistry, TokenServer, basic, tag};

mod limits;
mod redirects;
mod routes;

const APP: &str = "acme/app";

fn small() -> Pushed {
    image("linux/amd64", &[&Blob::named("base", 100)])
}

fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.push(APP, "v1", &small());
    registry
}

async fn get(client: &Client, registry: &TestRegistry) -> Result<(), RegistryError> {
    client.get_manifest(&registry.repository(APP), At::Tag(&tag("v1"))).await.map(drop)
}

async fn head(client: &Client, registry: &TestRegistry) -> Result<(), RegistryError> {
    client.head_manifest(&registry.repository(APP), At::Tag(&tag("v1"))).await.map(drop)
}

#[tokio::test]
async fn what_is_transient_is_tried_again() {
    for reply in [
        Reply::status(408),
        Reply::status(499),
        Reply::status(500),
        Reply::status(502),
        Reply::status(503),
        Reply::status(504),
        Reply::status(522),
        Reply::Cut,
        Reply::CutAfter(5),
        Reply::status(503).and("retry-after", "0"),
        Reply::status(503).and("retry-after", httpdate::fmt_http_date(SystemTime::now())),
    ] {
        let registry = registry();
        let client = registry.client();
        registry.next("GET *", reply.clone());
        registry.next("GET *", reply.clone());
        get(&client, &registry).await.unwrap();
        assert_eq!(registry.take_counts(), "get_manifest 3", "{reply:?}");
    }
}

#[tokio::test]
async fn tries_are_counted() {
    for (reply, reason) in
        [(Reply::status(500), Reason::Server), (Reply::Cut, Reason::Network), (Reply::CutAfter(5), Reason::Network)]
    {
        let registry = registry();
        registry.always("GET *", reply);
        let error = get(&registry.client(), &registry).await.unwrap_err();
        assert_eq!((error.reason(), registry.counts().as_str()), (reason, "get_manifest 3"));
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn what_is_not_transient_is_not_tried_again() {
    for (reply, reason) in [
        (Reply::status(403), Reason::Denied),
        (Reply::error(404, "MANIFEST_UNKNOWN"), Reason::NotFound),
        (Reply::status(404), Reason::Server),
        (Reply::status(400), Reason::Server),
        (Reply::status(451), Reason::Server),
        (Reply::status(501), Reason::Unsupported),
        (Reply::status(505), Reason::Server),
        // Too long to wait for: the next scan tries again.
        (Reply::status(503).and("retry-after", "3600"), Reason::Server),
        (Reply::status(503).and("retry-after", "99999999999999999999"), Reason::Server),
        (Reply::status(503).and("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"), Reason::Server),
    ] {
        let registry = registry();
        registry.always("GET *", reply.clone());
        let error = get(&registry.client(), &registry).await.unwrap_err();
        assert_eq!((error.reason(), registry.counts().as_str()), (reason, "get_manifest 1"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_registry_that_does_not_answer_in_time_is_given_up() {
    for reply in [Reply::Stall, Reply::StallAfter(5)] {
        let registry = registry();
        registry.always("GET *", reply);
        let client = registry.client_with(|settings| settings.timeout = Duration::from_millis(200));
        let error = get(&client, &registry).await.unwrap_err();
        assert_eq!((error.reason(), registry.counts().as_str()), (Reason::Timeout, "get_manifest 1"));
        assert!(error.to_string().contains("no answer from 127.0.0.1"), "{error}");
        assert!(error.to_string().ends_with("within 200ms"), "{error}");
    }
}

#[tokio::test]
async fn an_unreachable_registry_is_reported_as_such() {
    let registry = TestRegistry::start();
    let client = registry.client();
    let repository = registry.repository(APP);
    drop(registry);
    let v1 = tag("v1");
    for _ in 0..10 {
        let error = client.head_manifest(&repository, At::Tag(&v1)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
        assert!(error.to_string().contains("onnection refused"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_answers_429_gets_no_requests_while_others_continue() {
    let (busy, other) = (registry(), registry());
    for retry_after in ["60", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "6.5"] {
        let client = busy.client();
        busy.next("HEAD *", Reply::status(429).and("retry-after", retry_after));
        for counts in ["head_manifest 1", "", ""] {
            let error = head(&client, &busy).await.unwrap_err();
            assert_eq!((error.reason(), busy.take_counts().as_str()), (Reason::RateLimited, counts), "{retry_after}");
            assert!(error.to_string().contains("requests pause for "), "{error}");
        }
        head(&other.client(), &other).await.unwrap();
    }
}

#[tokio::test]
async fn a_429_that_ends_soon_is_waited_for() {
    let registry = registry();
    for retry_after in ["1", "0.5", "soon"] {
        registry.next("HEAD *", Reply::status(429).and("retry-after", retry_after));
        head(&registry.client(), &registry).await.unwrap();
        assert_eq!(registry.take_counts(), "head_manifest 2", "{retry_after}");
    }
}

#[tokio::test]
async fn an_error_says_what_was_asked_and_what_the_registry_said() {
    let registry = registry();
    let body = r#"{"errors":[{"code":"TEAPOT","message":"short\nand stout"}]}"#;
    registry.always("GET *", Reply::Answer(418, vec![], body.to_owned()));
    let error = get(&registry.client(), &registry).await.unwrap_err();
    let name = registry.name();
    assert_eq!(
        error.to_string(),
        format!("{name}/acme/app:v1: {name} answered 418 I'm a teapot (TEAPOT: short and stout)")
    );
}

#[tokio::test]
async fn what_is_asked_and_what_fails_is_counted() {
    let registry = registry();
    registry.require(Access::Token(TokenServer::default()));
    let (client, counters) = registry.client_counted(|_| {});
    let telemetry = Telemetry::new(counters);
    let left = Reply::Answer(
        200,
        vec![
            ("docker-content-digest", "sha256:1".to_owned()),
            ("ratelimit-limit", "100;w=21600".to_owned()),
            ("ratelimit-remaining", "76;w=21600".to_owned()),
        ],
        String::new(),
    );
    registry.next("HEAD *", Reply::Usual);
    registry.next("HEAD *", left);
    head(&client, &registry).await.unwrap();
    registry.next("GET /v2/", Reply::status(502));
    get(&client, &registry).await.unwrap();
    registry.next("GET /v2/", Reply::status(418));
    get(&client, &registry).await.unwrap_err();
    let text = String::from_utf8(telemetry.encode(Format::OpenMetrics)).unwrap();
    let value = |family: &str, labels: &str| {
        let series = format!("image_size_exporter_registry_{family}{{registry=\"{}\"{labels}}} ", registry.name());
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("absent").to_owned()
    };
    // The challenge is a request and no failure.
    assert_eq!(value("requests_total", r#",operation="head_manifest""#), "2", "{text}");
    assert_eq!(value("requests_total", r#",operation="get_token""#), "1");
    assert_eq!(value("requests_total", r#",operation="get_manifest""#), "3");
    assert_eq!(value("request_failures_total", r#",operation="head_manifest",reason="denied""#), "0");
    assert_eq!(value("request_failures_total", r#",operation="get_manifest",reason="server""#), "2");
    assert_eq!(value("ratelimit_limit", ""), "100");
    assert_eq!(value("ratelimit_remaining", ""), "76");
    assert_eq!(value("ratelimit_window_seconds", ""), "21600");
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up_and_their_connections_closed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name: Registry = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (ended_to, mut ended) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n".repeat(100);
            while stream.write_all(hints.as_bytes()).await.is_ok() {}
            ended_to.send(()).await.unwrap();
        }
    });
    let timeout = Duration::from_secs(2);
    let settings = Settings { credential: Credential::Anonymous, timeout, ..Settings::default() };
    let client = Registries::new([].into(), settings).unwrap().client(&name);
    let repository = Repository::new(name, APP).unwrap();
    let (started, v1) = (std::time::Instant::now(), tag("v1"));
    let error = client.head_manifest(&repository, At::Tag(&v1)).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Timeout | Reason::Network), "{error}");
    // Three tries, at most.
    assert!(started.elapsed() < 4 * timeout, "{:?}", started.elapsed());
    tokio::time::timeout(Duration::from_secs(10), ended.recv()).await.expect("the connection is closed").unwrap();
}
