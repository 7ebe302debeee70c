//! HTTP, and what is below it.

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, api, html, ok, raw, status};

const UP: &str = "up, v1 linux/amd64 1000, stored 1000";
const NETWORK: &str = "down, v1 down, get_manifest network";
const SERVER: &str = "down, v1 down, get_manifest server";
const LIMITED: &str = "down, v1 down, get_manifest rate_limited";
const TIMEOUT: &str = "down, v1 down, get_manifest timeout";
const APP: &str = "GET /v2/acme/app/manifests/v1";

fn answered(answer: Answer) -> Site {
    Site::new().fault(APP, [answer])
}

fn head(status_line: &str) -> Site {
    answered(raw(format!("{status_line}\r\nContent-Length: 0\r\n\r\n")))
}

/// The usual answer, written out.
fn usual(site: &Site) -> Vec<u8> {
    let Answer::Http(_, headers, body) = site.manifest("v1") else { unreachable!() };
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
    [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
}

fn broken() -> Vec<(&'static str, Site, &'static str)> {
    let site = Site::new();
    let usual = usual(&site);
    let before = |text: &str| answered(raw([text.as_bytes(), &usual].concat()));
    let Answer::Http(_, _, body) = site.manifest("v1") else { unreachable!() };
    let body = String::from_utf8(body.to_vec()).unwrap();
    let with_body = |head: &str| answered(raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")));
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    vec![
        ("connection that is reset", answered(Answer::Reset), NETWORK),
        ("connection that is closed", answered(raw("")), NETWORK),
        ("no HTTP", answered(raw("SSH-2.0-OpenSSH_9.6\r\n\r\n")), NETWORK),
        ("HTTP/0.9", answered(raw(body.clone())), NETWORK),
        ("HTTP/1.0", answered(raw(format!("HTTP/1.0 200 OK\r\n\r\n{body}"))), UP),
        ("HTTP/3.0", answered(raw(format!("HTTP/3.0 200 OK\r\n\r\n{body}"))), NETWORK),
        ("TLS where HTTP was expected", answered(raw(b"\x15\x03\x01\x00\x02\x02\x46".to_vec())), NETWORK),
        ("status of two digits", head("HTTP/1.1 20 OK"), NETWORK),
        ("status of four digits", head("HTTP/1.1 2000 OK"), NETWORK),
        ("status of letters", head("HTTP/1.1 abc OK"), NETWORK),
        ("status 999", head("HTTP/1.1 999 x"), SERVER),
        ("status 204", head("HTTP/1.1 204 No Content"), SERVER),
        ("status 206", answered(raw(String::from_utf8(usual.clone()).unwrap().replace("200 OK", "206 x"))), SERVER),
        ("status 304", head("HTTP/1.1 304 Not Modified"), SERVER),
        ("status 300", head("HTTP/1.1 300 Multiple Choices"), SERVER),
        ("status 418", head("HTTP/1.1 418 x"), SERVER),
        ("status 451", head("HTTP/1.1 451 x"), SERVER),
        ("status 100 first", before("HTTP/1.1 100 Continue\r\n\r\n"), UP),
        ("status 103 first", before("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), UP),
        ("status 101", head("HTTP/1.1 101 Switching Protocols"), SERVER),
        ("status 103 a thousand times", before(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000)), UP),
        (
            "headers of 64 KiB",
            with_body(&format!("X-Long: {}\r\nContent-Length: {}", "x".repeat(64 << 10), body.len())),
            UP,
        ),
        ("headers of 1 MB", with_body(&format!("X-Long: {}", "x".repeat(1 << 20))), NETWORK),
        ("header of 1,000 lines", with_body(&"X: y\r\n".repeat(1_000)), NETWORK),
        (
            "headers without an end",
            answered(Answer::Endless("HTTP/1.1 200 OK\r\n".into(), "X-More: and more\r\n".repeat(1_000).into())),
            NETWORK,
        ),
        (
            "trailers without an end",
            answered(Answer::Endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".into(),
                "X: y\r\n".repeat(1_000).into(),
            )),
            NETWORK,
        ),
        ("header that is folded", with_body("X: a\r\n b"), NETWORK),
        ("header without a colon", with_body("nonsense"), NETWORK),
        ("header with a NUL", with_body("X: a\0b"), NETWORK),
        ("header that is not ASCII", with_body("X: \u{202e}"), UP),
        ("length that is too long", with_body("Content-Length: 99999"), NETWORK),
        ("length that is too short", with_body("Content-Length: 20"), "down, v1 down, get_manifest invalid"),
        ("length that is negative", with_body("Content-Length: -1"), NETWORK),
        ("length of 30 digits", with_body("Content-Length: 999999999999999999999999999999"), NETWORK),
        ("length of 1 TB", with_body("Content-Length: 1099511627776"), "down, v1 down, get_manifest limit"),
        ("length twice", with_body("Content-Length: 5\r\nContent-Length: 6"), NETWORK),
        (
            "length and chunks",
            answered(raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
            ))),
            UP,
        ),
        ("chunks", answered(raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"))), UP),
        (
            "chunks without a last one",
            answered(raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"))),
            NETWORK,
        ),
        (
            "chunk with an extension of 64 KiB",
            answered(raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\n",
                "x".repeat(64 << 10)
            ))),
            NETWORK,
        ),
        (
            "chunk of 2^64 bytes",
            answered(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}")),
            NETWORK,
        ),
        ("transfer encoding that is unknown", with_body("Transfer-Encoding: odd"), UP),
        (
            "answer before the question",
            before("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
            "down, v1 down, get_manifest invalid",
        ),
    ]
}

fn redirects() -> Vec<(&'static str, Site, &'static str)> {
    let to = |location: &str| answered(status(307).with("Location", location));
    let long_host = format!("http://{}.test/", "x".repeat(60_000));
    vec![
        ("redirect without an address", answered(status(302)), SERVER),
        ("redirect to nothing", to(""), "down, v1 down, get_manifest limit"),
        ("redirect to itself", to("{base}/v2/acme/app/manifests/v1"), "down, v1 down, get_manifest limit"),
        ("redirect to a file", to("file:///etc/passwd"), SERVER),
        ("redirect to JavaScript", to("javascript:alert(1)"), SERVER),
        ("redirect to a scheme of 60 KB", to(&format!("{}:x", "x".repeat(60_000))), SERVER),
        ("redirect to metadata of a cloud", to("http://169.254.169.254/latest"), SERVER),
        ("redirect to a host of 60 KB", to(&long_host), NETWORK),
        ("redirect to a host that is not ASCII", to("http://\u{202e}.test/"), SERVER),
        ("redirect where nobody listens", to("http://127.0.0.1:1/"), NETWORK),
        ("redirect that is followed", to("{base}/v2/acme/good/manifests/v1"), "up, v1 linux/amd64 100, stored 100"),
        (
            "redirect with status 301",
            answered(status(301).with("Location", "/v2/acme/good/manifests/v1")),
            "up, v1 linux/amd64 100, stored 100",
        ),
        ("redirect with status 300", answered(status(300).with("Location", "/v2/acme/good/manifests/v1")), SERVER),
        ("redirect with status 305", answered(status(305).with("Location", "/v2/acme/good/manifests/v1")), SERVER),
    ]
}

fn statuses() -> Vec<(&'static str, Site, &'static str)> {
    let retry = |status_code: u16, value: &str| {
        Site::new().fault(APP, [status(status_code).with("Retry-After", value), Answer::Usual])
    };
    let flapping = |status_code: u16| Site::new().fault(APP, [status(status_code), Answer::Usual]);
    vec![
        ("500 once", flapping(500), "up, v1 linux/amd64 1000, stored 1000, get_manifest server"),
        ("502 once", flapping(502), "up, v1 linux/amd64 1000, stored 1000, get_manifest server"),
        ("408 once", flapping(408), "up, v1 linux/amd64 1000, stored 1000, get_manifest server"),
        ("520 once", flapping(520), "up, v1 linux/amd64 1000, stored 1000, get_manifest server"),
        ("500 for ever", answered(status(500)), SERVER),
        ("501", answered(status(501)), "down, v1 down, get_manifest unsupported"),
        ("505", answered(status(505)), SERVER),
        ("503 of HTML", answered(html(503)), SERVER),
        ("503 that wants an hour", retry(503, "3600"), SERVER),
        (
            "503 with nonsense for a wait",
            retry(503, "\u{202e}soon"),
            "up, v1 linux/amd64 1000, stored 1000, get_manifest server",
        ),
        ("400", answered(api(400, "MANIFEST_INVALID")), SERVER),
        ("402", answered(status(402)), SERVER),
        ("404 of a proxy", answered(html(404)), SERVER),
        ("404 of no words", answered(status(404)), SERVER),
        ("404 of the wrong words", answered(Answer::Http(404, Vec::new(), r#"{"errors":[]}"#.into())), SERVER),
        ("410", answered(status(410)), SERVER),
    ]
}

/// 429 stops the whole registry, so that its other repository waits, too.
fn limits() -> Vec<(&'static str, Site, &'static str)> {
    let retry = |value: &str| Site::new().fault(APP, [status(429).with("Retry-After", value), Answer::Usual]);
    let healed = "up, v1 linux/amd64 1000, stored 1000, get_manifest rate_limited";
    vec![
        ("429", Site::new().fault(APP, [status(429)]), LIMITED),
        ("429 for a second", retry("1"), healed),
        ("429 for no time", retry("0"), healed),
        ("429 for a second of the past", retry("Sun, 06 Nov 1994 08:49:37 GMT"), healed),
        ("429 for ever", retry("99999999999999999999999999"), LIMITED),
        ("429 for less than nothing", retry("-1"), healed),
        ("429 for a fraction", retry("0.5"), healed),
        ("429 for a long fraction", retry("600.5"), LIMITED),
        ("429 until nonsense", retry("\u{202e}soon"), healed),
        ("429 until nothing", retry(""), healed),
        ("429 until the year 9999", retry("Fri, 31 Dec 9999 23:59:59 GMT"), LIMITED),
    ]
}

/// A tag that is known is asked for with `HEAD`: these are scanned again and again.
fn heads() -> Vec<(String, Site, String)> {
    let counted =
        [(401, "denied"), (403, "denied"), (406, "server"), (411, "server"), (500, "server"), (204, "server")];
    let counted = counted.map(|(status, reason)| (status, format!("{UP}, head_manifest {reason}")));
    let others = [404, 405, 501].map(|status| (status, UP.to_owned()));
    let site = |code: u16| Site::new().fault("HEAD /v2/acme/app", [status(code)]);
    let all = counted.into_iter().chain(others);
    all.map(|(status, expected)| (format!("HEAD of status {status}"), site(status), expected)).collect()
}

fn slow() -> Vec<(&'static str, Site, &'static str)> {
    let drip = |text: String| answered(Answer::Drip(text.into()));
    vec![
        (
            "status 103 for ever",
            answered(Answer::Endless(Vec::new().into(), "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100).into())),
            TIMEOUT,
        ),
        ("answer that never comes", answered(Answer::Stall), TIMEOUT),
        ("header by the byte", drip(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1_000))), TIMEOUT),
        (
            "body by the byte",
            drip(format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}", "{".repeat(900))),
            TIMEOUT,
        ),
        ("body that stops", drip("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{".to_owned()), TIMEOUT),
        ("interim answers by the byte", drip("HTTP/1.1 103 x\r\n\r\n".repeat(100)), TIMEOUT),
    ]
}

#[test]
fn hostile_connections_are_bounded_and_fail_with_a_reason() {
    let scoped = broken().into_iter().chain(redirects()).chain(statuses());
    let mut scenarios: Vec<Scenario> =
        scoped.map(|(name, site, expected)| Scenario::new(name, site, expected)).collect();
    scenarios.extend(limits().into_iter().map(|(name, site, expected)| Scenario::new(name, site, expected).alone()));
    scenarios.extend(heads().into_iter().map(|(name, site, expected)| {
        Scenario::new(&name, site, &expected).asked("head_manifest", 1).target("tags = ['v1']\ninterval = '500ms'")
    }));
    scenarios.extend(
        slow().into_iter().map(|(name, site, expected)| Scenario::new(name, site, expected).registry("timeout = '5s'")),
    );
    let tls = [
        ("HTTP where TLS was expected", Site::new()),
        ("nonsense where TLS was expected", Site::new().fault("TLS *", [raw("nonsense")])),
    ];
    scenarios.extend(
        tls.map(|(name, site)| Scenario::new(name, site, NETWORK).registry("insecure_skip_verify = true").alone()),
    );
    scenarios.push(Scenario::new("answers of the right kind", Site::new().fault("GET /unused", [ok("{}")]), UP));
    run(scenarios);
}
