//! Authentication: what a registry wants to see with a request, remembered per registry and repository, and what is
//! done when it refuses.
//!
//! A registry is asked without credentials first; its challenge says how it wants to be asked, and is remembered,
//! so that later repositories get their token beforehand. One request is authenticated anew at most once.

pub(crate) mod cache;
pub(crate) mod challenge;
pub(crate) mod docker_config;
pub(crate) mod helper;
pub(crate) mod keychain;
pub(crate) mod lockout;
pub(crate) mod secret;
pub(crate) mod token;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use super::error::RegistryError;
use super::settings::Credential;
use super::transport::{Answer, Ask, Take, Transport, api_error, redirect};
use crate::oci::{Operation, Reason};
use cache::{Grant, Grants, Scheme, Scope, Slot, TokenServer};
use challenge::{Bearer, Challenge};
use keychain::{Credentials, Login, LoginSecret};
use lockout::Lockout;
use token::{Token, TokenRefused, Wanted};

/// How long a header from a file or helper is used before it is read again.
const LOGIN_USABLE: Duration = Duration::from_mins(5);
/// How long a refusal by the token server answers for the requests that wait for the same token.
const REFUSAL_USABLE: Duration = Duration::from_secs(10);

/// The authentication of one registry.
pub(crate) struct Auth {
    credentials: Credentials,
    grants: Grants,
    passwords: Lockout,
}

impl Auth {
    pub(crate) fn new(from: Credential) -> Self {
        Self { credentials: Credentials::new(from), grants: Grants::default(), passwords: Lockout::default() }
    }

    /// Sends a request with what the registry wants to see, and once more with something better if it was refused.
    pub(crate) async fn send(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        ask: &Ask<'_>,
    ) -> Result<Answer, RegistryError> {
        let mut grant = self.grant(transport, scope, ask.what).await?;
        let answer = self.sent(transport, scope, ask, grant.as_deref(), true).await?;
        if !may_be_refusal(answer.status, grant.as_deref()) {
            return Ok(answer);
        }
        if answer.elsewhere {
            // Whoever refused is not the registry: its challenge must not be answered with the registry's secrets.
            return self.settled(transport, scope, ask, answer, None);
        }
        match self.better(transport, scope, ask, &answer, grant.as_ref()).await? {
            None => self.settled(transport, scope, ask, answer, grant.as_deref()),
            Some(better) => {
                let again = self.sent(transport, scope, ask, Some(&better), true).await?;
                if may_be_refusal(again.status, Some(&better)) {
                    better.refused.store(true, Ordering::Relaxed);
                }
                grant = Some(better);
                self.settled(transport, scope, ask, again, grant.as_deref())
            }
        }
    }

    /// Sends a request with what was granted, unless that is a password which was refused before. `counts`: whether a
    /// refusal is one of the password.
    async fn sent(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        ask: &Ask<'_>,
        grant: Option<&Grant>,
        counts: bool,
    ) -> Result<Answer, RegistryError> {
        let Some(grant) = grant.filter(|grant| grant.is_password()) else {
            return transport.send(ask, grant.map(|grant| &grant.header)).await;
        };
        let _turn = self.passwords.turn(&grant.header).await;
        let may = || match self.passwords.problem(&grant.header, scope.name()) {
            Some(problem) => Err(cannot_ask(transport, ask.what, problem)),
            None => Ok(()),
        };
        may()?;
        let answer = transport.send_while(ask, Some(&grant.header), may).await?;
        // Sent on without it, the registry took it.
        if answer.elsewhere || answer.status != StatusCode::UNAUTHORIZED {
            self.passwords.accepted(&grant.header, scope.name());
        } else if counts && !matches!(challenge(&answer), Some(Challenge::Bearer(_))) {
            // Before the next one's turn, which comes while a helper is asked for a better one.
            self.passwords.refused(&grant.header, scope.name(), refusal(transport, &answer, Some(grant)));
        }
        Ok(answer)
    }

    /// Lets passwords be tried again that were refused.
    pub(crate) fn forgive(&self) {
        self.passwords.forgive();
    }

    /// Sends a request with what the registry wanted to see before. A refusal is an answer like any other: what is asked
    /// here a registry may refuse because it does not know it, and that must not count against credentials.
    pub(crate) async fn send_once(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        ask: &Ask<'_>,
    ) -> Result<Answer, RegistryError> {
        let grant = self.grant(transport, scope, ask.what).await?;
        self.sent(transport, scope, ask, grant.as_deref(), false).await
    }

    /// Refusals are errors; everything else is for the caller to judge.
    fn settled(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        ask: &Ask<'_>,
        answer: Answer,
        grant: Option<&Grant>,
    ) -> Result<Answer, RegistryError> {
        if !matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(answer);
        }
        transport.failed(ask.operation, Reason::Denied);
        let problem = refusal(transport, &answer, grant);
        let is_wrong = answer.status == StatusCode::UNAUTHORIZED && !answer.elsewhere;
        if let Some(wrong) = grant.filter(|grant| grant.is_password() && is_wrong) {
            self.passwords.refused(&wrong.header, scope.name(), problem.clone());
            // A helper may know a newer one by the next request.
            self.credentials.forget(wrong.made);
        }
        Err(RegistryError::new(Reason::Denied, ask.what, problem))
    }

    /// What is sent with a request of its own accord.
    async fn grant(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        what: &(dyn Display + Sync),
    ) -> Result<Option<Arc<Grant>>, RegistryError> {
        let (slot, scheme) = self.grants.of(scope);
        let current = slot.current();
        let refused =
            |grant: &Arc<Grant>| grant.is_password() && self.passwords.problem(&grant.header, scope.name()).is_some();
        if current.as_ref().is_some_and(|grant| !refused(grant)) {
            return Ok(current);
        }
        let Some(scheme) = scheme else { return Ok(None) };
        self.obtain(transport, scope, &slot, &scheme, current.as_ref(), what).await
    }

    /// Something better to send than what was refused; `None` if there is nothing.
    async fn better(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        ask: &Ask<'_>,
        answer: &Answer,
        refused: Option<&Arc<Grant>>,
    ) -> Result<Option<Arc<Grant>>, RegistryError> {
        let (slot, known) = self.grants.of(scope);
        let challenge = challenge(answer);
        let expired = matches!(&challenge, Some(Challenge::Bearer(bearer)) if bearer.error == "invalid_token");
        if refused.is_some_and(|grant| grant.refused.load(Ordering::Relaxed)) && !expired {
            return Ok(None);
        }
        let scheme = match (challenge, known) {
            (Some(Challenge::Bearer(bearer)), _) => {
                self.learn_token_server(transport, scope, &slot, answer, bearer, ask.what)?
            }
            // Harbor says Basic to whatever it refuses; the token server is still where its tokens come from.
            (Some(Challenge::Basic) | None, Some(scheme)) if refused.is_some() => scheme,
            (Some(Challenge::Basic), _) => self.grants.learn(scope, &slot, Scheme::Basic),
            (None, _) if answer.status != StatusCode::UNAUTHORIZED => return Ok(None),
            (None, _) => match Self::ping(transport, ask.what).await? {
                // Google's registry does not say with each refusal how it wants to be asked.
                Some((at, Challenge::Bearer(bearer))) => {
                    self.learn_token_server(transport, scope, &slot, &at, bearer, ask.what)?
                }
                Some((_, Challenge::Basic)) => self.grants.learn(scope, &slot, Scheme::Basic),
                None => return Ok(None),
            },
        };
        if let Some(refused) = refused.filter(|grant| !grant.is_token) {
            self.credentials.forget(refused.made);
        }
        let obtained = self.obtain(transport, scope, &slot, &scheme, refused, ask.what).await?;
        let same = |grant: &Arc<Grant>| refused.is_some_and(|refused| refused.header == grant.header);
        if obtained.as_ref().is_some_and(same) {
            // The same password again would be refused again, and might lock an account: the one that will be marked as
            // wrong is the one to remember.
            slot.keep(refused.cloned());
            return Ok(None);
        }
        Ok(obtained)
    }

    async fn ping(
        transport: &Transport,
        what: &(dyn Display + Sync),
    ) -> Result<Option<(Answer, Challenge)>, RegistryError> {
        let url = transport.home.join("/v2/").expect("a constant path joins every address");
        let ask = Ask {
            operation: Operation::GetToken,
            method: Method::GET,
            url,
            what,
            accept: None,
            range: None,
            form: None,
            take: Take::Nothing,
        };
        let answer = transport.send(&ask, None).await?;
        let found =
            (answer.status == StatusCode::UNAUTHORIZED && !answer.elsewhere).then(|| challenge(&answer)).flatten();
        Ok(found.map(|challenge| (answer, challenge)))
    }

    fn learn_token_server(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        slot: &Slot,
        answer: &Answer,
        bearer: Bearer,
        what: &(dyn Display + Sync),
    ) -> Result<Scheme, RegistryError> {
        let refused = |problem: String| RegistryError::new(Reason::Denied, what, problem);
        let realm = answer.url.join(&bearer.realm).map_err(|_| {
            refused(format!("the registry names `{}` as its token server, which is no address", bearer.realm))
        })?;
        redirect::allowed(&transport.home, &answer.url, &realm)
            .map_err(|refusal| refused(format!("the registry names a token server that is not asked: {refusal}")))?;
        let own = scope.text();
        let mut wants = slot.wants();
        wants.scopes = bearer.scopes.into_iter().filter(|scope| *scope != own).collect();
        drop(wants);
        let server = Arc::new(TokenServer { realm, service: bearer.service });
        Ok(self.grants.learn(scope, slot, Scheme::Bearer(server)))
    }

    /// Obtains a new grant, or waits for the one that somebody else is obtaining.
    async fn obtain(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        slot: &Slot,
        scheme: &Scheme,
        refused: Option<&Arc<Grant>>,
        what: &(dyn Display + Sync),
    ) -> Result<Option<Arc<Grant>>, RegistryError> {
        let asked = Instant::now();
        let mut turn = slot.turn.lock().await;
        if let Some(grant) = slot.current().filter(|grant| refused.is_none_or(|refused| !Arc::ptr_eq(refused, grant))) {
            return Ok(Some(grant));
        }
        if let Some((at, error)) = turn.as_ref() {
            let lasts = error.reason() == Reason::Denied && at.elapsed() < REFUSAL_USABLE;
            if lasts || *at >= asked {
                return Err(error.clone());
            }
        }
        *turn = None;
        let grant = self.obtain_now(transport, scope, slot, scheme, what, &mut turn).await?;
        slot.keep(grant.clone());
        Ok(grant)
    }

    /// Obtains a new grant. `failed` is told what the token server said, unless the password is to blame: there may be
    /// another one at any time.
    async fn obtain_now(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        slot: &Slot,
        scheme: &Scheme,
        what: &(dyn Display + Sync),
        failed: &mut Option<(Instant, RegistryError)>,
    ) -> Result<Option<Arc<Grant>>, RegistryError> {
        let denied = |problem| cannot_ask(transport, what, problem);
        let login = self.credentials.login(transport.registry.as_str(), scope.repository()).await;
        let login = login.map_err(|problem| denied(format!("cannot read credentials: {problem}")))?;
        let read = Instant::now();
        let password = login.as_ref().and_then(Login::basic_header);
        // Where it goes with each request, it is looked at then.
        let to_token_server = password.as_ref().filter(|_| matches!(scheme, Scheme::Bearer(_)));
        if let Some(problem) = to_token_server.and_then(|header| self.passwords.problem(header, scope.name())) {
            return Err(denied(problem));
        }
        let grant = match (scheme, login) {
            (_, Some(Login { secret: LoginSecret::Bearer(token), source })) => {
                Grant::new(token::bearer_header(&token), LOGIN_USABLE, false, Some(source))
            }
            (Scheme::Basic, Some(Login { secret: LoginSecret::Password { .. }, source })) => {
                Grant::new(password, LOGIN_USABLE, false, Some(source))
            }
            (Scheme::Basic, Some(Login { secret: LoginSecret::Identity { .. }, source })) => {
                return Err(denied(format!("the registry wants a user and a password, and {source} is neither")));
            }
            (Scheme::Basic, None) => return Ok(None),
            (Scheme::Bearer(server), login) => {
                let mut scopes = slot.wants().scopes.clone();
                scopes.push(scope.text());
                let login = login.as_ref();
                let wanted = Wanted { realm: &server.realm, service: &server.service, scopes: &scopes, login };
                let token = match self.token(transport, scope, &wanted, password.as_ref(), what).await {
                    Ok(token) => token,
                    Err(refused) => {
                        if refused.error.reason() == Reason::Denied {
                            self.credentials.forget(read);
                        }
                        if password.is_none() || !refused.unauthorized {
                            *failed = Some((Instant::now(), refused.error.clone()));
                        }
                        return Err(refused.error);
                    }
                };
                let source = login.map(|login| login.source.clone());
                Grant::new(token::bearer_header(&token.text), token.usable, true, source)
            }
        };
        grant
            .map(Some)
            .ok_or_else(|| denied("the credentials hold characters that cannot stand in a header".to_owned()))
    }

    /// Asks the token server, and remembers what became of the password.
    async fn token(
        &self,
        transport: &Transport,
        scope: Scope<'_>,
        wanted: &Wanted<'_>,
        password: Option<&HeaderValue>,
        what: &(dyn Display + Sync),
    ) -> Result<Token, TokenRefused> {
        let Some(password) = password else { return token::fetch(transport, wanted, what).await };
        let _turn = self.passwords.turn(password).await;
        if let Some(problem) = self.passwords.problem(password, scope.name()) {
            let error = cannot_ask(transport, what, problem);
            return Err(TokenRefused { error, problem: String::new(), unauthorized: true });
        }
        let token = token::fetch(transport, wanted, what).await;
        match &token {
            Ok(_) => self.passwords.accepted(password, scope.name()),
            Err(refused) if refused.unauthorized => {
                self.passwords.refused(password, scope.name(), refused.problem.clone());
            }
            Err(_) => {}
        }
        token
    }
}

/// No request was refused, but none can be made: whoever looks for refusals wants to see it.
fn cannot_ask(transport: &Transport, what: &(dyn Display + Sync), problem: String) -> RegistryError {
    transport.failed(Operation::GetToken, Reason::Denied);
    RegistryError::new(Reason::Denied, what, problem)
}

/// What a refusal means, for people.
fn refusal(transport: &Transport, answer: &Answer, grant: Option<&Grant>) -> String {
    let status = api_error::status(answer.status);
    let detail = api_error::detail(answer);
    if answer.elsewhere {
        let host = redirect::authority(&answer.url);
        return format!("{host}, to which the registry redirects, refused access: {status}{detail}");
    }
    match grant.and_then(|grant| grant.source.as_deref()) {
        Some(source) => format!(
            "the registry refused access to {source}: {status}{detail}; check that they are valid and may pull, and that the repository exists"
        ),
        None => format!(
            "the registry refused anonymous access: {status}{detail}; the repository is private or does not exist: check its name, or configure credentials for {}",
            transport.registry
        ),
    }
}

/// 401 is what a refusal looks like; with a credential that may have expired, 403 (Amazon's private registry) and, with
/// a token, 400 (its public one) may be one too.
fn may_be_refusal(status: StatusCode, sent: Option<&Grant>) -> bool {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        StatusCode::BAD_REQUEST => sent.is_some_and(|grant| grant.is_token),
        _ => false,
    }
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    let headers = answer.headers.get_all(header::WWW_AUTHENTICATE);
    Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()))
}
