//! Authorization for the API of a registry's owner, which lists repositories: not by the registry's token server, and on
//! a host of its own.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::Session;
use super::credential::{Login, bearer_header};
use super::keychain;
use super::lockout::Lockout;
use super::secret::Secret;
use crate::oci::{Operation, Reason};
use crate::registry::error::RegistryError;
use crate::registry::transport::body::TOKEN_BYTES_MAX;
use crate::registry::transport::exchange::Content;
use crate::registry::transport::{ReadBody, Request, Response, Transport, api_error, redirect};

/// How long an exchanged token is used. Docker Hub's lasts longer; its answer does not say how long.
const EXCHANGED_LIFETIME: Duration = Duration::from_mins(5);

/// How the API takes the registry's login where no `api_token_file` is configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiScheme {
    /// The password is a token.
    Bearer,
    /// As user and password.
    Basic,
    /// Exchanged for a token at `v2/auth/token` (Docker Hub).
    Exchanged,
    /// Not at all.
    TokenFile,
}

/// The authentication to one owner's API.
pub(crate) struct ApiSession {
    scheme: ApiScheme,
    token_file: Option<PathBuf>,
    lockout: Lockout,
    /// By the password's header, the token that it was exchanged for.
    exchanged: Mutex<Option<(HeaderValue, HeaderValue, Instant)>>,
}

/// What a request carries.
enum ApiAuthorization {
    None,
    Token(HeaderValue),
    Password(HeaderValue),
    /// The password, by its header, and the user and secret to exchange.
    Exchange {
        password: HeaderValue,
        username: String,
        secret: Secret,
    },
}

#[derive(Deserialize)]
struct ExchangedToken {
    access_token: String,
}

impl ApiSession {
    pub(crate) fn new(scheme: ApiScheme, token_file: Option<PathBuf>) -> Self {
        Self { scheme, token_file, lockout: Lockout::default(), exchanged: Mutex::new(None) }
    }

    /// Allows refused passwords to be sent again.
    pub(crate) fn reset_lockout(&self) {
        self.lockout.reset();
    }

    /// Sends a request. A refusal is an answer like any other.
    pub(crate) async fn send(
        &self,
        session: &Session,
        transport: &Transport,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let denied = |problem: String| {
            transport.failed(Operation::GetToken, Reason::Denied);
            RegistryError::new(Reason::Denied, request.subject, problem)
        };
        let authorization = self.authorization(session, transport).await;
        match authorization.map_err(|problem| denied(format!("cannot read credentials: {problem}")))? {
            ApiAuthorization::None => transport.send(request, None).await,
            ApiAuthorization::Token(header) => transport.send(request, Some(&header)).await,
            ApiAuthorization::Password(header) => {
                let _trial = self.lockout.trial(&header).await;
                let may = || self.lockout.block(&header, "").map_or(Ok(()), |problem| Err(denied(problem)));
                may()?;
                let response = transport.send_while(request, Some(&header), may).await?;
                self.note(&header, &response);
                Ok(response)
            }
            ApiAuthorization::Exchange { password, username, secret } => {
                let token = self.exchanged(transport, request, &password, &username, &secret).await?;
                let response = transport.send(request, Some(&token)).await?;
                if response.status != StatusCode::UNAUTHORIZED {
                    return Ok(response);
                }
                // It may have ended early.
                *self.exchanged.lock() = None;
                let token = self.exchanged(transport, request, &password, &username, &secret).await?;
                transport.send(request, Some(&token)).await
            }
        }
    }

    async fn authorization(&self, session: &Session, transport: &Transport) -> Result<ApiAuthorization, String> {
        let not_a_header = || "the secret contains characters that a header cannot have".to_owned();
        if let Some(path) = &self.token_file {
            let token = keychain::secret("api_token_file", path)?;
            return bearer_header(&token).map(ApiAuthorization::Token).ok_or_else(not_a_header);
        }
        if self.scheme == ApiScheme::TokenFile {
            return Ok(ApiAuthorization::None);
        }
        let Some(found) = session.login(&transport.registry).await? else { return Ok(ApiAuthorization::None) };
        let basic = found.login.basic_header();
        // Tokens of the registry's own are for the registry.
        let Login::Password { username, password: secret } = found.login else { return Ok(ApiAuthorization::None) };
        match self.scheme {
            ApiScheme::Bearer => bearer_header(&secret).map(ApiAuthorization::Token).ok_or_else(not_a_header),
            ApiScheme::Basic => basic.map(ApiAuthorization::Password).ok_or_else(not_a_header),
            ApiScheme::Exchanged | ApiScheme::TokenFile => {
                let password = basic.ok_or_else(not_a_header)?;
                Ok(ApiAuthorization::Exchange { password, username, secret })
            }
        }
    }

    /// The token for a password, exchanged anew when the last one is old.
    async fn exchanged(
        &self,
        transport: &Transport,
        request: &Request<'_>,
        password: &HeaderValue,
        username: &str,
        secret: &Secret,
    ) -> Result<HeaderValue, RegistryError> {
        let subject = request.subject;
        let error = |reason: Reason, problem: String| {
            transport.failed(Operation::GetToken, reason);
            RegistryError::new(reason, subject, problem)
        };
        let _trial = self.lockout.trial(password).await;
        if let Some((of, token, until)) = &*self.exchanged.lock()
            && of == password
            && *until > Instant::now()
        {
            return Ok(token.clone());
        }
        let may = || self.lockout.block(password, "").map_or(Ok(()), |problem| Err(error(Reason::Denied, problem)));
        may()?;
        let url = transport.home.join("v2/auth/token").expect("a constant path joins every address");
        let read_body = ReadBody::Whole(TOKEN_BYTES_MAX);
        let mut exchange = Request::new(Operation::GetToken, Method::POST, url, subject, read_body);
        let content = json!({ "identifier": username, "secret": secret.expose() }).to_string();
        exchange.content = Some(Content::Json { text: content, secret: secret.clone() });
        let response = transport.send_while(&exchange, None, may).await?;
        self.note(password, &response);
        if !response.status.is_success() {
            let reason = if response.status.is_client_error() { Reason::Denied } else { Reason::Server };
            return Err(error(reason, refusal(username, &response)));
        }
        let token = serde_json::from_slice::<ExchangedToken>(&response.body).ok();
        let header = token.and_then(|token| bearer_header(&Secret::new(token.access_token)));
        let Some(header) = header else {
            let host = redirect::authority(&response.url);
            return Err(error(Reason::Invalid, format!("{host} answered a login without a usable `access_token`")));
        };
        *self.exchanged.lock() = Some((password.clone(), header.clone(), Instant::now() + EXCHANGED_LIFETIME));
        Ok(header)
    }

    /// Notes whether a password was accepted.
    fn note(&self, password: &HeaderValue, response: &Response) {
        if response.status == StatusCode::UNAUTHORIZED {
            let host = redirect::authority(&response.url);
            let problem = format!("{host} refused the password{}", api_error::detail(response));
            self.lockout.note_refused(password, "", problem);
        } else {
            self.lockout.note_accepted(password, "");
        }
    }
}

fn refusal(username: &str, response: &Response) -> String {
    let host = redirect::authority(&response.url);
    let status = api_error::status(response.status);
    format!("{host} answered the login of {username} with {status}{}", api_error::detail(response))
}
