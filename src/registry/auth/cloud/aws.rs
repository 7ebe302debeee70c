//! AWS: the SDK's default chain of credentials, and one request of our own for a login to Amazon ECR.
//!
//! The chain is, in this order, the environment, the profile, a web identity (IRSA), a container's credentials (ECS, EKS Pod
//! Identity), and the instance's role by IMDSv2. The SDK knows where each answers, and the variables that change that.

mod ecr;
mod sdk;

use super::host::EcrHost;
use super::http::IdentityHttp;
use super::{CloudLogin, NoLogin};
use crate::registry::auth::environment::variable;

/// The region of Amazon ECR Public's API.
const PUBLIC_REGION: &str = "us-east-1";

/// A login for the registry. With `patience` a metadata server that does not answer is asked again.
pub(super) async fn login(http: &IdentityHttp, registry: &str, patience: bool) -> Result<CloudLogin, NoLogin> {
    let host = match EcrHost::parse(registry) {
        Some(host) => host,
        None => EcrHost::in_region(&region_of_environment().ok_or_else(|| {
            NoLogin::Failed(format!(
                "{registry} does not name its region as Amazon's hosts do: set the variable AWS_REGION"
            ))
        })?),
    };
    let region = match &host {
        EcrHost::Private { region, .. } => region,
        EcrHost::Public => PUBLIC_REGION,
    };
    let region_of_sts = region_of_environment().unwrap_or_else(|| region.to_owned());
    let credentials = sdk::credentials(http, region_of_sts, patience).await?;
    let owner = owner(&credentials);
    ecr::login(http, &host, region, &credentials, owner).await
}

fn region_of_environment() -> Option<String> {
    variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"))
}

/// Who the credentials are of, for messages: the role of a web identity, else the ID of the access key, which is no secret
/// (AWS General Reference, "Programmatic access").
fn owner(credentials: &aws_credential_types::Credentials) -> String {
    let is_web_identity = variable("AWS_ACCESS_KEY_ID").is_none() && variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some();
    match variable("AWS_ROLE_ARN").filter(|_| is_web_identity) {
        Some(role) => format!("the credentials of the AWS role {role}"),
        None => format!("the credentials of the AWS access key {}", credentials.access_key_id()),
    }
}
