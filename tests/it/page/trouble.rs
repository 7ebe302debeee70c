//! What fails is said in the log's own sentence.

use super::*;
use crate::support::registry::Reply;

/// Polls a page until it says something.
async fn until_said(daemon: &Daemon, path: &str, said: &str) -> String {
    for _ in 0..3_000 {
        let html = page(daemon, path).await;
        if html.contains(said) {
            return html;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never said: {said}\n{}", page(daemon, path).await);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_stays_when_it_can_be_read_again() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    registry.always("* /v2/acme/tool/manifests/", Reply::Answer(500, Vec::new(), String::new()));
    let html = until_said(&daemon, "/", "<h2>Cannot be read</h2>").await;
    assert!(html.contains("<strong class=\"bad\">failing</strong>"), "{html}");
    let overview = json(&daemon, "/overview").await;
    let row = &overview["unreadable"][0];
    assert_eq!(row["image"], format!("{host}/acme/tool:latest"));
    let message = row["message"].as_str().expect("the log's sentence").to_owned();
    assert!(message.contains("500"), "{message}");
    let target = overview["targets"].as_array().unwrap().iter().find(|target| target["target"] == "tool").unwrap();
    assert_eq!((&target["up"], &target["last_failures"]["messages"][0]), (&false.into(), &message.as_str().into()));
    let path = format!("/image/{host}/acme/tool:latest");
    let html = page(&daemon, &path).await;
    assert!(html.contains("Its last reading was not complete.") && html.contains("500"), "{html}");
    assert_eq!(json(&daemon, &path).await["message"], message.as_str());

    registry.always("* /v2/acme/tool/manifests/", Reply::Usual);
    let html = until_said(&daemon, "/", "Last failure ").await;
    assert!(html.contains("500") && !html.contains("<h2>Cannot be read</h2>"), "{html}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_target_that_selects_nothing_is_said_with_the_reason() {
    let registry = registry();
    let toml = config(&registry, &["repository = 'REGISTRY/acme/app'\nmatch = ['^w']\nname = 'none'"]);
    let daemon = Daemon::start(&toml).await;
    let html = until_said(&daemon, "/", "selects no tag of the 4 that the repository has").await;
    assert!(html.contains("selects nothing"), "{html}");
    let overview = json(&daemon, "/overview").await;
    assert_eq!(overview["targets"][0]["tags"], 0);
    assert_eq!(overview["targets"][0]["remarks"].as_array().unwrap().len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_failed_reload_is_said_until_one_succeeds() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    assert!(!page(&daemon, "/").await.contains("could not be reloaded"));
    let good = config(&registry, &TARGETS);
    assert!(daemon.reload(&good.replace("interval", "<b>interwal")).await.contains(" 500 "));
    let html = page(&daemon, "/").await;
    assert!(html.contains("The configuration could not be reloaded") && !html.contains("<b>"), "{html}");
    assert!(json(&daemon, "/overview").await["failed_reload"]["error"].as_str().unwrap().contains("config.toml"));
    assert!(daemon.reload(&good).await.contains(" 200 "));
    assert!(!page(&daemon, "/").await.contains("could not be reloaded"));
    daemon.stop().await;
}
