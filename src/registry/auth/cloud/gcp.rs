//! Google Cloud: an access token by the application default credentials, which is the password of a user whose name says so
//! (Artifact Registry, "Configure authentication to Artifact Registry for Docker").
//!
//! They are, in this order, the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud auth application-default
//! login` wrote, and the service account of the machine or pod by the metadata server (AIP-4110).

mod file;
mod metadata;
mod token;

use std::time::{Duration, SystemTime};

use super::http::IdentityHttp;
use super::{CloudLogin, NoLogin};
use crate::registry::auth::credential::Login;
use crate::registry::auth::environment::variable;
use crate::registry::auth::files;
use crate::registry::auth::secret::Secret;

/// The user whose password is an access token.
const USER: &str = "oauth2accesstoken";
/// What a token is for: whatever its service account may, which its roles say (Artifact Registry, "Authentication").
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// An access token of Google.
struct AccessToken {
    text: Secret,
    /// Whose it is, for messages.
    owner: String,
    lifetime: Duration,
}

/// A login for any of Google's registries. With `patience` a metadata server that does not answer is asked again.
pub(super) async fn login(http: &IdentityHttp, patience: bool) -> Result<CloudLogin, NoLogin> {
    let AccessToken { text, owner, lifetime } = match credentials_file()? {
        Some((path, text)) => file::token(http, &path, &text).await.map_err(NoLogin::Failed)?,
        None => metadata::token(http, patience).await?,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let login = Login::Password { username: USER.to_owned(), password: text };
    Ok(CloudLogin { login, owner, lifetime, expires_at: (now + lifetime).as_secs_f64() })
}

/// The credentials file's path and text. One that is named must be there.
fn credentials_file() -> Result<Option<(String, String)>, NoLogin> {
    const NAMED: &str = "GOOGLE_APPLICATION_CREDENTIALS";
    if let Some(path) = variable(NAMED) {
        let text = files::text(NAMED, path.as_ref()).map_err(NoLogin::Failed)?;
        return Ok(Some((path, text)));
    }
    let directory = variable("CLOUDSDK_CONFIG").or_else(|| Some(format!("{}/.config/gcloud", variable("HOME")?)));
    let Some(directory) = directory else { return Ok(None) };
    let path = format!("{directory}/application_default_credentials.json");
    let text = files::text_if_there(path.as_ref()).map_err(|unreadable| NoLogin::Failed(unreadable.problem))?;
    Ok(text.map(|text| (path, text)))
}
