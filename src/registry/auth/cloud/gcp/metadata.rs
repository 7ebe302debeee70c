//! The metadata server of Compute Engine, GKE and Cloud Run (AIP-4115; Compute Engine, "Predefined metadata keys").

use std::time::Duration;

use http::{HeaderValue, Method};
use url::Url;

use super::super::NoLogin;
use super::super::http::{IdentityHttp, refusal};
use super::AccessToken;
use super::token::{self, AccessTokenAnswer};
use crate::registry::auth::environment::variable;
use crate::registry::transport::Response;
use crate::registry::transport::redact::Secrets;

/// How long the server has to answer where the configuration names no identity: it is next to every machine that has it.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The service account that the machine or pod runs as.
const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";

pub(super) async fn token(http: &IdentityHttp, patience: bool) -> Result<AccessToken, NoLogin> {
    let absent = |problem: String| {
        NoLogin::Absent(format!(
            "GOOGLE_APPLICATION_CREDENTIALS is not set, and no service account was found by the metadata server ({problem}): \
             give the pod or the machine a service account"
        ))
    };
    // Its name first: a quick answer, which tells Google's server from another one at that address.
    let email = ask(http, "/email", patience).await.map_err(absent)?;
    if !email.status.is_success() {
        return Err(absent(refusal(&email, "the default service account")));
    }
    let email = String::from_utf8_lossy(&email.body).trim().to_owned();
    let owner = format!("the credentials of the Google service account {email}");
    let response = ask(http, "/token", true).await.map_err(NoLogin::Failed)?;
    if !response.status.is_success() {
        return Err(NoLogin::Failed(refusal(&response, &owner)));
    }
    let answer: AccessTokenAnswer = token::read(&response).map_err(NoLogin::Failed)?;
    Ok(answer.into_token(owner))
}

async fn ask(http: &IdentityHttp, path: &str, patience: bool) -> Result<Response, String> {
    let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| "metadata.google.internal".to_owned());
    let url: Url = format!("http://{host}{ACCOUNT}{path}")
        .parse()
        .map_err(|_| "the variable GCE_METADATA_HOST is not a host".to_owned())?;
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    let sent = if patience {
        http.send_again(request, Secrets::default()).await
    } else {
        http.send(request, Secrets::default(), ANSWER_MAX).await
    };
    let response = sent.map_err(|failure| failure.problem)?;
    if response.header("metadata-flavor") == Some("Google") {
        Ok(response)
    } else {
        Err(format!("{host} is not Google's metadata server"))
    }
}
