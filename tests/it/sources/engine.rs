//! A Docker engine's socket that answers as it is told.

#![cfg(feature = "docker")]

use serde_json::json;

use super::http::{Answer, Server};
use super::*;

/// A registry, and an engine with containers of its images.
struct World {
    registry: TestRegistry,
    files: Files,
    server: Option<Server>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { registry: registry(), files: Files::new(), server: None };
        world.up();
        world
    }

    /// Starts the engine.
    fn up(&mut self) {
        let path = self.files.path().join("engine.sock");
        let _ = std::fs::remove_file(&path);
        let server = Server::on_socket(&path);
        server.answer("/events", Answer::Events);
        server.answer("/info", Answer::Body(200, json!({ "Name": "host-1" }).to_string()));
        let image = |id: &str, name: &str, bytes| json!({ "Id": id, "RepoDigests": [format!("{}/{name}@{}", self.registry.name(), image_of(bytes).digest())] });
        let images =
            json!([image("sha256:aa", "acme/app", 100), image("sha256:bb", "acme/web", 200), { "Id": "sha256:cc" }]);
        server.answer("/images/json", Answer::Body(200, images.to_string()));
        self.server = Some(server);
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// These containers run: name, image's name, and image's ID.
    fn run(&self, containers: &[(&str, &str, &str)]) {
        let list = containers.iter().map(|(name, image, id)| {
            let image = image.replace("REG", self.registry.name().as_str());
            json!({ "Id": name, "Names": [format!("/{name}")], "Image": image, "ImageID": id, "State": "running", "Labels": {} })
        });
        let list = serde_json::Value::Array(list.collect());
        self.server().answer("/containers/json", Answer::Body(200, list.to_string()));
    }

    fn toml(&self) -> String {
        toml(&format!("docker = {{ host = 'unix://{}/engine.sock' }}", self.files.path().display()))
    }
}

#[tokio::test]
async fn a_container_that_starts_is_seen_at_once() {
    let world = World::new();
    world.run(&[("one", "REG/acme/app:v1", "sha256:aa"), ("built", "built", "sha256:cc")]);
    let daemon = Daemon::start(&world.toml()).await;
    let metrics = daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    assert_eq!((metrics.tag(CONTAINERS, "v1"), metrics.tag(NODES, "v1")), (Some(1.0), Some(1.0)));
    assert_eq!((metrics.tag(OUTDATED, "v1"), metrics.one(SKIPPED, &[])), (Some(0.0), Some(0.0)));
    assert_eq!(
        metrics.one(INFO, &[("workload_kind", "Container"), ("workload", "one"), ("container", "one")]),
        Some(1.0)
    );
    world.run(&[("one", "REG/acme/app:v1", "sha256:aa"), ("two", "REG/acme/web:v1", "sha256:bb")]);
    world.server().event("{\"Action\":\"start\"}");
    daemon.until("the new one is read", |m| has_sizes(m, &[("app", "v1", 100), ("web", "v1", 200)])).await;
    world.run(&[]);
    world.server().event("{\"Action\":\"die\"}");
    let metrics = daemon.until("both have ended", |m| m.count(COMPRESSED) == 0).await;
    assert_eq!(metrics.one(UP, &[]), Some(1.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_container_keeps_the_name_that_it_was_started_with() {
    let world = World::new();
    let id = "ab".repeat(32);
    world.run(&[("one", &id[..12], &format!("sha256:{id}"))]);
    let described = json!({ "Config": { "Image": format!("{}/acme/app:v1", world.registry.name()) } });
    world.server().answer("/containers/one/json", Answer::Body(200, described.to_string()));
    let daemon = Daemon::start(&world.toml()).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_engine_that_restarts_is_listed_again() {
    let mut world = World::new();
    world.run(&[("one", "REG/acme/app:v1", "sha256:aa")]);
    let daemon = Daemon::start(&world.toml()).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    // Cut off, and there again at once.
    world.run(&[("two", "REG/acme/web:v1", "sha256:bb")]);
    world.server().cut();
    daemon.until("it is listed again", |m| has_sizes(m, &[("web", "v1", 200)])).await;
    // Away.
    world.server().cut();
    world.server = None;
    std::fs::remove_file(world.files.path().join("engine.sock")).unwrap();
    let metrics = daemon.until("it is down", |m| m.one(UP, &[]) == Some(0.0)).await;
    assert!(has_sizes(&metrics, &[("web", "v1", 200)]), "{}", metrics.text());
    world.up();
    world.run(&[("one", "REG/acme/app:v1", "sha256:aa")]);
    daemon.until("it is back", |m| has_sizes(m, &[("app", "v1", 100)]) && m.one(UP, &[]) == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn answers_that_are_none_lose_nothing() {
    let world = World::new();
    let good = [("one", "REG/acme/app:v1", "sha256:aa")];
    world.run(&good);
    let daemon = Daemon::start(&world.toml()).await;
    daemon.until("it is read", |m| has_sizes(m, &[("app", "v1", 100)])).await;
    for answer in [
        Answer::Body(500, "{\"message\":\"why\"}".to_owned()),
        Answer::Body(200, "<html>".to_owned()),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[".to_owned()),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n[".to_owned()),
    ] {
        world.server().answer("/containers/json", answer);
        world.server().event("{}");
        let metrics = daemon.until("it is down", |m| m.one(UP, &[]) == Some(0.0)).await;
        assert!(has_sizes(&metrics, &[("app", "v1", 100)]), "{}", metrics.text());
        world.run(&good);
        daemon.until("it is up", |m| m.one(UP, &[]) == Some(1.0)).await;
    }
    daemon.stop().await;
}
