//! Odd and hostile names are text, and lead where they should.

use std::sync::Arc;

use image_size_exporter::image::accounting::StoredLayer;
use image_size_exporter::inventory::snapshot::{
    ImageLayers, Past, PastContent, PastImage, ReclaimableView, RepositoryView, Snapshot,
};
use image_size_exporter::oci::Digest;

use super::*;
use crate::http::published;
use crate::snapshots::{self, Odd};

async fn get_from(address: &str, path: &str) -> String {
    ask(address, &format!("GET {path}")).await.unwrap()
}

#[tokio::test]
async fn hostile_texts_are_shown_as_text() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\u{202e}txt.exe\u{2066}",
        "&lt;b&gt;",
        "</title></svg></main>",
        &"x".repeat(4 << 10),
    ];
    for text in hostile {
        let odd = Odd {
            media_type: text.to_owned(),
            artifact_type: text.to_owned(),
            platform: text.to_owned(),
            target: text.to_owned(),
            label: text.to_owned(),
            group: text.to_owned(),
        };
        let server = published(snapshots::odd(&odd)).await;
        let address = server.address.to_string();
        for path in ["/", "/search?q=odd", "/repository/docker.io/library/odd", "/image/docker.io/library/odd:v1.7.0"] {
            let answer = get_from(&address, path).await;
            let (head, html) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.0 200 "), "{path}: {answer}");
            assert_eq!(html.matches("<script").count(), 1, "{path} {text}: only the page's own");
            for tag in ["<img", "</title></svg>", "<b>", "\u{202e}", "\u{2066}"] {
                assert!(!html.contains(tag), "{path} {text}: {tag}");
            }
            assert!(html.len() < 100_000, "{path}: {} bytes", html.len());
            assert_eq!(html.matches("<main").count() + html.matches("</main>").count(), 2, "{path} {text}");
            let json = get_from(&address, &format!("/api/v1{}", if path == "/" { "/overview" } else { path })).await;
            serde_json::from_str::<Value>(json.split_once("\r\n\r\n").unwrap().1).unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_person_searches_for_is_text_too() {
    let server = published(snapshots::large(10)).await;
    let address = server.address.to_string();
    for (query, found) in [
        ("service-0", "1 repository and 0 tags"),
        ("SERVICE-0%3Av1.3.0", "0 repositories and 1 tag"),
        ("v1.3", "0 repositories and 1 tag"),
        ("%3Cscript%3E%22", "Search for “<bdi>&lt;script&gt;&quot;</bdi>”"),
        ("%ff%00", "0 repositories and 0 tags"),
        ("+", "1 repository."),
    ] {
        let html = get_from(&address, &format!("/search?q={query}")).await;
        assert!(html.contains(found), "{query}: {html}");
        assert_eq!(html.matches("<script").count(), 1, "{query}");
    }
}

#[tokio::test]
async fn repositories_with_ports_slashes_and_digests_as_tags_are_reached() {
    let mut snapshot = snapshots::large(1);
    let registry = Arc::make_mut(&mut snapshot.registries[0]);
    let repository = Arc::make_mut(&mut registry.repositories[0]);
    let digest_like = "sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    repository.tags[0].tag = digest_like.parse().unwrap();
    let server = published(snapshot).await;
    let address = server.address.to_string();
    let path = format!("/image/registry.example.com:5000/team-0/service-0:{digest_like}");
    for path in [
        &path,
        &path.replace("/team-0", "/%74eam-0"),
        &path.replace("com:5000", "com%3A5000"),
        &format!("{path}?platform=linux%2Farm64"),
        &format!("{path}?platform=nonsense"),
    ] {
        let html = get_from(&address, path).await;
        assert!(html.starts_with("HTTP/1.0 200 ") && html.contains(digest_like), "{path}: {html}");
    }
    for path in ["/image/%ff:x", "/repository/%ff", "/image/registry.example.com:5000/team-0/service-0", "/repository/"]
    {
        assert!(get_from(&address, path).await.starts_with("HTTP/1.0 404 "), "{path}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_not_shown_as_zero() {
    let server = published(snapshots::unread()).await;
    let address = server.address.to_string();
    for path in ["/repository/docker.io/library/new", "/image/docker.io/library/new:latest", "/"] {
        let html = get_from(&address, path).await;
        assert!(html.starts_with("HTTP/1.0 200 ") && !html.contains(">0 B<"), "{path}: {html}");
    }
    let empty = published(Snapshot::default()).await;
    let html = get_from(&empty.address.to_string(), "/").await;
    assert!(html.contains("The configuration has no targets.") && !html.contains("<svg"), "{html}");
}

#[tokio::test]
async fn what_runs_is_shown_with_its_size_and_old_digests() {
    let server =
        published(snapshots::odd(&Odd { target: "cluster".into(), platform: "linux/amd64".into(), ..Odd::default() }))
            .await;
    let answer = get_from(&server.address.to_string(), "/api/v1/overview").await;
    let overview: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let row = &overview["running"][0];
    assert_eq!((&row["source"], &row["image"]), (&"cluster".into(), &"docker.io/library/odd:v1.7.0".into()));
    assert_eq!((&row["containers"], &row["nodes"], &row["outdated"]), (&12.into(), &5.into(), &3.into()));
    assert!(row["compressed_bytes"].as_u64() > Some(0), "{row}");
    let html = get_from(&server.address.to_string(), "/").await;
    assert!(html.contains("<h2>What runs</h2>") && html.contains("With an old digest"), "{html}");
}

#[tokio::test]
async fn long_lists_have_pages() {
    let server = published(snapshots::large(2_500)).await;
    let address = server.address.to_string();
    let first = get_from(&address, "/search").await;
    assert!(first.contains("250 repositories.") && first.contains("Page 1 of 3"), "{first}");
    assert!(first.contains("href=\"/search?page=2\"") && !first.contains("rel=\"prev\""));
    let last = get_from(&address, "/search?sort=name&page=3").await;
    assert!(last.contains("Page 3 of 3") && last.contains("href=\"/search?sort=name&amp;page=2\""), "{last}");
    assert_eq!(last.matches("/repository/registry.example.com:5000/").count(), 50);
    let overview = get_from(&address, "/").await;
    assert!(overview.len() < 300_000, "{} bytes", overview.len());
}

/// One image, whose repository and registry a test changes.
fn one(change: impl FnOnce(&mut RepositoryView)) -> Snapshot {
    let mut snapshot = snapshots::odd(&Odd { platform: "linux/amd64".into(), ..Odd::default() });
    change(Arc::make_mut(&mut Arc::make_mut(&mut snapshot.registries[0]).repositories[0]));
    snapshot
}

async fn json_from(address: &str, path: &str) -> Value {
    let answer = get_from(address, &format!("/api/v1{path}")).await;
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_layer_is_nobodys_own_while_that_is_unknown() {
    let server = published(one(|repository| {
        let image = &mut repository.tags[0].images[0];
        image.layers = ImageLayers([StoredLayer { layer: 0, bytes: 1_000 }].into());
        (image.unique_bytes, image.proportional_bytes) = (None, None);
    }))
    .await;
    let address = server.address.to_string();
    let image = "/image/docker.io/library/odd:v1.7.0";
    assert_eq!(json_from(&address, image).await["image"]["layers"][0]["reach"], Value::Null);
    let repository = "/repository/docker.io/library/odd";
    assert_eq!(json_from(&address, repository).await["stacks"][0]["parts"][0]["reach"], Value::Null);
    for path in [image, repository] {
        let html = get_from(&address, path).await;
        assert!(
            !html.contains("), in this image only</title>") && html.contains("not known how far shared"),
            "{path}: {html}"
        );
        assert!(!html.contains("no other known"), "{path}: {html}");
    }
}

#[tokio::test]
async fn earlier_images_are_drawn_once_and_only_at_the_time_at_which_they_were_made() {
    let server = published(one(|repository| {
        let past = |name: &str, created: Option<f64>| {
            let platform = repository.tags[0].images[0].platform.clone();
            let images = [PastImage { platform, created, compressed_bytes: Some(1_000) }].into();
            PastContent { until: 1.7e9, digest: Digest::sha256_of(name.as_bytes()), images }
        };
        let all = [past("no date", None), past("x", Some(1.6e9)), past("x", Some(1.6e9))];
        repository.tags[0].past = Past(Some(all.into()));
    }))
    .await;
    let html = get_from(&server.address.to_string(), "/repository/docker.io/library/odd").await;
    // One in the wide and one in the narrow picture, each with a label and a title.
    assert_eq!(html.matches("v1.7.0, earlier: ").count(), 4, "{html}");
}

#[tokio::test]
async fn the_headline_of_what_can_be_freed_is_the_sum_of_one_policy() {
    let mut snapshot = snapshots::odd(&Odd::default());
    let other = snapshots::large(1).registries.remove(0);
    snapshot.registries.push(other);
    let mut set = |place: usize, policies: &[(&str, Option<u64>)]| {
        let view = |(name, bytes): &(&str, Option<u64>)| ReclaimableView {
            policy: (*name).into(),
            bytes: *bytes,
            tags: Some(1),
        };
        Arc::make_mut(&mut snapshot.registries[place]).reclaimable = policies.iter().map(view).collect();
        snapshot.clone()
    };
    set(0, &[("old", Some(600))]);
    let known = set(1, &[("old", Some(500)), ("older", Some(900))]);
    let unknown = set(1, &[("old", None), ("older", Some(900))]);
    let none = {
        set(0, &[]);
        set(1, &[])
    };
    for (snapshot, said) in [
        (
            known,
            "<data value=\"1100\" title=\"1,100 bytes\">1.1 KiB</data> <small class=\"dim\">by <bdi>old</bdi></small>",
        ),
        (unknown, "title=\"what a policy would free is not known\">–"),
        (none, "title=\"there is no policy\">–"),
    ] {
        let html = get_from(&published(snapshot).await.address.to_string(), "/").await;
        let headline = html.split_once("<dt>Reclaimable</dt>").unwrap().1.split_once("</div>").unwrap().0;
        assert!(headline.contains(said), "{headline}");
    }
}

#[tokio::test]
async fn what_a_person_asks_for_comes_back_without_invisible_characters() {
    let server = published(snapshots::large(1)).await;
    for path in ["/search?q=%E2%80%AEabc", "/compare?a=x%2F%E2%80%AEabc:1&b=y"] {
        let html = get_from(&server.address.to_string(), path).await;
        assert!(html.contains("abc") && !html.contains('\u{202e}'), "{path}: {html}");
    }
}
