//! Registries that count `GET`s of manifests against a limit and let `HEAD`s go free.

use super::*;

fn limits(registry: &TestRegistry, remaining: u64) {
    // Each answer says how many pulls are left, as Docker Hub's do.
    registry.always("HEAD /v2/", Reply::With("ratelimit-remaining", format!("{remaining};w=21600")));
    registry.always("GET /v2/acme/app/manifests/", Reply::With("ratelimit-remaining", format!("{remaining};w=21600")));
}

/// A watcher whose client knows that pulls are metered.
async fn metered(target: &str, remaining: u64, reserve: u64) -> Watcher {
    let registry = TestRegistry::start();
    limits(&registry, remaining);
    registry.push("acme/app", "probe", &one("probe"));
    let watcher = Watcher::with(registry, target, |registry| {
        registry.client_with(|settings| settings.ratelimit_reserve = Some(reserve))
    });
    let repository = watcher.registry.repository("acme/app");
    let probe = tag("probe");
    watcher.client.head_manifest(&repository, image_size_exporter::registry::At::Tag(&probe)).await.unwrap();
    assert!(watcher.client.meters_pulls());
    watcher
}

#[tokio::test]
async fn a_new_tag_costs_a_head_and_gets_only_for_unknown_digests() {
    let mut watcher = metered("tags = ['latest', 'v1', 'v2']", 100, 20).await;
    let (a, b) = (one("a"), one("b"));
    watcher.push("latest", &b);
    watcher.push("v1", &a);
    watcher.push("v2", &b);
    assert_eq!(watcher.cost().await, "get_blob 2, get_manifest 2, head_manifest 3", "v2 is what latest is");
    assert_eq!(watcher.cost().await, "head_manifest 3");
    watcher.push("latest", &a);
    assert_eq!(watcher.cost().await, "head_manifest 3");
}

#[tokio::test]
async fn below_the_reserve_only_free_requests_are_made() {
    let mut watcher = metered("tags = ['v1', 'v2']", 100, 20).await;
    watcher.push("v1", &one("a"));
    watcher.push("v2", &one("b"));
    watcher.cost().await;
    limits(&watcher.registry, 20);
    assert_eq!(watcher.cost().await, "head_manifest 2", "what is unchanged stays up");
    assert_eq!(watcher.up(), [Some(true), Some(true)]);
    watcher.push("v1", &one("c"));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "head_manifest 2");
    assert_eq!(scanned.outcomes, [Outcome::Failed(Reason::Reserved), Outcome::Unchanged]);
    assert_eq!(watcher.up(), [Some(false), Some(true)]);
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 1000", "v2 linux/amd64 1000"], "the last true values stay");
    // A digest that is known needs no pull.
    watcher.push("v1", &one("b"));
    assert_eq!(watcher.cost().await, "head_manifest 2");
    assert_eq!(watcher.up(), [Some(true), Some(true)]);
    // The window has passed.
    limits(&watcher.registry, 100);
    watcher.push("v1", &one("c"));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 2");
}

#[tokio::test]
async fn children_of_an_index_keep_to_the_reserve_too() {
    let mut watcher = metered("tags = ['v1']", 21, 20).await;
    let (amd64, arm64) = (one("a"), image("linux/arm64", &[&layer("b")]));
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    watcher.registry.next("GET /v2/acme/app/manifests/v1", Reply::With("ratelimit-remaining", "20;w=21600".to_owned()));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_manifest 1, head_manifest 1");
    assert!(scanned.reading().failed.iter().all(|child| child.reason == Reason::Reserved));
    assert_eq!(scanned.reading().failed.len(), 2);
    assert_eq!(watcher.up(), [Some(false)]);
    // The index is known: once there are pulls again, its children are all that is asked for.
    limits(&watcher.registry, 100);
    assert_eq!(watcher.cost().await, "get_blob 2, get_manifest 2, head_manifest 1");
    assert_eq!(watcher.up(), [Some(true)]);
}
