//! AWS: the chain of credentials, and Amazon ECR's login.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::*;
use crate::support::registry::{Reply, Seen};

mod hosts;
mod signature;

const ROLE: &str = "arn:aws:iam::123456789012:role/size-reader";
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Amazon ECR, which gives these passwords one after the other, each valid for 12 hours.
fn ecr(passwords: &[&str]) -> TestRegistry {
    let ecr = TestRegistry::start();
    for (at, password) in passwords.iter().enumerate() {
        ecr.next("POST /", token(password, unix_now() + 43_200.0 + at as f64));
    }
    ecr
}

fn token(password: &str, expires_at: f64) -> Reply {
    let token = STANDARD.encode(format!("AWS:{password}"));
    Reply::json(&format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":{expires_at}}}]}}"#))
}

fn refused(kind: &str, message: &str) -> Reply {
    let body = serde_json::json!({ "__type": kind, "message": message }).to_string();
    Reply::Answer(400, vec![("content-type", "application/x-amz-json-1.1".to_owned())], body)
}

fn unix_now() -> f64 {
    Timestamp::now().as_second() as f64
}

fn later(seconds: i64) -> String {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap().to_string()
}

/// The environment of a user with an access key.
fn key(ecr: &TestRegistry) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", signature::SECRET_KEY.to_owned()),
        ("AWS_SESSION_TOKEN", "session-token".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ENDPOINT_URL_ECR", ecr.base()),
    ]
}

fn start(registry: &TestRegistry, variables: &[(&str, String)]) -> Reader {
    start_with(registry, variables, |_| {})
}

fn start_with(registry: &TestRegistry, variables: &[(&str, String)], write: impl FnOnce(&Files)) -> Reader {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Reader::start(&section(registry, "identity = 'aws'"), &variables, write)
}

fn passwords(registry: &TestRegistry) -> Vec<String> {
    let sent = registry.requests().into_iter().map(|seen| seen.header("authorization").replace("Basic ", ""));
    sent.map(|sent| String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap()).collect()
}

#[test]
fn one_signed_request_gets_a_password_that_serves_everything_until_it_is_renewed() {
    let registry = registry(&[("AWS", "sesame-1"), ("AWS", "sesame-2")]);
    let ecr = ecr(&["sesame-1", "sesame-2"]);
    let mut reader = start(&registry, &key(&ecr));
    let [app, web, db] = ["acme/app", "acme/web", "acme/db"].map(|name| registry.repository(name));
    assert_eq!(reader.read(&[&app, &web, &db]), "ok | ok | ok");
    let ends = reader.expiry().unwrap();
    assert!((ends - unix_now() - 43_200.0).abs() < 60.0, "{ends}");
    assert_eq!(reader.read(&[&app]), "ok");
    // One request for many waiters.
    let requests = ecr.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.header("x-amz-target"), "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken");
    assert_eq!(request.header("x-amz-security-token"), "session-token");
    signature::verify(request, &ecr.address().to_string(), "eu-central-1", "ecr");
    // It is good for more than eleven hours, and is not renewed before that.
    reader.advance(MINUTE * 710);
    assert_eq!(reader.read(&[&app]), "ok");
    assert_eq!(ecr.requests().len(), 1);
    // Five minutes before its end it is renewed, once.
    reader.advance(MINUTE * 6);
    registry.take_counts();
    assert_eq!(reader.read(&[&app, &web, &db]), "ok | ok | ok");
    assert_eq!(ecr.requests().len(), 2);
    assert!(passwords(&registry).contains(&"AWS:sesame-2".to_owned()), "{:?}", passwords(&registry));
    assert!(reader.expiry().unwrap() > ends, "{ends}");
    let log = reader.end();
    assert!(log.contains("the credentials of the AWS access key AKIAEXAMPLE"), "{log}");
    assert!(!log.contains(&STANDARD.encode("AWS:sesame-1")), "{log}");
    for secret in [signature::SECRET_KEY, "session-token", "sesame", "Signature"] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[test]
fn a_password_that_cannot_be_renewed_is_used_to_its_end() {
    let registry = registry(&[("AWS", "first"), ("AWS", "second")]);
    let ecr = ecr(&["first"]);
    let mut reader = start(&registry, &key(&ecr));
    let app = registry.repository("acme/app");
    assert_eq!(reader.read(&[&app]), "ok");
    ecr.always("POST /", Reply::status(503));
    reader.advance(MINUTE * 716);
    assert_eq!(reader.read(&[&app]), "ok");
    // The failed renewal is tried again after a minute, and not for every tag.
    let asked = ecr.requests().len();
    assert_eq!(reader.read(&[&app]), "ok");
    assert_eq!(ecr.requests().len(), asked);
    reader.advance(MINUTE * 5);
    let said = reader.read(&[&app]);
    assert!(said.contains("cannot read credentials: 127.0.0.1") && said.contains("failed for"), "{said}");
    ecr.always("POST /", token("second", unix_now() + 43_200.0));
    reader.advance(MINUTE);
    assert_eq!(reader.read(&[&app]), "ok");
    assert!(reader.end().contains("cannot renew the login of an identity"));
}

#[test]
fn a_password_that_the_registry_refuses_is_renewed_but_not_for_every_tag() {
    let registry = registry(&[("AWS", "first")]);
    let ecr = ecr(&["first", "second", "third"]);
    let mut reader = start(&registry, &key(&ecr));
    let [app, web, db] = ["acme/app", "acme/web", "acme/db"].map(|name| registry.repository(name));
    assert_eq!(reader.read(&[&app]), "ok");
    reader.advance(HOUR);
    registry.require(Access::Basic(vec![("AWS", "second")]));
    assert_eq!(reader.read(&[&app]), "ok");
    // A role without permission: its next password would be refused as well.
    registry.require(Access::Basic(vec![]));
    let said = reader.read(&[&web, &db]);
    assert!(
        said.contains("the registry refused access to the credentials of the AWS access key AKIAEXAMPLE"),
        "{said}"
    );
    assert!(said.contains("need `ecr:BatchGetImage`"), "{said}");
    assert_eq!(ecr.requests().len(), 2);
    reader.end();
}

#[test]
fn a_web_identity_takes_its_role() {
    let registry = registry(&[("AWS", "sesame")]);
    let ecr = ecr(&["sesame"]);
    let sts = TestRegistry::start();
    sts.next("POST /", assumed("AssumeRoleWithWebIdentity"));
    let mut variables = web_identity(&sts, &ecr);
    variables.push(("AWS_DEFAULT_REGION", "eu-central-1".to_owned()));
    let write = |files: &Files| drop(files.write("token", "web.identity.token"));
    let mut reader = start_with(&registry, &variables, write);
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    let asked = &sts.requests()[0];
    assert_eq!(asked.parameters("Action"), ["AssumeRoleWithWebIdentity"]);
    assert_eq!(asked.parameters("RoleArn"), [ROLE]);
    assert_eq!(asked.parameters("WebIdentityToken"), ["web.identity.token"]);
    assert_eq!(ecr.requests()[0].header("x-amz-security-token"), "role-session");
    let log = reader.end();
    assert!(log.contains(&format!("the credentials of the AWS role {ROLE}")), "{log}");
    for secret in ["web.identity.token", "role-session", "role-secret", "sesame"] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[test]
fn a_role_that_is_refused_is_named_with_what_it_needs_and_no_secret() {
    let registry = registry(&[("AWS", "sesame")]);
    let app = registry.repository("acme/app");
    let sts = TestRegistry::start();
    let ecr = TestRegistry::start();
    // By STS: the role does not trust the service account. Its error repeats the token.
    let error = |message: &str| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{message}</Message></Error></ErrorResponse>"
        );
        Reply::Answer(403, vec![("content-type", "text/xml".to_owned())], body)
    };
    sts.always("POST /", error("Not authorized to perform sts:AssumeRoleWithWebIdentity"));
    let mut variables = web_identity(&sts, &ecr);
    variables.push(("AWS_REGION", "eu-central-1".to_owned()));
    let write = |files: &Files| drop(files.write("token", "web.identity.token"));
    let mut reader = start_with(&registry, &variables, write);
    let said = reader.read(&[&app]);
    assert!(said.contains(&format!("no AWS credentials of the role {ROLE}: ")), "{said}");
    assert!(said.contains("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "{said}");
    assert!(said.contains("a role must trust this identity for"), "{said}");
    sts.always("POST /", error("Not authorized: web.identity.token"));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    assert!(said.contains(ROLE) && !said.contains("web.identity"), "{said}");
    // By ECR: the role may not get a login.
    sts.always("POST /", assumed("AssumeRoleWithWebIdentity"));
    let message = "User: arn:aws:sts::123456789012:assumed-role/size-reader/x is not authorized to perform: ecr:GetAuthorizationToken on resource: *";
    ecr.next("POST /", refused("AccessDeniedException", message));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    let expected = format!(
        "refused the credentials of the AWS role {ROLE}: 400 Bad Request (AccessDeniedException: {message}); the identity needs the permission `ecr:GetAuthorizationToken`"
    );
    assert!(said.contains(&expected), "{said}");
    // The canonical request, which a refused signature quotes, has the session's token in it.
    ecr.next("POST /", refused("InvalidSignatureException", "POST\n/\n\nx-amz-security-token:role-session\n"));
    reader.advance(MINUTE * 2);
    let said = reader.read(&[&app]);
    assert!(said.contains("its message contains a secret and is not shown"), "{said}");
    let log = reader.end();
    for secret in ["web.identity.token", "role-session", "role-secret"] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[test]
fn a_container_and_an_instance_have_roles() {
    let credentials = serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": later(-60), "AccessKeyId": "ASIAROLE",
        "SecretAccessKey": "role-secret", "Token": "role-session", "Expiration": later(3600),
    })
    .to_string();
    let metadata = TestRegistry::start();
    metadata.always("GET /v1/credentials", Reply::json(&credentials));
    metadata.always(
        "PUT /latest/api/token",
        Reply::Answer(
            200,
            vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())],
            "imds-session".to_owned(),
        ),
    );
    metadata
        .always("GET /latest/meta-data/iam/security-credentials/", Reply::Answer(200, vec![], "node-role".to_owned()));
    metadata.always("GET /latest/meta-data/iam/security-credentials/node-role", Reply::json(&credentials));
    let pod = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", metadata.base())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "DIR/token".to_owned()),
    ];
    let instance = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.base())];
    for (variables, header, value) in
        [(pod, "authorization", "pod-identity-token"), (instance, "x-aws-ec2-metadata-token", "imds-session")]
    {
        let registry = registry(&[("AWS", "sesame")]);
        let ecr = ecr(&["sesame"]);
        let mut variables = variables;
        variables.push(("AWS_REGION", "eu-central-1".to_owned()));
        variables.push(("AWS_ENDPOINT_URL_ECR", ecr.base()));
        let write = |files: &Files| drop(files.write("token", "pod-identity-token"));
        let mut reader = start_with(&registry, &variables, write);
        assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
        assert_eq!(metadata.requests().last().unwrap().header(header), value);
        assert_eq!(ecr.requests()[0].header("x-amz-security-token"), "role-session");
        let log = reader.end();
        assert!(log.contains("the AWS access key ASIAROLE"), "{log}");
        assert!(!log.contains(value) && !log.contains("role-secret"), "{log}");
    }
}

#[test]
fn a_profile_takes_a_role_with_the_keys_of_another() {
    let registry = registry(&[("AWS", "sesame")]);
    let ecr = ecr(&["sesame"]);
    let sts = TestRegistry::start();
    sts.next("POST /", assumed("AssumeRole"));
    let variables = vec![
        ("AWS_PROFILE", "sizes".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ENDPOINT_URL_STS", sts.base()),
        ("AWS_ENDPOINT_URL_ECR", ecr.base()),
    ];
    let mut reader = start_with(&registry, &variables, |files| {
        files.write(".aws/config", &format!("[profile sizes]\nrole_arn = {ROLE}\nsource_profile = base\n"));
        files.write(".aws/credentials", "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n");
    });
    assert_eq!(reader.read(&[&registry.repository("acme/app")]), "ok");
    assert_eq!(sts.requests()[0].parameters("RoleArn"), [ROLE]);
    assert!(!reader.end().contains("base-secret"));
}

#[test]
fn a_clock_that_is_wrong_is_corrected_by_the_servers() {
    let registry = registry(&[("AWS", "first"), ("AWS", "second")]);
    let ecr = TestRegistry::start();
    // The server's clock is three hours ahead; what it issues ends 12 hours later by its own clock.
    let ahead = 10_800.0;
    let date = |reply: Reply| {
        let at = std::time::SystemTime::now() + HOUR * 3;
        reply.and("date", httpdate::fmt_http_date(at))
    };
    ecr.next("POST /", date(refused("InvalidSignatureException", "Signature expired")));
    ecr.next("POST /", date(token("first", unix_now() + ahead + 43_200.0)));
    ecr.next("POST /", token("second", unix_now() + 43_200.0));
    let mut reader = start(&registry, &key(&ecr));
    let app = registry.repository("acme/app");
    assert_eq!(reader.read(&[&app]), "ok");
    let at = |seen: &Seen| {
        let text = seen.header("x-amz-date").to_owned();
        jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap()
    };
    let requests = ecr.requests();
    let apart = at(&requests[1]).timestamp().as_second() - at(&requests[0]).timestamp().as_second();
    assert!((10_790..=10_810).contains(&apart), "{apart}");
    signature::verify(&requests[1], &ecr.address().to_string(), "eu-central-1", "ecr");
    // Twelve hours, not fifteen.
    reader.advance(MINUTE * 716);
    assert_eq!(reader.read(&[&app]), "ok");
    assert_eq!(ecr.requests().len(), 3);
    reader.end();
}

#[test]
fn a_metadata_server_that_hangs_takes_bounded_time_and_is_not_asked_for_every_tag() {
    let hanging = TestRegistry::start();
    hanging.always("* /", Reply::Stall);
    let variables =
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", hanging.base()), ("AWS_REGION", "eu-central-1".to_owned())];
    let slow = registry(&[("AWS", "sesame")]);
    let quick = registry(&[]);
    quick.require(Access::Open);
    let mut reader = start(&slow, &variables);
    let began = std::time::Instant::now();
    let said =
        reader.read(&[&slow.repository("acme/app"), &slow.repository("acme/web"), &quick.repository("acme/app")]);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let answers: Vec<&str> = said.split(" | ").collect();
    assert_eq!(answers[2], "ok");
    for answer in &answers[..2] {
        assert!(
            answer.contains("has AWS credentials: give the service account, the task or the instance a role"),
            "{answer}"
        );
    }
    let asked = hanging.requests().len();
    reader.read(&[&slow.repository("acme/db")]);
    assert_eq!(hanging.requests().len(), asked);
    reader.end();
}

#[test]
fn an_identity_follows_no_redirect_and_goes_to_no_token_server_elsewhere() {
    let thief = TestRegistry::start();
    let registry = registry(&[("AWS", "sesame")]);
    let app = registry.repository("acme/app");
    let redirecting = TestRegistry::start();
    redirecting.always("POST /", Reply::redirect(thief.base()));
    let mut reader = start(&registry, &key(&redirecting));
    let said = reader.read(&[&app]);
    assert!(said.contains("redirects a request with an identity, which is not followed"), "{said}");
    reader.end();
    let ecr = ecr(&["sesame"]);
    let elsewhere = thief.base().replace("127.0.0.1", "localhost");
    let challenge = format!("Bearer realm=\"{elsewhere}/token\",service=\"x\"");
    registry.always("HEAD /", Reply::status(401).and("www-authenticate", challenge));
    let mut reader = start(&registry, &key(&ecr));
    let said = reader.read(&[&app]);
    assert!(said.contains("which is not of AWS: the identity is not sent there"), "{said}");
    reader.end();
    assert_eq!(thief.counts(), "");
}

#[test]
fn a_region_that_neither_the_host_nor_the_environment_names_is_asked_for() {
    let registry = registry(&[("AWS", "sesame")]);
    let mut reader = start(&registry, &[("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned())]);
    let said = reader.read(&[&registry.repository("acme/app")]);
    assert!(said.contains("does not name its region as Amazon's hosts do: set the variable AWS_REGION"), "{said}");
    reader.end();
}

fn web_identity(sts: &TestRegistry, ecr: &TestRegistry) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ROLE_ARN", ROLE.to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "DIR/token".to_owned()),
        ("AWS_ENDPOINT_URL_STS", sts.base()),
        ("AWS_ENDPOINT_URL_ECR", ecr.base()),
    ]
}

/// What STS answers to a request for a role.
fn assumed(action: &str) -> Reply {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
         <SessionToken>role-session</SessionToken><Expiration>{}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/size-reader/x</Arn></AssumedRoleUser>\
         </{action}Result></{action}Response>",
        later(3600)
    );
    Reply::Answer(200, vec![("content-type", "text/xml".to_owned())], body)
}
