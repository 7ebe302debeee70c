//! Targets and their tags in one scrape.

use super::*;

#[tokio::test]
async fn a_target_is_up_in_those_scrapes_in_which_all_of_its_tags_are() {
    let registry = registry();
    registry.push("acme/app", "v2", &image_of(200));
    let daemon = Daemon::start(&config(&registry, &["repository = 'REGISTRY/acme/app'\ntags = ['v1', 'v2']"])).await;
    let is = |expected: bool| {
        move |metrics: &Metrics| {
            let tags: Vec<bool> = metrics.all(UP, &[]).into_values().map(|up| up > 0.0).collect();
            let target = metrics.one(TARGET_UP, &[]).map(|up| up > 0.0);
            let all_up = tags.iter().all(|&up| up);
            assert!(target.is_none_or(|target| target == all_up), "target {target:?}, tags {tags:?}");
            target == Some(expected)
        }
    };
    daemon.until("the target is up", is(true)).await;
    for _ in 0..3 {
        registry.always("* /v2/acme/app/manifests/v1", Reply::error(403, "DENIED"));
        daemon.until("the target is down", is(false)).await;
        registry.always("* /v2/acme/app/manifests/v1", Reply::Usual);
        daemon.until("the target is up again", is(true)).await;
    }
    daemon.stop().await;
}
