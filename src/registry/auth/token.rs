//! Tokens: the request to a token server, and its answer (distribution project, "Token Authentication Specification",
//! and "OAuth2 Token Authentication").

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

use super::cache::Scope;
use super::credential::{IDENTITY_TOKEN_USER, Login, SourcedLogin, basic_header, bearer_header};
use super::jwt;
use super::secret::Secret;
use crate::oci::{Operation, Reason};
use crate::registry::error::RegistryError;
use crate::registry::transport::body::TOKEN_BYTES_MAX;
use crate::registry::transport::exchange::Content;
use crate::registry::transport::{ReadBody, Request, Response, Transport, api_error, redirect};

/// How this program identifies itself to token servers.
const CLIENT_ID: &str = "image-size-exporter";
/// The lifetime of a token without `expires_in` (as the specification has it), and the least that is assumed.
const LIFETIME_MIN: Duration = Duration::from_mins(1);
/// The longest lifetime that is assumed: a token that outlives its signing key is refused before it expires.
const LIFETIME_MAX: Duration = Duration::from_hours(12);
/// How long before its end a token is renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// A token and how long it may be used.
pub(crate) struct Token {
    pub(crate) text: Secret,
    pub(crate) lifetime: Duration,
}

/// Why there is no token.
pub(crate) struct TokenError {
    pub(crate) error: RegistryError,
    /// The message of `error` without what was asked for.
    pub(crate) problem: String,
    /// The token server answered 401: the credentials are wrong.
    pub(crate) unauthorized: bool,
}

/// The parameters of a token request.
pub(crate) struct TokenRequest<'a> {
    pub(crate) realm: &'a Url,
    pub(crate) service: &'a str,
    /// Those of the registry's challenge come first: some servers read only the first.
    pub(crate) scopes: &'a [String],
    /// What the token is for.
    pub(crate) scope: Scope<'a>,
    pub(crate) login: Option<&'a SourcedLogin>,
}

/// The fields of a token server's answer.
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<Value>,
}

/// Requests a token: with an identity token by POST, or by GET where the server refuses POST; with a password or
/// anonymously by GET.
pub(crate) async fn fetch(
    transport: &Transport,
    request: &TokenRequest<'_>,
    subject: &(dyn Display + Sync),
) -> Result<Token, TokenError> {
    let response = match request.login.map(|found| &found.login) {
        Some(Login::IdentityToken { username, token }) => {
            let response = post(transport, request, token, subject).await?;
            // GCR answers 404, Artifactory 401, ACR 400; the specification has 405 for it.
            if matches!(response.status.as_u16(), 400 | 401 | 404 | 405) {
                let username = if username.is_empty() { IDENTITY_TOKEN_USER } else { username };
                let second = get(transport, request, Some((username, token)), subject).await?;
                if second.status.is_success() { second } else { response }
            } else {
                response
            }
        }
        Some(Login::Password { username, password }) => {
            get(transport, request, Some((username, password)), subject).await?
        }
        Some(Login::RegistryToken(_)) | None => get(transport, request, None, subject).await?,
    };
    read(&response).map_err(|problem| {
        let reason = reason(&response);
        transport.failed(Operation::GetToken, reason);
        let server = redirect::authority(request.realm);
        let problem = explain(&server, request, &problem, reason);
        let error = RegistryError::new(reason, subject, &problem);
        TokenError { error, problem, unauthorized: response.status == StatusCode::UNAUTHORIZED }
    })
}

impl From<RegistryError> for TokenError {
    fn from(error: RegistryError) -> Self {
        Self { error, problem: String::new(), unauthorized: false }
    }
}

fn explain(server: &str, request: &TokenRequest<'_>, problem: &str, reason: Reason) -> String {
    match (reason, request.login, request.scope) {
        (Reason::Denied, Some(login), Scope::Repository(_)) => {
            format!(
                "the token server {server} refused {}{problem}; check that they are still valid and may pull",
                login.source
            )
        }
        (Reason::Denied, Some(login), Scope::Catalog) => {
            format!("the token server {server} refused {} for the catalog{problem}", login.source)
        }
        (Reason::Denied, None, Scope::Catalog) => {
            format!("the token server {server} gives no token for the catalog to anonymous clients{problem}")
        }
        (Reason::Denied, None, Scope::Repository(_)) => format!(
            "the token server {server} gives no token to anonymous clients{problem}: the repository is private or does not exist; configure credentials"
        ),
        _ => format!("the token server {server} gave no token{problem}"),
    }
}

fn reason(response: &Response) -> Reason {
    match response.status.as_u16() {
        200..=299 => Reason::Invalid,
        // OAuth 2, and Azure with it, answers 400 to an expired refresh token.
        400 | 401 | 403 => Reason::Denied,
        _ => Reason::Server,
    }
}

async fn get(
    transport: &Transport,
    request: &TokenRequest<'_>,
    basic: Option<(&str, &Secret)>,
    subject: &(dyn Display + Sync),
) -> Result<Response, RegistryError> {
    let mut url = request.realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if !request.service.is_empty() {
            query.append_pair("service", request.service);
        }
        for scope in request.scopes {
            query.append_pair("scope", scope);
        }
        query.append_pair("client_id", CLIENT_ID);
        if let Some((username, _)) = basic.filter(|(username, _)| !username.is_empty()) {
            query.append_pair("account", username);
        }
    }
    let authorization = basic.and_then(|(username, password)| basic_header(username, password));
    transport.send(&http_request(Method::GET, url, None, subject), authorization.as_ref()).await
}

async fn post(
    transport: &Transport,
    request: &TokenRequest<'_>,
    token: &Secret,
    subject: &(dyn Display + Sync),
) -> Result<Response, RegistryError> {
    let form = form(request, token);
    transport.send(&http_request(Method::POST, request.realm.clone(), Some(form), subject), None).await
}

fn form(request: &TokenRequest<'_>, token: &Secret) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token.expose())
        .append_pair("client_id", CLIENT_ID);
    if !request.service.is_empty() {
        form.append_pair("service", request.service);
    }
    if !request.scopes.is_empty() {
        form.append_pair("scope", &request.scopes.join(" "));
    }
    form.finish()
}

fn http_request(method: Method, url: Url, form: Option<String>, subject: &(dyn Display + Sync)) -> Request<'_> {
    let content = form.map(Content::Form);
    Request { content, ..Request::new(Operation::GetToken, method, url, subject, ReadBody::Whole(TOKEN_BYTES_MAX)) }
}

fn read(response: &Response) -> Result<Token, String> {
    if response.status != StatusCode::OK && !response.status.is_success() {
        return Err(format!(": {}{}", api_error::status(response.status), api_error::detail(response)));
    }
    let body = TokenBody::parse(&response.body)?;
    let lifetime = lifetime(&body, &response.headers);
    let text = [body.access_token, body.token].into_iter().flatten().find(|token| !token.is_empty());
    let text = text.map(Secret::new).ok_or(": neither `token` nor `access_token` in its answer")?;
    if bearer_header(&text).is_none() {
        return Err(": its token contains characters that a header cannot have".to_owned());
    }
    Ok(Token { text, lifetime: lifetime.saturating_sub(RENEWAL) })
}

impl TokenBody {
    /// Reads the fields as strictly as docker and podman do: `"expires_in": "300"` is an error. It names the field, and
    /// quotes nothing of the answer.
    fn parse(body: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| ": its answer is not a JSON object".to_owned())?;
        let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
        let text = |name: &str, value| match value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!(": `{name}` in its answer is {}, not text", kind(&other))),
        };
        let number = |name: &str, value: Option<Value>| match value.map(|value| value.as_f64().ok_or(value)) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(other)) => Err(format!(": `{name}` in its answer is {}, not a number", kind(&other))),
        };
        Ok(Self {
            token: text("token", take("token"))?,
            access_token: text("access_token", take("access_token"))?,
            expires_in: number("expires_in", take("expires_in"))?,
            issued_at: take("issued_at"),
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The remaining lifetime. The server's times are compared with the server's own clock, because ours may be skewed:
/// `issued_at` with its `Date`, `exp` with `iat`.
fn lifetime(body: &TokenBody, headers: &HeaderMap) -> Duration {
    let declared =
        body.expires_in.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let whole = declared.or_else(|| {
        let token = body.access_token.as_deref().or(body.token.as_deref())?;
        jwt::times(token)?.lifetime()
    });
    let age = age(body, headers).unwrap_or_default();
    let whole = whole.unwrap_or(LIFETIME_MIN);
    // An age beyond the whole lifetime is wrong: the token counts as new.
    whole.checked_sub(age).unwrap_or(whole).clamp(LIFETIME_MIN, LIFETIME_MAX)
}

fn age(body: &TokenBody, headers: &HeaderMap) -> Option<Duration> {
    let issued: jiff::Timestamp = body.issued_at.as_ref()?.as_str()?.parse().ok()?;
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    date.duration_since(SystemTime::from(issued)).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn lifetime_of(body: &str, date: &str) -> u64 {
        let headers = HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]);
        let jwt = format!("x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"iat":1000,"exp":1300,"nbf":990}"#));
        lifetime(&TokenBody::parse(body.replace("JWT", &jwt).as_bytes()).unwrap(), &headers).as_secs()
    }

    #[test]
    fn a_tokens_lifetime_is_believed_within_limits() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (body, seconds) in [
            (r#"{"token":"t"}"#, 60),
            (r#"{"token":"t","expires_in":300}"#, 300),
            (r#"{"token":"t","expires_in":3e2,"issued_at":"1994-11-06T08:49:37Z"}"#, 300),
            // A token from the server's cache was issued earlier.
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
            // Azure sends only the token.
            (r#"{"access_token":"JWT"}"#, 300),
            (r#"{"access_token":"a.b.c"}"#, 60),
        ] {
            assert_eq!(lifetime_of(body, date), seconds, "{body}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named_and_not_quoted() {
        for (body, expected) in [
            (r#"{"token":"sesame","expires_in":"300"}"#, ": `expires_in` in its answer is text, not a number"),
            (r#"{"token":"sesame","expires_in":[300]}"#, ": `expires_in` in its answer is a list, not a number"),
            (r#"{"token":"sesame","expires_in":true}"#, ": `expires_in` in its answer is true or false, not a number"),
            (r#"{"token":{"sesame":1}}"#, ": `token` in its answer is an object, not text"),
            (r#"{"access_token":1234}"#, ": `access_token` in its answer is a number, not text"),
            ("sesame", ": its answer is not a JSON object"),
            (r#"["sesame"]"#, ": its answer is not a JSON object"),
            ("", ": its answer is not a JSON object"),
            // Absent.
            (r#"{"token":null,"access_token":"sesame","expires_in":null,"issued_at":null}"#, ""),
        ] {
            assert_eq!(TokenBody::parse(body.as_bytes()).map(drop).err().unwrap_or_default(), expected, "{body}");
        }
    }
}
