//! Obtains authorizations: by the cached scheme, and by the first login that was not refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::cache::{Authorization, Scheme, ScopeEntry};
use super::credential::{Login, SourcedLogin, bearer_header};
use super::session::{AuthContext, Session, cannot_ask, may_receive};
use super::token::{self, Token, TokenError, TokenRequest};
use crate::oci::Reason;
use crate::registry::error::RegistryError;

/// How long a header from a file or a helper is used before it is read again.
const LOGIN_LIFETIME: Duration = Duration::from_mins(5);
/// How long a refusal by the token server answers all requests that need the same token.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(10);

/// Why no authorization was obtained.
struct NotObtained {
    error: RegistryError,
    /// Whether the token server was asked.
    was_asked: bool,
    /// Whether the same request would fail again for a while.
    is_lasting: bool,
}

impl Session {
    /// The authorization by the next login after one that was refused; `None` if there is none.
    pub(super) async fn next(
        &self,
        context: AuthContext<'_>,
        refused: Option<&Authorization>,
    ) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let (entry, scheme) = self.authorizations.entry(context.scope);
        let (Some(login), Some(scheme)) = (refused.and_then(|refused| refused.login), scheme) else { return Ok(None) };
        let others = self.logins(context).await?;
        let is_other = |other: &SourcedLogin| {
            other.login.fingerprint() != login && !self.is_refused(context, &entry, &other.login)
        };
        if !others.iter().any(is_other) {
            return Ok(None);
        }
        entry.note_refused(login);
        let current = entry.valid().filter(|current| current.login == Some(login));
        self.obtain(context, &entry, &scheme, current.as_ref()).await
    }

    async fn logins(&self, context: AuthContext<'_>) -> Result<Vec<SourcedLogin>, RegistryError> {
        let AuthContext { transport, scope, .. } = context;
        let found = self.keychain.logins(transport.registry.as_str(), scope.repository()).await;
        found.map_err(|problem| cannot_ask(context, format!("cannot read credentials: {problem}")))
    }

    /// Whether a login was refused lately for this scope.
    fn is_refused(&self, context: AuthContext<'_>, entry: &ScopeEntry, login: &Login) -> bool {
        let is_blocked = |header| self.lockout.block(&header, context.scope.name()).is_some();
        entry.is_refused(login.fingerprint()) || login.basic_header().is_some_and(is_blocked)
    }

    /// Obtains a new authorization, or waits for the one that a concurrent request obtains.
    pub(super) async fn obtain(
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

    /// Obtains a new authorization by the first login that was not refused. `failure` receives the token server's error,
    /// unless the password is wrong: another one may be configured at any time.
    async fn obtain_now(
        &self,
        context: AuthContext<'_>,
        entry: &ScopeEntry,
        scheme: &Scheme,
        failure: &mut Option<(Instant, RegistryError)>,
    ) -> Result<Option<Arc<Authorization>>, RegistryError> {
        let logins = self.logins(context).await?;
        let read_at = Instant::now();
        let mut left: VecDeque<&SourcedLogin> = logins.iter().collect();
        left.retain(|login| !self.is_refused(context, entry, &login.login));
        let mut login = left.pop_front().or(logins.first());
        loop {
            let source = login.map_or("none: the request is anonymous", |login| &login.source);
            tracing::debug!(registry = %context.transport.registry, about = %context.subject, credentials = source, "credentials chosen");
            let error = match self.obtain_by(context, entry, scheme, login).await {
                Ok(authorization) => return Ok(authorization),
                Err(error) => error,
            };
            let is_denied = error.error.reason() == Reason::Denied;
            if let Some(next) = left.pop_front().filter(|_| is_denied) {
                if let Some(login) = login {
                    entry.note_refused(login.login.fingerprint());
                }
                login = Some(next);
                continue;
            }
            if is_denied && error.was_asked {
                self.keychain.forget(read_at);
            }
            if error.is_lasting {
                *failure = Some((Instant::now(), error.error.clone()));
            }
            return Err(error.error);
        }
    }

    /// Obtains a new authorization by this login.
    async fn obtain_by(
        &self,
        context: AuthContext<'_>,
        entry: &ScopeEntry,
        scheme: &Scheme,
        login: Option<&SourcedLogin>,
    ) -> Result<Option<Arc<Authorization>>, NotObtained> {
        let denied = |problem| NotObtained { error: cannot_ask(context, problem), was_asked: false, is_lasting: false };
        let scope = context.scope;
        let password = login.and_then(|login| login.login.basic_header());
        // A password for the registry itself is checked with each request.
        let to_token_server = password.as_ref().filter(|_| matches!(scheme, Scheme::Bearer(_)));
        if let Some(problem) = to_token_server.and_then(|header| self.lockout.block(header, scope.name())) {
            return Err(denied(problem));
        }
        let lease = login.and_then(|login| login.lease);
        if let Some(lease) = lease {
            context.transport.credential_expires(lease.expires_at);
            may_receive(context, scheme, lease).map_err(denied)?;
        }
        let authorization = match (scheme, login.map(|login| &login.login)) {
            (_, Some(Login::RegistryToken(token))) => {
                Authorization::new(bearer_header(token), LOGIN_LIFETIME, false, login)
            }
            (Scheme::Basic, Some(Login::Password { .. })) => {
                let remaining = lease.map_or(LOGIN_LIFETIME, |lease| lease.ends - Instant::now());
                Authorization::new(password, LOGIN_LIFETIME.min(remaining), false, login)
            }
            (Scheme::Basic, Some(Login::IdentityToken { .. })) => {
                let source = login.map_or("it", |login| &login.source);
                return Err(denied(format!("the registry requires a username and a password, which {source} is not")));
            }
            (Scheme::Basic, None) => return Ok(None),
            (Scheme::Bearer(server), _) => {
                let mut scopes = entry.challenged_scopes();
                scopes.push(scope.text());
                let request =
                    TokenRequest { realm: &server.realm, service: &server.service, scopes: &scopes, scope, login };
                match self.token(context, &request, password.as_ref()).await {
                    Ok(token) => Authorization::new(bearer_header(&token.text), token.lifetime, true, login),
                    Err(TokenError { error, unauthorized, .. }) => {
                        let is_lasting = password.is_none() || !unauthorized;
                        return Err(NotObtained { error, was_asked: true, is_lasting });
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
