//! Sends a registry's requests with the authorization that they need, and renews it when the registry refuses it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::cache::{Authorization, AuthorizationCache, Scheme, Scope, ScopeEntry, TokenServer};
use super::challenge::{Bearer, Challenge};
use super::credential::{Login, SourcedLogin, bearer_header};
use super::keychain::Keychain;
use super::lockout::Lockout;
use super::refusal;
use super::token::{self, Token, TokenError, TokenRequest};
use crate::oci::{Operation, Reason, Registry};
use crate::registry::error::RegistryError;
use crate::registry::settings::Credential;
use crate::registry::transport::{ReadBody, Request, Response, Transport, redirect};

/// How long a header from a file or a helper is used before it is read again.
const LOGIN_LIFETIME: Duration = Duration::from_mins(5);
/// How long a refusal by the token server answers all requests that need the same token.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(10);

/// The authentication of one registry.
pub(crate) struct Session {
    keychain: Keychain,
    authorizations: AuthorizationCache,
    lockout: Lockout,
}

/// The parts of a request that authentication needs.
#[derive(Clone, Copy)]
struct AuthContext<'a> {
    transport: &'a Transport,
    scope: Scope<'a>,
    /// The subject of error messages.
    subject: &'a (dyn Display + Sync),
}

/// Whether a 401 counts as a refusal of the password that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It does not: the registry may refuse the endpoint itself.
    Probe,
    /// It does, unless its challenge leads to another authorization.
    First,
    /// It does.
    Last,
}

impl Session {
    pub(crate) fn new(source: Credential) -> Self {
        Self {
            keychain: Keychain::new(source),
            authorizations: AuthorizationCache::default(),
            lockout: Lockout::default(),
        }
    }

    /// Sends a request with the authorization of its scope, and once more with a renewed one if the registry refuses it.
    /// A refusal is an error; any other status is for the caller to judge.
    pub(crate) async fn send(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let context = AuthContext { transport, scope, subject: request.subject };
        let first = self.cached(context).await?;
        let response = self.attempt(context, request, first.as_deref(), Attempt::First).await?;
        if !refusal::is_possible(response.status, first.as_deref()) {
            return Ok(response);
        }
        if response.other_host {
            // Another host refused: its challenge must not be answered with the registry's secrets.
            return unless_refused(context, request, response, None);
        }
        let Some(second) = self.renew(context, &response, first.as_ref()).await? else {
            return unless_refused(context, request, response, first.as_deref());
        };
        let response = self.attempt(context, request, Some(&second), Attempt::Last).await?;
        if !response.other_host && refusal::is_possible(response.status, Some(&second)) {
            second.refused_when_new.store(true, Ordering::Relaxed);
        }
        unless_refused(context, request, response, Some(&second))
    }

    /// Sends a request with the cached authorization. A refusal is an answer like any other: registries refuse endpoints
    /// that they do not have, and that must not count against the credentials.
    pub(crate) async fn send_once(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let context = AuthContext { transport, scope, subject: request.subject };
        let authorization = self.cached(context).await?;
        self.attempt(context, request, authorization.as_deref(), Attempt::Probe).await
    }

    /// The login for the registry, for its owner's API; `None` means anonymous.
    pub(crate) async fn login(&self, registry: &Registry) -> Result<Option<SourcedLogin>, String> {
        self.keychain.login(registry.as_str(), None).await
    }

    /// Allows refused passwords to be sent again.
    pub(crate) fn reset_lockout(&self) {
        self.lockout.reset();
    }

    /// Sends a request with an authorization, unless that is a password that the registry refused before. Notes whether
    /// the registry accepted the password.
    async fn attempt(
        &self,
        context: AuthContext<'_>,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
        attempt: Attempt,
    ) -> Result<Response, RegistryError> {
        let AuthContext { transport, scope, .. } = context;
        let Some(password) = authorization.filter(|authorization| authorization.is_password()) else {
            return transport.send(request, authorization.map(|authorization| &authorization.header)).await;
        };
        let _trial = self.lockout.trial(&password.header).await;
        let may = || match self.lockout.block(&password.header, scope.name()) {
            Some(problem) => Err(cannot_ask(context, problem)),
            None => Ok(()),
        };
        may()?;
        let response = transport.send_while(request, Some(&password.header), may).await?;
        if response.other_host || response.status != StatusCode::UNAUTHORIZED {
            // A registry that redirects has accepted the password.
            self.lockout.note_accepted(&password.header, scope.name());
            return Ok(response);
        }
        let counts = match attempt {
            Attempt::Probe => false,
            Attempt::First => {
                let challenge = refusal::challenge(&response);
                !(matches!(challenge, Some(Challenge::Bearer(_))) && may_renew(Some(password), challenge.as_ref()))
            }
            Attempt::Last => true,
        };
        if counts {
            // Noted before the trial ends: the next request must not send the same password.
            self.lockout.note_refused(
                &password.header,
                scope.name(),
                refusal::message(transport, &response, Some(password)),
            );
            self.keychain.forget(password.obtained);
        }
        Ok(response)
    }

    /// The cached authorization, or a new one by the cached scheme.
    async fn cached(&self, context: AuthContext<'_>) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let (entry, scheme) = self.authorizations.entry(context.scope);
        let current = entry.valid();
        let is_blocked = |authorization: &Arc<Authorization>| {
            authorization.is_password() && self.lockout.block(&authorization.header, context.scope.name()).is_some()
        };
        if current.as_ref().is_some_and(|authorization| !is_blocked(authorization)) {
            return Ok(current);
        }
        let Some(scheme) = scheme else { return Ok(None) };
        self.obtain(context, &entry, &scheme, current.as_ref()).await
    }

    /// Another authorization after `refused` was refused; `None` if there is no other.
    async fn renew(
        &self,
        context: AuthContext<'_>,
        response: &Response,
        refused: Option<&Arc<Authorization>>,
    ) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let (entry, known) = self.authorizations.entry(context.scope);
        let challenge = refusal::challenge(response);
        if !may_renew(refused.map(Arc::as_ref), challenge.as_ref()) {
            return Ok(None);
        }
        let set_scheme = |scheme| self.authorizations.set_scheme(context.scope, &entry, scheme);
        let scheme = match (challenge, known) {
            (Some(Challenge::Bearer(bearer)), _) => set_scheme(token_server(context, &entry, response, bearer)?),
            // Harbor's challenge to a refused token is Basic, but its tokens still come from the token server.
            (Some(Challenge::Basic) | None, Some(scheme)) if refused.is_some() => scheme,
            (Some(Challenge::Basic), _) => set_scheme(Scheme::Basic),
            (None, _) if response.status != StatusCode::UNAUTHORIZED => return Ok(None),
            // Google's registry does not send a challenge with every refusal.
            (None, _) => match ping(context).await? {
                Some((pong, Challenge::Bearer(bearer))) => set_scheme(token_server(context, &entry, &pong, bearer)?),
                Some((_, Challenge::Basic)) => set_scheme(Scheme::Basic),
                None => return Ok(None),
            },
        };
        if let Some(refused) = refused.filter(|refused| !refused.is_token) {
            self.keychain.forget(refused.obtained);
        }
        let obtained = self.obtain(context, &entry, &scheme, refused).await?;
        let is_same = |new: &Arc<Authorization>| refused.is_some_and(|refused| refused.header == new.header);
        if obtained.as_ref().is_some_and(is_same) {
            // The same password would be refused again, and might lock the account. The refused object is the one to
            // keep, as it will be marked as refused.
            entry.set(refused.cloned());
            return Ok(None);
        }
        Ok(obtained)
    }

    /// Obtains a new authorization, or waits for the one that a concurrent request obtains.
    async fn obtain(
        &self,
        context: AuthContext<'_>,
        entry: &ScopeEntry,
        scheme: &Scheme,
        refused: Option<&Arc<Authorization>>,
    ) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let started = Instant::now();
        let mut failure = entry.renewal.lock().await;
        let is_new = |other: &Arc<Authorization>| refused.is_none_or(|refused| !Arc::ptr_eq(refused, other));
        if let Some(authorization) = entry.valid().filter(is_new) {
            return Ok(Some(authorization));
        }
        if let Some((at, error)) = failure.as_ref() {
            let is_recent = error.reason() == Reason::Denied && at.elapsed() < REFUSAL_LIFETIME;
            if is_recent || *at >= started {
                return Err(error.clone());
            }
        }
        *failure = None;
        let authorization = self.obtain_now(context, entry, scheme, &mut failure).await?;
        entry.set(authorization.clone());
        Ok(authorization)
    }

    /// Obtains a new authorization. `failure` receives the token server's error, unless the password is wrong: another
    /// one may be configured at any time.
    async fn obtain_now(
        &self,
        context: AuthContext<'_>,
        entry: &ScopeEntry,
        scheme: &Scheme,
        failure: &mut Option<(Instant, RegistryError)>,
    ) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let denied = |problem| cannot_ask(context, problem);
        let AuthContext { transport, scope, .. } = context;
        let found = self.keychain.login(transport.registry.as_str(), scope.repository()).await;
        let found = found.map_err(|problem| denied(format!("cannot read credentials: {problem}")))?;
        let read_at = Instant::now();
        let source = found.as_ref().map_or("none: the request is anonymous", |found| &found.source);
        tracing::debug!(registry = %transport.registry, about = %context.subject, credentials = source, "credentials chosen");
        let password = found.as_ref().and_then(|found| found.login.basic_header());
        // A password for the registry itself is checked with each request.
        let to_token_server = password.as_ref().filter(|_| matches!(scheme, Scheme::Bearer(_)));
        if let Some(problem) = to_token_server.and_then(|header| self.lockout.block(header, scope.name())) {
            return Err(denied(problem));
        }
        let authorization = match (scheme, found) {
            (_, Some(SourcedLogin { login: Login::RegistryToken(token), source })) => {
                Authorization::new(bearer_header(&token), LOGIN_LIFETIME, false, Some(source))
            }
            (Scheme::Basic, Some(SourcedLogin { login: Login::Password { .. }, source })) => {
                Authorization::new(password, LOGIN_LIFETIME, false, Some(source))
            }
            (Scheme::Basic, Some(SourcedLogin { login: Login::IdentityToken { .. }, source })) => {
                return Err(denied(format!("the registry requires a username and a password, which {source} is not")));
            }
            (Scheme::Basic, None) => return Ok(None),
            (Scheme::Bearer(server), found) => {
                let mut scopes = entry.challenged_scopes();
                scopes.push(scope.text());
                let login = found.as_ref();
                let request = TokenRequest { realm: &server.realm, service: &server.service, scopes: &scopes, login };
                match self.token(context, &request, password.as_ref()).await {
                    Ok(token) => {
                        let source = login.map(|login| login.source.clone());
                        Authorization::new(bearer_header(&token.text), token.lifetime, true, source)
                    }
                    Err(TokenError { error, unauthorized, .. }) => {
                        if error.reason() == Reason::Denied {
                            self.keychain.forget(read_at);
                        }
                        if password.is_none() || !unauthorized {
                            *failure = Some((Instant::now(), error.clone()));
                        }
                        return Err(error);
                    }
                }
            }
        };
        authorization
            .map(Some)
            .ok_or_else(|| denied("the credentials contain characters that a header cannot have".to_owned()))
    }

    /// Asks the token server, unless it refused the password before. Notes whether it accepted the password.
    async fn token(
        &self,
        context: AuthContext<'_>,
        request: &TokenRequest<'_>,
        password: Option<&HeaderValue>,
    ) -> Result<Token, TokenError> {
        let AuthContext { transport, scope, subject } = context;
        let Some(password) = password else { return token::fetch(transport, request, subject).await };
        let _trial = self.lockout.trial(password).await;
        if let Some(problem) = self.lockout.block(password, scope.name()) {
            let error = cannot_ask(context, problem);
            return Err(TokenError { error, problem: String::new(), unauthorized: true });
        }
        let token = token::fetch(transport, request, subject).await;
        match &token {
            Ok(_) => self.lockout.note_accepted(password, scope.name()),
            Err(TokenError { unauthorized: true, problem, .. }) => {
                self.lockout.note_refused(password, scope.name(), problem.clone());
            }
            Err(_) => {}
        }
        token
    }
}

/// Whether another authorization may be accepted after `refused` was refused. Not if it was refused when new, unless
/// the registry says that it has expired since.
fn may_renew(refused: Option<&Authorization>, challenge: Option<&Challenge>) -> bool {
    let is_expired = matches!(challenge, Some(Challenge::Bearer(bearer)) if bearer.error == "invalid_token");
    is_expired || refused.is_none_or(|refused| !refused.refused_when_new.load(Ordering::Relaxed))
}

/// The token server that a challenge names, unless the registry must not send this program there. Its scopes are stored
/// in `entry`.
fn token_server(
    context: AuthContext<'_>,
    entry: &ScopeEntry,
    response: &Response,
    bearer: Bearer,
) -> Result<Scheme, RegistryError> {
    let refused = |problem: String| {
        context.transport.failed(Operation::GetToken, Reason::Denied);
        RegistryError::new(Reason::Denied, context.subject, problem)
    };
    let realm = response.url.join(&bearer.realm).map_err(|_| {
        refused(format!("the registry names `{}` as its token server, which is not an address", bearer.realm))
    })?;
    redirect::allowed(&context.transport.home, &response.url, &realm)
        .map_err(|refusal| refused(format!("the registry names a token server that is not used: {refusal}")))?;
    let own = context.scope.text();
    entry.set_challenged_scopes(bearer.scopes.into_iter().filter(|scope| *scope != own).collect());
    Ok(Scheme::Bearer(Arc::new(TokenServer { realm, service: bearer.service })))
}

/// Asks for a challenge where every registry sends one (distribution specification, end-1).
async fn ping(context: AuthContext<'_>) -> Result<Option<(Response, Challenge)>, RegistryError> {
    let url = context.transport.home.join("/v2/").expect("a constant path joins every address");
    let request = Request {
        operation: Operation::GetToken,
        method: Method::GET,
        url,
        subject: context.subject,
        accept: None,
        range: None,
        content: None,
        read_body: ReadBody::Nothing,
    };
    let response = context.transport.send(&request, None).await?;
    let is_challenge = response.status == StatusCode::UNAUTHORIZED && !response.other_host;
    let challenge = is_challenge.then(|| refusal::challenge(&response)).flatten();
    Ok(challenge.map(|challenge| (response, challenge)))
}

/// The answer, or the error of a refusal.
fn unless_refused(
    context: AuthContext<'_>,
    request: &Request<'_>,
    response: Response,
    authorization: Option<&Authorization>,
) -> Result<Response, RegistryError> {
    if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Ok(response);
    }
    context.transport.failed(request.operation, Reason::Denied);
    let problem = refusal::message(context.transport, &response, authorization);
    Err(RegistryError::new(Reason::Denied, context.subject, problem))
}

/// The error of a request that is not sent. It counts as denied, so that metrics show it among the refusals.
fn cannot_ask(context: AuthContext<'_>, problem: String) -> RegistryError {
    context.transport.failed(Operation::GetToken, Reason::Denied);
    RegistryError::new(Reason::Denied, context.subject, problem)
}
