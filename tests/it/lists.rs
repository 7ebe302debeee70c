//! Tag lists and catalogs as registries really page them.

use image_size_exporter::oci::Reason;
use image_size_exporter::registry::{RegistryError, TagList};

use crate::support::images::image;
use crate::support::registry::{Access, Reply, TestRegistry, TokenServer};

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
async fn the_next_page_is_opaque_and_on_the_same_registry() {
    for link in [
        "</v2/acme/app/tags/list?next=%2Bx%3D%3D&y>; rel=\"next\"",
        "<list?next=%2Bx%3D%3D&y>;rel=next",
        "<http://internal.name:1/v2/acme/app/tags/list?next=%2Bx%3D%3D&y>; rel=\"next\"",
    ] {
        let registry = registry(0);
        registry.next(LIST, Reply::json(r#"{"tags":["a"]}"#).and("link", link));
        registry.next(LIST, Reply::json(r#"{"tags":["b"]}"#));
        assert_eq!(texts(&list(&registry, 10_000).await.unwrap()), ["a", "b"]);
        assert_eq!(registry.requests()[1].uri, "/v2/acme/app/tags/list?next=%2Bx%3D%3D&y", "{link}");
    }
}

#[tokio::test]
async fn a_next_page_whose_path_looks_like_a_host_stays_on_the_registry() {
    let (registry, thief) = (registry(0), registry(0));
    let path = format!("//{}/v2/acme/app/tags/list?x=1", thief.name());
    let link = format!("<{}{path}>; rel=\"next\"", registry.base());
    registry.next(LIST, Reply::json(r#"{"tags":["a"]}"#).and("link", link));
    registry.always("GET //", Reply::json(r#"{"tags":["b"]}"#));
    assert_eq!(texts(&list(&registry, 10_000).await.unwrap()), ["a", "b"]);
    assert_eq!(registry.requests()[1].uri, path);
    assert_eq!(thief.counts(), "");
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
async fn a_circle_of_pages_ends() {
    let registry = registry(0);
    let page = |tag: &str, next: &str| {
        Reply::json(&format!(r#"{{"tags":["{tag}"]}}"#)).and("link", format!("<{next}>; rel=next"))
    };
    registry.always("GET /v2/acme/app/tags/list?p=1", page("b", "/v2/acme/app/tags/list?p=2"));
    registry.always("GET /v2/acme/app/tags/list?p=2", page("c", "/v2/acme/app/tags/list?p=1"));
    registry.next("GET /v2/acme/app/tags/list?n=", page("a", "/v2/acme/app/tags/list?p=1"));
    let list = list(&registry, 10_000).await.unwrap();
    assert_eq!(texts(&list), ["a", "b", "c"]);
    assert_eq!(list.stopped.map(|error| error.reason()), Some(Reason::Invalid));
    assert_eq!(registry.counts(), "list_tags 3");
}

#[tokio::test]
async fn pages_without_end_are_given_up_after_a_thousand() {
    let registry = registry(0);
    for page in 0..1001 {
        let next = format!("</v2/acme/app/tags/list?p={page}>; rel=next");
        registry.next(LIST, Reply::json(&format!(r#"{{"tags":["t{page}"]}}"#)).and("link", next));
    }
    let list = list(&registry, 10_000).await.unwrap();
    assert_eq!((list.tags.len(), registry.counts().as_str()), (1000, "list_tags 1000"));
    let stopped = list.stopped.unwrap();
    assert_eq!(stopped.reason(), Reason::Limit);
    assert!(stopped.to_string().contains("more than 1000 pages"), "{stopped}");
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
async fn an_empty_link_is_the_end() {
    let registry = registry(0);
    registry.next(LIST, Reply::json(r#"{"tags":["a"]}"#).and("link", "<>; rel=\"next\""));
    assert!(list(&registry, 10_000).await.unwrap().stopped.is_none());
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
    let catalog = registry.client().list_repositories().await.unwrap();
    let names: Vec<&str> = catalog.repositories.iter().map(image_size_exporter::oci::Repository::name).collect();
    assert_eq!(names, ["acme/app", "acme/base", "acme/deep/er", "other"]);
    assert!(catalog.stopped.is_none() && !catalog.cut);
    assert_eq!(registry.counts(), "catalog 2");
}

#[tokio::test]
async fn a_refused_catalog_says_what_that_means_and_what_to_do_instead() {
    let none = "the registry may have no catalog: name the repositories one by one instead of by a wildcard";
    let denied = "a catalog may be for administrators only, as Harbor's and GitLab's are: use such an account, or name the \
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
        let error = registry.client().list_repositories().await.unwrap_err();
        assert_eq!(error.reason(), reason);
        let text = error.to_string();
        assert!(text.starts_with(&format!("the catalog of {}: ", registry.name())), "{text}");
        assert!(text.contains(answered) && text.ends_with(&format!("; {meaning}")), "{text}");
    }
    let registry = registry(1);
    registry.always("GET /v2/_catalog", Reply::status(500));
    let text = registry.client().list_repositories().await.unwrap_err().to_string();
    assert!(!text.contains("one by one"), "a failure says nothing about the catalog: {text}");
}

/// A page of these tags with this `Link`.
fn page(tags: &[&str], link: &str) -> Reply {
    let tags: Vec<String> = tags.iter().map(|tag| format!("{tag:?}")).collect();
    let page = Reply::json(&format!(r#"{{"tags":[{}]}}"#, tags.join(",")));
    if link.is_empty() { page } else { page.and("link", link) }
}

fn stopped(list: &TagList) -> (Reason, String) {
    let error = list.stopped.as_ref().expect("the list is partial");
    (error.reason(), error.to_string())
}

#[tokio::test]
async fn a_link_that_is_not_understood_does_not_end_the_list_silently() {
    for (link, problem) in [
        ("/v2/acme/app/tags/list?last=a; rel=\"next\"", "it has no address in angle brackets"),
        ("/v2/acme/app/tags/list?last=a", "it has no address in angle brackets"),
        ("</v2/acme/app/tags/list?last=a>", "it has an address without `rel`"),
        ("</v2/acme/app/tags/list?last=\u{e4}>; rel=\"next\"", "it is not ASCII"),
        ("<http://[>; rel=\"next\"", "it has no valid address"),
    ] {
        let registry = registry(0);
        registry.next(LIST, page(&["a"], link));
        let list = list(&registry, 10_000).await.unwrap();
        assert_eq!(texts(&list), ["a"], "{link}");
        let (reason, message) = stopped(&list);
        let name = registry.name();
        assert_eq!(
            (reason, message),
            (
                Reason::Invalid,
                format!(
                    "{name}/acme/app: page 1 of the list ({name}/v2/acme/app/tags/list): its `Link` header is not understood: {problem}"
                )
            )
        );
    }
}

#[tokio::test]
async fn the_next_page_of_a_redirected_list_is_where_the_list_is_and_gets_no_credentials() {
    let (front, behind) = (registry(0), registry(0));
    let files = crate::support::files::Files::new();
    let path = files.write("password", "sesame");
    front.require(Access::Basic(vec![("alice", "sesame")]));
    front.next(LIST, Reply::Usual);
    front.next(LIST, Reply::redirect(format!("{}/v2/images/app/tags/list", behind.base())));
    behind.next("GET /v2/images/app/tags/list", page(&["a"], "</v2/images/app/tags/list?last=a>; rel=\"next\""));
    behind.next("GET /v2/images/app/tags/list?last=a", page(&["b"], "<list?last=b>; rel=\"next\""));
    behind.next("GET /v2/images/app/tags/list?last=b", Reply::error(404, "NAME_UNKNOWN"));
    let client = front.client_with(|settings| {
        settings.credential =
            image_size_exporter::registry::Credential::PasswordFile { username: "alice".to_owned(), path };
    });
    let list = client.list_tags(&front.repository(APP), 10_000, &mut |_| true).await.unwrap();
    assert_eq!(texts(&list), ["a", "b"]);
    assert_eq!((front.counts().as_str(), behind.counts().as_str()), ("list_tags 2", "list_tags 3"));
    assert!(behind.requests().iter().all(|seen| seen.header("authorization").is_empty()));
    let (reason, message) = stopped(&list);
    assert_eq!(reason, Reason::Invalid);
    let (front, behind) = (front.name(), behind.name());
    assert!(message.starts_with(&format!("{front}/acme/app: page 3 of the list ({behind}): ")), "{message}");
}

#[tokio::test]
async fn a_page_without_new_entries_ends_the_list_with_an_error() {
    for (second, problem) in [
        (page(&["b", "a"], "</v2/acme/app/tags/list?x=3>; rel=\"next\""), "it has the same entries as an earlier page"),
        (page(&["a", "b"], ""), "it has the same entries as an earlier page"),
        (page(&[], "</v2/acme/app/tags/list?x=3>; rel=\"next\""), "it is empty and links to another page"),
    ] {
        let registry = registry(0);
        registry.next(LIST, page(&["a", "b"], "</v2/acme/app/tags/list?x=2>; rel=\"next\""));
        registry.next(LIST, second);
        let list = list(&registry, 10_000).await.unwrap();
        assert_eq!(texts(&list), ["a", "b"]);
        let (reason, message) = stopped(&list);
        assert_eq!(reason, Reason::Invalid);
        assert!(message.contains("page 2 of the list") && message.contains(problem), "{message}");
        assert_eq!(registry.counts(), "list_tags 2");
    }
    let registry = registry(0);
    registry.next(LIST, page(&["a", "b"], "</v2/acme/app/tags/list?x=2>; rel=\"next\""));
    registry.next(LIST, page(&[], "<>; rel=\"next\""));
    assert!(list(&registry, 10_000).await.unwrap().stopped.is_none(), "an empty last page is the end");
}

#[tokio::test]
async fn an_error_on_a_later_page_names_the_page_and_its_address() {
    let registry = registry(25);
    registry.page_size(10);
    registry.next(LIST, Reply::Usual);
    registry.next(LIST, Reply::error(404, "NAME_UNKNOWN"));
    let list = list(&registry, 10_000).await.unwrap();
    assert_eq!(list.tags.len(), 10);
    let name = registry.name();
    assert_eq!(
        stopped(&list),
        (
            Reason::Invalid,
            format!(
                "{name}/acme/app: page 2 of the list ({name}/v2/acme/app/tags/list): the previous page links to it, and {name} answers 404 Not Found (NAME_UNKNOWN: name unknown)"
            )
        )
    );
}

#[tokio::test]
async fn a_link_with_a_wrong_path_is_repaired_with_the_lists_own_path_and_remembered() {
    // Nexus on a port of its own; Artifactory where the repository's key is part of the path.
    for (wrong, refusal) in [
        ("/repository/docker/v2/acme/app/tags/list", Reply::status(400)),
        ("/v2/app/tags/list", Reply::error(404, "NAME_UNKNOWN")),
        ("/ui/login", Reply::Answer(200, vec![], "<html>".to_owned())),
    ] {
        let registry = registry(0);
        registry.always(LIST, page(&["a"], &format!("<{}{wrong}?last=a&n=1>; rel=\"next\"", registry.base())));
        registry.always("GET /v2/acme/app/tags/list?last=a&n=1", page(&["b"], ""));
        registry.next(&format!("GET {wrong}"), refusal);
        let client = registry.client();
        for requests in [3, 2] {
            let list = client.list_tags(&registry.repository(APP), 10_000, &mut |_| true).await.unwrap();
            assert_eq!(texts(&list), ["a", "b"], "{wrong}");
            assert!(list.stopped.is_none(), "{:?}", list.stopped);
            assert_eq!(registry.requests().len(), requests, "{wrong}");
            registry.take_counts();
        }
    }
}

#[tokio::test]
async fn where_no_address_of_the_next_page_works_the_list_is_read_without_a_page_size() {
    let registry = registry(0);
    let wrong = "GET /v2/app/tags/list";
    registry.always(LIST, page(&["a", "b", "c"], ""));
    registry.always("GET /v2/acme/app/tags/list?n=1000", page(&["a"], "</v2/app/tags/list?last=a>; rel=\"next\""));
    registry.always("GET /v2/acme/app/tags/list?last=a", Reply::status(400));
    registry.always(wrong, Reply::status(404));
    let client = registry.client();
    for requests in [4, 1] {
        let list = client.list_tags(&registry.repository(APP), 10_000, &mut |_| true).await.unwrap();
        assert_eq!((texts(&list), list.stopped.is_none()), (vec!["a", "b", "c"], true));
        assert_eq!(registry.requests().len(), requests);
        registry.take_counts();
    }
}

#[tokio::test]
async fn a_list_without_a_page_size_that_has_no_more_than_was_read_repairs_nothing() {
    let registry = registry(0);
    registry.always(LIST, page(&["a", "b"], ""));
    registry.always("GET /v2/acme/app/tags/list?n=1000", page(&["a", "b"], "</wrong?last=b>; rel=\"next\""));
    registry.always("GET /v2/acme/app/tags/list?last=b", Reply::status(400));
    registry.always("GET /wrong", Reply::status(404));
    let list = list(&registry, 10_000).await.unwrap();
    assert_eq!(texts(&list), ["a", "b"]);
    let (reason, message) = stopped(&list);
    assert_eq!(reason, Reason::Server);
    assert!(message.contains("page 2 of the list") && message.contains("/wrong): "), "{message}");
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
