//! Registries and manifests that are older, poorer or stranger than the specification.

use super::*;

/// How long a client waits for an answer that never comes.
const SHORT: std::time::Duration = std::time::Duration::from_millis(500);

#[tokio::test]
async fn a_registry_without_head_costs_a_get_each_time_and_is_remembered() {
    for refusal in [Reply::status(405), Reply::error(405, "UNSUPPORTED"), Reply::status(501)] {
        let mut watcher = Watcher::new("tags = ['v1', 'v2']");
        watcher.registry.always("HEAD /v2/", refusal);
        watcher.push("v1", &one("a"));
        watcher.push("v2", &one("b"));
        assert_eq!(watcher.cost().await, "get_blob 2, get_manifest 2");
        assert_eq!(watcher.cost().await, "get_manifest 2, head_manifest 1", "one HEAD teaches it");
        assert_eq!(watcher.cost().await, "get_manifest 2");
        watcher.push("v1", &one("c"));
        assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
        assert_eq!(watcher.up(), [Some(true), Some(true)]);
    }
}

#[tokio::test]
async fn a_registry_without_digest_header_costs_a_get_that_is_hashed() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.registry.always("* /v2/", Reply::Without("docker-content-digest"));
    let image = one("a");
    watcher.push("v1", &image);
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_blob 1, get_manifest 1");
    assert_eq!(&scanned.reading().digest, image.digest());
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 1");
    assert_eq!(watcher.cost().await, "get_manifest 1");
    watcher.push("v1", &one("b"));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1");
}

#[tokio::test]
async fn a_header_that_is_wrong_but_changes_with_the_tag_is_enough() {
    let wrong = |text: &str| Reply::With("docker-content-digest", Digest::sha256_of(text.as_bytes()).to_string());
    let mut watcher = Watcher::new("tags = ['v1']");
    let (a, b) = (one("a"), one("b"));
    watcher.push("v1", &a);
    watcher.registry.always("* /v2/acme/app/manifests/v1", wrong("a"));
    let scanned = watcher.scan().await;
    assert_eq!(&scanned.reading().digest, a.digest(), "the bytes' own");
    assert_eq!(watcher.cost().await, "head_manifest 1");
    watcher.push("v1", &b);
    watcher.registry.always("* /v2/acme/app/manifests/v1", wrong("b"));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_blob 1, get_manifest 1, head_manifest 1");
    assert_eq!(&scanned.reading().digest, b.digest());
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn a_tag_that_changes_between_head_and_get_is_not_taken_for_what_it_was() {
    let (a, b) = (one("a"), one("b"));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &a);
    watcher.cost().await;
    // The HEAD still sees another push, the GET already sees b.
    let c = one("c").digest().to_string();
    watcher.registry.next("HEAD /v2/acme/app/manifests/v1", Reply::With("docker-content-digest", c.clone()));
    watcher.push("v1", &b);
    assert_eq!(&watcher.scan().await.reading().digest, b.digest());
    watcher.push("v1", &one("c"));
    assert_eq!(watcher.scan().await.reading().digest.to_string(), c);
}

#[tokio::test]
async fn schema_1_costs_a_head_per_distinct_unknown_layer() {
    let (base, top) = (Blob::named("base", 100), Blob::named("top", 10));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &schema1(&[&base, &top, &top]));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_blob 2");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 120"]);
    assert_eq!(watcher.cost().await, "head_manifest 1");
    watcher.push("v1", &schema1(&[&base, &Blob::named("new", 1)]));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_blob 1, head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 101"]);
}

#[tokio::test]
async fn a_schema_1_layer_of_unknown_size_leaves_the_size_unknown_and_is_asked_for_again() {
    let (base, top) = (Blob::named("base", 100), Blob::named("top", 10));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &schema1(&[&base, &top]));
    let blob = format!("HEAD /v2/acme/app/blobs/{}", top.digest);
    watcher.registry.next(&blob, Reply::error(404, "BLOB_UNKNOWN"));
    // Some registries answer only to GET of a blob: the first byte would have told.
    watcher.registry.next(&blob.replace("HEAD", "GET"), Reply::error(404, "BLOB_UNKNOWN"));
    assert_eq!(watcher.cost().await, "get_manifest 1, get_range 1, head_blob 2");
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 unknown".to_owned()], vec![Some(false)]));
    // A length of 0 is none: the first byte tells.
    watcher.registry.next(&blob, Reply::Answer(200, vec![], String::new()));
    let first_byte = Reply::Answer(206, vec![("content-range", "bytes 0-0/10".to_owned())], "t".to_owned());
    watcher.registry.next(&blob.replace("HEAD", "GET"), first_byte);
    assert_eq!(watcher.cost().await, "get_manifest 1, get_range 1, head_blob 1, head_manifest 1");
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 110".to_owned()], vec![Some(true)]));
}

#[tokio::test]
async fn an_invalid_manifest_changes_nothing() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &one("a"));
    watcher.cost().await;
    for body in ["{}", "<html>sign in</html>", "{\"schemaVersion\": 2, \"layers\": 7}"] {
        let nonsense = Pushed { manifest: Blob::new(MediaType::OCI_MANIFEST, body), blobs: vec![], children: vec![] };
        watcher.push("v1", &nonsense);
        assert_eq!(watcher.scan().await.outcomes, [Outcome::Failed(Reason::Invalid)], "{body}");
        assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 1000".to_owned()], vec![Some(false)]));
    }
}

#[tokio::test]
async fn past_a_limit_there_is_an_error_with_that_reason() {
    let mut watcher = Watcher::new("tags = ['v1']");
    let huge =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "layers": [], "pad": "x".repeat(9 << 20)});
    watcher.push("v1", &Pushed::from_json(MediaType::OCI_MANIFEST, &huge, vec![], vec![]));
    assert_eq!(watcher.scan().await.outcomes, [Outcome::Failed(Reason::Limit)]);
    assert!(watcher.sizes().is_empty());
}

#[tokio::test]
async fn a_config_that_cannot_be_read_fails_the_image() {
    let mut watcher = Watcher::new("tags = ['v1']");
    let image = one("a");
    let blob = format!("GET /v2/acme/app/blobs/{}", image.blobs[1].digest);
    watcher.push("v1", &image);
    for (reply, reason) in [
        (Reply::Corrupt, Reason::Invalid),
        (Reply::error(404, "BLOB_UNKNOWN"), Reason::NotFound),
        (Reply::status(403), Reason::Denied),
    ] {
        watcher.registry.next(&blob, reply);
        let scanned = watcher.scan().await;
        // A tag whose config is missing is not gone.
        assert!(matches!(scanned.outcomes[..], [Outcome::Failed(_)]), "{reason}: {:?}", scanned.outcomes);
        assert_eq!(watcher.up(), [Some(false)]);
    }
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 1000"]);
}

/// Whatever a header names, no task waits for a flight that it holds itself.
#[tokio::test]
async fn a_digest_header_that_names_the_config_causes_no_deadlock() {
    let mut watcher = Watcher::new("tags = ['latest']");
    watcher.push("latest", &crate::support::images::image("linux/amd64", &[&Blob::named("old", 10)]));
    watcher.cost().await;
    let new = Blob::named("new", 20);
    let config = crate::support::images::config("linux/amd64", &[&new]);
    watcher.push("latest", &crate::support::images::image("linux/amd64", &[&new]));
    let digest = config.descriptor()["digest"].as_str().unwrap().to_owned();
    watcher.registry.always("* /v2/acme/app/manifests/", Reply::With("docker-content-digest", digest));
    watcher.cost().await;
    assert_eq!(watcher.sizes(), ["latest linux/amd64 20"]);
}
#[tokio::test]
async fn a_head_refused_where_get_works_costs_a_get_and_is_remembered() {
    for refusal in [401, 403, 406, 411, 500, 502] {
        let mut watcher = Watcher::new("tags = ['v1', 'v2']");
        watcher.registry.always("HEAD /v2/", Reply::status(refusal));
        watcher.push("v1", &one("a"));
        watcher.push("v2", &one("b"));
        assert_eq!(watcher.cost().await, "get_blob 2, get_manifest 2");
        watcher.cost().await;
        assert_eq!(watcher.up(), [Some(true), Some(true)], "{refusal}");
        assert_eq!(watcher.cost().await, "get_manifest 2", "{refusal} to HEAD is remembered");
    }
}

#[tokio::test]
async fn a_refusal_of_head_that_get_confirms_is_final() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &one("a"));
    watcher.cost().await;
    watcher.registry.always("* /v2/acme/app/manifests/", Reply::status(403));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 1");
    assert_eq!(watcher.up(), [Some(false)]);
    assert_eq!(watcher.cost().await, "head_manifest 1", "what GET confirmed is believed for a while");
    watcher.registry.always("* /v2/acme/app/manifests/", Reply::Usual);
    assert_eq!(watcher.cost().await, "head_manifest 1", "HEAD is asked first again");
}

#[tokio::test]
async fn a_refusal_that_get_confirms_costs_one_get_and_not_one_for_each_tag() {
    let mut watcher = Watcher::new("tags = ['v1', 'v2', 'v3', 'v4', 'v5']");
    for tag in 1..=5 {
        watcher.push(&format!("v{tag}"), &one("a"));
    }
    watcher.cost().await;
    watcher.cost().await;
    for reply in [Reply::status(403), Reply::error(403, "DENIED")] {
        watcher.registry.always("* /v2/acme/app/manifests/", reply);
        let cost = watcher.cost().await;
        assert!(["get_manifest 1, head_manifest 5", "head_manifest 5"].contains(&&*cost), "{cost}");
        assert_eq!(watcher.up(), [Some(false); 5]);
    }
}

/// HEAD worked, and then something in front of the registry was changed.
#[tokio::test]
async fn a_head_that_fails_since_it_worked_costs_a_get_and_soon_no_head_any_more() {
    let refusals = [401, 403, 406, 411, 500, 502].map(Reply::status);
    for refusal in refusals.into_iter().chain([Reply::Cut, Reply::Stall]) {
        let short = |registry: &TestRegistry| registry.client_with(|settings| settings.timeout = SHORT);
        let mut watcher = Watcher::with(TestRegistry::start(), "tags = ['v1', 'v2', 'v3', 'v4']", short);
        for (tag, name) in [("v1", "a"), ("v2", "b"), ("v3", "c"), ("v4", "d")] {
            watcher.push(tag, &one(name));
        }
        watcher.cost().await;
        assert_eq!(watcher.cost().await, "head_manifest 4");
        // One that fails among others that work is asked for by GET, and nothing is concluded.
        let tries = match refusal {
            Reply::Cut | Reply::Answer(500 | 502, ..) => 3,
            _ => 1,
        };
        for _ in 0..tries {
            watcher.registry.next("HEAD /v2/acme/app/manifests/v2", refusal.clone());
        }
        watcher.cost().await;
        assert_eq!(watcher.up(), [Some(true); 4], "{refusal:?}");
        assert!(watcher.client.supports_head(), "{refusal:?}");
        watcher.registry.always("HEAD /v2/", refusal.clone());
        let cost = watcher.cost().await;
        assert!(cost.starts_with("get_manifest 4, head_manifest "), "{refusal:?}: {cost}");
        assert_eq!(watcher.up(), [Some(true); 4], "{refusal:?}");
        assert_eq!(watcher.cost().await, "get_manifest 4", "{refusal:?} is remembered");
    }
}

/// Many tags at once: the first ones teach the others, although unanswered requests stop all for a moment.
#[tokio::test]
async fn while_head_hangs_every_tag_of_a_busy_registry_is_read() {
    let short = |registry: &TestRegistry| registry.client_with(|settings| settings.timeout = SHORT);
    let tags: Vec<String> = (10..40).map(|tag| format!("v{tag}")).collect();
    let mut watcher = Watcher::with(TestRegistry::start(), &format!("tags = {tags:?}"), short);
    for tag in &tags {
        watcher.push(tag, &one(tag));
    }
    watcher.cost().await;
    watcher.cost().await;
    watcher.registry.always("HEAD /v2/", Reply::Stall);
    let requests = watcher.inventory.assign(&watcher.target.name);
    let reads = requests.iter().map(|wanted| scan::read_tag(&watcher.client, &watcher.store, wanted));
    let read = futures_util::future::join_all(reads).await;
    let failed: Vec<_> = read.iter().filter(|read| matches!(read.outcome, Outcome::Failed(_))).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), read.len(), failed.first());
}
