//! The AWS SDK's chain of credentials, over this program's own connections.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use url::form_urlencoded;

use super::super::NoLogin;
use super::super::http::{IdentityHttp, REQUEST_MAX};
use crate::oci::text::shown;
use crate::registry::auth::environment::variable;
use crate::registry::transport::redact::Secrets;

/// How often the instance's metadata server is asked where the configuration names no identity: it may be that there is
/// none, and it is next to every machine that has it.
const METADATA_TRIES_MIN: u32 = 1;
/// Where it does.
const METADATA_TRIES_MAX: u32 = 3;
/// Longer messages of the SDK are cut.
const PROBLEM_BYTES_MAX: usize = 700;

/// The credentials of the first provider that has some. STS is asked in `region`.
pub(super) async fn credentials(http: &IdentityHttp, region: String, patience: bool) -> Result<Credentials, NoLogin> {
    let config = config(http);
    let tries = if patience { METADATA_TRIES_MAX } else { METADATA_TRIES_MIN };
    let metadata = imds::Client::builder().configure(&config).max_attempts(tries).build();
    let chain = DefaultCredentialsChain::builder()
        .configure(config)
        .region(Region::new(region))
        .imds_client(metadata)
        .build()
        .await;
    chain.provide_credentials().await.map_err(|error| match error {
        CredentialsError::CredentialsNotLoaded(_) => NoLogin::Absent(
            "neither the environment, a profile, a web identity, a container nor the instance has AWS credentials: \
             give the service account, the task or the instance a role"
                .to_owned(),
        ),
        error => NoLogin::Failed(problem(&error)),
    })
}

/// An error of the chain in one line, with the role that it is about.
fn problem(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    let role = variable("AWS_ROLE_ARN").map(|role| format!(" of the role {role}")).unwrap_or_default();
    let advice = "; a role must trust this identity for `sts:AssumeRole` or `sts:AssumeRoleWithWebIdentity`";
    format!("no AWS credentials{role}: {}{advice}", shown(&text, PROBLEM_BYTES_MAX))
}

fn config(http: &IdentityHttp) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(Client(http.clone()))
}

/// This program's connections, as the SDK wants them.
#[derive(Clone)]
struct Client(IdentityHttp);

/// The same within the limits of one of the SDK's services.
struct Connector {
    http: IdentityHttp,
    limit: Duration,
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let limits = [settings.connect_timeout(), settings.read_timeout()];
        let limit = limits.into_iter().flatten().sum();
        let limit = if limit == Duration::ZERO { REQUEST_MAX } else { REQUEST_MAX.min(limit) };
        SharedHttpConnector::new(Connector { http: self.0.clone(), limit })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, limit) = (self.http.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let other = |error: Box<dyn Error + Send + Sync>| ConnectorError::other(error, None);
            let request = request.try_into_http1x().map_err(|error| other(error.into()))?;
            let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
            let request = reqwest::Request::try_from(request).map_err(|error| other(error.into()))?;
            let secrets = secrets(&request);
            let response = http.send(request, secrets, limit).await.map_err(|failure| {
                let problem = failure.problem.into();
                if failure.timed_out { ConnectorError::timeout(problem) } else { ConnectorError::io(problem) }
            })?;
            // The SDK's errors quote what a service says.
            let is_secret =
                !response.status.is_success() && response.secrets.appear_in(&String::from_utf8_lossy(&response.body));
            let body = if is_secret { SdkBody::empty() } else { SdkBody::from(response.body) };
            let mut answer = http::Response::new(body);
            *answer.status_mut() = response.status;
            *answer.headers_mut() = response.headers;
            HttpResponse::try_from(answer).map_err(|error| other(error.into()))
        })
    }
}

/// The secrets of a request: its headers', and the token in its form.
fn secrets(request: &reqwest::Request) -> Secrets {
    let headers = ["authorization", "x-amz-security-token", "x-aws-ec2-metadata-token"];
    let texts = headers.iter().filter_map(|name| request.headers().get(*name)?.to_str().ok());
    let secrets = texts.fold(Secrets::default(), Secrets::plain);
    let form = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let tokens = form_urlencoded::parse(form).filter(|(name, _)| name == "WebIdentityToken");
    tokens.fold(secrets, |secrets, (_, token)| secrets.plain(&token))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
