//! Notifications of registries: authorized, read at once, and what they may cost.

use image_size_exporter::notify::Token;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::daemon::ask;
use crate::support::files::Files;

const TOKEN: &str = "a token of some length";
const RECEIVED: &str = "image_size_exporter_notifications_total";
const FAILURES: &str = "image_size_exporter_notification_failures_total";
const LAST: &str = "image_size_exporter_last_notification_timestamp_seconds";
const BEARER: &str = "authorization: Bearer a token of some length\r\n";

/// A daemon that scans once an hour, so that whatever else is read is read because of a notification.
struct Notified {
    registry: TestRegistry,
    daemon: Daemon,
    toml: String,
    _files: Files,
}

impl Notified {
    /// With these targets, all of whose first scans have ended.
    async fn start(registry: TestRegistry, targets: &[&str]) -> Self {
        let files = Files::new();
        let file = files.write("token", &format!("{TOKEN}\n"));
        let toml = config(&registry, targets).replace("100ms", "1h")
            + &format!("[notifications]\ntoken_file = '{}'\n", file.display());
        let daemon = Daemon::start(&toml).await;
        daemon.until("all are scanned", |m| m.count(LAST_SCAN) == targets.len()).await;
        registry.take_counts();
        Self { registry, daemon, toml, _files: files }
    }

    /// Sends an authorized notification; the answer's status.
    async fn notify(&self, kind: &str, body: &str) -> u16 {
        status(&post(&self.daemon.address, kind, BEARER, body.as_bytes()).await)
    }

    /// The distribution project's events about these tags, such as `push acme/app v1`.
    fn events(&self, events: &[&str]) -> String {
        let event = |text: &&str| {
            let mut words = text.split(' ');
            let mut next = || words.next().unwrap_or_default();
            let (action, repository, tag) = (next(), next(), next());
            let name = if tag.starts_with("sha256:") { "digest" } else { "tag" };
            format!(
                r#"{{"action":"{action}","target":{{"repository":"{repository}","{name}":"{tag}"}},"request":{{"host":"{}"}}}}"#,
                self.registry.name()
            )
        };
        format!(r#"{{"events":[{}]}}"#, events.iter().map(event).collect::<Vec<_>>().join(","))
    }

    async fn send(&self, events: &[&str]) {
        assert_eq!(self.notify("distribution", &self.events(events)).await, 202, "{events:?}");
    }

    /// Sends a push of `acme/app:v1` after all others, and waits until it is published: what was sent before is done.
    async fn settle(&self, bytes: u64) {
        self.registry.push("acme/app", "v1", &image_of(bytes));
        self.send(&["push acme/app v1"]).await;
        let is_there =
            |m: &Metrics| m.one(COMPRESSED, &[("repository", "acme/app"), ("tag", "v1")]) == Some(bytes as f64);
        self.daemon.until("the last one is published", is_there).await;
    }
}

/// The answer to a POST, or its beginning where the server closed the connection before it took the whole body.
async fn post(address: &str, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("POST /-/notify/{path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let (_, ()) = tokio::join!(writer.write_all(body), async {
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    });
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer}")).parse().unwrap()
}

#[tokio::test]
async fn without_a_token_the_endpoint_does_not_exist_and_a_reload_opens_and_closes_it() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    let closed = one.toml.split("[notifications]").next().unwrap();
    let event = one.events(&["push acme/app v1"]);
    assert!(one.daemon.metrics().await.one(RECEIVED, &[("kind", "harbor")]) == Some(0.0));
    assert!(one.daemon.reload(closed).await.contains(" 200 "));
    assert_eq!(one.notify("distribution", &event).await, 404);
    assert_eq!(one.daemon.metrics().await.count(RECEIVED), 0);
    assert!(one.daemon.reload(&one.toml).await.contains(" 200 "));
    assert_eq!(one.notify("distribution", &event).await, 202);
    assert_eq!(one.daemon.metrics().await.one(RECEIVED, &[("kind", "distribution")]), Some(1.0));
    let shown = ask(&one.daemon.address, "GET /config").await.unwrap();
    assert!(shown.contains("[notifications]\ntoken_file = ") && !shown.contains(TOKEN), "{shown}");
    one.daemon.stop().await;
}

#[tokio::test]
async fn only_who_has_the_token_is_heard() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    let body = one.events(&["push acme/app v1"]);
    let other = body.replace("v1", "v2");
    let signature = |key: &str, body: &str| {
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
        let hex: String = tag
            .as_ref()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from_digit(digit.into(), 16).unwrap())
            .collect();
        format!("x-hub-signature-256: sha256={hex}\r\n")
    };
    assert!(Token::new(TOKEN).is(TOKEN.as_bytes()));
    let basic = |password: &str| format!("authorization: {}\r\n", crate::support::registry::basic("any", password));
    for (query, headers, expected) in [
        ("", BEARER.to_owned(), 202),
        ("", basic(TOKEN), 202),
        ("?token=a+token%20of+some+length", String::new(), 202),
        ("", signature(TOKEN, &body), 202),
        ("", String::new(), 401),
        ("", "authorization: Bearer another token\r\n".to_owned(), 401),
        ("", basic("another token"), 401),
        ("?token=another", String::new(), 401),
        ("?token=", String::new(), 401),
        ("", signature(TOKEN, &other), 401),
        ("", signature("another token", &body), 401),
    ] {
        let answer = post(&one.daemon.address, &format!("distribution{query}"), &headers, body.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{query} {headers} {answer}");
    }
    let metrics = one.daemon.metrics().await;
    let of_kind = [("kind", "distribution")];
    assert_eq!(metrics.one(RECEIVED, &of_kind), Some(11.0));
    assert_eq!(metrics.one(FAILURES, &[of_kind[0], ("reason", "denied")]), Some(7.0));
    assert!(metrics.one(LAST, &of_kind) > Some(1e9) && metrics.one(LAST, &[("kind", "quay")]).is_none());
    one.daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_notification_is_refused_and_counted() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    assert_eq!(one.notify("distribution", "no JSON").await, 400);
    assert_eq!(one.notify("distribution", &" ".repeat(10 << 20)).await, 413);
    assert_eq!(one.notify("distribution", &format!("{}{}", " ".repeat(3 << 20), one.events(&[]))).await, 202);
    assert_eq!(one.notify("gitlab", "{}").await, 404);
    let answer = ask(&one.daemon.address, "GET /-/notify/harbor").await.unwrap();
    assert_eq!(status(&answer), 405);
    let metrics = one.daemon.metrics().await;
    let failures = |reason| metrics.one(FAILURES, &[("kind", "distribution"), ("reason", reason)]);
    assert_eq!(["invalid", "limit", "denied"].map(failures), [Some(1.0), Some(1.0), Some(0.0)]);
    assert_eq!(one.registry.counts(), "");
    one.daemon.stop().await;
}

#[tokio::test]
async fn a_push_is_published_at_one_head_and_what_is_new() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    one.settle(200).await;
    assert_eq!(one.registry.take_counts(), "get_blob 1, get_manifest 1, head_manifest 1");
    one.send(&["push acme/app v1"]).await;
    let all = one.registry.counts();
    assert!(["", "head_manifest 1"].contains(&all.as_str()), "{all}");
    one.daemon.stop().await;
}

#[tokio::test]
async fn ten_thousand_events_for_one_tag_cost_one_read() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    one.registry.push("acme/app", "v1", &image_of(300));
    one.send(&vec!["push acme/app v1"; 10_000]).await;
    one.daemon.until("it is published", |m| m.tag(COMPRESSED, "v1") == Some(300.0)).await;
    assert_eq!(one.registry.take_counts(), "get_blob 1, get_manifest 1, head_manifest 1");
    // One by one they cost two reads a second at most.
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        one.send(&["push acme/app v1"]).await;
    }
    one.registry.push("acme/app", "v1", &image_of(400));
    one.send(&["push acme/app v1"]).await;
    one.daemon.until("the last one is published", |m| m.tag(COMPRESSED, "v1") == Some(400.0)).await;
    let heads = one.registry.requests().iter().filter(|seen| seen.method == http::Method::HEAD).count() as u64;
    assert!(heads <= 2 * begun.elapsed().as_secs() + 3, "{heads} reads");
    one.daemon.stop().await;
}

#[tokio::test]
async fn what_no_target_selects_is_not_read() {
    let targets =
        ["repository = 'REGISTRY/acme/app'\ntags = ['v1']", "repository = 'REGISTRY/acme/many'\nmatch = ['^v']"];
    let registry = registry();
    registry.push("acme/many", "v1", &image_of(1));
    let one = Notified::start(registry, &targets).await;
    let digest = image_of(100).digest().to_string();
    let by_digest = format!("push acme/app {digest}");
    one.send(&[
        "push acme/app v2",
        "push acme/other v1",
        "push acme/many main",
        "delete acme/app v9",
        "delete acme/other",
        "mount acme/app v1",
        "polish acme/app v1",
        &by_digest,
    ])
    .await;
    one.settle(500).await;
    assert_eq!(one.registry.counts(), "get_blob 1, get_manifest 1, head_manifest 1", "the last push alone");
    one.daemon.stop().await;
}

#[tokio::test]
async fn a_deletion_is_confirmed_by_a_read() {
    let registry = registry();
    for name in ["v2", "v3"] {
        registry.push("acme/app", name, &image_of(200));
    }
    let one = Notified::start(registry, &["repository = 'REGISTRY/acme/app'\nmatch = ['^v']"]).await;
    one.daemon.until("all are read", |m| m.count(COMPRESSED) == 3).await;
    one.send(&["delete acme/app v1"]).await;
    one.settle(100).await;
    assert_eq!(one.daemon.metrics().await.count(COMPRESSED), 3, "the deletion was not true");
    one.registry.untag("acme/app", "v2");
    one.registry.untag("acme/app", "v3");
    one.send(&[&format!("delete acme/app {}", image_of(200).digest())]).await;
    one.daemon.until("both are gone", |m| m.count(COMPRESSED) == 1).await;
    one.daemon.stop().await;
}

#[tokio::test]
async fn a_push_under_a_wildcard_adds_the_tag_and_the_repository() {
    let registry = registry();
    let targets = [
        "name = 'all'\nrepository = 'REGISTRY/acme/*'\nmatch = ['^v']",
        "name = 'named'\nrepository = 'REGISTRY/team/**'\ntags = ['latest']",
    ];
    let one = Notified::start(registry, &targets).await;
    one.daemon.until("v1 is read", |m| m.count(COMPRESSED) == 1).await;
    let stored = |m: &Metrics| m.one("container_image_registry_stored_size_bytes", &[]);
    one.daemon.until("there are sums", |m| stored(m) == Some(100.0)).await;
    one.registry.take_counts();
    one.registry.push("acme/app", "v2", &image_of(7));
    one.registry.push("acme/new", "v1", &image_of(8));
    one.registry.push("team/deep/web", "latest", &image_of(9));
    one.send(&["push acme/app v2", "push acme/new v1", "push team/deep/web latest", "push acme/new main"]).await;
    let all = one.daemon.until("all are there", |m| m.count(COMPRESSED) == 4 && stored(m) == Some(124.0)).await;
    assert_eq!(all.one("container_image_repository_tags", &[("repository", "acme/new")]), Some(1.0));
    assert_eq!(all.one("container_image_repository_tags", &[("repository", "acme/app")]), Some(2.0));
    assert_eq!(all.one("image_size_exporter_target_repositories", &[("target", "all")]), Some(2.0));
    assert_eq!(one.registry.counts(), "get_blob 3, get_manifest 3, list_tags 1", "the new repository's list alone");
    one.daemon.stop().await;
}

#[tokio::test]
async fn many_tags_of_a_new_repository_cost_one_list() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/*'\nmatch = ['^v']"]).await;
    one.daemon.until("v1 is read", |m| m.count(COMPRESSED) == 1).await;
    one.registry.take_counts();
    let events: Vec<String> = (0..20).map(|number| format!("push acme/new v{number}")).collect();
    for (number, bytes) in (0..20).zip(10..) {
        one.registry.push("acme/new", &format!("v{number}"), &image_of(bytes));
    }
    one.send(&events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    one.daemon.until("all are there", |m| m.count(COMPRESSED) == 21).await;
    let counts = one.registry.counts();
    assert!(counts.starts_with("get_blob 20, get_manifest 20, ") && counts.ends_with("list_tags 1"), "{counts}");
    one.daemon.stop().await;
}

#[tokio::test]
async fn an_event_that_is_not_true_publishes_nothing() {
    let targets = [
        "name = 'all'\nrepository = 'REGISTRY/acme/*'\nmatch = ['^v']\nlimit = 1\nsort = 'semver'",
        "name = 'named'\nrepository = 'REGISTRY/team/**'\ntags = ['latest']",
    ];
    let one = Notified::start(registry(), &targets).await;
    for path in ["/v2/acme/app/manifests/v9", "/v2/acme/ghost/", "/v2/team/ghost/"] {
        one.registry.missing(path);
    }
    one.send(&["push acme/app v9", "push acme/ghost v1", "push team/ghost latest"]).await;
    one.settle(321).await;
    let metrics = one.daemon.metrics().await;
    assert_eq!(metrics.count(COMPRESSED), 1, "v1 is not displaced");
    assert!(!metrics.text().contains("ghost"), "{}", metrics.text());
    let asked = |path: &str| one.registry.requests().iter().filter(|seen| seen.uri.starts_with(path)).count();
    assert_eq!(["/v2/acme/app/manifests/v9", "/v2/acme/ghost/", "/v2/team/ghost/"].map(asked), [1, 1, 1]);
    one.daemon.stop().await;
}

#[tokio::test]
async fn a_scan_whose_list_is_older_than_a_notification_hides_nothing_of_it() {
    let one = Notified::start(registry(), &["name = 't'\nrepository = 'REGISTRY/acme/app'\nmatch = ['^v']"]).await;
    one.registry.push("acme/app", "v2", &image_of(222));
    one.send(&["push acme/app v2"]).await;
    let before = one.daemon.until("v2 is published", |m| m.tag(COMPRESSED, "v2") == Some(222.0)).await;
    // As if the list had been read before the push.
    one.registry.next("GET /v2/acme/app/tags/list", Reply::json(r#"{"name":"acme/app","tags":["v1"]}"#));
    let changed = one.toml.replace("name = 't'", "name = 't'\nexclude = ['nothing']");
    assert!(one.daemon.reload(&changed).await.contains(" 200 "));
    let last = |m: &Metrics| m.one(LAST_SCAN, &[("target", "t")]);
    let is_after = |m: &Metrics| last(m) > last(&before);
    one.daemon.until("the scan has ended", is_after).await;
    one.daemon.until("v2 is there again", |m| m.tag(COMPRESSED, "v2") == Some(222.0)).await;
    one.daemon.stop().await;
}

#[tokio::test]
async fn an_event_of_an_unknown_host_is_matched_by_the_repositorys_name() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    one.registry.push("acme/app", "v1", &image_of(600));
    let body = one.events(&["push acme/app v1"]).replace(one.registry.name().as_str(), "registry.internal:5000");
    assert_eq!(one.notify("distribution", &body).await, 202);
    one.daemon.until("it is published", |m| m.tag(COMPRESSED, "v1") == Some(600.0)).await;
    one.daemon.stop().await;
}

#[tokio::test]
async fn a_storm_while_the_registry_answers_429_sends_no_request_and_what_was_pushed_is_read_afterwards() {
    let tags: Vec<String> = (0..20).map(|number| format!("v{number}")).collect();
    let registry = registry();
    for tag in &tags {
        registry.push("acme/app", tag, &image_of(1));
    }
    let target = format!("repository = 'REGISTRY/acme/app'\ntags = {tags:?}");
    let one = Notified::start(registry, &[&target]).await;
    one.registry.always("* /v2/", Reply::status(429).and("retry-after", "12"));
    one.send(&["push acme/app v0"]).await;
    one.daemon.until("it is refused", |m| m.tag(UP, "v0") == Some(0.0)).await;
    one.registry.always("* /v2/", Reply::Usual);
    one.registry.push("acme/app", "v7", &image_of(77));
    let refused = one.registry.take_counts();
    assert_eq!(refused, "head_manifest 1");
    let all: Vec<String> = tags.iter().map(|tag| format!("push acme/app {tag}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for _ in 0..5 {
        one.send(&all).await;
    }
    let down = |m: &Metrics| m.all(UP, &[]).values().filter(|up| **up == 0.0).count();
    let metrics = one.daemon.until("it is refused", |m| m.tag(UP, "v7") == Some(0.0)).await;
    assert_eq!(metrics.tag(COMPRESSED, "v7"), Some(1.0), "the last true values stay");
    assert_eq!(one.registry.counts(), "", "the registry said when to come back");
    one.daemon.until("all are read again", |m| down(m) == 0 && m.tag(COMPRESSED, "v7") == Some(77.0)).await;
    one.daemon.stop().await;
}

#[tokio::test]
async fn pulls_of_selected_repositories_are_counted() {
    let one = Notified::start(registry(), &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]).await;
    let pull = |repository: &str, media_type: &str, size: u64| {
        format!(
            r#"{{"action":"pull","target":{{"repository":"{repository}","mediaType":"{media_type}","size":{size}}},
            "request":{{"host":"{}","method":"GET"}}}}"#,
            one.registry.name()
        )
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let events = [
        pull("acme/app", manifest, 400),
        pull("acme/app", "application/octet-stream", 1000),
        pull("acme/other", manifest, 400),
    ];
    let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
    for _ in 0..2 {
        assert_eq!(one.notify("distribution", &body).await, 202);
    }
    let bytes = "container_image_repository_pulled_bytes_total";
    let metrics = one.daemon.until("all are counted", |m| m.one(bytes, &[]) == Some(2800.0)).await;
    assert_eq!(metrics.one("container_image_repository_pulls_total", &[("repository", "acme/app")]), Some(2.0));
    assert_eq!(one.registry.counts(), "");
    one.daemon.stop().await;
}
