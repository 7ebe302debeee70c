//! `GetAuthorizationToken` of Amazon ECR and of Amazon ECR Public: a user and a password, valid for 12 hours (Amazon ECR API
//! Reference; AWS JSON protocol 1.1).

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use url::Url;

use super::super::host::EcrHost;
use super::super::http::{IdentityHttp, json, refusal, server_time};
use super::super::{CloudLogin, NoLogin};
use crate::registry::auth::credential::Login;
use crate::registry::auth::environment::variable;
use crate::registry::auth::secret::Secret;
use crate::registry::transport::redact::Secrets;
use crate::registry::transport::{Response, redirect};

/// A clock that differs from the server's by more than this is why a signature is refused: services accept five minutes
/// (AWS General Reference, "Signature Version 4").
const SKEW_MIN: Duration = Duration::from_mins(4);
/// The longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_hours(12);

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "authorizationData")]
    data: Data,
}

/// ECR has a list with one entry, ECR Public the entry itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Private([Entry; 1]),
    Public(Entry),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    authorization_token: String,
    /// Seconds since the epoch.
    expires_at: f64,
}

/// The two services.
struct Service {
    name: &'static str,
    target: &'static str,
    endpoint_variable: &'static str,
    permissions: &'static str,
}

const PRIVATE: Service = Service {
    name: "ecr",
    target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
    endpoint_variable: "AWS_ENDPOINT_URL_ECR",
    permissions: "the permission `ecr:GetAuthorizationToken`",
};

const PUBLIC: Service = Service {
    name: "ecr-public",
    target: "SpencerFrontendService.GetAuthorizationToken",
    endpoint_variable: "AWS_ENDPOINT_URL_ECR_PUBLIC",
    permissions: "the permissions `ecr-public:GetAuthorizationToken` and `sts:GetServiceBearerToken`",
};

/// Asks for a login with these credentials.
pub(super) async fn login(
    http: &IdentityHttp,
    host: &EcrHost,
    region: &str,
    credentials: &Credentials,
    owner: String,
) -> Result<CloudLogin, NoLogin> {
    let (service, api_host) = match host {
        EcrHost::Private { api_host, .. } => (&PRIVATE, api_host.as_str()),
        EcrHost::Public => (&PUBLIC, "api.ecr-public.us-east-1.amazonaws.com"),
    };
    let url = endpoint(service, api_host)?;
    let ask = async |now| {
        let request = signed(service, &url, region, credentials, now)?;
        http.send_again(request, secrets(credentials)).await.map_err(|failure| NoLogin::Failed(failure.problem))
    };
    let now = SystemTime::now();
    let mut response = ask(now).await?;
    if let Some(servers) = server_time(&response).filter(|servers| is_skewed(now, *servers))
        && response.status.is_client_error()
    {
        response = ask(servers).await?;
    }
    if !response.status.is_success() {
        let said = refusal(&response, &owner);
        return Err(NoLogin::Failed(format!("{said}; the identity needs {}", service.permissions)));
    }
    read(&response, owner).map_err(NoLogin::Failed)
}

/// Where the API answers: as the SDK's variables say, or at Amazon's own host (AWS SDKs and Tools Reference Guide,
/// "Service-specific endpoints").
fn endpoint(service: &Service, api_host: &str) -> Result<Url, NoLogin> {
    let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value == "true");
    let configured = [service.endpoint_variable, "AWS_ENDPOINT_URL"]
        .into_iter()
        .filter(|_| !ignored)
        .find_map(|name| Some((name, variable(name)?)));
    match configured {
        Some((name, url)) => url
            .parse::<Url>()
            .ok()
            .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| NoLogin::Failed(format!("the variable {name} is not an address of http or https"))),
        None => Ok(format!("https://{api_host}/").parse().expect("a region is letters, digits and dashes")),
    }
}

fn is_skewed(ours: SystemTime, servers: SystemTime) -> bool {
    let difference = ours.duration_since(servers).unwrap_or_else(|error| error.duration());
    difference > SKEW_MIN
}

/// The request, signed at `now` (AWS General Reference, "Signature Version 4").
fn signed(
    service: &Service,
    url: &Url,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<reqwest::Request, NoLogin> {
    let failed = |error: &dyn std::fmt::Display| NoLogin::Failed(format!("cannot sign a request: {error}"));
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", service.target)];
    let body = b"{}";
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.name)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let signable = SignableRequest::new("POST", url.as_str(), headers.into_iter(), SignableBody::Bytes(body))
        .map_err(|error| failed(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| failed(&error))?.into_parts();
    let mut request = reqwest::Request::new(Method::POST, url.clone());
    *request.body_mut() = Some(body.as_slice().into());
    for (name, value) in headers.into_iter().chain(instructions.headers()) {
        let name = HeaderName::try_from(name).map_err(|error| failed(&error))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| failed(&error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// What AWS quotes of a request whose signature it refuses.
fn secrets(credentials: &Credentials) -> Secrets {
    let secrets = Secrets::default().plain(credentials.secret_access_key());
    secrets.plain(credentials.session_token().unwrap_or_default())
}

fn read(response: &Response, owner: String) -> Result<CloudLogin, String> {
    let entry = match json::<Answer>(response)?.data {
        Data::Private([entry]) | Data::Public(entry) => entry,
    };
    let decoded = STANDARD.decode(&entry.authorization_token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(|| {
        format!("the token in the answer of {} is not a user and a password", redirect::authority(&response.url))
    })?;
    let login = Login::Password { username: username.to_owned(), password: Secret::new(password) };
    let now = server_time(response).unwrap_or_else(SystemTime::now);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ends = Duration::try_from_secs_f64(entry.expires_at).unwrap_or_default();
    let lifetime = ends.saturating_sub(now).min(LIFETIME_MAX);
    Ok(CloudLogin { login, owner, lifetime, expires_at: entry.expires_at })
}
