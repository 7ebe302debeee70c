//! Authorization for the API of a registry's owner, which lists repositories: not by the registry's token server, and on
//! a host of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::Session;
use super::credential::{Login, bearer_header};
use super::files;
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
    /// By the password's header, the token that it was exchanged for.
    exchanged: Mutex<Option<(HeaderValue, HeaderValue, Instant)>>,
    /// Whether a request with a login was answered: without one, a list may lack what is private.
    was_authenticated: AtomicBool,
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
        Self { scheme, token_file, exchanged: Mutex::new(None), was_authenticated: AtomicBool::new(false) }
    }

    /// Sends a request about an owner's repositories. A refusal is an answer like any other. Passwords are under the
    /// lockout of the registry's own `session`, since they are of one account.
    pub(crate) async fn send(
        &self,
        session: &Session,
        transport: &Transport,
        owner: &str,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let denied = |problem: String| {
            transport.failed(Operation::GetToken, Reason::Denied);
            RegistryError::new(Reason::Denied, request.subject, problem)
        };
        let authorization = self.authorization(session, transport, owner).await;
        let response = match authorization.map_err(|problem| denied(format!("cannot read credentials: {problem}")))? {
            ApiAuthorization::None if self.was_authenticated.load(Ordering::Relaxed) => {
                return Err(denied("the login with which this list was read before is not found any more".to_owned()));
            }
            ApiAuthorization::None => return transport.send(request, None).await,
            ApiAuthorization::Token(header) => transport.send(request, Some(&header)).await?,
            ApiAuthorization::Password(header) => {
                let lockout = &session.lockout;
                let _trial = lockout.trial(&header).await;
                let may = || lockout.block(&header, "").map_or(Ok(()), |problem| Err(denied(problem)));
                may()?;
                let response = transport.send_while(request, Some(&header), may).await?;
                note(session, &header, &response);
                response
            }
            ApiAuthorization::Exchange { password, username, secret } => {
                let login = (&password, &*username, &secret);
                let (token, is_new) = self.exchanged(session, transport, request, login).await?;
                let response = transport.send(request, Some(&token)).await?;
                if response.status != StatusCode::UNAUTHORIZED || is_new {
                    response
                } else {
                    // It may have ended early.
                    self.exchanged.lock().take_if(|(_, refused, _)| *refused == token);
                    let (token, _) = self.exchanged(session, transport, request, login).await?;
                    transport.send(request, Some(&token)).await?
                }
            }
        };
        if response.status == StatusCode::OK {
            self.was_authenticated.store(true, Ordering::Relaxed);
        }
        Ok(response)
    }

    async fn authorization(
        &self,
        session: &Session,
        transport: &Transport,
        owner: &str,
    ) -> Result<ApiAuthorization, String> {
        let not_a_header = || "the secret contains characters that a header cannot have".to_owned();
        if let Some(path) = &self.token_file {
            let token = files::secret("api_token_file", path)?;
            return bearer_header(&token).map(ApiAuthorization::Token).ok_or_else(not_a_header);
        }
        if self.scheme == ApiScheme::TokenFile {
            return Ok(ApiAuthorization::None);
        }
        let Some(found) = session.login(&transport.registry, owner).await? else { return Ok(ApiAuthorization::None) };
        let basic = found.login.basic_header();
        // Tokens of the registry's own are for the registry.
        let Login::Password { username, password: secret } = found.login else { return Ok(ApiAuthorization::None) };
        match self.scheme {
            ApiScheme::Bearer => bearer_header(&secret).map(ApiAuthorization::Password).ok_or_else(not_a_header),
            ApiScheme::Basic => basic.map(ApiAuthorization::Password).ok_or_else(not_a_header),
            ApiScheme::Exchanged | ApiScheme::TokenFile => {
                let password = basic.ok_or_else(not_a_header)?;
                Ok(ApiAuthorization::Exchange { password, username, secret })
            }
        }
    }

    /// The token for a password, and whether it was exchanged now: the last one is old, or there is none.
    async fn exchanged(
        &self,
        session: &Session,
        transport: &Transport,
        request: &Request<'_>,
        (password, username, secret): (&HeaderValue, &str, &Secret),
    ) -> Result<(HeaderValue, bool), RegistryError> {
        let subject = request.subject;
        let error = |reason: Reason, problem: String| {
            transport.failed(Operation::GetToken, reason);
            RegistryError::new(reason, subject, problem)
        };
        let lockout = &session.lockout;
        let _trial = lockout.trial(password).await;
        if let Some((of, token, until)) = &*self.exchanged.lock()
            && of == password
            && *until > Instant::now()
        {
            return Ok((token.clone(), false));
        }
        let may = || lockout.block(password, "").map_or(Ok(()), |problem| Err(error(Reason::Denied, problem)));
        may()?;
        let url = transport.home.join("v2/auth/token").expect("a constant path joins every address");
        let read_body = ReadBody::Whole(TOKEN_BYTES_MAX);
        let mut exchange = Request::new(Operation::GetToken, Method::POST, url, subject, read_body);
        let content = json!({ "identifier": username, "secret": secret.expose() }).to_string();
        exchange.content = Some(Content::Json { text: content, secret: secret.clone() });
        let response = transport.send_while(&exchange, None, may).await?;
        note(session, password, &response);
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
        Ok((header, true))
    }
}

/// Notes whether a password was accepted. Another host did not get it.
fn note(session: &Session, password: &HeaderValue, response: &Response) {
    if response.status == StatusCode::UNAUTHORIZED && !response.other_host {
        let host = redirect::authority(&response.url);
        let problem = format!("{host} refused the password{}", api_error::detail(response));
        session.lockout.note_refused(password, "", problem);
    } else {
        session.lockout.note_accepted(password, "");
    }
}

fn refusal(username: &str, response: &Response) -> String {
    let host = redirect::authority(&response.url);
    let status = api_error::status(response.status);
    format!("{host} answered the login of {username} with {status}{}", api_error::detail(response))
}
