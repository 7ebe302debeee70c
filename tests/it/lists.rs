//! Tag lists and catalogs as registries really page them.

use image_size_exporter::oci::Reason;
use image_size_exporter::registry::{RegistryError, TagList};

use crate::support::images::{Blob, image};
use crate::support::registry::{Access, Reply, TestRegistry, TokenServer};

mod links;
mod owner;

const APP: &str = "acme/app";
const LIST: &str = "GET /v2/acme/app/tags/list";

/// A registry with so many tags, `t000`, `t001`, ….
fn registry(tags: usize) -> TestRegistry {
    let registry = TestRegistry::start();
    let pushed = image("linux/amd64", &[]);
    registry.store(APP, &pushed);
    for tag in 0..tags {
        registry.tag(APP, &format!("t{tag:03}"), pushed.digest());
    }
    registry
}

async fn list(registry: &TestRegistry, max: usize) -> Result<TagList, RegistryError> {
    registry.client().list_tags(&registry.repository(APP), max, &mut |_| true).await
}

fn texts(list: &TagList) -> Vec<&str> {
    list.tags.iter().map(image_size_exporter::oci::Tag::as_str).collect()
}

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let registry = registry(25);
    registry.page_size(10);
    let list = list(&registry, 10_000).await.unwrap();
    assert_eq!((list.tags.len(), list.stopped.is_none(), list.cut), (25, true, false));
    assert_eq!(registry.counts(), "list_tags 3");
    let first = &registry.requests()[0];
    assert_eq!(first.parameters("n"), ["1000"]);
}

#[tokio::test]
async fn a_list_is_read_leniently() {
    let hash = "ab".repeat(32);
    for (body, expected) in [
        (r#"{"tags":null}"#, &[][..]),
        (r#"{"tags":[]}"#, &[]),
        (r#"{"tags":["b",null,"a","b"]}"#, &["b", "a"]),
        (&format!(r#"{{"tags":["a","sha256:{hash}","sha256-{hash}","sha256-{hash}.sig","-x",""]}}"#), &["a"]),
        (r#"{"tags":["a"],"child":["x"],"manifest":{"sha256:1":{"imageSizeBytes":"1","tag":["a"]}}}"#, &["a"]),
    ] {
        let registry = registry(0);
        registry.next(LIST, Reply::json(body));
        let list = list(&registry, 10_000).await.unwrap();
        assert_eq!(texts(&list), expected, "{body}");
        assert!(list.stopped.is_none() && !list.cut);
    }
}

#[tokio::test]
async fn signatures_do_not_count_towards_the_limit_of_a_list() {
    let hash = "ab".repeat(32);
    let registry = registry(0);
    let body = format!(r#"{{"tags":["sha256-{hash}.sig","sha256-{hash}.att","sha256-{hash}","v1"]}}"#);
    registry.next(LIST, Reply::json(&body));
    let list = list(&registry, 1).await.unwrap();
    assert_eq!((texts(&list).as_slice(), list.cut), (&["v1"][..], false));
}

#[tokio::test]
async fn a_page_that_fails_leaves_a_partial_list_that_says_so() {
    for (reply, reason) in [
        (Reply::status(404), Reason::Server),
        (Reply::status(418), Reason::Server),
        (Reply::json("no list"), Reason::Invalid),
        (Reply::json(r#"{"name":"acme/app"}"#), Reason::Invalid),
        (Reply::Answer(200, vec![], " ".repeat((8 << 20) + 1)), Reason::Limit),
        (Reply::error(403, "DENIED"), Reason::Denied),
    ] {
        let registry = registry(25);
        registry.page_size(10);
        registry.next(LIST, Reply::Usual);
        registry.next(LIST, Reply::Usual);
        registry.next(LIST, reply.clone());
        let list = list(&registry, 10_000).await.unwrap();
        assert_eq!(list.tags.len(), 20, "{reply:?}");
        assert_eq!(list.stopped.map(|error| error.reason()), Some(reason), "{reply:?}");
    }
}

#[tokio::test]
async fn a_first_page_that_fails_is_an_error() {
    for (reply, reason) in [
        (Reply::error(404, "NAME_UNKNOWN"), Reason::NotFound),
        (Reply::status(404), Reason::Server),
        (Reply::json("no list"), Reason::Invalid),
        (Reply::json("{}"), Reason::Invalid),
        (Reply::json(r#"{"name":"acme/app"}"#), Reason::Invalid),
    ] {
        let registry = registry(5);
        registry.always(LIST, reply);
        assert_eq!(list(&registry, 10_000).await.unwrap_err().reason(), reason);
    }
}

#[tokio::test]
async fn one_token_opens_every_page() {
    let registry = registry(25);
    registry.page_size(10);
    registry.require(Access::Token(TokenServer::default()));
    assert_eq!(list(&registry, 10_000).await.unwrap().tags.len(), 25);
    assert_eq!(registry.counts(), "list_tags 4, token 1");
    assert!(registry.requests().iter().skip(2).all(|seen| seen.header("authorization") == "Bearer token-1"));
}

#[tokio::test]
async fn a_list_is_truncated_at_the_given_limit() {
    let registry = registry(25);
    registry.page_size(10);
    let cut = list(&registry, 15).await.unwrap();
    assert_eq!((cut.tags.len(), cut.cut, cut.stopped.is_none()), (15, true, true));
    assert_eq!(registry.take_counts(), "list_tags 2");
    let whole = list(&registry, 25).await.unwrap();
    assert_eq!((whole.tags.len(), whole.cut), (25, false));
}

#[tokio::test]
async fn a_registry_that_refuses_a_page_size_does_not_get_one_again() {
    for refusal in [Reply::error(400, "PAGINATION_NUMBER_INVALID"), Reply::error(405, "UNSUPPORTED")] {
        let registry = registry(5);
        registry.always("GET /v2/acme/app/tags/list?n=", refusal);
        let client = registry.client();
        for counts in ["list_tags 2", "list_tags 1"] {
            assert_eq!(client.list_tags(&registry.repository(APP), 10_000, &mut |_| true).await.unwrap().tags.len(), 5);
            assert_eq!(registry.take_counts(), counts);
        }
    }
}

#[tokio::test]
async fn a_catalog_is_listed_like_tags() {
    let registry = registry(1);
    for name in ["acme/base", "acme/deep/er", "other"] {
        registry.store(name, &image("linux/amd64", &[]));
    }
    registry.page_size(3);
    let catalog = registry.client().list_repositories(&[]).await.unwrap();
    let names: Vec<&str> = catalog.repositories.iter().map(image_size_exporter::oci::Repository::name).collect();
    assert_eq!(names, ["acme/app", "acme/base", "acme/deep/er", "other"]);
    assert!(catalog.stopped.is_none() && !catalog.cut);
    assert_eq!(registry.counts(), "catalog 2");
}

#[tokio::test]
async fn a_refused_catalog_says_what_that_means_and_what_to_do_instead() {
    let none = "the registry may have no catalog: name the repositories one by one instead of by a wildcard";
    let denied = "a catalog may be for administrators only, as Harbor's and GitLab's are: set `list = \"harbor\"` or `\"gitlab\"`, use such an account, or name the \
                  repositories one by one instead of by a wildcard";
    for (reply, reason, answered, meaning) in [
        (Reply::error(404, "UNSUPPORTED"), Reason::Unsupported, "404 Not Found", none),
        (Reply::status(404), Reason::Unsupported, "404 Not Found", none),
        (Reply::status(405), Reason::Unsupported, "405 Method Not Allowed", none),
        // Harbor's words to everybody but its administrators.
        (Reply::error(401, "UNAUTHORIZED"), Reason::Denied, "401 Unauthorized", denied),
        (Reply::error(403, "DENIED"), Reason::Denied, "403 Forbidden", denied),
    ] {
        let registry = registry(1);
        registry.always("GET /v2/_catalog", reply);
        let error = registry.client().list_repositories(&[]).await.unwrap_err();
        assert_eq!(error.reason(), reason);
        let text = error.to_string();
        assert!(text.starts_with(&format!("the catalog of {}: ", registry.name())), "{text}");
        assert!(!text.contains("private") && !text.contains("its name"), "a catalog is no repository: {text}");
        assert_eq!(text.contains("the registry refused its catalog"), reason == Reason::Denied, "{text}");
        assert!(text.contains(answered) && text.ends_with(&format!("; {meaning}")), "{text}");
    }
    let registry = registry(1);
    registry.always("GET /v2/_catalog", Reply::status(500));
    let text = registry.client().list_repositories(&[]).await.unwrap_err().to_string();
    assert!(!text.contains("one by one"), "a failure says nothing about the catalog: {text}");
}

/// A page of these tags with this `Link`.
fn page(tags: &[&str], link: &str) -> Reply {
    let tags: Vec<String> = tags.iter().map(|tag| format!("{tag:?}")).collect();
    let page = Reply::json(&format!(r#"{{"tags":[{}]}}"#, tags.join(",")));
    if link.is_empty() { page } else { page.and("link", link) }
}

#[tokio::test]
async fn only_selected_tags_count_towards_the_limit_of_a_list() {
    let registry = registry(25);
    registry.tag(APP, "v1", image("linux/amd64", &[]).digest());
    registry.tag(APP, "v2", image("linux/amd64", &[]).digest());
    registry.page_size(10);
    let client = registry.client();
    for (max, expected, cut) in [(2, &["v1", "v2"][..], false), (1, &["v1"], true)] {
        let selects = &mut |tag: &image_size_exporter::oci::Tag| tag.as_str().starts_with('v');
        let list = client.list_tags(&registry.repository(APP), max, selects).await.unwrap();
        assert_eq!((texts(&list).as_slice(), list.cut, list.listed), (expected, cut, 27));
    }
}
