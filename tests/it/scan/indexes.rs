//! Tags that point at indexes: several platforms, some selected, some missing, some not images.

use super::*;

fn image_for(platform: &str) -> Pushed {
    image(platform, &[&Blob::named(platform, 100)])
}

#[tokio::test]
async fn each_selected_platform_costs_its_manifest_and_its_config() {
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let images: Vec<Pushed> = platforms.iter().map(|platform| image_for(platform)).collect();
    let entries: Vec<(&str, &Pushed)> = platforms.iter().copied().zip(&images).collect();
    for (target, cost, published) in [
        ("", "get_blob 3, get_manifest 4", vec!["v1 linux/amd64 100", "v1 linux/arm/v7 100", "v1 linux/arm64 100"]),
        ("platforms = ['linux/arm64/v8']", "get_blob 1, get_manifest 2", vec!["v1 linux/arm64 100"]),
        (
            "platforms = ['linux/amd64', 'linux/arm']",
            "get_blob 2, get_manifest 3",
            vec!["v1 linux/amd64 100", "v1 linux/arm/v7 100"],
        ),
        ("platforms = ['linux/s390x']", "get_manifest 1", vec![]),
    ] {
        for index in [index(&entries), docker_list(&entries)] {
            let mut watcher = Watcher::new(&format!("tags = ['v1']\n{target}"));
            watcher.push("v1", &index);
            assert_eq!(watcher.cost().await, cost, "{target}");
            assert_eq!(watcher.cost().await, "head_manifest 1", "{target}");
            assert_eq!(watcher.sizes(), published, "{target}");
            assert_eq!(watcher.up(), [Some(true)], "{target}");
        }
    }
}

#[tokio::test]
async fn a_changed_index_costs_only_its_new_children() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    watcher.cost().await;
    let rebuilt = image("linux/arm64", &[&Blob::named("rebuilt", 7)]);
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &rebuilt)]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2, head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/arm64 7"]);
    watcher.push("v1", &index(&[("linux/amd64", &amd64)]));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100"]);
}

#[tokio::test]
async fn nested_indexes_are_followed_to_a_depth() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let inner = index(&[("linux/arm64", &arm64)]);
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("", &inner)]));
    assert_eq!(watcher.cost().await, "get_blob 2, get_manifest 4");
    assert_eq!(watcher.cost().await, "head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/arm64 100"]);

    let mut deep = index(&[("linux/arm64", &arm64)]);
    for _ in 0..4 {
        deep = index(&[("", &deep)]);
    }
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("", &deep)]));
    let scanned = watcher.scan().await;
    let failed: Vec<Reason> = scanned.reading().failed.iter().map(|child| child.reason).collect();
    assert_eq!(failed, [Reason::Limit]);
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 100".to_owned()], vec![Some(false)]));
}

#[tokio::test]
async fn an_index_that_names_itself_ends() {
    let mut watcher = Watcher::new("tags = ['v1']");
    let inner = index(&[("linux/amd64", &image_for("linux/amd64"))]);
    let twice = index(&[("", &inner), ("", &inner)]);
    watcher.push("v1", &twice);
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 3");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100"]);
}

#[tokio::test]
async fn a_sparse_index_is_up_without_what_is_missing() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    watcher.registry.remove_manifest("acme/app", arm64.digest());
    let scanned = watcher.scan().await;
    // The HEAD confirms that the tag was not pushed again meanwhile.
    assert_eq!(scanned.cost, "get_blob 1, get_manifest 3, head_manifest 1");
    assert_eq!(scanned.reading().failed[0].reason, Reason::NotFound);
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 100".to_owned()], vec![Some(true)]));
    // A missing child may be pushed later: it is requested again, and nothing else is.
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 1");
    watcher.registry.store("acme/app", &arm64);
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/arm64 100"]);
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn a_sparse_index_lacks_a_child_that_only_another_repository_has() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let both = index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]);
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.registry.push("acme/full", "v1", &both);
    let repository = format!("{}/acme/full", watcher.registry.name()).parse().unwrap();
    let full = TagRequest::unknown(repository, tag("v1"), PlatformFilter::all());
    scan::read_tag(&watcher.client, &watcher.store, &full).await;
    watcher.push("v1", &both);
    watcher.registry.remove_manifest("acme/app", arm64.digest());
    // One HEAD for each child that is known from elsewhere, one GET that confirms the 404, one HEAD of the tag.
    assert_eq!(watcher.cost().await, "get_manifest 2, head_manifest 3");
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 100".to_owned()], vec![Some(true)]));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 2");
    watcher.registry.store("acme/app", &arm64);
    assert_eq!(watcher.cost().await, "head_manifest 2");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/arm64 100"]);
    // A child that this repository is known to have is not requested again, under any tag.
    watcher.push("v1", &index(&[("linux/arm64", &arm64)]));
    assert_eq!(watcher.cost().await, "get_manifest 1, head_manifest 1");
}

#[tokio::test]
async fn a_tag_that_is_pushed_again_while_its_children_are_read_changes_all_at_once() {
    let (old, new) = (image_for("linux/amd64"), image("linux/amd64", &[&Blob::named("new", 7)]));
    let mut watcher = Watcher::new("tags = ['v1']");
    let before = index(&[("linux/amd64", &old)]);
    watcher.push("v1", &index(&[("linux/amd64", &new)]));
    watcher.registry.store("acme/app", &old);
    watcher.registry.remove_manifest("acme/app", old.digest());
    let content_type = ("content-type", MediaType::OCI_INDEX.to_owned());
    let digest = ("docker-content-digest", before.digest().to_string());
    let body = String::from_utf8(before.manifest.bytes.clone().unwrap()).unwrap();
    watcher.registry.next("GET /v2/acme/app/manifests/v1", Reply::Answer(200, vec![content_type, digest], body));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 4, head_manifest 1");
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 7".to_owned()], vec![Some(true)]));
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn what_has_no_platform_is_in_every_selection() {
    let chart = artifact("application/vnd.example.chart", &[&Blob::named("chart", 3)]);
    let mut watcher = Watcher::new("tags = ['v1']\nplatforms = ['linux/amd64']");
    watcher.push("v1", &index(&[("linux/amd64", &image_for("linux/amd64")), ("", &chart)]));
    watcher.scan().await;
    assert_eq!(watcher.sizes(), ["v1  3", "v1 linux/amd64 100"]);
}

#[tokio::test]
async fn an_empty_index_has_no_image_and_is_not_a_failure() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[]));
    assert_eq!(watcher.cost().await, "get_manifest 1");
    assert_eq!(watcher.cost().await, "head_manifest 1");
    assert_eq!((watcher.sizes(), watcher.up()), (vec![], vec![Some(true)]));
}

#[tokio::test]
async fn one_manifest_for_two_platforms_is_two_images_and_one_reading() {
    let image = image_for("linux/amd64");
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &image), ("linux/386", &image)]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
    assert_eq!(watcher.sizes(), ["v1 linux/386 100", "v1 linux/amd64 100"]);
}

#[tokio::test]
async fn the_index_wins_over_the_config_about_the_platform() {
    let mut watcher = Watcher::new("tags = ['v1']\nplatforms = ['linux/riscv64']");
    watcher.push("v1", &index(&[("linux/riscv64", &image_for("linux/amd64"))]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
    assert_eq!(watcher.sizes(), ["v1 linux/riscv64 100"]);
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn attestations_are_counted_and_never_fetched() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index_with_attestations(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_blob 2, get_manifest 3");
    assert_eq!(scanned.reading().attestations, 2);
    assert_eq!(watcher.sizes().len(), 2);
    assert_eq!(watcher.cost().await, "head_manifest 1");
}

#[tokio::test]
async fn what_an_index_names_beside_images_is_not_fetched() {
    let amd64 = image_for("linux/amd64");
    let unknown = Blob::named("a signature", 10).of_type("application/vnd.example.signature+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [unknown.descriptor(), entry("linux/amd64", &amd64)],
    });
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &Pushed::from_json(MediaType::OCI_INDEX, &manifest, vec![], vec![amd64]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 100".to_owned()], vec![Some(true)]));
}

/// SOCI's manifest is listed beside the image that it describes, under the same platform.
#[tokio::test]
async fn a_manifest_that_describes_layers_is_not_an_image() {
    let amd64 = image_for("linux/amd64");
    let soci = artifact("application/vnd.amazon.soci.index.v2+json", &[&Blob::named("ztoc", 9)]);
    let mut beside = entry("linux/amd64", &soci);
    beside["artifactType"] = json!("application/vnd.amazon.soci.index.v2+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [beside, entry("linux/amd64", &amd64)],
    });
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &Pushed::from_json(MediaType::OCI_INDEX, &manifest, vec![], vec![soci, amd64]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 2");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100"]);
}

#[tokio::test]
async fn an_invalid_child_leaves_out_its_platform_and_is_tried_again() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let child = format!("GET /v2/acme/app/manifests/{}", arm64.digest());
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    watcher.registry.next(&child, Reply::Corrupt);
    let scanned = watcher.scan().await;
    assert_eq!(scanned.reading().failed[0].reason, Reason::Invalid);
    assert_eq!((watcher.sizes(), watcher.up()), (vec!["v1 linux/amd64 100".to_owned()], vec![Some(false)]));
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 1");
    assert_eq!((watcher.sizes().len(), watcher.up()), (2, vec![Some(true)]));
}

#[tokio::test]
async fn an_index_past_the_limit_is_an_error_with_that_reason() {
    let images: Vec<Pushed> = (0..1001).map(|n| image("linux/amd64", &[&Blob::named("x", n)])).collect();
    let mut entries: Vec<(&str, &Pushed)> = images[..1000].iter().map(|image| ("linux/amd64", image)).collect();
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&entries));
    watcher.scan().await;
    assert_eq!((watcher.sizes().len(), watcher.up()), (1000, vec![Some(true)]));
    entries.push(("linux/amd64", &images[1000]));
    watcher.inventory.record(&Observation {
        repository: format!("{}/acme/app", watcher.registry.name()).parse().unwrap(),
        tag: tag("v1"),
        at: 1.5,
        outcome: Outcome::Gone,
    });
    watcher.push("v1", &index(&entries));
    let scanned = watcher.scan().await;
    assert_eq!(scanned.cost, "get_manifest 1");
    assert_eq!(scanned.outcomes, [Outcome::Failed(Reason::Limit)]);
}

#[tokio::test]
async fn a_newly_wanted_platform_is_read_although_the_tag_did_not_change() {
    let (amd64, arm64) = (image_for("linux/amd64"), image_for("linux/arm64"));
    let mut watcher = Watcher::new("tags = ['v1']\nplatforms = ['linux/amd64']");
    watcher.push("v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    watcher.cost().await;
    let wider = Arc::new(Target {
        platforms: vec!["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()].into(),
        ..Target::clone(&watcher.target)
    });
    watcher.inventory.reconfigure(&[Arc::clone(&wider)], std::time::Duration::from_hours(1));
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100"]);
    assert_eq!(watcher.cost().await, "get_blob 1, get_manifest 1, head_manifest 1");
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/arm64 100"]);
    assert_eq!(watcher.cost().await, "head_manifest 1");
}
