//! Limits: pulls that are metered, and requests at the same time.

use super::*;

#[tokio::test]
async fn the_reserve_of_pulls_is_kept() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.ratelimit_reserve = Some(20));
    assert!(!client.meters_pulls());
    let left = |pulls: u32| Reply::With("ratelimit-remaining", format!("{pulls};w=21600"));
    registry.next("HEAD *", left(21));
    head(&client, &registry).await.unwrap();
    assert!(client.meters_pulls());
    registry.next("GET *", left(20));
    get(&client, &registry).await.unwrap();
    registry.take_counts();
    let error = get(&client, &registry).await.unwrap_err();
    assert_eq!((error.reason(), registry.take_counts().as_str()), (Reason::Reserved, ""));
    // Free requests continue, and their headers show when pulls are available again.
    registry.next("HEAD *", left(100));
    head(&client, &registry).await.unwrap();
    get(&client, &registry).await.unwrap();
}

#[tokio::test]
async fn when_pulls_are_used_up_free_requests_continue() {
    let registry = registry();
    let client = registry.client();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let used_up = Reply::Answer(429, vec![("ratelimit-remaining", "0;w=21600".to_owned())], body.to_owned());
    registry.next("GET *", used_up);
    let error = get(&client, &registry).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RateLimited);
    assert!(error.to_string().contains("no pulls are left"), "{error}");
    head(&client, &registry).await.unwrap();
    assert_eq!(get(&client, &registry).await.unwrap_err().reason(), Reason::Reserved);
    assert_eq!(registry.counts(), "get_manifest 1, head_manifest 1");
}

#[tokio::test]
async fn pulls_at_the_same_time_do_not_cut_into_the_reserve() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.ratelimit_reserve = Some(20));
    registry.always("HEAD *", Reply::With("ratelimit-remaining", "23".to_owned()));
    head(&client, &registry).await.unwrap();
    registry.always("GET *", Reply::With("ratelimit-remaining", "20".to_owned()));
    let results = futures_all((0..10).map(|_| get(&client, &registry))).await;
    assert!(results.iter().filter(|result| result.is_ok()).count() <= 3);
    assert!(registry.requests().iter().filter(|seen| seen.method == "GET").count() <= 3);
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_configured() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.concurrency = 1);
    registry.next("GET *", Reply::Stall);
    let mut stalled = Box::pin(get(&client, &registry));
    let mut waiting = Box::pin(head(&client, &registry));
    // The stalled request is the only concurrent one allowed: the next one is not sent before one of another client is
    // done.
    tokio::select! {
        biased;
        _ = &mut stalled => panic!("it stalls"),
        _ = &mut waiting => panic!("two requests under way"),
        done = async { head(&registry.client(), &registry).await } => done.unwrap(),
    }
    drop(stalled);
    waiting.await.unwrap();
}

#[tokio::test]
async fn streamed_layers_do_not_count_as_concurrent_requests() {
    let registry = registry();
    let layer = Blob::new("x", vec![1; 100]);
    registry.push(APP, "v2", &image("linux/amd64", &[&layer]));
    let client = registry.client_with(|settings| settings.concurrency = 1);
    let stream = client.stream_blob(&registry.repository(APP), &layer.digest, 0).await.unwrap();
    head(&client, &registry).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_request_that_would_fail_at_once_does_not_wait_for_the_throttle() {
    let registry = registry();
    let client = registry.client_with(|settings| settings.requests_per_second = Some(0.001));
    registry.next("HEAD *", Reply::status(429).and("retry-after", "600"));
    head(&client, &registry).await.unwrap_err();
    tokio::select! {
        biased;
        done = head(&client, &registry) => assert_eq!(done.unwrap_err().reason(), Reason::RateLimited),
        () = std::future::ready(()) => panic!("it waits for its turn"),
    }
    assert_eq!(registry.counts(), "head_manifest 1");
}

/// All of them at once.
async fn futures_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            return std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect());
        }
        std::task::Poll::Pending
    })
    .await
}
