//! Tokens: how a token server is asked and its answer read (distribution project, "Token Authentication
//! Specification", and "OAuth2 Token Authentication").

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::keychain::{Login, LoginSecret};
use super::secret::Secret;
use crate::oci::{Operation, Reason};
use crate::registry::error::RegistryError;
use crate::registry::transport::body::TOKEN_BYTES_MAX;
use crate::registry::transport::{Answer, Ask, Take, Transport, api_error, redirect};

/// How this program names itself to token servers.
const CLIENT_ID: &str = "image-size-exporter";
/// A token that does not say how long it lives, lives for so long; so does one that says less.
const LIFETIME_MIN: Duration = Duration::from_mins(1);
/// A longer life is not believed: a token that outlives its key would be refused anyway.
const LIFETIME_MAX: Duration = Duration::from_hours(12);
/// So long before its end a token is renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// A token and how long it may be used.
pub(crate) struct Token {
    pub(crate) text: Secret,
    pub(crate) usable: Duration,
}

/// Why there is no token.
pub(crate) struct TokenRefused {
    pub(crate) error: RegistryError,
    /// The error without what it is about.
    pub(crate) problem: String,
    /// The server does not know who asks: it said 401.
    pub(crate) unauthorized: bool,
}

/// What is asked of a token server.
pub(crate) struct Wanted<'a> {
    pub(crate) realm: &'a Url,
    pub(crate) service: &'a str,
    /// What the registry said to be missing comes first: some servers read only the first.
    pub(crate) scopes: &'a [String],
    pub(crate) login: Option<&'a Login>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    issued_at: Option<serde_json::Value>,
}

/// Asks the token server: with an identity token by POST, and by GET where the server does not do that; with a
/// password or anonymously by GET.
pub(crate) async fn fetch(
    transport: &Transport,
    wanted: &Wanted<'_>,
    what: &(dyn std::fmt::Display + Sync),
) -> Result<Token, TokenRefused> {
    let answer = match wanted.login.map(|login| &login.secret) {
        Some(LoginSecret::Identity { username, token }) => {
            let answer = post(transport, wanted, token, what).await?;
            // Known of GCR (404), Artifactory (401) and ACR (400); 405 is what the specification has for it.
            if matches!(answer.status.as_u16(), 400 | 401 | 404 | 405) {
                let username = if username.is_empty() { "<token>" } else { username };
                let again = get(transport, wanted, Some((username, token)), what).await?;
                if again.status.is_success() { again } else { answer }
            } else {
                answer
            }
        }
        Some(LoginSecret::Password { username, password }) => {
            get(transport, wanted, Some((username, password)), what).await?
        }
        Some(LoginSecret::Bearer(_)) | None => get(transport, wanted, None, what).await?,
    };
    read(&answer).map_err(|problem| {
        let reason = reason(&answer);
        transport.failed(Operation::GetToken, reason);
        let server = redirect::authority(wanted.realm);
        let problem = explain(&server, wanted.login, &problem, reason);
        let error = RegistryError::new(reason, what, &problem);
        TokenRefused { error, problem, unauthorized: answer.status == StatusCode::UNAUTHORIZED }
    })
}

impl From<RegistryError> for TokenRefused {
    fn from(error: RegistryError) -> Self {
        Self { error, problem: String::new(), unauthorized: false }
    }
}

fn explain(server: &str, login: Option<&Login>, problem: &str, reason: Reason) -> String {
    match (reason, login) {
        (Reason::Denied, Some(login)) => {
            format!(
                "the token server {server} refused {}{problem}; check that they are still valid and may pull",
                login.source
            )
        }
        (Reason::Denied, None) => format!(
            "the token server {server} gives no token to anonymous clients{problem}: the repository is private or does not exist; configure credentials"
        ),
        _ => format!("the token server {server} gave no token{problem}"),
    }
}

fn reason(answer: &Answer) -> Reason {
    match answer.status.as_u16() {
        200..=299 => Reason::Invalid,
        // Azure and OAuth 2 say 400 to a refresh token that has expired.
        400 | 401 | 403 => Reason::Denied,
        _ => Reason::Server,
    }
}

async fn get(
    transport: &Transport,
    wanted: &Wanted<'_>,
    basic: Option<(&str, &Secret)>,
    what: &(dyn std::fmt::Display + Sync),
) -> Result<Answer, RegistryError> {
    let mut url = wanted.realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if !wanted.service.is_empty() {
            query.append_pair("service", wanted.service);
        }
        for scope in wanted.scopes {
            query.append_pair("scope", scope);
        }
        query.append_pair("client_id", CLIENT_ID);
        if let Some((username, _)) = basic.filter(|(username, _)| !username.is_empty()) {
            query.append_pair("account", username);
        }
    }
    let authorization = basic.and_then(|(username, password)| basic_header(username, password));
    let ask = ask(Method::GET, url, None, what);
    transport.send(&ask, authorization.as_ref()).await
}

async fn post(
    transport: &Transport,
    wanted: &Wanted<'_>,
    token: &Secret,
    what: &(dyn std::fmt::Display + Sync),
) -> Result<Answer, RegistryError> {
    let ask = ask(Method::POST, wanted.realm.clone(), Some(form(wanted, token)), what);
    transport.send(&ask, None).await
}

fn form(wanted: &Wanted<'_>, token: &Secret) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token.expose())
        .append_pair("client_id", CLIENT_ID);
    if !wanted.service.is_empty() {
        form.append_pair("service", wanted.service);
    }
    if !wanted.scopes.is_empty() {
        form.append_pair("scope", &wanted.scopes.join(" "));
    }
    form.finish()
}

fn ask(method: Method, url: Url, form: Option<String>, what: &(dyn std::fmt::Display + Sync)) -> Ask<'_> {
    let take = Take::Whole(TOKEN_BYTES_MAX);
    Ask { operation: Operation::GetToken, method, url, what, accept: None, range: None, form, take }
}

/// `Basic`, marked so that no log shows it; `None` where the text cannot stand in a header.
pub(crate) fn basic_header(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

/// `Bearer`, marked so that no log shows it; `None` where the text cannot stand in a header.
pub(crate) fn bearer_header(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read(answer: &Answer) -> Result<Token, String> {
    if answer.status != StatusCode::OK && !answer.status.is_success() {
        return Err(format!(": {}{}", api_error::status(answer.status), api_error::detail(answer)));
    }
    let body: Body =
        serde_json::from_slice(&answer.body).map_err(|_| ": its answer is not what a token server says".to_owned())?;
    let lifetime = lifetime(&body, &answer.headers);
    let text = [body.access_token, body.token].into_iter().flatten().find(|token| !token.is_empty());
    let text = text.map(Secret::new).ok_or(": neither `token` nor `access_token` in its answer")?;
    if bearer_header(&text).is_none() {
        return Err(": its token cannot stand in a header".to_owned());
    }
    Ok(Token { text, usable: lifetime.saturating_sub(RENEWAL) })
}

/// How long the token lives from now on. What the server says of its own clock counts only against its own clock:
/// `issued_at` against its `Date`, `exp` against `iat`; ours may be skewed.
fn lifetime(body: &Body, headers: &HeaderMap) -> Duration {
    let said =
        body.expires_in.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let whole = said.or_else(|| {
        let token = body.access_token.as_deref().or(body.token.as_deref())?;
        jwt_lifetime(token)
    });
    let age = age(body, headers).unwrap_or_default();
    let whole = whole.unwrap_or(LIFETIME_MIN);
    // An age beyond the whole life is nonsense, and the token is as good as new.
    whole.checked_sub(age).unwrap_or(whole).clamp(LIFETIME_MIN, LIFETIME_MAX)
}

fn age(body: &Body, headers: &HeaderMap) -> Option<Duration> {
    let issued: jiff::Timestamp = body.issued_at.as_ref()?.as_str()?.parse().ok()?;
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    date.duration_since(SystemTime::from(issued)).ok()
}

/// The time from `iat` to `exp` in a token that is a JWT. Nothing is verified: it only says when to ask again.
fn jwt_lifetime(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
        #[serde(default)]
        iat: Option<f64>,
        #[serde(default)]
        nbf: Option<f64>,
    }
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Duration::try_from_secs_f64(claims.exp - claims.iat.or(claims.nbf)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(body: &str, date: &str) -> u64 {
        let headers = HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]);
        let jwt = format!("x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"iat":1000,"exp":1300,"nbf":990}"#));
        lifetime(&serde_json::from_str(&body.replace("JWT", &jwt)).unwrap(), &headers).as_secs()
    }

    #[test]
    fn a_tokens_life_is_believed_within_reason() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (body, seconds) in [
            (r#"{"token":"t"}"#, 60),
            (r#"{"token":"t","expires_in":300}"#, 300),
            (r#"{"token":"t","expires_in":3e2,"issued_at":"1994-11-06T08:49:37Z"}"#, 300),
            // A token from the server's cache is older than it looks.
            (r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T08:48:37Z"}"#, 240),
            // Skewed, unreadable or absurd.
            (r#"{"token":"t","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#, 300),
            (r#"{"token":"t","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"}"#, 300),
            (r#"{"token":"t","expires_in":300,"issued_at":"yesterday"}"#, 300),
            (r#"{"token":"t","expires_in":300,"issued_at":1}"#, 300),
            (r#"{"token":"t","expires_in":1}"#, 60),
            (r#"{"token":"t","expires_in":0}"#, 60),
            (r#"{"token":"t","expires_in":-5}"#, 60),
            (r#"{"token":"t","expires_in":1e30}"#, 60),
            (r#"{"token":"t","expires_in":1e15}"#, 43200),
            // Azure says nothing beside the token.
            (r#"{"access_token":"JWT"}"#, 300),
            (r#"{"access_token":"a.b.c"}"#, 60),
        ] {
            assert_eq!(usable(body, date), seconds, "{body}");
        }
    }

    #[test]
    fn headers_with_secrets_do_not_show_them() {
        let header = basic_header("alice", &Secret::new("sesame")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic YWxpY2U6c2VzYW1l");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(format!("{:?}", bearer_header(&Secret::new("sesame")).unwrap()), "Sensitive");
        assert!(bearer_header(&Secret::new("se\nsame")).is_none());
    }
}
