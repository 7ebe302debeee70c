//! Tag lists and catalogs.

use serde_json::json;

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, api, html, ok, raw, status};
use crate::support::images::{Blob, image};
use crate::support::tar::gzip;

const LIST: &str = "GET /v2/acme/app/tags/list";
const CATALOG: &str = "GET /v2/_catalog";

/// A page of a list, which links to another one.
fn page(tags: &[&str], link: &str) -> Answer {
    let page = ok(json!({"name": "acme/app", "tags": tags}).to_string());
    if link.is_empty() { page } else { page.with("Link", link) }
}

fn next(target: &str) -> String {
    format!("<{target}>; rel=\"next\"")
}

/// A registry with `v1`, `v2` and `v3` of 1,000, 2,000 and 3,000 bytes.
fn site() -> Site {
    let mut site = Site::new();
    for (tag, bytes) in [("v2", 2_000), ("v3", 3_000)] {
        site.push("acme/app", tag, &image("linux/amd64", &[&Blob::named(tag, bytes)]));
    }
    site
}

/// The first page is `v1`, with this link; where that leads, is `v2`.
fn linked(link: &str) -> Site {
    let second = page(&["v2"], "");
    site()
        .fault("GET /v2/acme/app/tags/list?last", [second.clone()])
        .fault("GET /v2/acme/app/tags/list?n=1000&last", [second.clone()])
        .fault("GET /mirror/acme/app/tags/list", [second])
        .fault(LIST, [page(&["v1"], link)])
}

/// What is published where the list ends too early: `v1`, and no sum.
const CUT: &str = "down, v1 linux/amd64 1000, list_tags invalid";
const WHOLE: &str = "up, v1 linux/amd64 1000, v2 linux/amd64 2000, stored 3000";
const ONE: &str = "up, v1 linux/amd64 1000, stored 1000";
const NOTHING: &str = "down, list_tags invalid";

fn links() -> Vec<(&'static str, Site, &'static str)> {
    let long = format!("/v2/acme/app/tags/list?last={}", "x".repeat(60_000));
    vec![
        ("link without brackets", linked("/v2/acme/app/tags/list?last=v1; rel=\"next\""), CUT),
        ("link without rel", linked("</v2/acme/app/tags/list?last=v1>"), CUT),
        ("link that is not ASCII", linked("</v2/acme/app/tags/list?last=ü>; rel=\"next\""), CUT),
        ("link without its last bracket", linked("</v2/acme/app/tags/list?last=v1; rel=\"next\""), CUT),
        ("link with garbage behind it", linked("</v2/acme/app/tags/list?last=v1>; rel=\"last\" garbage"), CUT),
        ("empty link", linked("<>; rel=\"next\""), ONE),
        ("link to something else", linked("</v2/acme/app/tags/list?last=v1>; rel=\"first\""), ONE),
        ("link to another host", linked(&next("http://other.test/v2/acme/app/tags/list?last=v1")), WHOLE),
        ("link to metadata of a cloud", linked(&next("http://169.254.169.254/v2/acme/app/tags/list?last=v1")), WHOLE),
        ("link with a password", linked(&next("http://user:pass@other.test/v2/acme/app/tags/list?last=v1")), WHOLE),
        ("link that is relative", linked(&next("?last=v1")), WHOLE),
        (
            "link whose path is another",
            linked(&next("/api/docker/acme/app/tags/list?last=v1")),
            "up, v1 linux/amd64 1000, v2 linux/amd64 2000, stored 3000, list_tags invalid",
        ),
        ("link of another scheme", linked(&next("javascript:alert(1)")), CUT),
        ("link of a file", linked(&next("file:///etc/passwd")), CUT),
        ("link that is no address", linked(&next("http://[::1")), CUT),
        ("link with a fragment", linked(&next("/v2/acme/app/tags/list?last=v1#fragment")), WHOLE),
        ("link in capitals", linked("</v2/acme/app/tags/list?last=v1>; REL=NEXT"), WHOLE),
        ("second of two links", linked("</v2/a>; rel=\"prev\", </v2/acme/app/tags/list?last=v1>; rel=\"next\""), WHOLE),
        ("link of 60 KB", linked(&next(&long)), WHOLE),
        ("link to itself", linked(&next("/v2/acme/app/tags/list?n=1000")), CUT),
        (
            "links in a circle",
            site()
                .fault("GET /v2/acme/app/tags/list?last=v2", [page(&["v3"], &next("?last=v1"))])
                .fault("GET /v2/acme/app/tags/list?last=v1", [page(&["v2"], &next("?last=v2"))])
                .fault(LIST, [page(&["v1"], &next("?last=v1"))]),
            "down, v1 linux/amd64 1000, v2 linux/amd64 2000, v3 linux/amd64 3000, list_tags invalid",
        ),
        (
            "pages that bring nothing new",
            site()
                .fault("GET /v2/acme/app/tags/list?last=b", [page(&["v1"], &next("?last=c"))])
                .fault("GET /v2/acme/app/tags/list?last=a", [page(&["v1"], &next("?last=b"))])
                .fault(LIST, [page(&["v1"], &next("?last=a"))]),
            CUT,
        ),
        ("empty page that links on", site().fault(LIST, [page(&[], &next("?last=v1"))]), NOTHING),
        (
            "relative link after a redirect",
            linked("").fault("GET /moved", [page(&["v1"], &next("/mirror/acme/app/tags/list?last=v1"))]),
            ONE,
        ),
    ]
}

fn later_pages() -> Vec<(&'static str, Site, &'static str)> {
    let second = |answer: Answer| {
        site().fault("GET /v2/acme/app/tags/list?last", [answer]).fault(LIST, [page(&["v1"], &next("?last=v1"))])
    };
    vec![
        ("second page missing", second(api(404, "NAME_UNKNOWN")), CUT),
        ("second page of a proxy", second(html(404)), "down, v1 linux/amd64 1000, list_tags server"),
        ("second page denied", second(status(403)), "down, v1 linux/amd64 1000, list_tags denied"),
        ("second page fails", second(status(500)), "down, v1 linux/amd64 1000, list_tags server"),
        ("second page is HTML", second(html(200)), CUT),
        ("second page is not a list", second(ok("{}")), CUT),
        ("second page is empty", second(ok("")), CUT),
        (
            "second page is cut",
            second(raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"tags\":[\"v2\"")),
            "down, v1 linux/amd64 1000, list_tags network",
        ),
        ("second page has a broken entry", second(ok(r#"{"tags":["v2",7]}"#)), CUT),
        (
            "second page redirects for ever",
            second(status(307).with("Location", "/v2/acme/app/tags/list?last=v1")),
            "down, v1 linux/amd64 1000, list_tags limit",
        ),
        ("second page is one of no bytes", second(status(204)), "down, v1 linux/amd64 1000, list_tags server"),
    ]
}

fn pages() -> Vec<(&'static str, Site, &'static str)> {
    let answered = |answer: Answer| site().fault(LIST, [answer]);
    let json = |text: &str| answered(ok(text));
    let bytes = |bytes: &[u8]| answered(ok(bytes));
    vec![
        ("list of null", json(r#"{"name":"acme/app","tags":null}"#), "up"),
        ("list of nothing", json(r#"{"name":"acme/app","tags":[]}"#), "up"),
        ("list without tags", json(r#"{"name":"acme/app"}"#), NOTHING),
        ("list of a null entry", json(r#"{"tags":[null,"v1",null]}"#), ONE),
        ("list of repetitions", json(r#"{"tags":["v1","v1","v1"]}"#), ONE),
        ("list of another repository", json(r#"{"name":"evil/other","tags":["v1"]}"#), ONE),
        ("list of numbers", json(r#"{"tags":[1,2]}"#), NOTHING),
        ("list that is a map", json(r#"{"tags":{"v1":"sha256:0"}}"#), NOTHING),
        ("list that is a text", json(r#"{"tags":"v1"}"#), NOTHING),
        ("list twice", json(r#"{"tags":["v1"],"tags":["v2"]}"#), NOTHING),
        (
            "list of all kinds of names",
            json(r#"{"tags":["v1","../../etc","a/b","-x","\u202egnp","line\nbreak","\u0000",""," ","ü"]}"#),
            ONE,
        ),
        ("list of a name of 1 MB", answered(ok(format!(r#"{{"tags":["{}","v1"]}}"#, "x".repeat(1 << 20)))), ONE),
        (
            "list of digests",
            json(r#"{"tags":["v1","sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}"#),
            ONE,
        ),
        ("list with garbage behind it", json(r#"{"tags":["v1"]}]"#), NOTHING),
        ("list that is cut in JSON", json(r#"{"tags":["v1""#), NOTHING),
        ("list of no bytes", json(""), NOTHING),
        ("list that is null", json("null"), NOTHING),
        ("list that is an array", json(r#"["v1"]"#), NOTHING),
        ("list with a byte order mark", bytes(b"\xef\xbb\xbf{\"tags\":[\"v1\"]}"), NOTHING),
        ("list that is not UTF-8", bytes(b"{\"tags\":[\"v1\",\"\xff\"]}"), NOTHING),
        ("list in UTF-16", bytes(b"\xff\xfe{\0}\0"), NOTHING),
        ("list nested for ever", answered(ok(format!("{{\"x\":{}", "[".repeat(1 << 20)))), NOTHING),
    ]
}

fn bodies() -> Vec<(&'static str, Site, &'static str)> {
    let answered = |answer: Answer| site().fault(LIST, [answer]);
    let gzipped = gzip(br#"{"tags":["v1"]}"#);
    let many = |count: usize| (0..count).map(|number| format!("\"{number}\"")).collect::<Vec<_>>().join(",");
    vec![
        ("list that is HTML", answered(html(200)), NOTHING),
        ("list as text/html", answered(ok(r#"{"tags":["v1"]}"#).with("Content-Type", "text/html")), ONE),
        ("list in gzip", answered(ok(gzipped.clone()).with("Content-Encoding", "gzip")), ONE),
        (
            "list in half a gzip",
            answered(ok(gzipped[..20].to_vec()).with("Content-Encoding", "gzip")),
            "down, list_tags network",
        ),
        (
            "list that is no gzip",
            answered(ok(r#"{"tags":["v1"]}"#).with("Content-Encoding", "gzip")),
            "down, list_tags network",
        ),
        (
            "list that is a gzip bomb",
            answered(ok(gzip(&vec![b' '; 64 << 20])).with("Content-Encoding", "gzip")),
            "down, list_tags limit",
        ),
        ("list in Brotli", answered(ok("x").with("Content-Encoding", "br")), "down, list_tags server"),
        ("list in an odd encoding", answered(ok("x").with("Content-Encoding", "\u{202e}")), "down, list_tags server"),
        (
            "list in cut chunks",
            answered(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"tags\":[\"v1\"")),
            "down, list_tags network",
        ),
        (
            "list in odd chunks",
            answered(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")),
            "down, list_tags network",
        ),
        ("list of 8 MiB of tags", answered(ok(format!(r#"{{"tags":["v1",{}]}}"#, many(900_000)))), ONE),
        (
            "list of 9 MiB",
            answered(ok(format!(r#"{{"tags":["v1"],"pad":"{}"}}"#, "x".repeat(9 << 20)))),
            "down, list_tags limit",
        ),
        (
            "list without an end",
            answered(Answer::Endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                format!("10000\r\n{}\r\n", "[".repeat(1 << 16)).into(),
            )),
            "down, list_tags limit",
        ),
        (
            "list that is moved",
            site().fault("GET /moved", [page(&["v1"], "")]).fault(LIST, [status(307).with("Location", "/moved")]),
            ONE,
        ),
        ("list of a repository that is unknown", answered(api(404, "NAME_UNKNOWN")), "down, list_tags not_found"),
        ("list of a proxy that knows nothing", answered(html(404)), "down, list_tags server"),
        ("list that is denied", answered(status(403)), "down, list_tags denied"),
        ("list that is not allowed", answered(status(405)), "down, list_tags unsupported"),
        (
            "list without a page size",
            site()
                .fault("GET /v2/acme/app/tags/list?n=", [api(400, "PAGINATION_NUMBER_INVALID")])
                .fault(LIST, [page(&["v1"], "")]),
            ONE,
        ),
        ("list that is created", answered(ok(r#"{"tags":["v1"]}"#).with("X", "y")), ONE),
        (
            "list of an error with status 200",
            answered(ok(r#"{"errors":[{"code":"UNAUTHORIZED","message":"\u202eno\u001b[31m"}]}"#)),
            NOTHING,
        ),
        (
            "list refused in odd words",
            answered(Answer::Http(
                403,
                Vec::new(),
                r#"{"errors":[{"code":"DENIED","message":"\u202eno\u001b[31m\u2028"}]}"#.into(),
            )),
            "down, list_tags denied",
        ),
    ]
}

/// A list of 1,001 pages.
fn many_pages() -> Site {
    let mut site = site();
    for number in 1..=1_001 {
        let page = page(&[&format!("p{number}"), "v1"], &next(&format!("?last=p{number}.")));
        site = site.fault(&format!("GET /v2/acme/app/tags/list?last=p{}.", number - 1), [page]);
    }
    site.fault(LIST, [page(&["v1"], &next("?last=p0."))])
}

fn catalogs() -> Vec<(&'static str, Site, &'static str)> {
    let answered = |answer: Answer| site().fault(CATALOG, [answer]);
    let none = "down, list_repositories unsupported";
    let wrong = "down, list_repositories invalid";
    vec![
        ("catalog as usual", site(), ONE),
        ("catalog that there is not", answered(html(404)), none),
        ("catalog of a registry without", answered(api(404, "UNSUPPORTED")), none),
        ("catalog that is not allowed", answered(status(405)), none),
        ("catalog of HTML", answered(html(200)), wrong),
        ("catalog of null", answered(ok(r#"{"repositories":null}"#)), "up"),
        (
            "catalog of odd names",
            answered(ok(r#"{"repositories":["acme/app","acme/../x","ACME/X","acme/\u202ex","/","acme//x"]}"#)),
            ONE,
        ),
        (
            "catalog in a circle",
            answered(ok(r#"{"repositories":["acme/app"]}"#).with("Link", &next("/v2/_catalog?n=1000"))),
            "down, v1 linux/amd64 1000, stored 1000, list_repositories invalid",
        ),
        (
            "catalog of a link that is not understood",
            answered(ok(r#"{"repositories":["acme/app"]}"#).with("Link", "</v2/_catalog?last=x>")),
            "down, v1 linux/amd64 1000, stored 1000, list_repositories invalid",
        ),
        ("catalog that is denied", answered(status(401)), "down, list_repositories denied"),
    ]
}

#[test]
fn hostile_lists_are_read_or_refused_with_a_reason() {
    let listed = links().into_iter().chain(later_pages()).chain(pages()).chain(bodies());
    let mut scenarios: Vec<Scenario> =
        listed.map(|(name, site, expected)| Scenario::new(name, site, expected).target("match = ['^v']")).collect();
    scenarios.push(
        Scenario::new("list of 1,001 pages", many_pages(), "down, v1 linux/amd64 1000, list_tags limit")
            .target("match = ['^v1$']"),
    );
    scenarios.push(
        Scenario::new(
            "list that is cut by tags_max",
            site(),
            "down, v1 linux/amd64 1000, v2 linux/amd64 2000, list_tags limit",
        )
        .target("match = ['^v']\ntags_max = 2"),
    );
    let catalogs = catalogs().into_iter().map(|(name, site, expected)| {
        Scenario::new(name, site, expected).repository("acme/a*").target("tags = ['v1']")
    });
    scenarios.extend(catalogs);
    run(scenarios);
}
