//! Sends a registry's requests with the authorization that they need, and renews it when the registry refuses it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, StatusCode};

use super::cache::{Authorization, AuthorizationCache, Scheme, Scope, ScopeEntry, TokenServer};
use super::challenge::{Bearer, Challenge};
use super::cloud::{CloudIdentity, host};
use super::credential::{Lease, SourcedLogin};
use super::keychain::Keychain;
use super::lockout::Lockout;
use super::pull_secrets::PullSecrets;
use super::refusal;
use crate::oci::{Operation, Reason, Registry, Repository};
use crate::registry::error::RegistryError;
use crate::registry::settings::Credential;
use crate::registry::transport::{ReadBody, Request, Response, Transport, redirect};

/// The authentication of one registry.
pub(crate) struct Session {
    pub(super) keychain: Keychain,
    pub(super) authorizations: AuthorizationCache,
    pub(super) lockout: Lockout,
}

/// The parts of a request that authentication needs.
#[derive(Clone, Copy)]
pub(super) struct AuthContext<'a> {
    pub(super) transport: &'a Transport,
    pub(super) scope: Scope<'a>,
    /// The subject of error messages.
    pub(super) subject: &'a (dyn Display + Sync),
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
    pub(crate) fn new(source: Credential, identity: Option<CloudIdentity>, pull_secrets: PullSecrets) -> Self {
        Self {
            keychain: Keychain::new(source, identity, pull_secrets),
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
        let sent = self.send_authorized(transport, scope, request).await;
        sent.map_err(|error| match self.keychain.advice() {
            Some(advice) if error.reason() == Reason::Denied => error.followed_by(&advice),
            _ => error,
        })
    }

    async fn send_authorized(
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
        let (mut response, mut last) = match self.renew(context, &response, first.as_ref()).await? {
            Some(second) => (self.last_attempt(context, request, &second).await?, Some(second)),
            None => (response, first),
        };
        // As Kubernetes does, where several logins are for this repository.
        while !response.other_host && refusal::is_of_login(response.status) {
            let Some(next) = self.next(context, last.as_deref()).await? else { break };
            response = self.last_attempt(context, request, &next).await?;
            last = Some(next);
        }
        unless_refused(context, request, response, last.as_deref())
    }

    async fn last_attempt(
        &self,
        context: AuthContext<'_>,
        request: &Request<'_>,
        authorization: &Authorization,
    ) -> Result<Response, RegistryError> {
        let response = self.attempt(context, request, Some(authorization), Attempt::Last).await?;
        if !response.other_host && refusal::is_possible(response.status, Some(authorization)) {
            authorization.refused_when_new.store(true, Ordering::Relaxed);
        }
        Ok(response)
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

    /// The login for an owner's repositories, for the owner's API; `None` means anonymous. One that a cloud lends is for the registry
    /// alone.
    pub(crate) async fn login(&self, registry: &Registry, owner: &str) -> Result<Option<SourcedLogin>, String> {
        // A login may be for the repositories below a path alone.
        let below = Repository::new(registry.clone(), &format!("{owner}/any")).ok();
        let logins = self.keychain.logins(registry.as_str(), below.as_ref()).await?;
        Ok(logins.into_iter().find(|login| login.lease.is_none()))
    }

    /// Allows refused passwords to be sent again.
    pub(crate) fn reset_lockout(&self) {
        self.lockout.reset();
        self.authorizations.forget_refused();
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
                refusal::message(transport, scope, &response, Some(password)),
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

/// Refuses a token server that must not get a cloud's login: it is neither on the registry's own host nor on one of that
/// cloud's.
pub(super) fn may_receive(context: AuthContext<'_>, scheme: &Scheme, lease: Lease) -> Result<(), String> {
    let Scheme::Bearer(server) = scheme else { return Ok(()) };
    let is_of_cloud = server.realm.host_str().and_then(host::cloud) == Some(lease.cloud);
    if is_of_cloud || redirect::is_own_host(&context.transport.home, &server.realm) {
        return Ok(());
    }
    Err(format!(
        "the registry names the token server {}, which is not of {}: the identity is not sent there",
        redirect::authority(&server.realm),
        lease.cloud.name()
    ))
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
    let problem = refusal::message(context.transport, context.scope, &response, authorization);
    Err(RegistryError::new(Reason::Denied, context.subject, problem))
}

/// The error of a request that is not sent. It counts as denied, so that metrics show it among the refusals.
pub(super) fn cannot_ask(context: AuthContext<'_>, problem: String) -> RegistryError {
    context.transport.failed(Operation::GetToken, Reason::Denied);
    RegistryError::new(Reason::Denied, context.subject, problem)
}
