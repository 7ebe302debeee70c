//! Sums do not climb from zero at a start, and values from before it are published at once.

use super::*;

const SUMS: [&str; 5] = [
    "container_image_unique_size_bytes",
    "container_image_proportional_size_bytes",
    "container_image_repository_stored_size_bytes",
    "container_image_repository_unique_size_bytes",
    "container_image_registry_stored_size_bytes",
];

#[tokio::test]
async fn sums_wait_for_the_first_scan_of_each_target_even_a_failed_one() {
    let registry = registry();
    registry.push("acme/slow", "v1", &image_of(200));
    registry.always("GET /v2/acme/slow/manifests/", Reply::Stall);
    let toml = config(
        &registry,
        &[
            "repository = 'REGISTRY/acme/app'\ntags = ['v1']",
            "repository = 'REGISTRY/acme/slow'\ntags = ['v1']\nname = 'slow'",
        ],
    )
    .replace("[scan]", "[scan]\ntimeout = '3s'");
    let daemon = Daemon::start(&toml).await;
    let metrics = daemon.until("the first is read", |m| m.all(COMPRESSED, &[]).len() == 1).await;
    assert!(metrics.one(TARGET_UP, &[("target", "slow")]).is_none(), "the other is still asked");
    for sum in SUMS {
        assert!(metrics.all(sum, &[]).is_empty(), "{sum}: {}", metrics.text());
    }
    let metrics = daemon.until("the other has failed", |m| m.one(SUMS[4], &[]).is_some()).await;
    assert_eq!(metrics.one(SUMS[4], &[]), Some(100.0));
    registry.always("GET /v2/acme/slow/manifests/", Reply::Usual);
    daemon.until("the other is read", |m| m.one(SUMS[4], &[]) == Some(300.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn tags_that_a_reload_adds_enter_the_sums_at_once_and_none_disappear_meanwhile() {
    let registry = registry();
    registry.push("acme/good", "v1", &image_of(40));
    registry.push("acme/slow", "v1", &image_of(200));
    registry.always("GET /v2/acme/slow/manifests/", Reply::Stall);
    let targets = ["app", "good", "slow"]
        .map(|name| format!("repository = 'REGISTRY/acme/{name}'\ntags = ['v1']\nname = '{name}'"));
    let toml = |targets: &[&str]| config(&registry, targets).replace("[scan]", "[scan]\ntimeout = '3s'");
    let daemon = Daemon::start(&toml(&[&targets[0]])).await;
    let sums = |m: &Metrics| SUMS.map(|sum| m.all(sum, &[]));
    let before = sums(&daemon.until("the first is read", |m| m.one(SUMS[4], &[]).is_some()).await);
    assert!(daemon.reload(&toml(&targets.each_ref().map(String::as_str))).await.contains(" 200 "));
    let good = |m: &Metrics| m.one(COMPRESSED, &[("repository", "acme/good")]);
    let metrics = daemon.until("one more is read", |m| good(m) == Some(40.0)).await;
    assert!(metrics.one(TARGET_UP, &[("target", "slow")]).is_none(), "the other is still asked");
    assert_eq!(sums(&metrics), before);
    let metrics = daemon.until("the other has failed", |m| m.one(SUMS[4], &[]) != Some(100.0)).await;
    assert_eq!(metrics.one(SUMS[4], &[]), Some(140.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_scan_of_an_earlier_configuration_does_not_make_later_tags_complete() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    let toml = |tags: &str| {
        let target = format!("repository = 'REGISTRY/acme/app'\nmatch = ['{tags}']\nname = 'app'");
        config(&registry, &[&target]).replace("100ms", "1h") + "[state]\npath = 'state.redb'\n"
    };
    let daemon = Daemon::start(&toml("^v")).await;
    daemon.until("both are read", |m| m.one(SUMS[4], &[]) == Some(300.0)).await;
    assert!(daemon.reload(&toml("^v1$")).await.contains(" 200 "));
    daemon.until("one is left", |m| m.one(SUMS[4], &[]) == Some(100.0)).await;
    let directory = daemon.stop().await;

    registry.always("* /v2/", Reply::Stall);
    let daemon = Daemon::start_in(directory, &toml("^v")).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.tag(COMPRESSED, "v1"), Some(100.0), "what is known is published");
    assert_eq!(metrics.one(SUMS[4], &[]), None, "nobody knows whether that is all");
    daemon.stop().await;
}

#[tokio::test]
async fn after_a_restart_the_last_values_are_there_at_once_and_each_tag_costs_a_head() {
    let registry = registry();
    let both = index_with_attestations(&[("linux/amd64", &image_of(100)), ("linux/arm64", &image("linux/arm64", &[]))]);
    registry.push("acme/app", "v2", &both);
    registry.push("acme/app", "v3", &schema1(&[&Blob::named("old", 7)]));
    registry.push("acme/app", "chart", &artifact("application/vnd.example", &[&Blob::named("chart", 9)]));
    let targets = ["repository = 'REGISTRY/acme/app'\nmatch = ['']\nname = 'app'"];
    let toml = config(&registry, &targets).replace("100ms", "2s") + "[state]\npath = 'state.redb'\n";
    let daemon = Daemon::start(&toml).await;
    let is_whole = |m: &Metrics| m.all(COMPRESSED, &[]).len() == 5 && m.one(SUMS[4], &[]) == Some(116.0);
    let before = daemon.until("all is read", is_whole).await;
    let directory = daemon.stop().await;

    // No registry answers, but the values are there.
    registry.always("* /v2/", Reply::status(503));
    let daemon = Daemon::start_in(directory, &toml).await;
    let after = daemon.metrics().await;
    for family in [
        COMPRESSED,
        LAST_SUCCESS,
        SUMS[0],
        SUMS[1],
        SUMS[2],
        SUMS[4],
        "container_image_info",
        "container_image_tag_info",
        "container_image_tag_attestations",
    ] {
        assert!(!after.all(family, &[]).is_empty(), "{family}");
        if family != LAST_SUCCESS {
            assert_eq!(after.all(family, &[]), before.all(family, &[]), "{family}");
        }
    }
    assert!(after.all(LAST_SUCCESS, &[]).values().all(|at| *at > 1.6e9));
    let down = daemon.until("they are down", |m| m.all(UP, &[]).values().all(|up| *up == 0.0)).await;
    assert_eq!(down.all(LAST_SUCCESS, &[]), after.all(LAST_SUCCESS, &[]), "old timestamps stay");
    let directory = daemon.stop().await;

    registry.always("* /v2/", Reply::Usual);
    registry.take_counts();
    let daemon = Daemon::start_in(directory, &toml).await;
    daemon.until("the first scan has ended", |m| m.one(LAST_SCAN, &[]).is_some()).await;
    assert_eq!(registry.take_counts(), "head_manifest 4, list_tags 1");
    daemon.until("they are up", |m| is_whole(m) && m.all_up(UP, &[])).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_restart_with_other_settings_but_the_same_selection_keeps_the_sums() {
    let registry = registry();
    let toml = |settings: &str| {
        let target = format!("repository = 'REGISTRY/acme/app'\nmatch = ['^v']\n{settings}");
        config(&registry, &[&target]) + "[state]\npath = 'state.redb'\n"
    };
    let daemon = Daemon::start(&toml("")).await;
    daemon.until("it is read", |m| m.one(SUMS[4], &[]) == Some(100.0)).await;
    let directory = daemon.stop().await;

    registry.always("* /v2/", Reply::Stall);
    let daemon = Daemon::start_in(directory, &toml("labels = { team = 'a' }\nbudget = '1MiB'\ninterval = '1h'")).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.one(SUMS[4], &[]), Some(100.0), "what it means is known");
    assert_eq!(metrics.one("container_image_size_budget_bytes", &[]), Some(1_048_576.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_missing_tag_and_an_unreadable_one_do_not_withhold_sums_after_a_restart() {
    let registry = registry();
    registry.push("acme/broken", "v1", &image_of(40));
    registry.push("acme/broken", "v2", &image_of(40));
    registry.always("* /v2/acme/app/manifests/v9", Reply::error(404, "MANIFEST_UNKNOWN"));
    registry.always("* /v2/acme/broken/manifests/v2", Reply::json("{}"));
    registry.always("* /v2/acme/slip/manifests/v1", Reply::error(404, "NAME_UNKNOWN"));
    let targets = [
        "name = 'named'\nrepository = 'REGISTRY/acme/app'\ntags = ['v1', 'v9']",
        "name = 'broken'\nrepository = 'REGISTRY/acme/broken'\nmatch = ['^v']",
        "name = 'slip'\nrepository = 'REGISTRY/acme/slip'\ntags = ['v1']",
    ];
    let toml = config(&registry, &targets) + "[state]\npath = 'state.redb'\n";
    let daemon = Daemon::start(&toml).await;
    daemon.until("all is read", |m| m.one(SUMS[4], &[]) == Some(140.0) && m.all(UP, &[]).len() == 5).await;
    let directory = daemon.stop().await;

    registry.always("* /v2/", Reply::Stall);
    let daemon = Daemon::start_in(directory, &toml).await;
    assert_eq!(daemon.metrics().await.one(SUMS[4], &[]), Some(140.0), "as before");
    daemon.stop().await;
}

#[tokio::test]
async fn a_first_scan_without_a_list_does_not_make_an_interrupted_second_one_complete() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(40));
    registry.always("GET /v2/acme/app/tags/list", Reply::status(403));
    registry.always("GET /v2/acme/app/manifests/v2", Reply::Stall);
    let toml =
        config(&registry, &["repository = 'REGISTRY/acme/app'\nmatch = ['^v']"]) + "[state]\npath = 'state.redb'\n";
    let daemon = Daemon::start(&toml).await;
    daemon.until("a scan has failed", |m| m.one(TARGET_UP, &[]) == Some(0.0)).await;
    registry.always("GET /v2/acme/app/tags/list", Reply::Usual);
    daemon.until("half is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    let directory = daemon.stop().await;

    registry.always("* /v2/", Reply::Stall);
    let daemon = Daemon::start_in(directory, &toml).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.tag(COMPRESSED, "v1"), Some(100.0));
    assert_eq!((metrics.one(SUMS[4], &[]), metrics.one("container_image_repository_tags", &[])), (None, None));
    daemon.stop().await;
}
