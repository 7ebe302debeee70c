//! Access tokens of Microsoft Entra, for Azure Container Registry alone.

use std::time::Duration;

use http::{HeaderValue, Method};
use serde::Deserialize;
use url::Url;

use super::super::NoLogin;
use super::super::http::{IdentityHttp, REQUEST_MAX, form, json, refusal};
use crate::registry::auth::environment::variable;
use crate::registry::auth::files;
use crate::registry::auth::secret::Secret;
use crate::registry::transport::redact::Secrets;
use crate::registry::transport::{Response, redirect};

/// What the token is for, in every cloud of Azure's.
const RESOURCE: &str = "https://containerregistry.azure.net";
/// The Instance Metadata Service.
const METADATA: &str = "http://169.254.169.254";
/// How long it has to answer where the configuration names no identity: it is next to every machine that has it.
const METADATA_PROBE_MAX: Duration = Duration::from_secs(1);
const NEEDS_TRUST: &str = "the identity needs a federated credential with this issuer, this service account as its subject, and this audience";

/// A token, and whose it is.
pub(super) struct AccessToken {
    pub(super) text: Secret,
    pub(super) owner: String,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// The managed identity's.
    #[serde(default)]
    client_id: Option<String>,
}

/// The token of the first identity that the environment names; else of the machine's.
pub(super) async fn get(http: &IdentityHttp, registry: &str, patience: bool) -> Result<AccessToken, NoLogin> {
    let client_id = variable("AZURE_CLIENT_ID");
    if let Some(path) = variable("AZURE_FEDERATED_TOKEN_FILE") {
        return workload(http, registry, &path, client_id).await;
    }
    if let (Some(endpoint), Some(secret)) = (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
        return service(http, &endpoint, &secret, client_id.as_deref()).await;
    }
    machine(http, client_id.as_deref(), patience).await
}

/// A workload identity: the service account's token for one of the application that trusts it (Microsoft identity platform,
/// "OAuth 2.0 client credentials flow", with a certificate's place taken by a federated credential).
async fn workload(
    http: &IdentityHttp,
    registry: &str,
    path: &str,
    client_id: Option<String>,
) -> Result<AccessToken, NoLogin> {
    let missing = |name| NoLogin::Failed(format!("AZURE_FEDERATED_TOKEN_FILE is set, and {name} is not: set both"));
    let client_id = client_id.ok_or_else(|| missing("AZURE_CLIENT_ID"))?;
    let tenant = variable("AZURE_TENANT_ID").ok_or_else(|| missing("AZURE_TENANT_ID"))?;
    let assertion = files::secret("AZURE_FEDERATED_TOKEN_FILE", path.as_ref()).map_err(NoLogin::Failed)?;
    let url = authority(registry)?.join(&format!("/{tenant}/oauth2/v2.0/token"));
    let url = url.map_err(|error| NoLogin::Failed(format!("AZURE_TENANT_ID is not a tenant: {error}")))?;
    let scope = format!("{RESOURCE}/.default");
    let body = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("scope", scope.as_str()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.expose()),
    ];
    let secrets = Secrets::default().plain(assertion.expose());
    let owner = owner(Some(&client_id));
    let sent = http.send_again(form(Method::POST, url, &body), secrets).await;
    let response = sent.map_err(|failure| NoLogin::Failed(failure.problem))?;
    if !response.status.is_success() {
        return Err(NoLogin::Failed(format!("{}; {NEEDS_TRUST}", refusal(&response, &owner))));
    }
    read(&response, owner)
}

/// Where Microsoft Entra answers: as the variable says, else in the cloud of the registry.
fn authority(registry: &str) -> Result<Url, NoLogin> {
    let usual = match registry.rsplit('.').next() {
        Some("cn") => "https://login.chinacloudapi.cn/",
        Some("us") => "https://login.microsoftonline.us/",
        _ => "https://login.microsoftonline.com/",
    };
    let text = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| usual.to_owned());
    let url = text.parse::<Url>().ok().filter(|url| {
        url.scheme() == "https" || url.scheme() == "http" && url.host().is_some_and(|host| redirect::is_loopback(&host))
    });
    url.ok_or_else(|| NoLogin::Failed("the variable AZURE_AUTHORITY_HOST is not an address of https".to_owned()))
}

/// The managed identity of App Service, Container Apps and Functions (App Service, "REST endpoint reference").
async fn service(
    http: &IdentityHttp,
    endpoint: &str,
    secret: &str,
    client_id: Option<&str>,
) -> Result<AccessToken, NoLogin> {
    let url = metadata_url(endpoint, "IDENTITY_ENDPOINT", "2019-08-01", client_id)?;
    let header = HeaderValue::try_from(secret)
        .map_err(|_| NoLogin::Failed("the variable IDENTITY_HEADER has characters that no header has".to_owned()))?;
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert("x-identity-header", header);
    let sent = http.send_again(request, Secrets::default().plain(secret)).await;
    let response = sent.map_err(|failure| NoLogin::Failed(failure.problem))?;
    if !response.status.is_success() {
        return Err(NoLogin::Failed(refusal(&response, &owner(client_id))));
    }
    read(&response, owner(client_id))
}

/// The managed identity of the machine ("How to use managed identities for Azure resources on an Azure VM to acquire an
/// access token").
async fn machine(http: &IdentityHttp, client_id: Option<&str>, patience: bool) -> Result<AccessToken, NoLogin> {
    let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| METADATA.to_owned());
    let endpoint = format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/'));
    let url = metadata_url(&endpoint, "AZURE_POD_IDENTITY_AUTHORITY_HOST", "2018-02-01", client_id)?;
    let nobody = |problem: String| {
        NoLogin::Absent(format!(
            "neither AZURE_FEDERATED_TOKEN_FILE nor IDENTITY_ENDPOINT is set, and the machine has no managed identity ({problem}): \
             give the pod a workload identity, or the machine a managed one"
        ))
    };
    if !patience {
        // It answers at once to a request that it refuses, and may take its time for a token.
        let probe = reqwest::Request::new(Method::GET, url.clone());
        http.send(probe, Secrets::default(), METADATA_PROBE_MAX).await.map_err(|failure| nobody(failure.problem))?;
    }
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert("metadata", HeaderValue::from_static("true"));
    let sent = if patience {
        http.send_again(request, Secrets::default()).await
    } else {
        http.send(request, Secrets::default(), REQUEST_MAX).await
    };
    let response = sent.map_err(|failure| nobody(failure.problem))?;
    match response.status.as_u16() {
        200..=299 => read(&response, owner(client_id)),
        // No identity is assigned, or not this one.
        400 | 404 => Err(nobody(refusal(&response, &owner(client_id)))),
        _ => Err(NoLogin::Failed(refusal(&response, &owner(client_id)))),
    }
}

fn metadata_url(endpoint: &str, variable: &str, version: &str, client_id: Option<&str>) -> Result<Url, NoLogin> {
    let url = endpoint.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut url = url.ok_or_else(|| NoLogin::Failed(format!("the variable {variable} is not an address of http")))?;
    url.query_pairs_mut()
        .append_pair("api-version", version)
        .append_pair("resource", RESOURCE)
        .extend_pairs(client_id.map(|id| ("client_id", id)));
    Ok(url)
}

fn read(response: &Response, owner_asked_for: String) -> Result<AccessToken, NoLogin> {
    let Answer { access_token, client_id } = json(response).map_err(NoLogin::Failed)?;
    let owner = client_id.map_or(owner_asked_for, |id| owner(Some(&id)));
    Ok(AccessToken { text: Secret::new(access_token), owner })
}

/// For messages. The client ID is no secret.
fn owner(client_id: Option<&str>) -> String {
    match client_id {
        Some(id) => format!("the credentials of the Azure identity {id}"),
        None => "the credentials of the machine's Azure identity".to_owned(),
    }
}
