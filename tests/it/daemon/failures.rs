//! Registries that fail, refuse, or answer partially.

use super::*;

const V1: &str = "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'app'";

#[tokio::test]
async fn a_failing_registry_keeps_its_last_true_values_and_heals() {
    let failures =
        [Reply::Cut, Reply::status(500), Reply::status(404), Reply::status(200), Reply::error(401, "DENIED")];
    futures_util::future::join_all(failures.map(fails_and_heals)).await;
}

async fn fails_and_heals(failure: Reply) {
    let registry = registry();
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    registry.always("* /v2/", failure.clone());
    let down = daemon.until("v1 is down", |m| m.tag(UP, "v1") == Some(0.0)).await;
    let last = down.tag(LAST_SUCCESS, "v1");
    assert!(last.is_some());
    let later = daemon.scanned("app").await;
    assert_eq!(later.one(TARGET_UP, &[]), Some(0.0), "{failure:?}");
    assert_eq!((later.tag(COMPRESSED, "v1"), later.tag(LAST_SUCCESS, "v1")), (Some(100.0), last), "{failure:?}");
    assert_eq!(later.one("container_image_registry_stored_size_bytes", &[]), Some(100.0), "{failure:?}");
    registry.always("* /v2/", Reply::Usual);
    let healed = daemon.until("v1 is up", |m| m.tag(UP, "v1") == Some(1.0)).await;
    assert!(healed.tag(LAST_SUCCESS, "v1") > last);
    daemon.until("the target is up", |m| m.one(TARGET_UP, &[]) == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_changes_all_at_once() {
    let registry = TestRegistry::start();
    let (amd64, arm64) = (image_of(100), image("linux/arm64", &[&Blob::named("layer", 90)]));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    daemon.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    // One platform of the next push cannot be read for a while.
    let (amd64, arm64) = (image_of(101), image("linux/arm64", &[&Blob::named("layer", 91)]));
    let child = format!("GET /v2/acme/app/manifests/{}", arm64.digest());
    registry.always(&child, Reply::status(500));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let metrics = daemon.until("v1 is down", |m| m.tag(UP, "v1") == Some(0.0)).await;
    let sizes = |metrics: &Metrics| metrics.all(COMPRESSED, &[]).into_values().collect::<Vec<_>>();
    assert_eq!(sizes(&metrics), [100.0, 90.0], "all of the old");
    assert_eq!(metrics.tag("container_image_tag_stored_size_bytes", "v1"), Some(190.0));
    registry.always(&child, Reply::Usual);
    let metrics = daemon.until("v1 is up", |m| m.tag(UP, "v1") == Some(1.0)).await;
    assert_eq!(sizes(&metrics), [101.0, 91.0], "all of the new");
    daemon.stop().await;
}

#[tokio::test]
async fn a_partial_first_reading_publishes_the_good_platforms_and_withholds_the_tags_sums() {
    let registry = TestRegistry::start();
    let (amd64, arm64) = (image_of(100), image("linux/arm64", &[&Blob::named("layer", 90)]));
    let child = format!("GET /v2/acme/app/manifests/{}", arm64.digest());
    registry.always(&child, Reply::status(500));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    let metrics = daemon.until("the good one is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    assert_eq!(metrics.tag(UP, "v1"), Some(0.0));
    assert_eq!(metrics.tag("container_image_tag_stored_size_bytes", "v1"), None);
    assert_eq!(metrics.tag(LAST_SUCCESS, "v1"), None);
    registry.always(&child, Reply::Usual);
    let metrics = daemon.until("the other is read", |m| m.tag(UP, "v1") == Some(1.0)).await;
    assert_eq!(metrics.tag("container_image_tag_stored_size_bytes", "v1"), Some(190.0));
    daemon.stop().await;
}

#[tokio::test]
async fn an_invalid_child_leaves_out_its_platform_only() {
    let registry = TestRegistry::start();
    let (amd64, arm64) = (image_of(100), image("linux/arm64", &[&Blob::named("layer", 90)]));
    let child = format!("GET /v2/acme/app/manifests/{}", arm64.digest());
    registry.always(&child, Reply::Corrupt);
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    let stored = |m: &Metrics| m.tag("container_image_tag_stored_size_bytes", "v1") == Some(100.0);
    let metrics = daemon.until("the good one is read", stored).await;
    assert_eq!((metrics.tag(COMPRESSED, "v1"), metrics.tag(UP, "v1")), (Some(100.0), Some(0.0)));
    // Missing, it was left out on purpose.
    registry.always(&child, Reply::error(404, "MANIFEST_UNKNOWN"));
    let metrics = daemon.until("v1 is up", |m| m.tag(UP, "v1") == Some(1.0)).await;
    assert_eq!(metrics.tag(COMPRESSED, "v1"), Some(100.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_list_that_is_read_in_part_removes_nothing() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    registry.push("acme/app", "v3", &image_of(300));
    registry.page_size(1);
    let daemon =
        Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/app'\nmatch = ['^v']\nname = 'v'"])).await;
    daemon.until("all are read", |m| m.all(COMPRESSED, &[]).len() == 3).await;
    registry.always("GET /v2/acme/app/tags/list?last=v2", Reply::status(503));
    daemon.until("the list fails", |m| m.one(TARGET_UP, &[]) == Some(0.0)).await;
    let before = daemon.metrics().await.tag(LAST_SUCCESS, "v3");
    let metrics = daemon.until("v3 is read on", |m| m.tag(LAST_SUCCESS, "v3") > before).await;
    assert_eq!(metrics.all(COMPRESSED, &[]).len(), 3);
    assert!(metrics.all_up(UP, &[]), "the tags themselves can be read");
    // A tag that the registry itself says is gone is gone all the same.
    registry.untag("acme/app", "v3");
    daemon.until("v3 is gone", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_registry_that_answers_429_gets_no_requests_while_another_continues() {
    let (busy, idle) = (registry(), registry());
    let toml = config(&busy, &[V1])
        + &format!("[[targets]]\nname = 'idle'\nrepository = '{}/acme/app'\ntags = ['v1']\n", idle.name());
    let daemon = Daemon::start(&toml).await;
    daemon.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    busy.always("* /v2/", Reply::status(429).and("retry-after", "600"));
    let name = busy.name();
    let busy_up = |m: &Metrics| m.one(UP, &[("registry", name.as_str())]);
    daemon.until("one is down", |m| busy_up(m) == Some(0.0)).await;
    busy.take_counts();
    idle.push("acme/app", "v1", &image_of(111));
    let metrics = daemon
        .until("the other goes on", |m| m.one(COMPRESSED, &[("registry", idle.name().as_str())]) == Some(111.0))
        .await;
    assert_eq!(metrics.one(COMPRESSED, &[("registry", name.as_str())]), Some(100.0));
    daemon.scanned("app").await;
    assert_eq!(busy.counts(), "", "it said when to come back");
    daemon.stop().await;
}

#[tokio::test]
async fn below_the_reserve_a_changed_tag_is_down_for_that_reason() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    registry.always("* /v2/acme/app/manifests/", Reply::With("ratelimit-remaining", "21;w=21600".to_owned()));
    let target = V1.replace("'v1'", "'v1', 'v2'");
    let toml = config(&registry, &[&target])
        + &format!("[registries.'{}']\nratelimit_reserve = 20\n[scan]\n", registry.name());
    let toml = toml.replacen("[scan]\ninterval = '100ms'\n", "", 1) + "interval = '100ms'\n";
    let daemon = Daemon::start(&toml).await;
    daemon.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    registry.always("* /v2/acme/app/manifests/", Reply::With("ratelimit-remaining", "20;w=21600".to_owned()));
    daemon.until("it is known", |m| m.one("image_size_exporter_registry_ratelimit_remaining", &[]) == Some(20.0)).await;
    registry.push("acme/app", "v1", &image_of(111));
    registry.take_counts();
    let metrics = daemon.until("v1 is down", |m| m.tag(UP, "v1") == Some(0.0)).await;
    assert_eq!((metrics.tag(COMPRESSED, "v1"), metrics.tag(UP, "v2")), (Some(100.0), Some(1.0)));
    let reserved = [("operation", "get_manifest"), ("reason", "reserved")];
    assert!(metrics.one("image_size_exporter_registry_request_failures_total", &reserved) > Some(0.0));
    assert!(
        registry.counts().starts_with("head_manifest ") && !registry.counts().contains(','),
        "{}",
        registry.counts()
    );
    daemon.stop().await;
}

#[tokio::test]
async fn an_unreachable_registry_has_no_size_at_all() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let toml = format!(
        "[scan]\ninterval = '100ms'\n[[targets]]\nrepository = '{address}/acme/app'\ntags = ['v1', 'v2']\n[[targets]]\nname = 'list'\nrepository = '{address}/acme/app'\nmatch = ['x']\n[[targets]]\nname = 'all'\nrepository = '{address}/acme/*'\n"
    );
    let daemon = Daemon::start(&toml).await;
    let all_down = |m: &Metrics| m.all(TARGET_UP, &[]).values().filter(|up| **up == 0.0).count() == 3;
    daemon.until("all targets are down", all_down).await;
    let metrics = daemon.until("the tags are down", |m| m.all(UP, &[]).len() == 2).await;
    assert!(metrics.all(UP, &[]).values().all(|up| *up == 0.0));
    assert!(!metrics.has_sizes(), "{}", metrics.text());
    assert_eq!(metrics.one("container_image_repository_tags_unknown", &[]), None, "its list was never read");
    daemon.stop().await;
}
