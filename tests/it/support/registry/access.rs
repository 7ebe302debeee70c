//! Who may ask: everybody, users with passwords, clients with tokens.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Method, Response};
use image_size_exporter::memory_registry::{Resource, error_body};

use super::serving::response;
use super::{Kind, Seen};

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Users with these passwords.
    Basic(Vec<(&'static str, &'static str)>),
    /// Clients with a token from `/token` for the repository.
    Token(TokenServer),
}

/// How tokens are issued at `/token`: `token-1`, `token-2`, …, each for the scopes that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenServer {
    /// Who gets one; everybody if empty.
    pub(crate) users: Vec<(&'static str, &'static str)>,
    /// Refresh tokens that are taken by POST; without any, POST is 405.
    pub(crate) identities: Vec<&'static str>,
    /// `expires_in` of the answer.
    pub(crate) expires_in: Option<u64>,
    /// Instead of the usual challenge; `{base}` stands for the registry's address, `{scope}` for the scope.
    pub(crate) challenge: Option<&'static str>,
}

/// Who may ask now, and the tokens that were issued.
#[derive(Default)]
pub(super) struct Guard {
    pub(super) access: Access,
    /// Each token's scopes.
    tokens: HashMap<String, Vec<String>>,
    revoked: HashSet<String>,
}

impl Guard {
    /// Refuses all tokens issued so far.
    pub(super) fn revoke_tokens(&mut self) {
        self.revoked.extend(self.tokens.keys().cloned());
    }

    /// The answer to a client that may not ask.
    pub(super) fn refusal(&self, seen: &Seen) -> Option<Response<Bytes>> {
        let sent = seen.header("authorization");
        let challenge = match &self.access {
            Access::Open => return None,
            Access::Basic(users) if users.iter().any(|(user, password)| sent == basic(user, password)) => return None,
            Access::Basic(_) => "Basic realm=\"test\"".to_owned(),
            Access::Token(server) => {
                let scope = scope(seen);
                let token = sent.strip_prefix("Bearer ").unwrap_or_default();
                let allowed = self.tokens.get(token).is_some_and(|scopes| scopes.contains(&scope) || scope.is_empty());
                if allowed && !self.revoked.contains(token) {
                    return None;
                }
                let usual = r#"Bearer realm="{base}/token",service="test registry",scope="{scope}""#;
                let base = format!("http://{}", seen.header("host"));
                let challenge = server.challenge.unwrap_or(usual).replace("{base}", &base).replace("{scope}", &scope);
                if token.is_empty() { challenge } else { format!("{challenge},error=\"invalid_token\"") }
            }
        };
        let mut response = response(401, "application/json", &error_body("UNAUTHORIZED"));
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(response)
    }

    /// The answer to a request for a token; `None` if the registry issues none.
    pub(super) fn token(&mut self, seen: &Seen) -> Option<Response<Bytes>> {
        let Access::Token(server) = &self.access else { return None };
        let refused = || response(401, "application/json", r#"{"details":"incorrect username or password"}"#);
        let scopes: Vec<String> = if seen.method == Method::POST {
            if server.identities.is_empty() {
                return Some(response(405, "text/plain", "use GET"));
            }
            if !server.identities.iter().any(|identity| seen.parameters("refresh_token") == [*identity]) {
                return Some(refused());
            }
            seen.parameters("scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect()
        } else {
            let sent = seen.header("authorization");
            if !server.users.is_empty() && !server.users.iter().any(|(user, password)| sent == basic(user, password)) {
                return Some(refused());
            }
            seen.parameters("scope")
        };
        let token = format!("token-{}", self.tokens.len() + 1);
        let mut body = serde_json::json!({ "token": token });
        if let Some(seconds) = server.expires_in {
            body["expires_in"] = seconds.into();
        }
        self.tokens.insert(token, scopes);
        Some(response(200, "application/json", &body.to_string()))
    }
}

/// What a token must allow for a request; empty for `/v2/`.
fn scope(seen: &Seen) -> String {
    match seen.kind {
        Kind::Catalog => "registry:catalog:*".to_owned(),
        Kind::Ping => String::new(),
        _ => {
            let repository = seen.resource().and_then(Resource::repository);
            format!("repository:{}:pull", repository.unwrap_or_default())
        }
    }
}

/// `user:password` as `Authorization` has it.
pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}
