//! Links to the next page: wrong, odd, or without end.

use super::*;

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
async fn an_empty_link_is_the_end() {
    let registry = registry(0);
    registry.next(LIST, Reply::json(r#"{"tags":["a"]}"#).and("link", "<>; rel=\"next\""));
    assert!(list(&registry, 10_000).await.unwrap().stopped.is_none());
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
    // Known entries in another mix than on any page before.
    let registry = registry(0);
    for (number, tags) in [&["a", "b"][..], &["c"], &["c", "a"]].into_iter().enumerate() {
        registry.next(LIST, page(tags, &format!("</v2/acme/app/tags/list?x={}>; rel=\"next\"", number + 2)));
    }
    let list_of_three = list(&registry, 10_000).await.unwrap();
    assert_eq!(texts(&list_of_three), ["a", "b", "c"]);
    let (reason, message) = stopped(&list_of_three);
    let problem = "it has only entries of earlier pages and links to another page";
    assert_eq!(reason, Reason::Invalid);
    assert!(message.contains("page 3 of the list") && message.contains(problem), "{message}");
    assert_eq!(registry.counts(), "list_tags 3");
    let registry = registry_of_two_pages();
    assert!(list(&registry, 10_000).await.unwrap().stopped.is_none(), "an empty last page is the end");
}

fn registry_of_two_pages() -> TestRegistry {
    let registry = registry(0);
    registry.next(LIST, page(&["a", "b"], "</v2/acme/app/tags/list?x=2>; rel=\"next\""));
    registry.next(LIST, page(&[], "<>; rel=\"next\""));
    registry
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
async fn a_repair_that_does_not_help_is_not_remembered() {
    let registry = registry(0);
    let linked = "GET /other/list";
    // The list's own path ignores the cursor, and what is linked to is away for a moment.
    registry.always(LIST, page(&["a"], "</other/list?last=a>; rel=\"next\""));
    registry.always(linked, page(&["b"], ""));
    registry.next(linked, Reply::error(404, "NAME_UNKNOWN"));
    let client = registry.client();
    let list = async || client.list_tags(&registry.repository(APP), 10_000, &mut |_| true).await.unwrap();
    let broken = list().await;
    assert_eq!(texts(&broken), ["a"]);
    assert!(stopped(&broken).1.contains("page 2 of the list"), "{:?}", broken.stopped);
    let whole = list().await;
    assert_eq!(texts(&whole), ["a", "b"]);
    assert!(whole.stopped.is_none(), "{:?}", whole.stopped);
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
