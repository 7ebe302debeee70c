//! The requests that get an access token from Google's endpoints.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, header};
use serde::Deserialize;
use url::Url;

use super::super::http::{IdentityHttp, form, json, refusal, server_time};
use super::{AccessToken, SCOPE};
use crate::registry::auth::credential::bearer_header;
use crate::registry::auth::secret::Secret;
use crate::registry::transport::redact::Secrets;
use crate::registry::transport::{Response, redirect};

/// The lifetime of a token whose answer has none.
const LIFETIME: Duration = Duration::from_mins(5);

/// An answer of OAuth 2 (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(super) struct AccessTokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl AccessTokenAnswer {
    pub(super) fn into_token(self, owner: String) -> AccessToken {
        let lifetime = self.expires_in.map_or(LIFETIME, Duration::from_secs);
        AccessToken { text: Secret::new(self.access_token), owner, lifetime }
    }
}

pub(super) fn read(response: &Response) -> Result<AccessTokenAnswer, String> {
    json(response)
}

/// Posts a form, whose values under `secrets` are never shown.
pub(super) async fn post(
    http: &IdentityHttp,
    url: Url,
    fields: &[(&str, &str)],
    secrets: &[&str],
    owner: &str,
    needs: &str,
) -> Result<AccessTokenAnswer, String> {
    let held = fields.iter().filter(|(name, _)| secrets.contains(name));
    let secrets = held.fold(Secrets::default(), |secrets, (_, value)| secrets.plain(value));
    let sent = http.send_again(form(Method::POST, url, fields), secrets).await;
    let response = sent.map_err(|failure| failure.problem)?;
    if !response.status.is_success() {
        return Err(format!("{}; {needs}", refusal(&response, owner)));
    }
    json(&response)
}

/// A service account's token, for another identity that may impersonate it (IAM Service Account Credentials API,
/// `generateAccessToken`).
pub(super) async fn impersonate(http: &IdentityHttp, url: Url, source: &AccessToken) -> Result<AccessToken, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Generated {
        access_token: String,
        expire_time: String,
    }
    let path = url.path().to_owned();
    let account = path.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default().to_owned();
    let owner = format!("the credentials of the Google service account {account}");
    let mut request = reqwest::Request::new(Method::POST, url);
    let bearer = bearer_header(&source.text).ok_or("the token has characters that a header cannot have")?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(serde_json::json!({ "scope": [SCOPE] }).to_string().into());
    let sent = http.send_again(request, Secrets::default().plain(source.text.expose())).await;
    let response = sent.map_err(|failure| failure.problem)?;
    if !response.status.is_success() {
        let said = refusal(&response, &format!("{}, which impersonates {account}", source.owner));
        return Err(format!("{said}; the identity needs `roles/iam.workloadIdentityUser` on that service account"));
    }
    let Generated { access_token, expire_time } = json(&response)?;
    let ends: jiff::Timestamp = expire_time.parse().map_err(|_| "`expireTime` of a token is no time".to_owned())?;
    let now = server_time(&response).unwrap_or_else(SystemTime::now);
    let lifetime = SystemTime::from(ends).duration_since(now).unwrap_or_default();
    Ok(AccessToken { text: Secret::new(access_token), owner, lifetime })
}

/// An address that a credentials file names: of Google, over TLS. Another one would get the identity's tokens.
pub(super) fn endpoint(key: &str, text: &str) -> Result<Url, String> {
    let is_googles = |url: &Url| {
        let host = url.host_str().unwrap_or_default();
        url.scheme() == "https"
            && (host == "googleapis.com" || host.ends_with(".googleapis.com") || host == "accounts.google.com")
    };
    let is_here = |url: &Url| url.host().is_some_and(|host| redirect::is_loopback(&host));
    text.parse::<Url>()
        .ok()
        .filter(|url| is_googles(url) || is_here(url))
        .ok_or_else(|| format!("`{key}` is not an address of googleapis.com"))
}
