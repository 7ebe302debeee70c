//! Azure: tokens of Microsoft Entra, and the registry's exchange of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::proxy::Internet;
use super::*;
use crate::support::registry::{Reply, Seen, TokenServer};

const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const MINUTE: Duration = Duration::from_mins(1);
const RESOURCE: &str = "https://containerregistry.azure.net";

/// A refresh token of the registry, which is good for three hours.
fn refresh(name: &str) -> String {
    let now = unix_now();
    let claims = format!(r#"{{"iat":{now},"exp":{},"jti":"{name}"}}"#, now + 10_800);
    format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims))
}

fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A registry that exchanges the token `entra` for these refresh tokens, one after the other.
fn azure_registry(refresh_tokens: &[&str]) -> TestRegistry {
    let registry = registry(&[]);
    // Tests outlive their registries by little.
    let known = refresh_tokens.iter().map(|token| &*token.to_string().leak());
    let identities = known.chain(["somebody-else"]).collect();
    let users = vec![("nobody", "sesame")];
    registry.require(Access::Token(TokenServer { users, identities, ..TokenServer::default() }));
    for token in refresh_tokens {
        registry.next("POST /oauth2/exchange", Reply::json(&format!(r#"{{"refresh_token":"{token}"}}"#)));
    }
    registry
}

fn entra() -> Reply {
    Reply::json(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"entra"}"#)
}

fn workload(entra: &TestRegistry) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_CLIENT_ID", CLIENT.to_owned()),
        ("AZURE_TENANT_ID", "acme-tenant".to_owned()),
        ("AZURE_FEDERATED_TOKEN_FILE", "DIR/token".to_owned()),
        ("AZURE_AUTHORITY_HOST", entra.base()),
    ]
}

fn start(registry: &TestRegistry, variables: &[(&str, String)]) -> Reader {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Reader::start(&section(registry, "identity = 'azure'"), &variables, |files| {
        files.write("token", "federated.token\n");
    })
}

fn exchanges(registry: &TestRegistry) -> Vec<Seen> {
    registry.requests().into_iter().filter(|seen| seen.path() == "/oauth2/exchange").collect()
}

#[test]
fn a_workload_identity_is_exchanged_for_a_refresh_token_that_serves_everything_until_it_is_renewed() {
    let (first, second) = (refresh("first"), refresh("second"));
    let registry = azure_registry(&[&first, &second]);
    let authority = TestRegistry::start();
    authority.always("POST /acme-tenant/oauth2/v2.0/token", entra());
    let mut reader = start(&registry, &workload(&authority));
    let [app, web, db] = ["acme/app", "acme/web", "acme/db"].map(|name| registry.repository(name));
    assert_eq!(reader.read(&[&app, &web, &db]), "ok | ok | ok");
    let asked = &authority.requests()[0];
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("scope", "https://containerregistry.azure.net/.default"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "federated.token"),
    ] {
        assert_eq!(asked.parameters(name), [value]);
    }
    let exchanged = &exchanges(&registry)[0];
    for (name, value) in
        [("grant_type", "access_token"), ("service", registry.name().as_str()), ("access_token", "entra")]
    {
        assert_eq!(exchanged.parameters(name), [value]);
    }
    let tokens: Vec<Seen> =
        registry.requests().into_iter().filter(|seen| seen.kind == crate::support::registry::Kind::Token).collect();
    assert!(tokens.iter().all(|seen| seen.parameters("refresh_token") == [first.clone()]), "{tokens:?}");
    let ends = reader.expiry().unwrap();
    assert!((ends - unix_now() as f64 - 10_800.0).abs() < 60.0, "{ends}");
    assert_eq!((authority.requests().len(), exchanges(&registry).len()), (1, 1));
    // Five minutes before its end.
    reader.advance(MINUTE * 174);
    assert_eq!(reader.read(&[&app, &web]), "ok | ok");
    assert_eq!(exchanges(&registry).len(), 1);
    reader.advance(MINUTE * 2);
    assert_eq!(reader.read(&[&app, &web]), "ok | ok");
    assert_eq!(exchanges(&registry).len(), 2);
    let log = reader.end();
    assert!(log.contains(&format!("the credentials of the Azure identity {CLIENT}")), "{log}");
    for secret in ["federated.token", first.as_str(), second.as_str()] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[test]
fn managed_identities_of_services_and_machines_are_asked_as_each_wants_it() {
    let metadata = TestRegistry::start();
    let answer = format!(r#"{{"access_token":"entra","client_id":"{CLIENT}","expires_in":"86399","resource":"x"}}"#);
    metadata.always("GET /msi/token", Reply::json(&answer));
    metadata.always("GET /metadata/identity/oauth2/token", Reply::json(&answer));
    let service = vec![
        ("IDENTITY_ENDPOINT", format!("{}/msi/token", metadata.base())),
        ("IDENTITY_HEADER", "service-secret".to_owned()),
    ];
    let machine = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.base())];
    for (variables, header, value, version) in
        [(service, "x-identity-header", "service-secret", "2019-08-01"), (machine, "metadata", "true", "2018-02-01")]
    {
        let registry = azure_registry(&[&refresh("one")]);
        let mut reader = start(&registry, &variables);
        assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
        let asked = metadata.requests().pop().unwrap();
        assert_eq!(asked.header(header), value);
        assert_eq!(asked.parameters("resource"), [RESOURCE]);
        assert_eq!(asked.parameters("api-version"), [version]);
        assert_eq!(asked.parameters("client_id"), [""; 0]);
        let log = reader.end();
        assert!(log.contains(&format!("the credentials of the Azure identity {CLIENT}")), "{log}");
        assert!(!log.contains("service-secret"), "{log}");
    }
    // Of several identities of a machine, the one that is named.
    let registry = azure_registry(&[&refresh("one")]);
    let named = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.base()), ("AZURE_CLIENT_ID", CLIENT.to_owned())];
    let mut reader = start(&registry, &named);
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    assert_eq!(metadata.requests().pop().unwrap().parameters("client_id"), [CLIENT]);
    reader.end();
}

#[test]
fn an_identity_that_is_refused_is_named_with_what_it_needs_and_no_secret() {
    let registry = azure_registry(&[]);
    let app = registry.repository("acme/app");
    let authority = TestRegistry::start();
    let mut reader = start(&registry, &workload(&authority));
    let answer =
        |status, body: String| Reply::Answer(status, vec![("content-type", "application/json".to_owned())], body);
    let error = |text: &str| serde_json::json!({ "error": "invalid_client", "error_description": text }).to_string();
    authority.next("POST /", answer(401, error("AADSTS700213: No matching federated identity record found.")));
    let said = reader.read(&[&app]);
    let expected =
        format!("refused the credentials of the Azure identity {CLIENT}: 401 Unauthorized (AADSTS700213: No matching");
    assert!(said.contains(&expected) && said.contains("the identity needs a federated credential"), "{said}");
    authority.next("POST /", answer(401, error("this assertion is wrong: federated.token")));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    assert!(said.contains("its message contains a secret and is not shown"), "{said}");
    // Microsoft Entra knows it, and the registry does not.
    authority.always("POST /", entra());
    registry.next("POST /oauth2/exchange", Reply::error(401, "UNAUTHORIZED"));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    let expected = format!("refused the credentials of the Azure identity {CLIENT}: 401 Unauthorized (UNAUTHORIZED");
    assert!(said.contains(&expected) && said.contains("; the identity needs the role `AcrPull`"), "{said}");
    // The registry knows it, and it may not read this.
    registry.next("POST /oauth2/exchange", Reply::json(&format!(r#"{{"refresh_token":"{}"}}"#, refresh("unknown"))));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    assert!(said.contains("need the role `AcrPull` on the registry"), "{said}");
    let log = reader.end();
    assert!(!log.contains("federated.token") && !log.contains(r#""entra""#), "{log}");
}

#[test]
fn an_identity_that_is_configured_and_not_there_is_an_error_that_says_where_it_was_looked_for() {
    let registry = azure_registry(&[]);
    let metadata = TestRegistry::start();
    let error = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    metadata.always(
        "GET /metadata",
        Reply::Answer(400, vec![("content-type", "application/json".to_owned())], error.to_owned()),
    );
    let mut reader = start(&registry, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.base())]);
    let said = reader.read(&[&registry.repository("acme/app"), &registry.repository("acme/web")]);
    for answer in said.split(" | ") {
        for part in [
            "cannot read credentials: neither AZURE_FEDERATED_TOKEN_FILE",
            "Identity not found",
            "give the pod a workload identity",
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }
    assert_eq!(metadata.requests().len(), 1);
    reader.end();
    let half = [("AZURE_FEDERATED_TOKEN_FILE", "DIR/token".to_owned())];
    let mut reader = start(&registry, &half);
    let said = reader.read(&[&registry.repository("acme/app")]);
    assert!(said.contains("AZURE_FEDERATED_TOKEN_FILE is set, and AZURE_CLIENT_ID is not: set both"), "{said}");
    reader.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_chooses_the_identity_and_its_requests_go_to_that_clouds_endpoints_alone() {
    for (host, authority_host) in [
        ("acme.azurecr.io", "login.microsoftonline.com"),
        ("acme.azurecr.cn", "login.chinacloudapi.cn"),
        ("acme.azurecr.us", "login.microsoftonline.us"),
    ] {
        let internet = Internet::new().await;
        let refresh_token = refresh("one");
        let (registry, authority) = (azure_registry(&[&refresh_token]), TestRegistry::start());
        authority.next("POST /acme-tenant/oauth2/v2.0/token", entra());
        let challenge = format!(r#"Bearer realm="https://{host}/token",service="{host}",scope="{{scope}}""#).leak();
        registry.require(Access::Token(TokenServer {
            identities: vec![refresh_token.leak()],
            challenge: Some(challenge),
            ..TokenServer::default()
        }));
        internet.host(host, &registry).await;
        internet.host(authority_host, &authority).await;
        let variables = workload(&authority);
        let variables: Vec<(&str, &str)> = variables[..3].iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut reader = Reader::start(&internet.section(host, ""), &variables, |files| {
            files.write("token", "federated.token");
        });
        let repository: Repository = format!("{host}/acme/app").parse().unwrap();
        assert_eq!(reader.read(&[&repository]), "ok");
        assert_eq!(exchanges(&registry)[0].parameters("service"), [host]);
        assert_eq!(internet.take_asked(), [host, authority_host]);
        reader.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_metadata_server_takes_a_second_and_is_anonymous() {
    let internet = Internet::new().await;
    let registry = registry(&[]);
    registry.require(Access::Open);
    registry.next(
        "HEAD /v2/",
        Reply::status(401).and("www-authenticate", "Bearer realm=\"https://acme.azurecr.io/token\""),
    );
    registry.next("GET /token", Reply::json(r#"{"access_token":"anonymous"}"#));
    internet.host("acme.azurecr.io", &registry).await;
    let hanging = TestRegistry::start();
    hanging.always("* /", Reply::Stall);
    let base = hanging.base();
    let variables = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", base.as_str())];
    let mut reader = Reader::start(&internet.section("acme.azurecr.io", ""), &variables, |_| {});
    let repository: Repository = "acme.azurecr.io/acme/app".parse().unwrap();
    let began = std::time::Instant::now();
    assert_eq!(reader.read(&[&repository]), "ok");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = reader.end();
    assert_eq!(log.matches("no identity for this registry, requests are anonymous").count(), 1, "{log}");
}
