//! What pages show is what `/metrics` shows.

use super::*;
use crate::support::images::{FOREIGN_LAYER, image_of_tars};
use crate::support::tar::{Tar, archive};

#[tokio::test]
async fn the_figures_of_json_are_those_of_the_metrics() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let metrics = daemon.metrics().await;
    let host = registry.name();
    let overview = json(&daemon, "/overview").await;
    assert_eq!(
        overview["totals"]["stored_bytes"].as_f64(),
        metrics.one("container_image_registry_stored_size_bytes", &[])
    );
    assert_eq!(overview["totals"]["images"], metrics.count("container_image_info"));
    assert_eq!(overview["totals"]["series"].as_f64(), metrics.one("image_size_exporter_series", &[]));
    assert_eq!(overview["totals"]["over_budget"], 2, "v1.2.0 and latest");
    assert_eq!(
        overview["groups"][0]["stored_bytes"].as_f64(),
        metrics.one("container_image_group_stored_size_bytes", &[])
    );

    for name in ["acme/app", "acme/tool"] {
        let of = [("repository", name)];
        let repository = json(&daemon, &format!("/repository/{host}/{name}")).await;
        for (key, family) in [
            ("stored_bytes", "container_image_repository_stored_size_bytes"),
            ("unique_bytes", "container_image_repository_unique_size_bytes"),
            ("proportional_bytes", "container_image_repository_proportional_size_bytes"),
            ("metadata_bytes", "container_image_repository_metadata_size_bytes"),
            ("tags_selected", "container_image_repository_tags"),
            ("tags_unknown", "container_image_repository_tags_unknown"),
        ] {
            assert_eq!(repository[key].as_f64(), metrics.one(family, &of), "{name} {key}");
        }
    }

    let mut compared = 0;
    for (labels, compressed) in metrics.all("container_image_compressed_size_bytes", &[]) {
        let (repository, tag, platform) = (&labels["repository"], &labels["tag"], &labels["platform"]);
        let of: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let page =
            json(&daemon, &format!("/image/{host}/{repository}:{tag}?platform={}", platform.replace('/', "%2F"))).await;
        let image = &page["image"];
        assert_eq!(image["platform"], platform.as_str());
        assert_eq!(image["compressed_bytes"].as_f64(), Some(compressed));
        for (key, family) in [
            ("unique_bytes", "container_image_unique_size_bytes"),
            ("proportional_bytes", "container_image_proportional_size_bytes"),
            ("config_bytes", "container_image_config_size_bytes"),
            ("manifest_bytes", "container_image_manifest_size_bytes"),
            ("layers_listed", "container_image_layers"),
            ("created", "container_image_created_timestamp_seconds"),
            ("budget_bytes", "container_image_size_budget_bytes"),
        ] {
            assert_eq!(image[key].as_f64(), metrics.one(family, &of), "{repository}:{tag} {platform} {key}");
        }
        let base = metrics.one("container_image_base_size_bytes", &of);
        assert_eq!(image["base"]["compressed_bytes"].as_f64(), base, "{repository}:{tag} {platform}");
        let layers: f64 = image["layers"].as_array().unwrap().iter().filter_map(|layer| layer["bytes"].as_f64()).sum();
        assert!((layers - compressed).abs() < 0.5);
        let own = image["layers"].as_array().unwrap().iter().filter(|layer| layer["reach"] == "own");
        let own: f64 = own.filter_map(|layer| layer["bytes"].as_f64()).sum();
        assert_eq!(Some(own), image["unique_bytes"].as_f64(), "what only it has is what is unique");
        compared += 1;
    }
    assert_eq!(compared, 9);
    daemon.stop().await;
}

#[tokio::test]
async fn a_page_shows_the_figures_of_its_json_with_their_exact_bytes() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let path = format!("/image/{}/acme/app:v1.2.0?platform=linux%2Famd64", registry.name());
    let html = page(&daemon, &path).await;
    for (bytes, shown) in [("140000", "140,000 bytes"), ("100000", "100,000 bytes"), ("40000", "40,000 bytes")] {
        assert!(html.contains(&format!("<data value=\"{bytes}\" title=\"{shown}\">")), "{shown}: {html}");
    }
    assert!(html.contains("2 images here, 1 image in 1 other repository"), "{html}");
    assert!(html.contains("<code>COPY 100000 bytes</code>"), "{html}");
    let overview = page(&daemon, "/").await;
    assert!(overview.contains("<svg") && overview.contains(&format!("/repository/{}/acme/tool", registry.name())));
    assert!(overview.contains("+28,000 bytes"), "the growth of the newest release");
    daemon.stop().await;
}

#[tokio::test]
async fn what_an_image_wastes_is_shown_with_its_sizes() {
    let registry = TestRegistry::start();
    let tar = |path: &str, bytes| Tar::new(&archive(&[(path.to_owned(), vec![7; bytes])]));
    let (base, again) = (tar("usr/lib/cache", 2_000), tar("usr/lib/cache", 2_100));
    registry.push("acme/app", "a", &image_of_tars(&[&base]));
    registry.push("acme/app", "b", &image_of_tars(&[&base, &again]));
    let daemon = watching(&registry, "repository = 'REGISTRY/acme/app'\nmatch = ['.']\nuncompressed = 'files'").await;
    let metrics = daemon.until("it is measured", |m| m.count("container_image_wasted_size_bytes") == 2).await;
    assert_eq!(metrics.one("container_image_wasted_size_bytes", &[("tag", "b")]), Some(2_000.0));
    let [a, b] = ["a", "b"].map(|tag| format!("{}/acme/app:{tag}", registry.name()));
    assert_eq!(json(&daemon, &format!("/image/{b}")).await["image"]["wasted_bytes"], 2_000);
    let both = json(&daemon, &format!("/compare?a={a}&b={b}")).await;
    assert_eq!((&both["a"]["wasted_bytes"], &both["b"]["wasted_bytes"]), (&0.into(), &2_000.into()));
    for path in [format!("/image/{b}"), format!("/compare?a={a}&b={b}")] {
        let html = page(&daemon, &path).await;
        assert!(html.contains("Wasted") && html.contains("2,000 bytes"), "{html}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn two_tags_are_compared_layer_by_layer() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    let path = format!("/compare?a={host}/acme/app:v1.1.0&b={host}/acme/app:v1.2.0");
    let both = json(&daemon, &path).await;
    assert_eq!(both["platform"], "linux/amd64");
    assert_eq!((&both["shared_bytes"], &both["update_bytes"]), (&100_000.into(), &40_000.into()));
    let metrics = daemon.metrics().await;
    let update = metrics.one("container_image_newest_update_size_bytes", &[("platform", "linux/amd64")]);
    assert_eq!(both["update_bytes"].as_f64(), update);
    let sides: Vec<(&str, u64)> = both["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["side"].as_str().unwrap(), layer["bytes"].as_u64().unwrap()))
        .collect();
    assert_eq!(sides, [("only_a", 12_000), ("both", 100_000), ("only_b", 40_000)]);
    let other = json(&daemon, &format!("/compare?a={host}/acme/app:v1.1.0&b={host}/acme/tool:latest")).await;
    assert_eq!((&other["shared_layers"], &other["platforms"]), (&1.into(), &serde_json::json!(["linux/amd64"])));
    assert!(page(&daemon, &path).await.contains("+28,000 bytes"));
    for (path, said) in [
        ("/compare", "Compare two images"),
        ("/compare?a=x&b=y/z:1", "<bdi>y/z:1</bdi> is not watched"),
        (&format!("/compare?a={host}/acme/app:v1.1.0&b={host}/acme/app:gone"), "acme/app:gone</bdi> is not watched"),
    ] {
        assert!(page(&daemon, path).await.contains(said), "{path}");
        assert_eq!(get(&daemon, &format!("/api/v1{path}")).await.0, 404, "{path}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_repository_says_with_what_it_shares_layers() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    let app = json(&daemon, &format!("/repository/{host}/acme/app")).await;
    assert_eq!(app["shares_with"][0]["repository"], format!("{host}/acme/tool"));
    assert_eq!((&app["shares_with"][0]["bytes"], &app["shares_with_count"]), (&100_000.into(), &1.into()));
    let reaches: Vec<Vec<&str>> = app["stacks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stack| stack["parts"].as_array().unwrap().iter().map(|part| part["reach"].as_str().unwrap()).collect())
        .collect();
    // The layer of a release is in both of its platforms.
    assert_eq!(reaches, vec![vec!["registry", "repository"]; 3], "{app}");
    let tags: Vec<&str> = app["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["latest", "v1.2.0", "v1.1.0", "v1.0.0"], "the newest first");
    for (sort, expected) in [("name", "latest"), ("size", "latest"), ("nonsense", "latest")] {
        let sorted = json(&daemon, &format!("/repository/{host}/acme/app?sort={sort}&platform=linux%2Farm64")).await;
        assert_eq!((&sorted["tags"][0]["tag"], &sorted["platform"]), (&expected.into(), &"linux/arm64".into()));
    }
    assert_eq!(json(&daemon, &format!("/repository/{host}/acme/app?page=99")).await["page"], 1);
    let team: BTreeMap<String, String> = serde_json::from_value(app["labels"].clone()).unwrap();
    assert_eq!(team, [("label_team".to_owned(), "a".to_owned())].into());
    daemon.stop().await;
}

#[tokio::test]
async fn a_tag_that_is_pushed_again_shows_what_it_was_before() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let path = format!("/image/{}/acme/tool:latest", registry.name());
    assert_eq!(json(&daemon, &path).await["past"], serde_json::json!([]));
    registry.push("acme/tool", "latest", &image("linux/amd64", &[&Blob::named("tool", 6_000)]));
    let tool = [("repository", "acme/tool")];
    daemon.until("it is read again", |m| m.one("container_image_compressed_size_bytes", &tool) == Some(6_000.0)).await;
    let past = &json(&daemon, &path).await["past"];
    assert_eq!((past.as_array().unwrap().len(), &past[0]["compressed_bytes"]), (1, &105_000.into()));
    let html = page(&daemon, &path).await;
    assert!(html.contains("<h2>Before</h2>") && html.contains("105,000 bytes"), "{html}");
    let repository = page(&daemon, &format!("/repository/{}/acme/tool", registry.name())).await;
    assert!(repository.contains("latest, earlier: 103 KiB"), "{repository}");
    daemon.stop().await;
}

#[tokio::test]
async fn no_page_causes_a_request_to_a_registry() {
    let registry = registry();
    let toml = config(&registry, &TARGETS).replace("100ms", "1h");
    let daemon = Daemon::start(&toml).await;
    daemon.until("everything is summed", |m| m.one("container_image_registry_stored_size_bytes", &[]).is_some()).await;
    registry.take_counts();
    let mut waiting = vec!["/".to_owned(), "/search".to_owned(), "/compare".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if seen.len() < 200 && seen.insert(path.clone()) {
            let (status, body) = get(&daemon, &path).await;
            assert_eq!(status, 200, "{path}");
            waiting.extend(links(&body).into_iter().filter(|link| link.starts_with('/')));
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
    assert_eq!(registry.take_counts(), "", "{seen:?}");
    daemon.stop().await;
}

/// A daemon that watches all tags of one repository, of which everything is summed.
async fn watching(registry: &TestRegistry, target: &str) -> Daemon {
    let daemon = Daemon::start(&config(registry, &[target])).await;
    daemon.until("everything is summed", |m| m.one("container_image_registry_stored_size_bytes", &[]).is_some()).await;
    daemon
}

#[tokio::test]
async fn the_tags_of_one_image_divide_what_only_that_image_has() {
    let registry = TestRegistry::start();
    let base = Blob::named("base", 50_000);
    let twice = image("linux/amd64", &[&base, &Blob::named("own", 100_000)]);
    registry.push("acme/app", "a", &twice);
    registry.push("acme/app", "b", &twice);
    registry.push("acme/app", "c", &image("linux/amd64", &[&base, &Blob::named("other", 50_000)]));
    let daemon = watching(&registry, "repository = 'REGISTRY/acme/app'\nmatch = ['.']").await;
    let html = page(&daemon, "/").await;
    // A third of the base and half of what is its own, of which deleting this tag alone frees nothing.
    assert!(html.contains("acme/app:a: 65.1 KiB (66,667 bytes), 75 % unique"), "{html}");
    assert!(html.contains("acme/app:c: 65.1 KiB (66,667 bytes), 75 % unique"), "{html}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_comparison_counts_layers_that_are_stored_elsewhere_as_the_metric_does() {
    let registry = TestRegistry::start();
    let base = Blob::named("base", 1_000);
    let foreign = Blob::named("foreign", 2_000_000).of_type(FOREIGN_LAYER);
    let release = |day: u32, layers: &[&Blob]| dated("linux/amd64", &format!("2024-01-{day:02}T00:00:00Z"), layers);
    registry.push("acme/app", "v1.0.0", &release(1, &[&base]));
    registry.push("acme/app", "v1.1.0", &release(2, &[&foreign, &base, &Blob::named("own", 6_000)]));
    let target = "repository = 'REGISTRY/acme/app'\nmatch = ['^v']\nnewest = 'semver'";
    let daemon = watching(&registry, target).await;
    let host = registry.name();
    let compare = |a: &str, b: &str| format!("/compare?a={host}/acme/app:{a}&b={host}/acme/app:{b}");
    let both = json(&daemon, &compare("v1.0.0", "v1.1.0")).await;
    let update = daemon.metrics().await.one("container_image_newest_update_size_bytes", &[]);
    assert_eq!((both["update_bytes"].as_f64(), update), (Some(2_006_000.0), Some(2_006_000.0)), "{both}");
    assert_eq!((&both["shared_bytes"], both["layers"].as_array().unwrap().len()), (&1_000.into(), 3));

    registry.push("acme/app", "v1.2.0", &release(3, &[&foreign, &base, &Blob::named("own", 7_000)]));
    daemon.until("it is read", |m| m.one("container_image_newest_update_size_bytes", &[]) == Some(7_000.0)).await;
    let both = json(&daemon, &compare("v1.1.0", "v1.2.0")).await;
    assert_eq!((&both["update_bytes"], &both["shared_bytes"]), (&7_000.into(), &2_001_000.into()), "{both}");
    daemon.stop().await;
}

#[tokio::test]
async fn images_of_hundreds_of_layers_have_short_pages() {
    let registry = TestRegistry::start();
    let layers = |name: &str| (0..300).map(|number| Blob::named(name, 1_000 + number)).collect::<Vec<Blob>>();
    for (tag, blobs) in [("a", layers("a")), ("b", layers("b"))] {
        registry.push("acme/app", tag, &image("linux/amd64", &blobs.iter().collect::<Vec<&Blob>>()));
    }
    let daemon = watching(&registry, "repository = 'REGISTRY/acme/app'\nmatch = ['.']").await;
    let host = registry.name();
    let path = format!("/image/{host}/acme/app:a");
    let of = &json(&daemon, &path).await["image"];
    assert_eq!((of["layers"].as_array().unwrap().len(), &of["layers_more"]), (256, &44.into()));
    let html = page(&daemon, &path).await;
    assert!(html.contains("And 44 layers more") && !html.contains("a repeated one"), "{html}");
    let path = format!("/compare?a={host}/acme/app:a&b={host}/acme/app:b");
    let both = json(&daemon, &path).await;
    assert_eq!((both["layers"].as_array().unwrap().len(), &both["layers_more"]), (256, &344.into()));
    let all: u64 = (0..300).map(|number| 1_000 + number).sum();
    assert_eq!(both["update_bytes"], all, "limits leave nothing out of sums");
    assert!(page(&daemon, &path).await.contains("And 344 layers more"));
    daemon.stop().await;
}

#[tokio::test]
async fn the_layers_of_an_image_with_a_repeated_one_have_their_own_commands() {
    let registry = TestRegistry::start();
    let [base, own, last] =
        [("base", 1_000), ("own", 2_000), ("last", 3_000)].map(|(name, bytes)| Blob::named(name, bytes));
    let foreign = Blob::named("foreign", 4_000).of_type(FOREIGN_LAYER);
    registry.push("acme/app", "a", &image("linux/amd64", &[&foreign, &base, &base, &own]));
    registry.push("acme/app", "b", &image("linux/amd64", &[&base, &base, &own, &last]));
    let daemon = watching(&registry, "repository = 'REGISTRY/acme/app'\nmatch = ['.']").await;
    let host = registry.name();
    let commands = |layers: &serde_json::Value| {
        let layers = layers.as_array().unwrap().iter();
        layers.map(|layer| (layer["bytes"].as_u64().unwrap(), layer["command"].as_str().map(str::to_owned))).collect()
    };
    let made = |bytes: u64| (bytes, Some(format!("COPY {bytes} bytes")));
    for (tag, own) in [("a", vec![made(1_000), made(2_000)]), ("b", vec![made(1_000), made(2_000), made(3_000)])] {
        let of = json(&daemon, &format!("/image/{host}/acme/app:{tag}")).await;
        let shown: Vec<(u64, Option<String>)> = commands(&of["image"]["layers"]);
        assert_eq!(shown, own, "{of}");
    }
    let both = json(&daemon, &format!("/compare?a={host}/acme/app:a&b={host}/acme/app:b")).await;
    let shown: Vec<(u64, Option<String>)> = commands(&both["layers"]);
    assert_eq!(shown, [(4_000, None), made(1_000), made(2_000), made(3_000)], "{both}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_platform_that_an_image_lacks_has_no_figures() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    for (path, said) in [
        (
            format!("/image/{host}/acme/tool:latest?platform=linux%2Farm64"),
            "It has no image for <bdi>linux/arm64</bdi>",
        ),
        (
            format!("/compare?a={host}/acme/app:v1.1.0&b={host}/acme/tool:latest&platform=linux%2Farm64"),
            "They have no image for <bdi>linux/arm64</bdi> in common",
        ),
    ] {
        assert!(page(&daemon, &path).await.contains(said), "{path}");
        assert_eq!(get(&daemon, &format!("/api/v1{path}")).await.0, 404, "{path}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn spans_and_counts_in_words_are_sorted_by_their_figures() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let html = page(&daemon, "/").await;
    assert!(html.contains("<data value=\"0.1\">100 ms</data>"), "every: {html}");
    assert!(html.contains("<data value=\"4\">4 tags</data>"), "selects: {html}");
    daemon.stop().await;
}
