//! Which answers are refusals, and what they mean.

use http::{StatusCode, header};

use super::cache::{Authorization, Scope};
use super::challenge::Challenge;
use crate::registry::transport::{Response, Transport, api_error, redirect};

/// Whether the answer may be a refusal. 401 and 403 are: Amazon's private registry answers 403 to an expired password. 400
/// is what its public registry answers to an expired token.
pub(crate) fn is_possible(status: StatusCode, sent: Option<&Authorization>) -> bool {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        StatusCode::BAD_REQUEST => sent.is_some_and(|authorization| authorization.is_token),
        _ => false,
    }
}

/// Whether another login might be accepted.
pub(crate) fn is_of_login(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// The challenge to answer, if the headers have one.
pub(crate) fn challenge(response: &Response) -> Option<Challenge> {
    let headers = response.headers.get_all(header::WWW_AUTHENTICATE);
    Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()))
}

/// What a refusal means and what the operator can do about it.
pub(crate) fn message(
    transport: &Transport,
    scope: Scope<'_>,
    response: &Response,
    sent: Option<&Authorization>,
) -> String {
    let status = api_error::status(response.status);
    let detail = api_error::detail(response);
    if response.other_host {
        let host = redirect::authority(&response.url);
        return format!("{host}, to which the registry redirects, refused access: {status}{detail}");
    }
    match (sent.and_then(|authorization| authorization.source.as_deref()), scope) {
        // A catalog is no repository: the caller says what it may be and what to do.
        (Some(source), Scope::Catalog) => format!("the registry refused its catalog to {source}: {status}{detail}"),
        (None, Scope::Catalog) => format!("the registry refused its catalog to anonymous clients: {status}{detail}"),
        (Some(source), Scope::Repository(_)) => format!(
            "the registry refused access to {source}: {status}{detail}; check that they are valid and may pull, and that the repository exists"
        ),
        (None, Scope::Repository(_)) => format!(
            "the registry refused anonymous access: {status}{detail}; the repository is private or does not exist: check its name, or configure credentials for {}",
            transport.registry
        ),
    }
}
