//! Credentials files: a service account's key, a user's refresh token, workload identity federation, and service accounts
//! that one of these impersonates (AIP-4112, AIP-4113, AIP-4117).

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue, Method};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::http::{IdentityHttp, REQUEST_MAX, refusal};
use super::token::{endpoint, impersonate, post};
use super::{AccessToken, SCOPE};
use crate::registry::auth::files;
use crate::registry::transport::redact::Secrets;

/// Where OAuth 2 tokens come from, unless a file says otherwise.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// How long an assertion is valid.
const ASSERTION_SECONDS: u64 = 3600;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Credentials {
    ServiceAccount(ServiceAccount),
    AuthorizedUser { client_id: String, client_secret: String, refresh_token: String },
    ExternalAccount(ExternalAccount),
    ImpersonatedServiceAccount { service_account_impersonation_url: String, source_credentials: Box<Credentials> },
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    #[serde(default)]
    service_account_impersonation_url: Option<String>,
    credential_source: Source,
}

/// Where the token of the other identity provider is.
#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    subject_token_field_name: Option<String>,
}

/// The token of a credentials file. An error names the file, and quotes nothing of it.
pub(super) async fn token(http: &IdentityHttp, path: &str, text: &str) -> Result<AccessToken, String> {
    let at = |problem: String| format!("{path}: {problem}");
    let credentials: Credentials = serde_json::from_str(text).map_err(|error| {
        // serde's message may quote a value.
        let place = format!("line {}, column {}", error.line(), error.column());
        at(format!(
            "not the JSON of a service account, an external account (with a file or a URL) or an authorized user: see {place}"
        ))
    })?;
    of(http, &credentials).await.map_err(at)
}

fn of<'a>(
    http: &'a IdentityHttp,
    credentials: &'a Credentials,
) -> Pin<Box<dyn Future<Output = Result<AccessToken, String>> + Send + 'a>> {
    Box::pin(async move {
        match credentials {
            Credentials::ServiceAccount(account) => of_key(http, account).await,
            Credentials::AuthorizedUser { client_id, client_secret, refresh_token } => {
                let owner = "the credentials of a Google user".to_owned();
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id.as_str()),
                    ("client_secret", client_secret.as_str()),
                    ("refresh_token", refresh_token.as_str()),
                ];
                let url = endpoint("token_uri", TOKEN_URI)?;
                let needs = "run `gcloud auth application-default login` again";
                let secrets = ["client_secret", "refresh_token"];
                Ok(post(http, url, &fields, &secrets, &owner, needs).await?.into_token(owner))
            }
            Credentials::ExternalAccount(account) => federated(http, account).await,
            Credentials::ImpersonatedServiceAccount { service_account_impersonation_url, source_credentials } => {
                let url = endpoint("service_account_impersonation_url", service_account_impersonation_url)?;
                let source = of(http, source_credentials).await?;
                impersonate(http, url, &source).await
            }
        }
    })
}

/// By a service account's key: an assertion that it signs (RFC 7523; Google, "Using OAuth 2.0 for Server to Server
/// Applications").
async fn of_key(http: &IdentityHttp, account: &ServiceAccount) -> Result<AccessToken, String> {
    let audience = account.token_uri.as_deref().unwrap_or(TOKEN_URI);
    let url = endpoint("token_uri", audience)?;
    let owner = format!("the credentials of the Google service account {}", account.client_email);
    let now =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let assertion = assertion(account, audience, now)?;
    let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.as_str())];
    let needs = "check that the key was not deleted, and that this machine's clock is right";
    Ok(post(http, url, &fields, &["assertion"], &owner, needs).await?.into_token(owner))
}

fn assertion(account: &ServiceAccount, audience: &str, now: u64) -> Result<String, String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.as_bytes())
        .ok()
        .and_then(|key| RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok())
        .ok_or("`private_key` is not an RSA key in PEM form: download a new one")?;
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id }));
    let claims = part(json!({
        "iss": account.client_email, "scope": SCOPE, "aud": audience, "iat": now, "exp": now + ASSERTION_SECONDS,
    }));
    let text = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| "`private_key` cannot sign: download a new one")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Workload identity federation: another provider's token for one of Google's (RFC 8693).
async fn federated(http: &IdentityHttp, account: &ExternalAccount) -> Result<AccessToken, String> {
    let url = endpoint("token_url", &account.token_url)?;
    let impersonated = account.service_account_impersonation_url.as_deref();
    let impersonated = impersonated.map(|url| endpoint("service_account_impersonation_url", url)).transpose()?;
    let subject = subject_token(http, &account.credential_source).await?;
    let owner = format!("the credentials of the workload identity {}", account.audience);
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", account.audience.as_str()),
        ("scope", SCOPE),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.as_str()),
        ("subject_token_type", account.subject_token_type.as_str()),
    ];
    let needs = "the pool's provider must accept this token's issuer, audience and attributes";
    let token = post(http, url, &fields, &["subject_token"], &owner, needs).await?.into_token(owner);
    match impersonated {
        Some(url) => impersonate(http, url, &token).await,
        None => Ok(token),
    }
}

async fn subject_token(http: &IdentityHttp, source: &Source) -> Result<String, String> {
    let text = match (&source.file, &source.url) {
        (Some(path), _) => files::text("credential_source", path.as_ref())?,
        (None, Some(url)) => from_url(http, url, &source.headers).await?,
        (None, None) => {
            return Err("`credential_source` has neither `file` nor `url`, and no other is supported".to_owned());
        }
    };
    match &source.format {
        Some(Format { kind, subject_token_field_name }) if kind == "json" => {
            let field = subject_token_field_name.as_deref().unwrap_or("access_token");
            let fields: Map<String, Value> =
                serde_json::from_str(&text).map_err(|_| "the token's source is not a JSON object")?;
            let token = fields.get(field).and_then(Value::as_str);
            token.map(str::to_owned).ok_or_else(|| format!("the token's source has no text under `{field}`"))
        }
        _ => Ok(text.trim().to_owned()),
    }
}

/// The file says where the token is, and what headers that server wants.
async fn from_url(http: &IdentityHttp, url: &str, headers: &Map<String, Value>) -> Result<String, String> {
    let url = url.parse().map_err(|_| "`credential_source.url` is not an address".to_owned())?;
    let mut request = reqwest::Request::new(Method::GET, url);
    let mut secrets = Secrets::default();
    for (name, value) in headers {
        let value = value.as_str().unwrap_or_default();
        let name = HeaderName::try_from(name).map_err(|_| "`credential_source.headers` has no header's name")?;
        let header = HeaderValue::try_from(value).map_err(|_| "`credential_source.headers` has no header's value")?;
        secrets = secrets.plain(value);
        request.headers_mut().insert(name, header);
    }
    let response = http.send(request, secrets, REQUEST_MAX).await.map_err(|failure| failure.problem)?;
    if !response.status.is_success() {
        return Err(refusal(&response, "the request for a token"));
    }
    String::from_utf8(response.body.to_vec()).map_err(|_| "the token's source is not text".to_owned())
}
