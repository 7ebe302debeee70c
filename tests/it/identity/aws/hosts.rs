//! Amazon's own hosts: which identity they choose, and where its requests go.

use super::super::proxy::Internet;
use super::*;
use crate::support::registry::{TokenServer, basic};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const PUBLIC: &str = "public.ecr.aws";
const PUBLIC_API: &str = "api.ecr-public.us-east-1.amazonaws.com";

fn public_registry() -> TestRegistry {
    let registry = registry(&[]);
    registry.require(Access::Token(TokenServer {
        challenge: Some(r#"Bearer realm="https://public.ecr.aws/token",service="public.ecr.aws",scope="{scope}""#),
        ..TokenServer::default()
    }));
    registry
}

fn repository(host: &str) -> Repository {
    format!("{host}/acme/app").parse().unwrap()
}

fn keys() -> [(&'static str, &'static str); 2] {
    [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", signature::SECRET_KEY)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_chooses_the_identity_and_its_requests_go_to_that_clouds_endpoints_alone() {
    let internet = Internet::new().await;
    let (registry, ecr) = (registry(&[("AWS", "sesame")]), ecr(&["sesame"]));
    internet.host(HOST, &registry).await;
    internet.host("api.ecr.eu-central-1.amazonaws.com", &ecr).await;
    let mut reader = Reader::start(&internet.section(HOST, ""), &keys(), |_| {});
    assert_eq!(reader.read(&[&repository(HOST)]), "ok");
    assert!(reader.expiry().is_some());
    reader.end();
    assert_eq!(internet.take_asked(), [HOST, "api.ecr.eu-central-1.amazonaws.com"]);
    signature::verify(&ecr.requests()[0], "api.ecr.eu-central-1.amazonaws.com", "eu-central-1", "ecr");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_in_another_partition_is_taken_there() {
    let internet = Internet::new().await;
    let host = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn";
    let (registry, ecr, sts) = (registry(&[("AWS", "sesame")]), ecr(&["sesame"]), TestRegistry::start());
    sts.next("POST /", assumed("AssumeRoleWithWebIdentity"));
    internet.host(host, &registry).await;
    internet.host("api.ecr.cn-north-1.amazonaws.com.cn", &ecr).await;
    internet.host("sts.cn-north-1.amazonaws.com.cn", &sts).await;
    let role = "arn:aws-cn:iam::123456789012:role/size-reader";
    let variables = [("AWS_ROLE_ARN", role), ("AWS_WEB_IDENTITY_TOKEN_FILE", "DIR/token")];
    let mut reader = Reader::start(&internet.section(host, ""), &variables, |files| {
        files.write("token", "web.identity.token");
    });
    assert_eq!(reader.read(&[&repository(host)]), "ok");
    reader.end();
    let expected = [host, "api.ecr.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"];
    assert_eq!(internet.take_asked(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_registry_has_a_service_of_its_own() {
    let internet = Internet::new().await;
    let (registry, ecr) = (public_registry(), TestRegistry::start());
    let token = STANDARD.encode("AWS:sesame");
    let ends = unix_now() + 43_200.0;
    let answer = format!(r#"{{"authorizationData":{{"authorizationToken":"{token}","expiresAt":{ends}}}}}"#);
    ecr.next("POST /", Reply::json(&answer));
    internet.host(PUBLIC, &registry).await;
    internet.host(PUBLIC_API, &ecr).await;
    let variables = [keys()[0], keys()[1], ("AWS_REGION", "eu-central-1")];
    let mut reader = Reader::start(&internet.section(PUBLIC, ""), &variables, |_| {});
    assert_eq!(reader.read(&[&repository(PUBLIC)]), "ok");
    reader.end();
    let asked = registry.requests();
    let token = asked.iter().find(|seen| seen.path() == "/token").unwrap();
    assert_eq!(token.header("authorization"), basic("AWS", "sesame"));
    let request = &ecr.requests()[0];
    assert_eq!(request.header("x-amz-target"), "SpencerFrontendService.GetAuthorizationToken");
    signature::verify(request, PUBLIC_API, "us-east-1", "ecr-public");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_public_images_are_read_as_before_and_it_is_said_once() {
    let internet = Internet::new().await;
    let (registry, private) = (public_registry(), registry(&[("AWS", "sesame")]));
    internet.host(PUBLIC, &registry).await;
    internet.host(HOST, &private).await;
    let nowhere = [("AWS_EC2_METADATA_DISABLED", "true")];
    let toml = format!("{}{}", internet.section(PUBLIC, ""), internet.section(HOST, ""));
    let mut reader = Reader::start(&toml, &nowhere, |_| {});
    assert_eq!(reader.read(&[&repository(PUBLIC)]), "ok");
    reader.advance(HOUR);
    assert_eq!(reader.read(&[&repository(PUBLIC)]), "ok");
    // Where it is needed, the refusal says that there was none.
    let said = reader.read(&[&repository(HOST)]);
    assert!(said.contains("refused anonymous access: 401") && said.contains("no identity of AWS is used: "), "{said}");
    let log = reader.end();
    let said_once = format!("no identity for this registry, requests are anonymous registry={PUBLIC}");
    assert_eq!(log.matches(&said_once).count(), 1, "{log}");
    assert_eq!(internet.take_asked(), [HOST, PUBLIC]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_refused_does_not_take_public_images_away() {
    let internet = Internet::new().await;
    let (registry, private, ecr) = (public_registry(), registry(&[("AWS", "sesame")]), TestRegistry::start());
    ecr.always("POST /", refused("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/node/i-1 may not"));
    internet.host(PUBLIC, &registry).await;
    internet.host(PUBLIC_API, &ecr).await;
    internet.host(HOST, &private).await;
    internet.host("api.ecr.eu-central-1.amazonaws.com", &ecr).await;
    let toml = format!("{}{}", internet.section(PUBLIC, ""), internet.section(HOST, ""));
    let mut reader = Reader::start(&toml, &keys(), |_| {});
    assert_eq!(reader.read(&[&repository(PUBLIC)]), "ok");
    let said = reader.read(&[&repository(HOST)]);
    for part in ["no identity of AWS is used: api.ecr.", "assumed-role/node/i-1", "`ecr:GetAuthorizationToken`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let log = reader.end();
    assert!(log.contains("an identity is not used, requests are anonymous"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_dockers_is_used_in_place_of_the_identity() {
    let internet = Internet::new().await;
    let registry = registry(&[("AWS", "from-docker")]);
    internet.host(HOST, &registry).await;
    let auth = basic("AWS", "from-docker").replace("Basic ", "");
    let mut reader = Reader::start(&internet.section(HOST, ""), &keys(), |files| {
        files.write(".docker/config.json", &format!(r#"{{"auths":{{"{HOST}":{{"auth":"{auth}"}}}}}}"#));
    });
    assert_eq!(reader.read(&[&repository(HOST)]), "ok");
    reader.end();
    let mut reader = Reader::start(&internet.section(HOST, "identity = 'none'"), &keys(), |_| {});
    assert!(reader.read(&[&repository(HOST)]).contains("the registry refused anonymous access: 401"));
    reader.end();
    assert_eq!(internet.take_asked(), [HOST]);
}
