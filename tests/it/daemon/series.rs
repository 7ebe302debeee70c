//! Series of tags that are pushed again, disappear, or shrink.

use super::*;

const V1: &str = "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'app'";

#[tokio::test]
async fn a_tag_pushed_again_changes_in_the_same_series() {
    let registry = registry();
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    let before = daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    assert!(before.all("container_image_tag_changed_timestamp_seconds", &[]).is_empty(), "nobody saw it change");
    registry.push("acme/app", "v1", &image_of(140));
    let after = daemon.until("v1 is read again", |m| m.tag(COMPRESSED, "v1") == Some(140.0)).await;
    let series = |metrics: &Metrics| metrics.all(COMPRESSED, &[]).into_keys().collect::<Vec<_>>();
    assert_eq!(series(&before), series(&after));
    let digest = image_of(140).digest().to_string();
    assert_eq!(after.one("container_image_tag_info", &[("digest", &digest)]), Some(1.0));
    assert_eq!(after.all("container_image_tag_info", &[]).len(), 1);
    assert!(after.tag("container_image_tag_changed_timestamp_seconds", "v1") > Some(1.6e9));
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_tags_series_are_gone_and_a_named_one_stays_visible() {
    let registry = registry();
    registry.push("acme/app", "r1", &image_of(200));
    registry.push("acme/app", "r2", &image_of(300));
    let daemon =
        Daemon::start(&config(&registry, &[V1, "repository = 'REGISTRY/acme/app'\nmatch = ['^r']\nname = 'r'"])).await;
    daemon.until("all are read", |m| m.all(COMPRESSED, &[]).len() == 3).await;
    registry.untag("acme/app", "v1");
    registry.untag("acme/app", "r1");
    let metrics =
        daemon.until("two have no size", |m| m.all(COMPRESSED, &[]).len() == 1 && m.tag(UP, "r1").is_none()).await;
    assert_eq!(metrics.tag(COMPRESSED, "r2"), Some(300.0));
    assert_eq!((metrics.tag(UP, "v1"), metrics.tag(UP, "r2")), (Some(0.0), Some(1.0)));
    assert!(!metrics.text().contains("tag=\"r1\""), "{}", metrics.text());
    assert_eq!(metrics.one("container_image_repository_stored_size_bytes", &[]), Some(300.0));
    let metrics = daemon.scanned("r").await;
    assert_eq!(metrics.one(TARGET_UP, &[("target", "app")]), Some(0.0), "perhaps a typing error");
    assert_eq!(metrics.one(TARGET_UP, &[("target", "r")]), Some(1.0), "tags come and go");
    registry.tag("acme/app", "v1", image_of(100).digest());
    daemon.until("it is back", |m| m.tag(COMPRESSED, "v1") == Some(100.0) && m.tag(UP, "v1") == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_platform_out_of_the_index_is_gone_with_the_next_reading() {
    let registry = TestRegistry::start();
    let (amd64, arm64) = (image_of(100), image("linux/arm64", &[&Blob::named("layer", 90)]));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let daemon = Daemon::start(&config(&registry, &[V1])).await;
    daemon.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64)]));
    let metrics = daemon.until("one is gone", |m| m.all(COMPRESSED, &[]).len() == 1).await;
    assert!(!metrics.text().contains("linux/arm64"), "{}", metrics.text());
    assert_eq!(metrics.tag("container_image_tag_stored_size_bytes", "v1"), Some(100.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_that_never_was_is_visible_and_has_no_size() {
    let registry = registry();
    registry.missing("/v2/acme/app/manifests/latset");
    let daemon = Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['latset']"])).await;
    let metrics = daemon.until("the tag is down", |m| m.tag(UP, "latset") == Some(0.0)).await;
    assert!(!metrics.has_sizes(), "{}", metrics.text());
    assert_eq!(metrics.one("container_image_repository_tags", &[]), Some(1.0));
    daemon.until("so is the target", |m| m.one(TARGET_UP, &[]) == Some(0.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_stays_unreadable_for_longer_than_keep_is_dropped() {
    let registry = registry();
    let toml = config(&registry, &[V1]).replace("[scan]", "[scan]\nkeep = '2s'");
    let daemon = Daemon::start(&toml).await;
    daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    registry.always("* /v2/", Reply::status(503));
    let metrics = daemon.until("it is dropped", |m| m.all(COMPRESSED, &[]).is_empty()).await;
    assert!(!metrics.has_sizes(), "{}", metrics.text());
    assert_eq!(metrics.tag(UP, "v1"), Some(0.0));
    registry.always("* /v2/", Reply::Usual);
    daemon.until("it is back", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_newest_release_is_one_series_that_moves_with_each_release_and_back() {
    let registry = TestRegistry::start();
    for (tag, bytes) in [("v1.3.0", 90), ("v1.4.0", 100), ("v1.5.0-rc.1", 130), ("latest", 100)] {
        registry.push("acme/app", tag, &image_of(bytes));
    }
    let target =
        "repository = 'REGISTRY/acme/app'\nmatch = ['^v']\nnewest = 'semver'\nname = 'releases'\ndetail = 'repository'";
    let daemon = Daemon::start(&config(&registry, &[target])).await;
    // Each release is one layer of its own, so that the newest one is an update wholly.
    let newest = |m: &Metrics| {
        let value = |family: &str| m.one(family, &[("target", "releases"), ("platform", "linux/amd64")]);
        ["compressed", "previous_compressed", "update"]
            .map(|size| value(&format!("container_image_newest_{size}_size_bytes")))
    };
    let named = |m: &Metrics, tag: &str, bytes: u64| {
        let digest = image_of(bytes).digest().to_string();
        m.one("container_image_newest_info", &[("tag", tag), ("digest", &digest)]) == Some(1.0)
    };
    let first = daemon.until("v1.4.0 is the newest", |m| newest(m) == [Some(100.0), Some(90.0), Some(100.0)]).await;
    assert!(named(&first, "v1.4.0", 100), "{}", first.text());
    assert!(first.all(COMPRESSED, &[]).is_empty(), "only families of repositories and of the newest");
    registry.push("acme/app", "v1.5.0", &image_of(120));
    let moved = daemon.until("v1.5.0 is the newest", |m| newest(m) == [Some(120.0), Some(100.0), Some(120.0)]).await;
    assert!(named(&moved, "v1.5.0", 120), "{}", moved.text());
    let previous = [("tag", "v1.4.0"), ("digest", &*image_of(100).digest().to_string())];
    assert_eq!(moved.one("container_image_newest_previous_info", &previous), Some(1.0), "{}", moved.text());
    let change = [("command", "COPY 120 bytes")];
    assert_eq!(moved.one("container_image_newest_largest_change_info", &change), Some(120.0), "{}", moved.text());
    let series =
        |m: &Metrics| m.all("container_image_newest_compressed_size_bytes", &[]).into_keys().collect::<Vec<_>>();
    assert_eq!(series(&first), series(&moved));
    registry.untag("acme/app", "v1.5.0");
    let back =
        daemon.until("v1.4.0 is the newest again", |m| newest(m) == [Some(100.0), Some(90.0), Some(100.0)]).await;
    assert!(named(&back, "v1.4.0", 100), "{}", back.text());
    daemon.stop().await;
}

#[tokio::test]
async fn a_target_says_how_much_it_selects_and_that_it_selects_nothing() {
    let registry = registry();
    registry.push("acme/web", "v1", &image_of(50));
    registry.always("GET /v2/_catalog", Reply::status(500));
    let targets = [
        "repository = 'REGISTRY/acme/*'\ntags = ['v1']\nname = 'all'",
        "repository = 'REGISTRY/acme/app'\nmatch = ['^r']\nname = 'none'",
    ];
    let daemon = Daemon::start(&config(&registry, &targets)).await;
    let selected = |m: &Metrics, target: &str| {
        ["image_size_exporter_target_repositories", "image_size_exporter_target_tags"]
            .map(|family| m.one(family, &[("target", target)]))
    };
    let metrics = daemon.until("one list is read", |m| selected(m, "none") == [Some(1.0), Some(0.0)]).await;
    assert_eq!(selected(&metrics, "all"), [None, None], "its catalog cannot be read");
    registry.always("GET /v2/_catalog", Reply::Usual);
    daemon.until("the catalog is read", |m| selected(m, "all") == [Some(2.0), Some(2.0)]).await;
    registry.push("acme/app", "r1", &image_of(60));
    daemon.until("a tag matches", |m| selected(m, "none") == [Some(1.0), Some(1.0)]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_target_and_its_only_tag_are_up_or_down_in_the_same_scrape() {
    let registry = registry();
    let daemon = Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"])).await;
    let both = |m: &Metrics| {
        let (target, tag) = (m.one(TARGET_UP, &[]), m.tag(UP, "v1"));
        assert_eq!(target, tag, "{}", m.text());
        target
    };
    daemon.until("it is read", |m| m.tag(COMPRESSED, "v1").is_some()).await;
    for _ in 0..2 {
        registry.always("* /v2/acme/app/", Reply::status(500));
        daemon.until("both are down", |m| both(m) == Some(0.0)).await;
        registry.always("* /v2/acme/app/", Reply::Usual);
        daemon.until("both are up", |m| both(m) == Some(1.0)).await;
    }
}
