//! The pages and their JSON, over real connections: their figures are those of `/metrics`.

mod answers;
mod figures;
mod names;
mod ranked;
mod schema;
mod trouble;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::daemon::{Daemon, ask, config};
use crate::support::images::{Blob, dated, image, index};
use crate::support::registry::TestRegistry;

/// A registry with releases of an application on a base that another one has too, for two platforms.
fn registry() -> TestRegistry {
    let registry = TestRegistry::start();
    let base = Blob::named("base", 100_000);
    let release = |day: u32, own: u64| {
        let own = Blob::named("own", own);
        let created = format!("2024-01-{day:02}T00:00:00Z");
        let on = |platform: &str, layers: &[&Blob]| dated(platform, &created, layers);
        index(&[("linux/amd64", &on("linux/amd64", &[&base, &own])), ("linux/arm64", &on("linux/arm64", &[&own]))])
    };
    for (day, tag, own) in [(1, "v1.0.0", 10_000), (2, "v1.1.0", 12_000), (3, "v1.2.0", 40_000)] {
        registry.push("acme/app", tag, &release(day, own));
    }
    registry.push("acme/app", "latest", &release(3, 40_000));
    registry.push("acme/tool", "latest", &image("linux/amd64", &[&base, &Blob::named("tool", 5_000)]));
    registry
}

const TARGETS: [&str; 2] = [
    "repository = 'REGISTRY/acme/app'\ntags = ['latest']\nmatch = ['^v']\nnewest = 'semver'\nbudget = 120000\nlabels = { team = 'a' }\ngroup = 'apps'\nname = 'app'",
    "repository = 'REGISTRY/acme/tool'\nname = 'tool'",
];

async fn daemon(registry: &TestRegistry) -> Daemon {
    let daemon = Daemon::start(&config(registry, &TARGETS)).await;
    daemon
        .until("everything is summed", |metrics| {
            metrics.one("container_image_registry_stored_size_bytes", &[]).is_some()
        })
        .await;
    daemon
}

/// An answer's status and body.
async fn get(daemon: &Daemon, path: &str) -> (u16, String) {
    let answer = ask(&daemon.address, &format!("GET {path}")).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn page(daemon: &Daemon, path: &str) -> String {
    let (status, body) = get(daemon, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn json(daemon: &Daemon, path: &str) -> Value {
    let body = page(daemon, &format!("/api/v1{path}")).await;
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// The addresses that a page leads to, without those of its frame.
fn links(page: &str) -> Vec<String> {
    let main = page.split_once("<main").expect("a page").1.split_once("</main>").expect("a whole page").0;
    let links = main.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    links.map(|link| link.replace("&amp;", "&")).collect()
}
