//! Google Cloud: application default credentials, and the token that they get as a password.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::proxy::Internet;
use super::*;
use crate::support::registry::{Kind, Reply, TokenServer};

const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
const EMAIL: &str = "sizes@acme.iam.gserviceaccount.com";
const MINUTE: Duration = Duration::from_mins(1);
/// A key of this test's own, which protects nothing.
const KEY: &str = include_str!("gcp/key.pem");
const USER: &str = "oauth2accesstoken";

/// A registry whose token server takes any of these access tokens.
fn google_registry(tokens: &[&'static str], challenge: Option<&'static str>) -> TestRegistry {
    let registry = registry(&[]);
    let users = tokens.iter().map(|token| (USER, *token)).collect();
    registry.require(Access::Token(TokenServer { users, challenge, ..TokenServer::default() }));
    registry
}

fn google(reply: Reply) -> Reply {
    reply.and("metadata-flavor", "Google")
}

/// A metadata server that gives these tokens, one after the other, each for an hour.
fn metadata(tokens: &[&str]) -> TestRegistry {
    let server = TestRegistry::start();
    server.always(&format!("GET {ACCOUNT}/email"), google(Reply::Answer(200, vec![], EMAIL.to_owned())));
    for token in tokens {
        server.next(&format!("GET {ACCOUNT}/token"), google(access_token(token)));
    }
    server
}

fn access_token(token: &str) -> Reply {
    Reply::json(&format!(r#"{{"access_token":"{token}","expires_in":3599,"token_type":"Bearer"}}"#))
}

fn start(registry: &TestRegistry, variables: &[(&str, &str)], file: &Value) -> Reader {
    Reader::start(&section(registry, "identity = 'gcp'"), variables, |files| {
        files.write("google.json", &file.to_string());
        files.write("token", "federated.token\n");
        files.write("token.json", r#"{"value":"federated.token"}"#);
    })
}

fn problem(status: u16, body: &Value) -> Reply {
    Reply::Answer(status, vec![("content-type", "application/json".to_owned())], body.to_string())
}

const FILE: [(&str, &str); 1] = [("GOOGLE_APPLICATION_CREDENTIALS", "DIR/google.json")];

#[test]
fn the_metadata_servers_token_is_a_password_until_it_is_renewed() {
    let registry = google_registry(&["ya29.first", "ya29.second"], None);
    let metadata = metadata(&["ya29.first", "ya29.second"]);
    let host = metadata.address().to_string();
    let mut reader = start(&registry, &[("GCE_METADATA_HOST", &host)], &Value::Null);
    let [app, web, db] = ["acme/app", "acme/web", "acme/db"].map(|name| registry.repository(name));
    assert_eq!(reader.read(&[&app, &web, &db]), "ok | ok | ok");
    let requests = metadata.requests();
    assert_eq!(requests.len(), 2, "its name and its token, once for all");
    assert!(requests.iter().all(|seen| seen.header("metadata-flavor") == "Google"));
    let ends = reader.expiry().unwrap();
    let now = jiff::Timestamp::now().as_second() as f64;
    assert!((ends - now - 3599.0).abs() < 60.0, "{ends}");
    reader.advance(MINUTE * 54);
    assert_eq!(reader.read(&[&app]), "ok");
    assert_eq!(metadata.requests().len(), 2);
    reader.advance(MINUTE * 2);
    assert_eq!(reader.read(&[&app, &web]), "ok | ok");
    assert_eq!(metadata.requests().len(), 4);
    let log = reader.end();
    assert!(log.contains(&format!("the credentials of the Google service account {EMAIL}")), "{log}");
    assert!(!log.contains("ya29"), "{log}");
}

#[test]
fn a_service_accounts_key_signs_for_its_token() {
    let registry = google_registry(&["ya29.key"], None);
    let endpoint = TestRegistry::start();
    endpoint.next("POST /token", access_token("ya29.key"));
    let token_uri = format!("{}/token", endpoint.base());
    let file = json!({
        "type": "service_account", "client_email": EMAIL, "private_key_id": "key-1", "private_key": KEY,
        "token_uri": token_uri, "project_id": "acme",
    });
    let mut reader = start(&registry, &FILE, &file);
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    let asked = &endpoint.requests()[0];
    assert_eq!(asked.parameters("grant_type"), ["urn:ietf:params:oauth:grant-type:jwt-bearer"]);
    let assertion = asked.parameters("assertion").remove(0);
    let parts: Vec<&str> = assertion.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(json(parts[0]), json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    let claims = json(parts[1]);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(EMAIL), &json!(token_uri)));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(pem(KEY));
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
    let log = reader.end();
    assert!(log.contains(EMAIL) && !log.contains("ya29") && !log.contains(&assertion), "{log}");
}

/// The bytes of a text in PEM form.
fn pem(text: &str) -> Vec<u8> {
    let body: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body.concat()).unwrap()
}

#[test]
fn another_providers_token_is_exchanged_and_takes_a_service_account() {
    let registry = google_registry(&["ya29.federated", "ya29.impersonated"], None);
    let google = TestRegistry::start();
    let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
    let file = |source: Value, impersonated: bool| {
        let mut file = json!({
            "type": "external_account", "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/v1/token", google.base()), "credential_source": source,
        });
        if impersonated {
            let url = format!("{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", google.base());
            file["service_account_impersonation_url"] = url.into();
        }
        file
    };
    let from_file = json!({ "file": "TOKEN" });
    let from_url = json!({
        "url": format!("{}/token-of-the-provider", google.base()), "headers": { "x-provider": "provider-secret" },
        "format": { "type": "json", "subject_token_field_name": "value" },
    });
    google.always("GET /token-of-the-provider", Reply::json(r#"{"value":"federated.token"}"#));
    google.always("POST /v1/token", access_token("ya29.federated"));
    let ends = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3600).unwrap();
    let generated = format!(r#"{{"accessToken":"ya29.impersonated","expireTime":"{ends}"}}"#);
    google.always("POST /v1/projects/", Reply::json(&generated));
    for (source, impersonated, password) in
        [(from_file, false, "ya29.federated"), (from_url, true, "ya29.impersonated")]
    {
        let files = Files::new();
        let token = files.write("token", "federated.token\n").display().to_string();
        let text = file(source, impersonated).to_string().replace("TOKEN", &token);
        google.take_counts();
        registry.take_counts();
        let mut reader = start(&registry, &FILE, &serde_json::from_str(&text).unwrap());
        assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
        let requests = google.requests();
        let exchange = requests.iter().find(|seen| seen.path() == "/v1/token").unwrap();
        for (name, value) in [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", audience),
            ("subject_token", "federated.token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ] {
            assert_eq!(exchange.parameters(name), [value]);
        }
        if impersonated {
            assert_eq!(requests[0].header("x-provider"), "provider-secret");
            assert_eq!(requests.last().unwrap().header("authorization"), "Bearer ya29.federated");
        }
        let asked = registry.requests();
        let token = asked.iter().find(|seen| seen.kind == Kind::Token).unwrap();
        assert_eq!(token.header("authorization"), crate::support::registry::basic(USER, password));
        let log = reader.end();
        assert!(log.contains(if impersonated { EMAIL } else { audience }), "{log}");
        for secret in ["ya29", "federated.token", "provider-secret"] {
            assert!(!log.contains(secret), "{secret}\n{log}");
        }
    }
}

#[test]
fn a_user_of_gclouds_is_found_in_its_file_and_may_impersonate() {
    let registry = google_registry(&["ya29.impersonated"], None);
    let google = TestRegistry::start();
    let ends = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3600).unwrap();
    let generated = format!(r#"{{"accessToken":"ya29.impersonated","expireTime":"{ends}"}}"#);
    google.next("POST /v1/projects/", Reply::json(&generated));
    google.next("POST /token", access_token("ya29.source"));
    let file = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url":
            format!("{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", google.base()),
        "source_credentials": {
            "type": "service_account", "client_email": "source@acme", "private_key": KEY,
            "token_uri": format!("{}/token", google.base()),
        },
    });
    let mut reader = Reader::start(&section(&registry, "identity = 'gcp'"), &[], |files| {
        files.write(".config/gcloud/application_default_credentials.json", &file.to_string());
    });
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    assert_eq!(google.requests()[1].header("authorization"), "Bearer ya29.source");
    assert!(reader.end().contains(EMAIL));
}

#[test]
fn what_is_refused_or_wrong_is_named_with_what_to_do_and_no_secret() {
    let registry = google_registry(&["nobody"], None);
    let app = registry.repository("acme/app");
    let google = TestRegistry::start();
    let account = |token_uri: String| json!({ "type": "service_account", "client_email": EMAIL, "private_key": KEY, "token_uri": token_uri });
    let mut reader = start(&registry, &FILE, &account(format!("{}/token", google.base())));
    google.next(
        "POST /token",
        problem(400, &json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." })),
    );
    let said = reader.read(&[&app]);
    let expected = format!(
        "refused the credentials of the Google service account {EMAIL}: 400 Bad Request (Invalid JWT Signature.); check that the key was not deleted"
    );
    assert!(said.contains(&expected), "{said}");
    // It is known, and may not read this.
    google.next("POST /token", access_token("ya29.key"));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    assert!(
        said.contains(&format!("{EMAIL} need the role `roles/artifactregistry.reader` on the repository")),
        "{said}"
    );
    assert!(!reader.end().contains("ya29"));
    for (file, expected) in [
        (json!({ "type": "service_account" }), "google.json: not the JSON of a service account"),
        (account("https://thief.example/token".to_owned()), "`token_uri` is not an address of googleapis.com"),
        (
            account("https://googleapis.com.thief.example/".to_owned()),
            "`token_uri` is not an address of googleapis.com",
        ),
        (account("http://oauth2.googleapis.com/token".to_owned()), "`token_uri` is not an address of googleapis.com"),
        (
            json!({ "type": "service_account", "client_email": EMAIL, "private_key": "sesame" }),
            "`private_key` is not an RSA key in PEM form: download a new one",
        ),
        (
            json!({
                "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": google.base(),
                "credential_source": { "executable": { "command": "sesame" } },
            }),
            "`credential_source` has neither `file` nor `url`",
        ),
    ] {
        let mut reader = start(&registry, &FILE, &file);
        let said = reader.read(&[&app]);
        assert!(said.contains(expected) && !said.contains("sesame"), "{expected}: {said}");
        reader.end();
    }
    let mut reader = start(&registry, &[("GOOGLE_APPLICATION_CREDENTIALS", "DIR/gone.json")], &Value::Null);
    let said = reader.read(&[&app]);
    assert!(said.contains("GOOGLE_APPLICATION_CREDENTIALS") && said.contains("gone.json: no such file"), "{said}");
    reader.end();
}

#[test]
fn without_a_service_account_a_configured_identity_is_an_error() {
    let registry = google_registry(&["nobody"], None);
    let other = TestRegistry::start();
    other.always("GET /", Reply::Answer(200, vec![], "captive portal".to_owned()));
    let host = other.address().to_string();
    let mut reader = start(&registry, &[("GCE_METADATA_HOST", &host)], &Value::Null);
    let said = reader.read(&[&registry.repository("acme/app")]);
    for part in
        ["cannot read credentials: GOOGLE_APPLICATION_CREDENTIALS is not set", "is not Google's metadata server"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(other.requests().len(), 1);
    reader.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_chooses_the_identity_and_public_images_need_none() {
    for host in ["europe-west3-docker.pkg.dev", "gcr.io", "eu.gcr.io"] {
        let internet = Internet::new().await;
        let challenge = format!(r#"Bearer realm="https://{host}/token",service="{host}",scope="{{scope}}""#).leak();
        let registry = google_registry(&["ya29.first"], Some(challenge));
        internet.host(host, &registry).await;
        let server = metadata(&["ya29.first"]);
        let address = server.address().to_string();
        let mut reader = Reader::start(&internet.section(host, ""), &[("GCE_METADATA_HOST", &address)], |_| {});
        let repository: Repository = format!("{host}/acme/app").parse().unwrap();
        assert_eq!(reader.read(&[&repository]), "ok");
        reader.end();
        // Elsewhere, a server that hangs costs a second.
        let public = google_registry(&[], Some(challenge));
        internet.host(host, &public).await;
        let hanging = TestRegistry::start();
        hanging.always("* /", Reply::Stall);
        let address = hanging.address().to_string();
        let mut reader = Reader::start(&internet.section(host, ""), &[("GCE_METADATA_HOST", &address)], |_| {});
        let began = std::time::Instant::now();
        assert_eq!(reader.read(&[&repository]), "ok");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(reader.read(&[&repository]), "ok");
        assert_eq!(hanging.requests().len(), 1);
        reader.end();
        assert_eq!(internet.take_asked(), [host]);
    }
}
