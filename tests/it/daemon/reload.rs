//! Another configuration while it runs.

use super::*;
use crate::support::files::Files;
use crate::support::registry::Access;

const RELOADED: &str = "image_size_exporter_config_last_reload_successful";
const RELOADED_AT: &str = "image_size_exporter_config_last_reload_success_timestamp_seconds";

#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_and_the_gauges_show_it() {
    let registry = registry();
    let good = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]);
    let daemon = Daemon::start(&good).await;
    let before = daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    assert_eq!(before.one(RELOADED, &[]), Some(1.0));
    let answer = daemon.reload("[[targets]]\nrepositry = 'x'\n").await;
    assert!(answer.contains(" 500 ") && answer.contains("repositry"), "{answer}");
    let metrics = daemon.metrics().await;
    assert_eq!((metrics.one(RELOADED, &[]), metrics.tag(COMPRESSED, "v1")), (Some(0.0), Some(100.0)));
    assert_eq!(metrics.one(RELOADED_AT, &[]), before.one(RELOADED_AT, &[]));
    registry.push("acme/app", "v1", &image_of(101));
    daemon.until("scans go on", |m| m.tag(COMPRESSED, "v1") == Some(101.0)).await;
    let answer = daemon.reload(&good).await;
    assert!(answer.contains(" 200 "), "{answer}");
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.one(RELOADED, &[]), Some(1.0));
    assert!(metrics.one(RELOADED_AT, &[]) > before.one(RELOADED_AT, &[]));
    daemon.stop().await;
}

#[tokio::test]
async fn groups_are_published_and_a_reload_changes_them_before_any_answer() {
    let registry = registry();
    registry.push("acme/two", "v1", &image_of(200));
    let toml = |app: &str, two: &str| {
        let target = |name: &str, group: &str| format!("repository = 'REGISTRY/acme/{name}'\ntags = ['v1']\n{group}");
        config(&registry, &[&target("app", app), &target("two", two)]).replace("100ms", "1h")
    };
    let stored = |m: &Metrics, group: &str| m.one("container_image_group_stored_size_bytes", &[("group", group)]);
    let daemon = Daemon::start(&toml("group_by = '/(.*)'", "group = 'app'")).await;
    let metrics = daemon.until("both are in it", |m| stored(m, "app") == Some(300.0)).await;
    for family in ["container_image_group_unique_size_bytes", "container_image_group_proportional_size_bytes"] {
        assert_eq!(metrics.one(family, &[("group", "app")]), Some(300.0), "{}", metrics.text());
    }
    registry.always("HEAD /v2/acme/", Reply::Stall);
    daemon.reload(&toml("", "group_by = '/(.*)'")).await;
    let metrics = daemon.until("one is in another", |m| stored(m, "two") == Some(200.0)).await;
    assert_eq!(stored(&metrics, "app"), None, "{}", metrics.text());
    daemon.stop().await;
}

#[tokio::test]
async fn targets_are_added_and_removed_while_the_others_continue() {
    let registry = registry();
    registry.push("acme/two", "v1", &image_of(200));
    registry.push("acme/three", "v1", &image_of(300));
    let [one, two, three] = ["app", "two", "three"]
        .map(|name| format!("repository = 'REGISTRY/acme/{name}'\ntags = ['v1']\nname = '{name}'"));
    let toml = config(&registry, &[&one, &two]).replace("100ms", "1h");
    let daemon = Daemon::start(&toml).await;
    let both = |m: &Metrics| m.all(COMPRESSED, &[]).len() == 2 && m.all(LAST_SCAN, &[]).len() == 2;
    let before = daemon.until("both are read", both).await;
    registry.take_counts();
    let answer = daemon.reload(&config(&registry, &[&one, &three]).replace("100ms", "1h")).await;
    assert!(answer.contains(" 200 "), "{answer}");
    let metrics = daemon
        .until("the new one is read", |m| m.one(COMPRESSED, &[("repository", "acme/three")]) == Some(300.0))
        .await;
    assert_eq!(registry.counts(), "get_blob 1, get_manifest 1", "the one that stays is not scanned for this");
    assert_eq!(metrics.one(LAST_SCAN, &[("target", "app")]), before.one(LAST_SCAN, &[("target", "app")]));
    assert_eq!(metrics.one(COMPRESSED, &[("repository", "acme/app")]), Some(100.0));
    assert!(!metrics.text().contains("two\""), "{}", metrics.text());
    // Added again, it costs its HEADs at most: nothing with a digest is read twice.
    registry.take_counts();
    daemon.reload(&toml).await;
    daemon.until("it is back", |m| m.one(COMPRESSED, &[("repository", "acme/two")]) == Some(200.0)).await;
    assert_eq!(registry.counts(), "get_manifest 1");
    daemon.stop().await;
}

#[tokio::test]
async fn the_pause_after_a_429_survives_a_reload_that_changes_another_registry() {
    let (busy, other) = (registry(), registry());
    let targets = config(&busy, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'app'"])
        + &format!("[[targets]]\nname = 'other'\nrepository = '{}/acme/app'\ntags = ['v1']\n", other.name());
    let with = |registry: &TestRegistry, reserve: u8| {
        targets.clone() + &format!("[registries.'{}']\nratelimit_reserve = {reserve}\n", registry.name())
    };
    let daemon = Daemon::start(&targets).await;
    daemon.until("both are read", |m| m.all(COMPRESSED, &[]).len() == 2).await;
    busy.always("* /v2/", Reply::status(429).and("retry-after", "600"));
    let name = busy.name();
    let up = |m: &Metrics| m.one(UP, &[("registry", name.as_str())]);
    daemon.until("one is down", |m| up(m) == Some(0.0)).await;
    busy.always("* /v2/", Reply::Usual);
    busy.take_counts();
    for reserve in [1, 2] {
        assert!(daemon.reload(&with(&other, reserve)).await.contains(" 200 "));
        daemon.scanned("app").await;
        other.take_counts();
        daemon.scanned("other").await;
        assert!(other.counts().starts_with("head_manifest "), "{}", other.counts());
        assert_eq!(busy.counts(), "", "it said when to come back");
    }
    // With changed settings, perhaps because of its answer, it gets a request at once.
    assert!(daemon.reload(&with(&busy, 1)).await.contains(" 200 "));
    daemon.until("it is up", |m| up(m) == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn changed_settings_of_a_target_apply_from_the_next_snapshot_on() {
    let registry = registry();
    let target = "repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'app'";
    let toml = config(&registry, &[target]).replace("100ms", "1h");
    let daemon = Daemon::start(&toml).await;
    daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    daemon.reload(&(toml.clone() + "budget = '1KiB'\nlabels = { team = 'a' }\n")).await;
    let metrics =
        daemon.until("it has a budget", |m| m.tag("container_image_size_budget_bytes", "v1") == Some(1024.0)).await;
    assert_eq!(metrics.tag(COMPRESSED, "v1"), Some(100.0), "what is known stays");
    assert_eq!(metrics.one("container_image_repository_labels", &[("label_team", "a")]), Some(1.0));
    daemon.reload(&(toml.clone() + "[metrics]\nomit = ['compressed_size']\n")).await;
    let metrics = daemon.until("it is left out", |m| m.tag(COMPRESSED, "v1").is_none()).await;
    assert_eq!(metrics.tag(UP, "v1"), Some(1.0));
    daemon.reload(&toml.replace("interval = '1h'", "interval = '2h'")).await;
    daemon
        .until("the gauge tells", |m| m.one("image_size_exporter_target_interval_seconds", &[]) == Some(7200.0))
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_password_that_was_refused_is_tried_again_after_a_reload() {
    let (registry, files) = (registry(), Files::new());
    registry.require(Access::Basic(vec![("alice", "not yet")]));
    let toml = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']\nname = 'app'"])
        + &format!(
            "[registries.'{}']\nusername = 'alice'\npassword_file = '{}'\n",
            registry.name(),
            files.write("password", "sesame").display()
        );
    let daemon = Daemon::start(&toml).await;
    daemon.until("it is refused", |m| m.tag(UP, "v1") == Some(0.0)).await;
    // Its user gets the permission on the server, which changes nothing in the configuration.
    registry.require(Access::Basic(vec![("alice", "sesame")]));
    assert!(daemon.reload(&toml).await.contains(" 200 "));
    daemon.until("it is read", |m| m.tag(UP, "v1") == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_config_shows_is_in_force_and_says_what_a_restart_would_change() {
    let registry = registry();
    let toml = config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1']"]);
    let daemon = Daemon::start(&format!("[web]\nhosts = ['127.0.0.1']\n[state]\npath = 'a.redb'\n{toml}")).await;
    let shown = async || crate::support::daemon::ask(&daemon.address, "GET /config").await.unwrap();
    let before = shown().await;
    assert!(before.contains("hosts = [\"127.0.0.1\"]\n") && before.contains("interval = \"100ms\""), "{before}");
    assert!(!before.contains("restart"), "{before}");
    let other = toml.replace("100ms", "50s");
    let answer = daemon
        .reload(&format!("[web]\nhosts = ['127.0.0.1', 'b']\nlisten = ':1'\nconfig_file = 'config.toml'\n{other}"))
        .await;
    assert!(answer.contains(" 200 "), "{answer}");
    let after = shown().await;
    let file = daemon.file();
    let directory = file.parent().unwrap().display();
    let restart = "# The file has changed, and a restart applies it: ";
    for expected in [
        format!("{restart}listen = [\":1\"]\nlisten = [\"0.0.0.0:10048\"]\n"),
        format!("{restart}hosts = [\"127.0.0.1\", \"b\"]\nhosts = [\"127.0.0.1\"]\n"),
        format!("{restart}config_file = \"{directory}/config.toml\"\n\n[scan]\n"),
        format!("[state]\n{restart}without `path`\npath = \"{directory}/a.redb\"\n"),
        "interval = \"50s\"\n".to_owned(),
    ] {
        assert!(after.contains(&expected), "{expected}\n{after}");
    }
    // Back to what it was started with, nothing waits for a restart.
    daemon.reload(&format!("[web]\nhosts = ['127.0.0.1']\n[state]\npath = 'a.redb'\n{toml}")).await;
    assert_eq!(body(&shown().await), body(&before));
    daemon.stop().await;
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}
