//! Files with a reference a line.

use super::*;

/// A registry, a directory with `images.txt`, and a configuration that names it.
struct World {
    registry: TestRegistry,
    files: Files,
}

impl World {
    fn new() -> Self {
        Self { registry: registry(), files: Files::new() }
    }

    /// Writes references on the registry.
    fn write(&self, lines: &[&str]) {
        let text: String = lines.iter().map(|line| line.replace("REG", self.registry.name().as_str()) + "\n").collect();
        // As programs should: a half-written file is never read.
        let new = self.files.write("images.new", &text);
        std::fs::rename(new, self.files.path().join("images.txt")).unwrap();
    }

    fn toml(&self, more: &str) -> String {
        toml(&format!("file = '{}/*.txt'\n{more}", self.files.path().display()))
    }

    async fn start(&self, more: &str) -> Daemon {
        Daemon::start(&self.toml(more)).await
    }
}

#[tokio::test]
async fn what_a_file_names_is_read_at_once_and_vanishes_with_its_line() {
    let world = World::new();
    world.write(&["# what runs", "REG/acme/app:v1", "", "REG/acme/app:v1"]);
    let daemon = world.start("").await;
    let metrics = daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    let registry = world.registry.name();
    let labels = [("source", "s"), ("registry", registry.as_str()), ("repository", "acme/app"), ("tag", "v1")];
    assert_eq!(metrics.one(CONTAINERS, &labels), Some(2.0), "a line is a container");
    assert_eq!((metrics.count(NODES), metrics.count(OUTDATED), metrics.count(INFO)), (0, 0, 0), "unknown is not zero");
    assert_eq!(metrics.one(UP, &[("source", "s")]), Some(1.0));
    assert_eq!((metrics.one(IMAGES, &[]), metrics.one(SKIPPED, &[])), (Some(1.0), Some(0.0)));
    assert!(metrics.one(LAST_SUCCESS, &[]).unwrap() > 1e9);
    daemon.until("its first scan has ended", |m| m.count(LAST_SCAN) == 1).await;
    assert_eq!(world.registry.take_counts(), "get_blob 1, get_manifest 1");

    world.write(&["REG/acme/app:v1", "REG/acme/web:v1"]);
    daemon.until("the new one is read", |m| has_sizes(m, &[("app", "v1", 100), ("web", "v1", 200)])).await;
    assert_eq!(world.registry.take_counts(), "get_blob 1, get_manifest 1", "only what is new is read");
    world.write(&["REG/acme/web:v1"]);
    daemon.until("the other one is gone", |m| has_sizes(m, &[("web", "v1", 200)]) && m.count(CONTAINERS) == 1).await;
    world.write(&[]);
    let metrics = daemon.until("all are gone", |m| m.count(CONTAINERS) == 0 && m.count(COMPRESSED) == 0).await;
    assert_eq!((metrics.one(UP, &[]), metrics.one(IMAGES, &[])), (Some(1.0), Some(0.0)), "an empty file is an answer");
    assert_eq!(world.registry.take_counts(), "");
    daemon.stop().await;
}

#[tokio::test]
async fn a_digest_is_read_once_and_stands_in_place_of_the_tag() {
    let world = World::new();
    let app = image_of(100);
    let digest = app.digest().to_string();
    world.write(&[&format!("REG/acme/app@{digest}")]);
    // Scanned all the time.
    let toml = world.toml("interval = '100ms'");
    let daemon = Daemon::start(&toml).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", &digest, 100)])).await;
    let metrics = daemon.scanned("s").await;
    assert_eq!(metrics.one(CONTAINERS, &[("tag", &digest)]), Some(1.0));
    assert_eq!(metrics.one(OUTDATED, &[]), Some(0.0), "a digest never moves");
    assert_eq!(world.registry.take_counts(), "get_blob 1, get_manifest 1");
    let directory = daemon.stop().await;
    let daemon = Daemon::start_in(directory, &toml).await;
    let metrics = daemon.scanned("s").await;
    assert!(has_sizes(&metrics, &[("app", &digest, 100)]), "{}", metrics.text());
    assert_eq!(world.registry.take_counts(), "", "once, ever");
    daemon.stop().await;
}

#[tokio::test]
async fn a_digest_that_another_repository_has_is_asked_for() {
    let world = World::new();
    let digest = image_of(100).digest().to_string();
    let other = format!("REG/acme/other@{digest}");
    world.registry.missing(&format!("/v2/acme/other/manifests/{digest}"));
    world.write(&["REG/acme/app:v1"]);
    let daemon = world.start("").await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    world.write(&["REG/acme/app:v1", &other]);
    let metrics = daemon.until("the other one is read", |m| m.tag(TAG_UP, &digest) == Some(0.0)).await;
    assert_eq!(metrics.count(COMPRESSED), 1, "{}", metrics.text());
    daemon.stop().await;
}

#[tokio::test]
async fn a_container_whose_digest_the_tag_no_longer_has_is_outdated() {
    let world = World::new();
    let (old, new) = (image_of(100), image_of(150));
    let line = |pushed: &Pushed| format!("REG/acme/app:v1@{}", pushed.digest());
    world.write(&[&line(&old), &line(&old)]);
    let daemon = world.start("").await;
    let metrics = daemon.until("it is read", |m| m.tag(OUTDATED, "v1") == Some(0.0)).await;
    assert!(has_sizes(&metrics, &[("app", "v1", 100)]), "the tag is the label");
    world.registry.push("acme/app", "v1", &new);
    world.write(&[&line(&old), &line(&old), &line(&new)]);
    // The scan is an hour away: a digest that nobody knew says that the tag was pushed.
    let metrics = daemon.until("the push is noticed", |m| has_sizes(m, &[("app", "v1", 150)])).await;
    assert_eq!((metrics.tag(CONTAINERS, "v1"), metrics.tag(OUTDATED, "v1")), (Some(3.0), Some(2.0)));
    // A digest of before is no news.
    world.registry.take_counts();
    world.write(&[&line(&new), &line(&old)]);
    daemon.until("it is counted", |m| m.tag(OUTDATED, "v1") == Some(1.0)).await;
    assert_eq!(world.registry.take_counts(), "");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_that_runs_and_is_gone_stays_visible() {
    let world = World::new();
    let digest = image_of(100).digest().clone();
    world.write(&[&format!("REG/acme/app:v1@{digest}"), "REG/acme/web:v1"]);
    let daemon = Daemon::start(&world.toml("interval = '100ms'")).await;
    daemon.until("both are read", |m| m.count(COMPRESSED) == 2).await;
    world.registry.untag("acme/app", "v1");
    let is_gone = |m: &Metrics| m.one(TAG_UP, &[("repository", "acme/app")]) == Some(0.0) && m.count(COMPRESSED) == 1;
    let metrics = daemon.until("it is gone", is_gone).await;
    assert_eq!(metrics.one(OUTDATED, &[("repository", "acme/app")]), Some(1.0), "the tag has no digest any more");
    assert_eq!(metrics.one(CONTAINERS, &[("repository", "acme/app")]), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_reference_is_counted_and_loses_nothing_else() {
    let world = World::new();
    world.write(&["REG/acme/app:v1", "NO/Reference", "a b", "https://example.com/x"]);
    let daemon = world.start("exclude = ['^NO/', '/acme/web:']").await;
    let metrics = daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    assert_eq!((metrics.one(SKIPPED, &[]), metrics.one(IMAGES, &[])), (Some(2.0), Some(1.0)));
    world.write(&["REG/acme/app:v1", "REG/acme/web:v1"]);
    let metrics = daemon.until("the others are gone", |m| m.one(SKIPPED, &[]) == Some(0.0)).await;
    assert_eq!(metrics.one(IMAGES, &[]), Some(1.0), "what is excluded is not there");
    daemon.stop().await;
}

#[tokio::test]
async fn an_image_of_a_mirror_is_read_where_it_comes_from() {
    let world = World::new();
    world.write(&["mirror.internal/hub/app:v1"]);
    let rewrite =
        format!("rewrite = [{{ match = '^mirror\\.internal/hub/', with = '{}/acme/' }}]", world.registry.name());
    let daemon = world.start(&rewrite).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_source_that_is_away_keeps_what_it_last_said_across_a_restart_too() {
    let world = World::new();
    world.write(&["REG/acme/app:v1"]);
    let named = format!("file = '{}/images.txt'", world.files.path().display());
    let toml = toml(&named);
    let daemon = Daemon::start(&toml).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)]) && m.count(LAST_SCAN) == 1).await;
    let last = daemon.metrics().await.one(LAST_SUCCESS, &[]).unwrap();
    let file = world.files.path().join("images.txt");
    let away = world.files.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    let metrics = daemon.until("it is down", |m| m.one(UP, &[]) == Some(0.0)).await;
    assert!(has_sizes(&metrics, &[("app", "v1", 100)]) && metrics.count(CONTAINERS) == 1, "{}", metrics.text());
    assert!(metrics.one(LAST_SUCCESS, &[]).unwrap() >= last);
    let directory = daemon.stop().await;

    let daemon = Daemon::start_in(directory, &toml).await;
    let metrics = daemon.until("it is down", |m| m.one(UP, &[]) == Some(0.0)).await;
    assert!(has_sizes(&metrics, &[("app", "v1", 100)]), "a tag outlives the restart: {}", metrics.text());
    assert_eq!((metrics.count(CONTAINERS), metrics.count(LAST_SUCCESS)), (0, 0), "what runs now is unknown");
    std::fs::rename(&away, &file).unwrap();
    let metrics = daemon.until("it is back", |m| m.one(UP, &[]) == Some(1.0) && m.count(CONTAINERS) == 1).await;
    assert!(has_sizes(&metrics, &[("app", "v1", 100)]));
    // Its first answer drops what does not run any more.
    let directory = daemon.stop().await;
    world.write(&["REG/acme/web:v1"]);
    let daemon = Daemon::start_in(directory, &toml).await;
    daemon.until("it answers", |m| has_sizes(m, &[("web", "v1", 200)])).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_starts_stops_and_keeps_sources() {
    let world = World::new();
    world.write(&["REG/acme/app:v1"]);
    let target = format!("[[targets]]\nname = 't'\nrepository = '{}/acme/web'\ntags = ['v1']\n", world.registry.name());
    let daemon = Daemon::start(&format!("[scan]\ninterval = '1h'\n{target}")).await;
    daemon.until("the target is read", |m| has_sizes(m, &[("web", "v1", 200)])).await;
    let both = world.toml("budget = '1KiB'") + &target;
    assert!(daemon.reload(&both).await.contains(" 200 "));
    let all = [("app", "v1", 100), ("web", "v1", 200)];
    let metrics = daemon.until("the source is read", |m| has_sizes(m, &all) && m.count(LAST_SCAN) == 2).await;
    assert_eq!(metrics.one("container_image_size_budget_bytes", &[("repository", "acme/app")]), Some(1024.0));
    assert_eq!(metrics.one("container_image_registry_stored_size_bytes", &[]), Some(300.0));
    world.registry.take_counts();
    assert!(daemon.reload(&both).await.contains(" 200 "));
    let metrics = daemon.metrics().await;
    assert!(has_sizes(&metrics, &all) && metrics.count(CONTAINERS) == 1, "a source that stays keeps what it said");
    assert_eq!(world.registry.take_counts(), "");
    let other = world.toml("exclude = ['/acme/app:']") + &target;
    assert!(daemon.reload(&other).await.contains(" 200 "));
    daemon.until("other rules hold", |m| has_sizes(m, &[("web", "v1", 200)]) && m.one(IMAGES, &[]) == Some(0.0)).await;
    assert!(daemon.reload(&both).await.contains(" 200 "));
    daemon.until("the rules of before hold", |m| has_sizes(m, &all)).await;
    assert!(daemon.reload(&format!("[scan]\ninterval = '1h'\n{target}")).await.contains(" 200 "));
    let metrics = daemon.until("the source is gone", |m| has_sizes(m, &[("web", "v1", 200)])).await;
    assert_eq!((metrics.count(CONTAINERS), metrics.count(UP)), (0, 0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_of_a_target_and_a_source_is_read_and_published_once() {
    let world = World::new();
    world.write(&["REG/acme/app:v1", "REG/acme/app:v1"]);
    let target = format!(
        "[[targets]]\nname = 't'\nrepository = '{}/acme/*'\nmatch = ['^v']\nbudget = '2KiB'\n",
        world.registry.name()
    );
    let daemon = Daemon::start(&(world.toml("budget = '1KiB'\nlabels = { team = 'shop' }") + &target)).await;
    let all = [("app", "v1", 100), ("web", "v1", 200)];
    let metrics = daemon.until("both are scanned", |m| has_sizes(m, &all) && m.count(LAST_SCAN) == 2).await;
    let budget = |name: &str| metrics.one("container_image_size_budget_bytes", &[("repository", name)]);
    assert_eq!((budget("acme/app"), budget("acme/web")), (Some(1024.0), Some(2048.0)));
    let labels = [("repository", "acme/app"), ("label_team", "shop")];
    assert_eq!(metrics.one("container_image_repository_labels", &labels), Some(1.0));
    world.write(&[]);
    let metrics = daemon.until("nothing runs", |m| m.count(CONTAINERS) == 0).await;
    assert!(has_sizes(&metrics, &all), "the target still selects it");
    daemon.stop().await;
}
