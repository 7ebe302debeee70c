//! Which tags are read, and by which target.

use super::*;

#[tokio::test]
async fn under_a_wildcard_a_repository_without_the_tag_is_not_a_failure() {
    let registry = registry();
    registry.push("acme/other", "latest", &image_of(200));
    registry.push("elsewhere/app", "v1", &image_of(300));
    registry.missing("/v2/acme/other/manifests/v1");
    let daemon =
        Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/*'\ntags = ['v1']\nname = 'all'"])).await;
    daemon.until("one is read", |m| m.all(COMPRESSED, &[]).len() == 1).await;
    let metrics = daemon.scanned("all").await;
    assert_eq!(metrics.one(TARGET_UP, &[]), Some(1.0));
    let metrics =
        daemon.until("that one is up", |m| m.all(UP, &[]).values().copied().collect::<Vec<_>>() == [1.0]).await;
    assert_eq!(metrics.one(UP, &[("repository", "acme/app")]), Some(1.0));
    let missing = [("reason", "not_found")];
    let failures = metrics.all("image_size_exporter_registry_request_failures_total", &missing);
    assert!(failures.values().all(|count| *count == 0.0), "{failures:?}");
    // A repository that appears, and one that goes.
    registry.push("acme/new", "v1", &image_of(400));
    daemon.until("it is found", |m| m.one(COMPRESSED, &[("repository", "acme/new")]) == Some(400.0)).await;
    registry.untag("acme/new", "v1");
    daemon.until("it is gone", |m| m.all(COMPRESSED, &[("repository", "acme/new")]).is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_that_several_targets_select_is_read_once_and_published_once() {
    let registry = registry();
    let toml = config(
        &registry,
        &[
            "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'slow'\nbudget = '1KiB'",
            "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'fast'\ninterval = '30m'\nbudget = '2KiB'",
            "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nmatch = ['^r']\nname = 'more'",
        ],
    )
    .replace("100ms", "1h");
    let daemon = Daemon::start(&toml).await;
    let metrics = daemon
        .until("all have ended a scan", |m| m.all(TARGET_UP, &[]).len() == 3 && m.tag(COMPRESSED, "v1").is_some())
        .await;
    assert!(metrics.all_up(TARGET_UP, &[]));
    assert_eq!(metrics.tag("container_image_size_budget_bytes", "v1"), Some(1024.0), "the smallest holds");
    assert_eq!(registry.counts(), "get_blob 1, get_manifest 1, list_tags 1");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_that_two_targets_find_by_listing_is_read_once() {
    // Whichever finds it first, and also if both begin at once.
    let slow = |match_: &str| format!("repository = 'REGISTRY/acme/{match_}'\nmatch = ['']\nname = 'slow'");
    let fast = "repository = 'REGISTRY/*/*'\nmatch = ['']\nname = 'fast'\ninterval = '30m'".to_owned();
    for (targets, fast_waits) in [
        ([slow("app"), fast.clone()], true),
        ([fast.clone(), slow("app")], true),
        ([slow("*"), fast.clone()], false),
        ([fast, slow("*")], false),
    ] {
        let registry = registry();
        for tag in 2..=20 {
            registry.push("acme/app", &format!("v{tag}"), &image_of(100 * tag));
        }
        if fast_waits {
            registry.next("GET /v2/_catalog", Reply::status(503));
        }
        let toml = config(&registry, &[&targets[0], &targets[1]]).replace("100ms", "1h");
        let daemon = Daemon::start(&toml).await;
        let metrics = daemon.until("both have ended a scan", |m| m.all(LAST_SCAN, &[]).len() == 2).await;
        daemon.until("all are read", |m| m.all(COMPRESSED, &[]).len() == 20).await;
        assert!(metrics.all_up(TARGET_UP, &[]));
        let counts = registry.counts();
        assert!(counts.contains("get_blob 20, get_manifest 20"), "{counts}");
        assert!(!counts.contains("head_manifest"), "{counts}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn tags_beyond_the_limit_are_a_failure_with_that_reason() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    registry.push("acme/app", "v3", &image_of(300));
    let target = "repository = 'REGISTRY/acme/app'\nmatch = ['^v']\ntags_max = 2\nname = 'v'";
    let daemon = Daemon::start(&config(&registry, &[target])).await;
    daemon.until("two are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    let metrics = daemon.scanned("v").await;
    assert_eq!(metrics.one(TARGET_UP, &[]), Some(0.0));
    let limit = [("operation", "list_tags"), ("reason", "limit")];
    assert!(metrics.one("image_size_exporter_registry_request_failures_total", &limit) > Some(0.0));
    daemon.stop().await;
}

#[tokio::test]
async fn releases_after_many_tags_that_are_not_selected_are_read() {
    let registry = registry();
    for number in 0..20 {
        registry.push("acme/app", &format!("pr-{number}"), &image_of(50));
    }
    registry.push("acme/app", "v2", &image_of(200));
    let target = "repository = 'REGISTRY/acme/app'\nsemver = '*'\nnewest = 'semver'\ntags_max = 2\nname = 'v'";
    let daemon = Daemon::start(&config(&registry, &[target])).await;
    let metrics = daemon
        .until("the newest is read", |m| m.one("container_image_newest_compressed_size_bytes", &[]) == Some(200.0))
        .await;
    assert_eq!(metrics.one("container_image_repository_tags", &[]), Some(2.0));
    assert_eq!(daemon.scanned("v").await.one(TARGET_UP, &[]), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn figures_of_a_repository_whose_list_is_cut_are_withheld() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    let target = "repository = 'REGISTRY/acme/app'\nmatch = ['^v']\nnewest = 'semver'\ntags_max = 1\nname = 'v'";
    let daemon = Daemon::start(&config(&registry, &[target])).await;
    daemon.until("one is read", |m| m.all(COMPRESSED, &[]).len() == 1).await;
    let metrics = daemon.scanned("v").await;
    for family in [
        "container_image_newest_compressed_size_bytes",
        "container_image_repository_tags",
        "container_image_repository_stored_size_bytes",
    ] {
        assert_eq!(metrics.one(family, &[]), None, "{family}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_a_catalog_that_breaks_off_leaves_unknown_is_withheld_until_it_was_read_to_its_end() {
    const REGISTRY_STORED: &str = "container_image_registry_stored_size_bytes";
    const SHARED: [&str; 4] = [
        REGISTRY_STORED,
        "container_image_repository_unique_size_bytes",
        "container_image_unique_size_bytes",
        "container_image_proportional_size_bytes",
    ];
    const OWN: [&str; 3] =
        [COMPRESSED, "container_image_repository_stored_size_bytes", "container_image_repository_tags"];
    let registry = registry();
    registry.push("acme/other", "v1", &image_of(200));
    registry.push("named", "v1", &image_of(300));
    let targets = [
        "name = 'all'\nrepository = 'REGISTRY/acme/*'\nmatch = ['^v']",
        "repository = 'REGISTRY/named'\ntags = ['v1']",
    ];
    let toml = config(&registry, &targets) + "[state]\npath = 'state.redb'\n";
    // Each page is the first one.
    let breaks_off = Reply::json(r#"{"repositories":["acme/app","named"]}"#)
        .and("link", r#"</v2/_catalog?n=2&last=named>; rel="next""#);
    registry.always("GET /v2/_catalog", breaks_off.clone());
    let mut daemon = Daemon::start(&toml).await;
    let is_known = |m: &Metrics| OWN.iter().all(|family| m.count(family) == 2);
    daemon.until("what is known is published", is_known).await;
    for _ in 0..2 {
        let metrics = daemon.scanned("all").await;
        assert_eq!(metrics.one(TARGET_UP, &[("target", "all")]), Some(0.0));
        assert_eq!(SHARED.map(|family| metrics.count(family)), [0; 4], "{}", metrics.text());
        daemon = Daemon::start_in(daemon.stop().await, &toml).await;
        let metrics = daemon.metrics().await;
        assert!(is_known(&metrics), "{}", metrics.text());
    }
    registry.always("GET /v2/_catalog", Reply::Usual);
    daemon.until("all is published", |m| SHARED.map(|family| m.count(family)) == [1, 3, 3, 3]).await;
    registry.always("GET /v2/_catalog", breaks_off);
    daemon.until("it breaks off again", |m| m.one(TARGET_UP, &[("target", "all")]) == Some(0.0)).await;
    let daemon = Daemon::start_in(daemon.stop().await, &toml).await;
    for metrics in [daemon.metrics().await, daemon.scanned("all").await] {
        assert_eq!(SHARED.map(|family| metrics.count(family)), [1, 3, 3, 3], "{}", metrics.text());
        assert_eq!(metrics.one(REGISTRY_STORED, &[]), Some(600.0));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_target_of_several_repositories_finds_those_that_match_and_misses_those_that_it_names() {
    let registry = registry();
    registry.push("acme/other", "latest", &image_of(200));
    registry.push("named/app", "v1", &image_of(300));
    registry.push("team/a/b", "v1", &image_of(400));
    registry.push("elsewhere/app", "v1", &image_of(500));
    registry.missing("/v2/acme/other/manifests/v1");
    let toml = config(
        &registry,
        &["repository = ['REGISTRY/acme/*', 'REGISTRY/named/app', 'REGISTRY/team/**']\ntags = ['v1']\nname = 'all'"],
    );
    let daemon = Daemon::start(&toml).await;
    daemon.until("three are read", |m| m.all(COMPRESSED, &[]).len() == 3).await;
    let metrics = daemon.scanned("all").await;
    assert_eq!(metrics.one(TARGET_UP, &[]), Some(1.0), "what a wildcard finds need not have the tag");
    assert_eq!(metrics.one("image_size_exporter_target_repositories", &[]), Some(3.0));
    registry.missing("/v2/named/app/manifests/v1");
    registry.untag("named/app", "v1");
    daemon.until("the named one is missed", |m| m.one(TARGET_UP, &[]) == Some(0.0)).await;
    assert_eq!(daemon.metrics().await.all(COMPRESSED, &[]).len(), 2);
    registry.push("named/app", "v1", &image_of(300));
    daemon.until("it is back", |m| m.all(COMPRESSED, &[]).len() == 3 && m.one(TARGET_UP, &[]) == Some(1.0)).await;
    daemon.stop().await;
    // What is named is read without a catalog.
    registry.always("GET /v2/_catalog", Reply::status(403));
    let daemon = Daemon::start(&toml).await;
    let metrics = daemon.until("the named one is read", |m| m.all(COMPRESSED, &[]).len() == 1).await;
    assert_eq!(metrics.one(COMPRESSED, &[("repository", "named/app")]), Some(300.0));
    let metrics = daemon.scanned("all").await;
    assert_eq!(metrics.one(TARGET_UP, &[]), Some(0.0));
    assert_eq!(metrics.count("container_image_unique_size_bytes"), 0, "others may share its layers");
    daemon.stop().await;
}
