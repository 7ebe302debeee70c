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
    for retry_after in ["60", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"] {
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
    registry.next("HEAD *", Reply::status(429).and("retry-after", "1"));
    head(&registry.client(), &registry).await.unwrap();
    assert_eq!(registry.counts(), "head_manifest 2");
}

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
async fn the_reserve_of_pulls_is_kept() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.ratelimit_reserve = Some(20));
    assert!(!client.meters_pulls());
    let left = |pulls: u32| Reply::With("ratelimit-remaining", format!("{pulls};w=21600"));
    registry.next("HEAD *", left(21));
    head(&client, &registry).await.unwrap();
    assert!(client.meters_pulls());
    registry.next("GET *", left(20));
    get(&client, &registry).await.unwrap();
    registry.take_counts();
    let error = get(&client, &registry).await.unwrap_err();
    assert_eq!((error.reason(), registry.take_counts().as_str()), (Reason::Reserved, ""));
    // Free requests continue, and their headers show when pulls are available again.
    registry.next("HEAD *", left(100));
    head(&client, &registry).await.unwrap();
    get(&client, &registry).await.unwrap();
}

#[tokio::test]
async fn when_pulls_are_used_up_free_requests_continue() {
    let registry = registry();
    let client = registry.client();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let used_up = Reply::Answer(429, vec![("ratelimit-remaining", "0;w=21600".to_owned())], body.to_owned());
    registry.next("GET *", used_up);
    let error = get(&client, &registry).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RateLimited);
    assert!(error.to_string().contains("no pulls are left"), "{error}");
    head(&client, &registry).await.unwrap();
    assert_eq!(get(&client, &registry).await.unwrap_err().reason(), Reason::Reserved);
    assert_eq!(registry.counts(), "get_manifest 1, head_manifest 1");
}

#[tokio::test]
async fn pulls_at_the_same_time_do_not_cut_into_the_reserve() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.ratelimit_reserve = Some(20));
    registry.always("HEAD *", Reply::With("ratelimit-remaining", "23".to_owned()));
    head(&client, &registry).await.unwrap();
    registry.always("GET *", Reply::With("ratelimit-remaining", "20".to_owned()));
    let results = futures_all((0..10).map(|_| get(&client, &registry))).await;
    assert!(results.iter().filter(|result| result.is_ok()).count() <= 3);
    assert!(registry.requests().iter().filter(|seen| seen.method == "GET").count() <= 3);
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_configured() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.concurrency = 1);
    registry.next("GET *", Reply::Stall);
    let mut stalled = Box::pin(get(&client, &registry));
    let mut waiting = Box::pin(head(&client, &registry));
    // The stalled request is the only concurrent one allowed: the next one is not sent before one of another client is
    // done.
    tokio::select! {
        biased;
        _ = &mut stalled => panic!("it stalls"),
        _ = &mut waiting => panic!("two requests under way"),
        done = async { head(&registry.client(), &registry).await } => done.unwrap(),
    }
    drop(stalled);
    waiting.await.unwrap();
}

#[tokio::test]
async fn streamed_layers_do_not_count_as_concurrent_requests() {
    let registry = registry();
    let layer = Blob::new("x", vec![1; 100]);
    registry.push(APP, "v2", &image("linux/amd64", &[&layer]));
    let client = registry.client_with(|settings| settings.concurrency = 1);
    let stream = client.stream_blob(&registry.repository(APP), &layer.digest, 0).await.unwrap();
    head(&client, &registry).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_request_that_would_fail_at_once_does_not_wait_for_the_throttle() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.requests_per_second = Some(0.001));
    registry.next("HEAD *", Reply::status(429).and("retry-after", "600"));
    head(&client, &registry).await.unwrap_err();
    tokio::select! {
        biased;
        done = head(&client, &registry) => assert_eq!(done.unwrap_err().reason(), Reason::RateLimited),
        () = std::future::ready(()) => panic!("it waits for its turn"),
    }
    assert_eq!(registry.counts(), "head_manifest 1");
}

#[tokio::test]
async fn a_proxy_is_used_where_it_is_configured() {
    let proxy = registry();
    let registry = TestRegistry::start();
    let client = registry.client_with(|settings| settings.proxy_url = Some(proxy.base().parse().unwrap()));
    proxy.always(
        "HEAD http://",
        Reply::Answer(200, vec![("docker-content-digest", small().digest().to_string())], String::new()),
    );
    head(&client, &registry).await.unwrap();
    assert_eq!(proxy.requests()[0].uri, format!("{}/v2/acme/app/manifests/v1", registry.base()));
    assert_eq!(registry.counts(), "");
}

#[tokio::test]
async fn tls_is_spoken_unless_plain_http_is_configured_or_the_registry_is_this_machine() {
    for (name, plain_http, expected) in [
        ("registry.example", false, "CONNECT registry.example:443"),
        ("registry.example:5000", false, "CONNECT registry.example:5000"),
        ("10.0.0.1:5000", false, "CONNECT 10.0.0.1:5000"),
        ("docker.io", false, "CONNECT registry-1.docker.io:443"),
        ("registry.example:5000", true, "HEAD http://registry.example:5000/v2/acme/app/manifests/v1"),
        ("localhost:5000", false, "HEAD http://localhost:5000/v2/acme/app/manifests/v1"),
        ("[::1]:5000", false, "HEAD http://[::1]:5000/v2/acme/app/manifests/v1"),
        ("localhost:443", false, "CONNECT localhost:443"),
    ] {
        let proxy = TestRegistry::start();
        proxy.always("* ", Reply::status(418));
        let proxy_url = proxy.base().replace("http://", "http://user:sesame@").parse().unwrap();
        let settings = Settings {
            credential: Credential::Anonymous,
            proxy_url: Some(proxy_url),
            plain_http,
            ..Settings::default()
        };
        let registry: Registry = name.parse().unwrap();
        let registries = Registries::new([(registry.clone(), settings)].into(), Settings::default());
        let repository = Repository::new(registry.clone(), APP).unwrap();
        let client = registries.unwrap().client(&registry);
        let error = client.head_manifest(&repository, At::Tag(&tag("v1"))).await.unwrap_err();
        let seen = &proxy.requests()[0];
        assert_eq!(format!("{} {}", seen.method, seen.uri), expected, "{name}: {error}");
        // The proxy's password goes to the proxy only, and is not shown.
        assert_eq!(seen.header("proxy-authorization"), basic("user", "sesame"), "{name}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
    }
}

#[tokio::test]
async fn a_socks_proxy_is_used_where_it_is_configured() {
    let registry = registry();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("socks5://{}", listener.local_addr().unwrap());
    let to = registry.base();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut wanted = [0; 10];
        stream.read_exact(&mut wanted).await.unwrap();
        assert_eq!(wanted[..4], [5, 1, 0, 1], "a connection to an IPv4 address");
        let mut upstream = tokio::net::TcpStream::connect(to.trim_start_matches("http://")).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    });
    let client = registry.client_with(|settings| settings.proxy_url = Some(proxy_url.parse().unwrap()));
    head(&client, &registry).await.unwrap();
    drop(client);
    proxy.await.unwrap();
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

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    let files = Files::new();
    let nothing = files.write("nothing.pem", "nothing");
    let missing = files.path().join("missing.pem");
    let check = |change: &dyn Fn(&mut Settings), expected: &str| {
        let mut settings = Settings::default();
        change(&mut settings);
        let name: Registry = "registry.example".parse().unwrap();
        let made = Registries::new([(name, settings)].into(), Settings::default());
        let Err(error) = made else { panic!("it works: {expected}") };
        assert!(error.to_string().contains(expected), "{error}");
    };
    let (nothing, missing) = (&nothing, &missing);
    check(
        &|s| s.ca_file = Some(missing.clone()),
        &format!("registry registry.example: ca_file: {}: ", missing.display()),
    );
    check(&|s| s.ca_file = Some(nothing.clone()), "no certificate in PEM form in it");
    check(&|s| s.cert_file = Some(nothing.clone()), "cert_file: ");
    check(&|s| s.key_file = Some(nothing.clone()), "needs `cert_file` too");
    check(
        &|s| s.proxy_url = Some("ftp://user:sesame@proxy.example/".parse().unwrap()),
        "proxy_url: ftp://proxy.example: ",
    );
}

#[test]
fn a_reload_keeps_the_clients_of_registries_with_unchanged_settings() {
    let files = Files::new();
    let authority = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(["registry.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    };
    let ca_file = files.write("ca.pem", &authority());
    let names = ["one.example", "two.example", "other.example"].map(|name| name.parse::<Registry>().unwrap());
    let with = |change: &dyn Fn(&mut Settings, &mut Settings, &mut Settings)| {
        let [mut one, mut two, mut others] = [(); 3].map(|()| Settings::default());
        two.ca_file = Some(ca_file.clone());
        change(&mut one, &mut two, &mut others);
        (BTreeMap::from([(names[0].clone(), one), (names[1].clone(), two)]), others)
    };
    let (settings, others) = with(&|_, _, _| {});
    let before = Registries::new(settings, others).unwrap();
    let old = names.each_ref().map(|name| before.client(name));
    let goes_on = |change: &dyn Fn(&mut Settings, &mut Settings, &mut Settings)| {
        let (settings, others) = with(change);
        let after = before.renewed(settings, others).unwrap();
        after.map(|after| [0, 1, 2].map(|number| Arc::ptr_eq(&old[number], &after.client(&names[number]))))
    };
    assert_eq!(goes_on(&|_, _, _| {}), None);
    assert_eq!(goes_on(&|one, _, _| one.concurrency += 1), Some([false, true, true]));
    assert_eq!(goes_on(&|_, two, _| two.ca_file = None), Some([true, false, true]));
    assert_eq!(goes_on(&|_, _, others| others.timeout /= 2), Some([true, true, false]));
    let (mut settings, others) = with(&|_, _, _| {});
    settings.remove(&names[0]);
    let after = before.renewed(settings, others).unwrap().unwrap();
    assert!(Arc::ptr_eq(&old[0], &after.client(&names[0])), "it was spoken to as all others are");
    // Certificates are renewed in place.
    files.write("ca.pem", &authority());
    assert_eq!(goes_on(&|_, _, _| {}), Some([true, false, true]));
}

/// All of them at once.
async fn futures_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            return std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect());
        }
        std::task::Poll::Pending
    })
    .await
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
