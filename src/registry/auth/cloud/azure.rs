//! Azure: an access token of Microsoft Entra for a workload identity or a managed identity, which the registry exchanges for
//! a refresh token of its own.
//!
//! The SDKs' environment says which, in this order: a workload identity of Kubernetes (`AZURE_FEDERATED_TOKEN_FILE`), the managed
//! identity of App Service and Container Apps (`IDENTITY_ENDPOINT`), that of the machine (Instance Metadata Service).

mod token;

use std::time::{Duration, SystemTime};

use http::Method;
use serde::Deserialize;
use url::Url;

use super::http::{IdentityHttp, form, json, refusal, server_time};
use super::{CloudLogin, NoLogin};
use crate::registry::auth::credential::Login;
use crate::registry::auth::jwt;
use crate::registry::auth::secret::Secret;
use crate::registry::transport::redact::Secrets;

/// The user that stands for an identity where the registry takes its refresh token as a password (Azure Container Registry,
/// "Authentication overview").
const USER: &str = "00000000-0000-0000-0000-000000000000";
/// The lifetime of a refresh token that does not say when it ends. They are valid for three hours.
const LIFETIME: Duration = Duration::from_hours(1);

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

/// A login for the registry at `home`. Without `patience` a metadata server must answer at once.
pub(super) async fn login(
    http: &IdentityHttp,
    registry: &str,
    home: &Url,
    patience: bool,
) -> Result<CloudLogin, NoLogin> {
    let token::AccessToken { text, owner } = token::get(http, registry, patience).await?;
    let url = home.join("/oauth2/exchange").expect("a constant path joins every address");
    let body = [("grant_type", "access_token"), ("service", registry), ("access_token", text.expose())];
    let secrets = Secrets::default().plain(text.expose());
    let sent = http.send_again(form(Method::POST, url, &body), secrets).await;
    let response = sent.map_err(|failure| NoLogin::Failed(failure.problem))?;
    if !response.status.is_success() {
        let said = refusal(&response, &owner);
        return Err(NoLogin::Failed(format!("{said}; the identity needs the role `AcrPull` on the registry")));
    }
    let Exchanged { refresh_token } = json(&response).map_err(NoLogin::Failed)?;
    // Ours may be wrong, and the server's clock is the one that made the token.
    let now = server_time(&response).unwrap_or_else(SystemTime::now);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let times = jwt::times(&refresh_token);
    let lifetime = times.as_ref().and_then(jwt::Times::lifetime).unwrap_or(LIFETIME);
    let expires_at = times.map_or(now + lifetime.as_secs_f64(), |times| times.expires_at);
    let login = Login::IdentityToken { username: USER.to_owned(), token: Secret::new(refresh_token) };
    Ok(CloudLogin { login, owner, lifetime, expires_at })
}
