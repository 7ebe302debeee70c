//! Challenges and token servers.

use serde_json::json;

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, html, ok, raw, status};

const UP: &str = "up, v1 linux/amd64 1000, stored 1000";
const DENIED: &str = "down, v1 down, get_manifest denied";
const BAD_REALM: &str = "down, v1 down, get_token denied";
const NO_TOKEN: &str = "down, v1 down, get_token invalid";
const BEARER: &str = r#"Bearer realm="{base}/token",service="registry",scope="repository:acme/app:pull""#;

/// A registry that wants `acme/app` to be asked with the token that its token server gives.
fn challenging(challenge: &str) -> Site {
    let refused = challenges(&[challenge]);
    Site::new().fault_unless("* /v2/acme/app", Some("authorization: bearer sesame"), [refused])
}

fn challenges(challenges: &[&str]) -> Answer {
    challenges.iter().fold(status(401), |answer, challenge| answer.with("WWW-Authenticate", challenge))
}

/// The same, whose token server answers so.
fn giving(answer: Answer) -> Site {
    challenging(BEARER).fault("* /token", [answer])
}

fn headers() -> Vec<(&'static str, Site, &'static str)> {
    vec![
        ("challenge as usual", challenging(BEARER), UP),
        ("no challenge", challenging(""), DENIED),
        ("challenge without a realm", challenging(r#"Bearer service="registry""#), DENIED),
        ("challenge with an empty realm", challenging(r#"Bearer realm="""#), DENIED),
        ("challenge with a relative realm", challenging(r#"Bearer realm="/token""#), UP),
        ("challenge with a realm of a file", challenging(r#"Bearer realm="file:///etc/passwd""#), BAD_REALM),
        ("challenge with a realm of JavaScript", challenging(r#"Bearer realm="javascript:alert(1)""#), BAD_REALM),
        ("challenge with a realm that is no address", challenging(r#"Bearer realm="http://[""#), BAD_REALM),
        (
            "challenge with a realm of metadata of a cloud",
            challenging(r#"Bearer realm="http://169.254.169.254/token""#),
            BAD_REALM,
        ),
        (
            "challenge with a realm where nobody listens",
            challenging(r#"Bearer realm="http://127.0.0.1:1/token""#),
            "down, v1 down, get_token network",
        ),
        (
            "challenge with a realm of 60 KB",
            challenging(&format!(r#"Bearer realm="{{base}}/token?{}""#, "x".repeat(60_000))),
            UP,
        ),
        ("challenge that is not ASCII", challenging("Bearer realm=\"{base}/tökén\""), DENIED),
        ("challenge of an unknown scheme", challenging("Negotiate abc"), DENIED),
        ("challenge of garbage", challenging(",,,=\"\\"), DENIED),
        ("challenge without quotes", challenging("Bearer realm={base}/token,service=registry"), UP),
        ("challenge without its last quote", challenging(r#"Bearer service="registry",realm="{base}/token"#), UP),
        (
            "challenge of another scope",
            challenging(r#"Bearer realm="{base}/token",scope="repository:evil/other:pull,push,delete""#),
            UP,
        ),
        (
            "challenge of 1,000 scopes",
            challenging(&format!(r#"Bearer realm="{{base}}/token",scope="{}""#, "a:b:c ".repeat(1_000))),
            UP,
        ),
        ("challenge of another service", challenging(r#"Bearer realm="{base}/token",service="\u202e&scope=x#""#), UP),
        ("challenge of Basic", challenging("Basic realm=\"x\""), DENIED),
        ("challenge of Basic and Bearer", challenging(&format!("Basic realm=\"x\", {BEARER}")), UP),
        (
            "challenges of Basic and Bearer in two headers",
            Site::new().fault_unless(
                "* /v2/acme/app",
                Some("authorization: bearer sesame"),
                [challenges(&["Basic realm=\"x\"", BEARER])],
            ),
            UP,
        ),
        ("challenge for ever", Site::new().fault("* /v2/acme/app", [challenges(&[BEARER])]), DENIED),
        ("403 for ever", Site::new().fault("* /v2/acme/app", [status(403).with("WWW-Authenticate", BEARER)]), DENIED),
        ("407", Site::new().fault("* /v2/acme/app", [status(407)]), "down, v1 down, get_manifest server"),
    ]
}

fn tokens() -> Vec<(&'static str, Site, &'static str)> {
    let json = |text: &str| giving(ok(text));
    let token = |text: &str| giving(ok(json!({ "token": text }).to_string()));
    vec![
        ("token server of nothing", json(""), NO_TOKEN),
        ("token server of HTML", giving(html(200)), NO_TOKEN),
        ("token server of an empty object", json("{}"), NO_TOKEN),
        ("token server of null", json("null"), NO_TOKEN),
        ("token of nothing", token(""), NO_TOKEN),
        ("token of null", json(r#"{"token":null}"#), NO_TOKEN),
        ("token of a number", json(r#"{"token":7}"#), NO_TOKEN),
        ("token of a list", json(r#"{"token":["sesame"]}"#), NO_TOKEN),
        ("token of two lines", token("a\r\nX-Evil: 1"), NO_TOKEN),
        ("token of another script", token("токен"), DENIED),
        ("token of 2 MB", token(&"x".repeat(2 << 20)), "down, v1 down, get_token limit"),
        ("token of 900 KB", token(&"x".repeat(900_000)), DENIED),
        ("token under another name", json(r#"{"access_token":"sesame"}"#), UP),
        ("token under two names", json(r#"{"access_token":"sesame","token":"other"}"#), UP),
        ("token that is refused", token("wrong"), DENIED),
        ("expires_in of a text", json(r#"{"token":"sesame","expires_in":"300"}"#), NO_TOKEN),
        ("expires_in of a list", json(r#"{"token":"sesame","expires_in":[]}"#), NO_TOKEN),
        ("expires_in of null", json(r#"{"token":"sesame","expires_in":null}"#), UP),
        ("expires_in below zero", json(r#"{"token":"sesame","expires_in":-300}"#), UP),
        ("expires_in of nothing", json(r#"{"token":"sesame","expires_in":0}"#), UP),
        ("expires_in of 300 digits", json(&format!(r#"{{"token":"sesame","expires_in":1{}}}"#, "0".repeat(300))), UP),
        (
            "expires_in of 400 digits",
            json(&format!(r#"{{"token":"sesame","expires_in":1{}}}"#, "0".repeat(400))),
            NO_TOKEN,
        ),
        ("issued_at of nonsense", json(r#"{"token":"sesame","issued_at":"\u202eyesterday"}"#), UP),
        (
            "token server that is cut",
            giving(raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"to")),
            "down, v1 down, get_token network",
        ),
        ("token server that fails", giving(status(500)), "down, v1 down, get_token server"),
        ("token server that denies", giving(status(401)), "down, v1 down, get_token denied"),
        ("token server that asks in return", giving(challenges(&[BEARER])), "down, v1 down, get_token denied"),
        ("token server that is missing", giving(html(404)), "down, v1 down, get_token server"),
        (
            "token server that is moved for ever",
            giving(status(302).with("Location", "{base}/token")),
            "down, v1 down, get_token limit",
        ),
        (
            "token server that is moved to a file",
            giving(status(302).with("Location", "file:///etc/passwd")),
            "down, v1 down, get_token server",
        ),
        (
            "token server that is moved to metadata of a cloud",
            giving(status(302).with("Location", "http://169.254.169.254/")),
            "down, v1 down, get_token server",
        ),
        (
            "token server that is moved",
            giving(status(302).with("Location", "{base}/other")).fault("GET /other", [ok(r#"{"token":"sesame"}"#)]),
            UP,
        ),
        (
            "token server in odd words",
            giving(Answer::Http(403, Vec::new(), r#"{"details":"\u202eno\u001b[31m"}"#.into())),
            "down, v1 down, get_token denied",
        ),
        (
            "token server without an end",
            giving(Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".into(), vec![b' '; 1 << 16].into())),
            "down, v1 down, get_token limit",
        ),
    ]
}

#[test]
fn hostile_challenges_are_answered_or_refused_with_a_reason() {
    let all = headers().into_iter().chain(tokens());
    let scenario = |(name, site, expected): (_, _, &str)| {
        let scenario = Scenario::new(name, site, expected);
        // The token server is asked for every repository of a registry that has named one.
        if expected.contains("get_token") { scenario.alone() } else { scenario }
    };
    let mut scenarios: Vec<Scenario> = all.map(scenario).collect();
    scenarios.push(
        Scenario::new("token server that is slow", giving(Answer::Stall), "down, v1 down, get_token timeout")
            .registry("timeout = '1s'")
            .alone(),
    );
    run(scenarios);
}
