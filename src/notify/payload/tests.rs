//! Vendors' documented examples, with other values, and what goes wrong.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:4a1c4b21597c1b4415bdbecb28a3296c6b5e23ca4f9feeb599860a1dac6a0108";

/// Each event as `host/repository:tag@digest action`, without what it does not name; the digest cut to six digits.
fn show(events: &[Event]) -> Vec<String> {
    let shown = |event: &Event| {
        let host = event.registry.as_ref().map_or("?", |registry| registry.as_str());
        let tag = event.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = event.digest.as_ref().map(|digest| format!("@{}", &digest.to_string()[7..13])).unwrap_or_default();
        let action = match event.action {
            crate::notify::Action::Push => "push".to_owned(),
            crate::notify::Action::Delete => "delete".to_owned(),
            crate::notify::Action::Pull { images, bytes } => format!("pull {images} {bytes}"),
        };
        format!("{host}/{}{tag}{digest} {action}", event.repository)
    };
    events.iter().map(shown).collect()
}

#[track_caller]
fn check(kind: Kind, body: &str, expected: &[&str]) {
    let body = body.replace("DIGEST", DIGEST);
    assert_eq!(show(&parse(kind, Attributes::default(), body.as_bytes()).unwrap()), expected, "{body}");
}

#[track_caller]
fn refused(kind: Kind, body: &str) -> String {
    parse(kind, Attributes::default(), body.as_bytes()).unwrap_err().to_string()
}

/// One event of the distribution project's registry, as its documentation has them.
fn entry(action: &str, media_type: &str, tag: &str, method: &str) -> String {
    format!(
        r#"{{"id":"5c1e","timestamp":"2026-03-09T14:44:26Z","action":"{action}","target":{{"mediaType":"{media_type}",
        "size":708,"digest":"DIGEST","length":708,"repository":"acme/web","url":"http://r.example:5000/v2/acme/web/x"{tag}}},
        "request":{{"id":"6d","addr":"192.0.2.9:40292","host":"r.example:5000","method":"{method}","useragent":"curl/8"}},
        "actor":{{}},"source":{{"addr":"xtal:5000","instanceID":"a5"}}}}"#
    )
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BLOB: &str = "application/octet-stream";
const TAG: &str = r#","tag":"v1""#;

#[test]
fn distribution_sends_an_envelope_of_events() {
    for (event, expected) in [
        (entry("push", MANIFEST, TAG, "PUT"), &["r.example:5000/acme/web:v1@4a1c4b push"][..]),
        (entry("push", INDEX, TAG, "PUT"), &["r.example:5000/acme/web:v1@4a1c4b push"]),
        (entry("push", MANIFEST, "", "PUT"), &["r.example:5000/acme/web@4a1c4b push"]),
        (entry("push", BLOB, "", "PUT"), &[]),
        (entry("mount", BLOB, "", "POST"), &[]),
        (entry("delete", "", "", "DELETE"), &["r.example:5000/acme/web@4a1c4b delete"]),
        (entry("delete", "", TAG, "DELETE"), &["r.example:5000/acme/web:v1@4a1c4b delete"]),
        (entry("pull", MANIFEST, TAG, "GET"), &["r.example:5000/acme/web:v1@4a1c4b pull 1 708"]),
        (entry("pull", INDEX, TAG, "GET"), &["r.example:5000/acme/web:v1@4a1c4b pull 0 708"]),
        (entry("pull", BLOB, "", "GET"), &["r.example:5000/acme/web@4a1c4b pull 0 708"]),
        (entry("pull", MANIFEST, TAG, "HEAD"), &[]),
        (entry("pull", MANIFEST, TAG, "GET").replace("curl/8", "image-size-exporter/1.0"), &[]),
        (entry("polish", MANIFEST, TAG, "PUT"), &[]),
        (entry("push", MANIFEST, TAG, "PUT").replace("acme/web", "Acme//web"), &[]),
        (
            entry("push", MANIFEST, TAG, "PUT").replace(r#""host":"r.example:5000""#, r#""host":"""#),
            &["r.example:5000/acme/web:v1@4a1c4b push"],
        ),
        (r#"{"action":"push","target":{"repository":"acme/web","tag":"v1"}}"#.to_owned(), &["?/acme/web:v1 push"]),
        (r#"{"action":"delete","target":{"repository":"acme/web"}}"#.to_owned(), &["?/acme/web delete"]),
        (r#"{"action":null,"target":null,"request":null}"#.to_owned(), &[]),
        (r#"{"action":"push"}"#.to_owned(), &[]),
        ("{}".to_owned(), &[]),
    ] {
        check(Kind::Distribution, &format!(r#"{{"events":[{event}]}}"#), expected);
    }
    check(Kind::Distribution, r#"{"events":[]}"#, &[]);
}

#[test]
fn azure_sends_one_event_without_an_envelope() {
    let body = r#"{"id":"cb8c","timestamp":"2026-11-17T16:52:27Z","action":"push","target":{"mediaType":
        "application/vnd.docker.distribution.manifest.v2+json","size":524,"digest":"DIGEST","length":524,
        "repository":"hello","tag":"v1"},"request":{"id":"3c","host":"acme.azurecr.io","method":"PUT","useragent":"d"}}"#;
    check(Kind::Distribution, body, &["acme.azurecr.io/hello:v1@4a1c4b push"]);
    let deleted = r#"{"action":"delete","target":{"mediaType":"","digest":"DIGEST","repository":"hello"},
        "request":{"host":"acme.azurecr.io","method":"DELETE"}}"#;
    check(Kind::Distribution, deleted, &["acme.azurecr.io/hello@4a1c4b delete"]);
}

#[test]
fn a_batch_of_a_thousand_events_is_read_whole() {
    let events: Vec<String> =
        (0..1000).map(|number| entry("push", MANIFEST, &format!(r#","tag":"v{number}""#), "PUT")).collect();
    let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
    let read = parse(Kind::Distribution, Attributes::default(), body.as_bytes()).unwrap();
    assert_eq!(read.len(), 1000);
    assert_eq!(read[999].tag.as_ref().unwrap().as_str(), "v999");
}

#[test]
fn harbor_sends_resources_of_one_repository() {
    let body = |kind: &str, resources: &str| {
        format!(
            r#"{{"type":"{kind}","occur_at":1680501893,"operator":"robot","event_data":{{"resources":[{resources}],
            "repository":{{"date_created":1680501893,"name":"web","namespace":"acme","repo_full_name":"acme/web",
            "repo_type":"private"}}}}}}"#
        )
    };
    let tagged = r#"{"digest":"DIGEST","tag":"v1","resource_url":"harbor.example/acme/web:v1"}"#;
    let untagged = r#"{"digest":"DIGEST","tag":"DIGEST","resource_url":"harbor.example:8443/acme/web@DIGEST"}"#;
    for (kind, action) in [("PUSH_ARTIFACT", "push"), ("DELETE_ARTIFACT", "delete"), ("PULL_ARTIFACT", "pull 1 0")] {
        let (first, second) = ("harbor.example/acme/web:v1@4a1c4b", "harbor.example:8443/acme/web@4a1c4b");
        let expected = [format!("{first} {action}"), format!("{second} {action}")];
        check(Kind::Harbor, &body(kind, &format!("{tagged},{untagged}")), &expected.each_ref().map(String::as_str));
    }
    check(Kind::Harbor, &body("QUOTA_EXCEED", tagged), &[]);
    check(Kind::Harbor, &body("DELETE_ARTIFACT", "{}"), &[]);
    check(Kind::Harbor, &body("PUSH_ARTIFACT", ""), &[]);
    check(Kind::Harbor, r#"{"type":"PUSH_ARTIFACT"}"#, &[]);
    assert_eq!(refused(Kind::Harbor, "{}"), "no `type`: no notification of Harbor");
}

#[test]
fn harbor_sends_cloud_events() {
    let data = r#"{"resources":[{"digest":"DIGEST","tag":"v1","resource_url":"harbor.example/acme/web:v1"}],
        "repository":{"name":"web","namespace":"acme"}}"#;
    let structured = format!(
        r#"{{"specversion":"1.0","id":"66ed","source":"/projects/2/webhook/policies/15","type":"harbor.artifact.pushed",
        "datacontenttype":"application/json","time":"2026-04-03T06:31:33Z","data":{data},"operator":"robot"}}"#
    );
    let expected = ["harbor.example/acme/web:v1@4a1c4b push"];
    check(Kind::Harbor, &structured, &expected);
    let attributes = Attributes { cloud_event_type: Some("harbor.artifact.pushed"), cloud_event_source: None };
    let binary = parse(Kind::Harbor, attributes, data.replace("DIGEST", DIGEST).as_bytes()).unwrap();
    assert_eq!(show(&binary), expected);
}

#[test]
fn zot_sends_cloud_events_in_both_modes() {
    let data = r#"{"name":"acme/web","reference":"v1","digest":"DIGEST","mediaType":"m","manifest":"{}"}"#;
    let data = data.replace("DIGEST", DIGEST);
    let of = |kind| Attributes { cloud_event_type: Some(kind), cloud_event_source: Some("https://zot.example") };
    for (kind, expected) in [
        ("zotregistry.image.updated", &["zot.example/acme/web:v1@4a1c4b push"][..]),
        ("com.example.registry.image.deleted", &["zot.example/acme/web:v1@4a1c4b delete"]),
        ("zotregistry.image.lint_failed", &[]),
        ("zotregistry.repository.created", &[]),
    ] {
        assert_eq!(show(&parse(Kind::Zot, of(kind), data.as_bytes()).unwrap()), expected, "{kind}");
    }
    let envelope = |kind: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"zotregistry.dev","type":"zotregistry.{kind}","data":{data}}}"#
        )
    };
    check(Kind::Zot, &envelope("image.updated", &data), &["?/acme/web:v1@4a1c4b push"]);
    let by_digest = r#"{"name":"acme/web","reference":"DIGEST","digest":"DIGEST"}"#;
    check(Kind::Zot, &envelope("image.deleted", by_digest), &["?/acme/web@4a1c4b delete"]);
    check(Kind::Zot, &envelope("image.deleted", r#"{"name":"acme/web"}"#), &[]);
    assert_eq!(refused(Kind::Zot, "{}"), "neither `Ce-Type` nor `type`: no notification of zot");
}

#[test]
fn quay_sends_tags_as_a_list_or_as_a_map() {
    let body = |tags: &str| {
        format!(
            r#"{{"name":"web","repository":"acme/web","namespace":"acme","docker_url":"quay.example:8443/acme/web",
            "homepage":"https://quay.example/repository/acme/web","updated_tags":{tags}}}"#
        )
    };
    let pushed = ["quay.example:8443/acme/web:latest push", "quay.example:8443/acme/web:v1 push"];
    check(Kind::Quay, &body(r#"["latest","v1"]"#), &pushed);
    check(Kind::Quay, &body(r#"{"latest":"b750","v1":"22ff"}"#), &pushed);
    check(Kind::Quay, &body("[]"), &[]);
    check(Kind::Quay, r#"{"repository":"acme/web","build_id":"296e","docker_tags":["main"]}"#, &[]);
    assert_eq!(refused(Kind::Quay, "{}"), "no `repository`: no notification of Quay");
}

#[test]
fn docker_hub_sends_a_tag_without_a_digest() {
    let body = r#"{"callback_url":"https://registry.hub.docker.com/u/acme/web/hook/21/","push_data":{"pushed_at":1417566161,
        "pusher":"me","tag":"v1"},"repository":{"name":"web","namespace":"acme","owner":"acme","repo_name":"acme/web",
        "repo_url":"https://registry.hub.docker.com/u/acme/web/","star_count":0,"status":"Active"}}"#;
    check(Kind::Dockerhub, body, &["docker.io/acme/web:v1 push"]);
    check(
        Kind::Dockerhub,
        r#"{"push_data":{"tag":"3"},"repository":{"repo_name":"alpine"}}"#,
        &["docker.io/library/alpine:3 push"],
    );
    check(Kind::Dockerhub, r#"{"push_data":{},"repository":{"repo_name":"acme/web"}}"#, &["docker.io/acme/web push"]);
    assert!(refused(Kind::Dockerhub, r#"{"push_data":{"tag":"3"}}"#).starts_with("no `repository.repo_name`"));
}

#[test]
fn github_sends_packages_under_two_keys() {
    let package = |kind: &str, tag: &str| {
        format!(
            r#"{{"id":1,"name":"Web","namespace":"Acme","ecosystem":"CONTAINER","package_type":"{kind}","owner":{{"login":
            "Acme"}},"package_version":{{"id":2,"version":"DIGEST","package_url":"ghcr.io/acme/web:v1",
            "container_metadata":{{"tag":{tag},"labels":{{}},"manifest":{{"digest":"DIGEST"}}}}}},"registry":{{}}}}"#
        )
    };
    let tag = r#"{"name":"v1","digest":"DIGEST"}"#;
    for key in ["package", "registry_package"] {
        for action in ["published", "updated"] {
            let body = format!(r#"{{"action":"{action}","{key}":{},"sender":{{}}}}"#, package("CONTAINER", tag));
            check(Kind::Github, &body, &["ghcr.io/acme/web:v1@4a1c4b push"]);
        }
    }
    let body = |kind: &str, tag: &str| format!(r#"{{"action":"published","package":{}}}"#, package(kind, tag));
    check(Kind::Github, &body("container", r#"{"name":"","digest":""}"#), &["ghcr.io/acme/web@4a1c4b push"]);
    check(Kind::Github, &body("container", "null"), &["ghcr.io/acme/web@4a1c4b push"]);
    check(Kind::Github, &body("npm", tag), &[]);
    let enterprise = body("container", tag).replace("ghcr.io/", "containers.github.example/");
    check(Kind::Github, &enterprise, &["containers.github.example/acme/web:v1@4a1c4b push"]);
    check(Kind::Github, r#"{"zen":"Keep it logically awesome.","hook_id":3}"#, &[]);
    check(Kind::Github, r#"{"action":"deleted","package":{"name":"web","namespace":"acme"}}"#, &[]);
    assert_eq!(refused(Kind::Github, "{}"), "no `action`: no notification of GitHub");
}

#[test]
fn gitea_sends_packages() {
    let body = |action: &str, kind: &str, version: &str| {
        format!(
            r#"{{"action":"{action}","repository":null,"package":{{"id":1,"owner":{{"id":1,"login":"Acme"}},"repository":
            null,"creator":{{}},"type":"{kind}","name":"web","version":"{version}","html_url":
            "https://git.example:3000/Acme/-/packages/container/web/v1","created_at":"2026-01-01T00:00:00Z"}},"sender":{{}}}}"#
        )
    };
    check(Kind::Gitea, &body("created", "container", "v1"), &["git.example:3000/acme/web:v1 push"]);
    check(Kind::Gitea, &body("deleted", "container", "v1"), &["git.example:3000/acme/web:v1 delete"]);
    check(Kind::Gitea, &body("deleted", "container", "DIGEST"), &["git.example:3000/acme/web@4a1c4b delete"]);
    check(Kind::Gitea, &body("created", "npm", "1.0.0"), &[]);
    check(Kind::Gitea, &body("renamed", "container", "v1"), &[]);
    check(Kind::Gitea, r#"{"action":"deleted","package":{"type":"container","name":"web"}}"#, &[]);
    assert_eq!(refused(Kind::Gitea, "{}"), "no `action`: no notification of Gitea");
}

#[test]
fn ecr_sends_events_of_eventbridge() {
    let body = |action: &str, result: &str, tag: &str, region: &str| {
        format!(
            r#"{{"version":"0","id":"13cd","detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012",
            "time":"2026-11-16T01:54:34Z","region":"{region}","resources":[],"detail":{{"result":"{result}",
            "repository-name":"acme/web","image-digest":"DIGEST","action-type":"{action}"{tag}}}}}"#
        )
    };
    let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let tag = r#","image-tag":"v1""#;
    let expected = format!("{host}/acme/web:v1@4a1c4b push");
    check(Kind::Ecr, &body("PUSH", "SUCCESS", tag, "eu-west-1"), &[&expected]);
    check(
        Kind::Ecr,
        &body("PUSH", "SUCCESS", tag, "cn-north-1"),
        &["123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/acme/web:v1@4a1c4b push"],
    );
    let expected = format!("{host}/acme/web@4a1c4b delete");
    check(Kind::Ecr, &body("DELETE", "SUCCESS", "", "eu-west-1"), &[&expected]);
    check(Kind::Ecr, &body("PUSH", "FAILURE", tag, "eu-west-1"), &[]);
    check(Kind::Ecr, &body("REPLICATE", "SUCCESS", tag, "eu-west-1"), &[]);
    check(Kind::Ecr, r#"{"detail-type":"ECR Image Scan","detail":{"repository-name":"acme/web"}}"#, &[]);
    assert!(refused(Kind::Ecr, "{}").starts_with("no `detail-type`"));
}

#[test]
fn what_is_no_json_is_refused_by_each_kind() {
    for kind in Kind::ALL {
        for body in ["", "no", "[]", "1", "null", "{", r#"{"events":{}}"#, r#"{"repository":7}"#] {
            let is_foreign = body.starts_with(r#"{"events"#) && kind != Kind::Distribution;
            let result = parse(kind, Attributes::default(), body.as_bytes());
            assert!(result.is_err() || is_foreign, "{kind:?} {body}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0..Kind::ALL.len(), body in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
        let attributes = Attributes { cloud_event_type: Some(&text), cloud_event_source: Some(&text) };
        let _ = parse(Kind::ALL[kind], attributes, &body);
    }

    /// Documents with the vendors' own keys and any values.
    #[test]
    fn no_values_panic_and_every_event_names_a_valid_repository(
        kind in 0..Kind::ALL.len(),
        words in prop::collection::vec("[a-zA-Z0-9:/@._ -]{0,20}|PUSH_ARTIFACT|push|pull|delete|created|published|container", 12),
        size in any::<i64>(),
    ) {
        let body = serde_json::json!({
            "type": words[0], "action": words[1], "detail-type": "ECR Image Action", "account": words[2], "region": words[3],
            "repository": words[4], "docker_url": words[5], "updated_tags": [words[6]],
            "events": [{"action": words[1], "target": {"repository": words[4], "tag": words[6], "size": size}}],
            "event_data": {"repository": {"repo_full_name": words[4]}, "resources": [{"tag": words[6], "resource_url": words[5]}]},
            "package": {"type": "container", "package_type": "container", "name": words[7], "namespace": words[8],
                "owner": {"login": words[8]}, "version": words[6]},
            "push_data": {"tag": words[6]},
            "detail": {"result": "SUCCESS", "action-type": "PUSH", "repository-name": words[4], "image-tag": words[6]},
        });
        for event in parse(Kind::ALL[kind], Attributes::default(), body.to_string().as_bytes()).into_iter().flatten() {
            prop_assert!(crate::oci::Repository::new("r.io".parse().unwrap(), &event.repository).is_ok());
        }
    }
}
