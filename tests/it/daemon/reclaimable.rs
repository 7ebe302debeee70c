//! What policies would free, as a scrape shows it.

use super::*;

const OF_REGISTRY: &str = "container_image_registry_reclaimable_size_bytes";
const OF_REPOSITORY: &str = "container_image_repository_reclaimable_size_bytes";
const TAGS: &str = "container_image_repository_reclaimable_tags";

#[tokio::test]
async fn what_a_policy_does_not_keep_is_published_and_follows_pushes_and_reloads() {
    let registry = registry();
    let own = image("linux/amd64", &[&Blob::named("layer", 100), &Blob::named("own", 30)]);
    registry.push("acme/app", "old", &own);
    let target = "repository = 'REGISTRY/acme/app'\nmatch = ['.']\nname = 'app'";
    let policy = |keep: &str| format!("\n[[policies]]\nname = 'p'\nkeep_match = ['{keep}']\n");
    let toml = |keep: &str| config(&registry, &[target]) + &policy(keep);
    let metadata = |pushed: &Pushed| {
        let config = pushed.blobs.iter().find(|blob| blob.bytes.is_some()).unwrap().size;
        (pushed.manifest.size + config) as f64
    };
    let daemon = Daemon::start(&toml("^v")).await;
    let metrics = daemon.until("it is counted", |m| m.one(OF_REGISTRY, &[]).is_some()).await;
    let freed = 30.0 + metadata(&own);
    assert_eq!(metrics.one(OF_REGISTRY, &[("policy", "p")]), Some(freed));
    assert_eq!(metrics.one(OF_REPOSITORY, &[("policy", "p"), ("repository", "acme/app")]), Some(freed));
    assert_eq!(metrics.one(TAGS, &[("policy", "p")]), Some(1.0));

    registry.tag("acme/app", "v2", own.digest());
    daemon.until("a kept tag has the same digest", |m| m.one(OF_REGISTRY, &[]) == Some(0.0)).await;
    assert!(daemon.reload(&toml("^nothing$")).await.contains(" 200 "));
    let all = 130.0 + metadata(&own) + metadata(&image_of(100));
    daemon.until("nothing is kept", |m| m.one(OF_REGISTRY, &[]) == Some(all)).await;
    assert!(daemon.reload(&config(&registry, &[target])).await.contains(" 200 "));
    daemon.until("there is no policy", |m| m.all(OF_REGISTRY, &[]).is_empty() && m.all(TAGS, &[]).is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn no_bytes_are_claimed_while_a_tag_on_the_registry_is_unread() {
    let registry = registry();
    registry.push("acme/other", "v1", &image_of(7));
    registry.always("GET /v2/acme/other/manifests/", Reply::status(403));
    let targets =
        ["app", "other"].map(|name| format!("repository = 'REGISTRY/acme/{name}'\ntags = ['v1']\nname = '{name}'"));
    let toml = config(&registry, &targets.each_ref().map(String::as_str))
        + "\n[[policies]]\nname = 'p'\nkeep_match = ['^x$']\ntargets = ['app']\n";
    let daemon = Daemon::start(&toml).await;
    let sum = "container_image_registry_stored_size_bytes";
    let metrics = daemon.until("both targets were scanned", |m| m.one(sum, &[]).is_some()).await;
    assert!(metrics.all(OF_REGISTRY, &[]).is_empty() && metrics.all(OF_REPOSITORY, &[]).is_empty());
    assert_eq!(metrics.one(TAGS, &[]), Some(1.0), "its own repository is read");
    registry.always("GET /v2/acme/other/manifests/", Reply::Usual);
    daemon.until("it is read", |m| m.one(OF_REGISTRY, &[]).is_some()).await;
    daemon.stop().await;
}
