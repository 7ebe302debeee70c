//! A login and its source, and the `Authorization` headers made from it.

use std::hash::{Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::time::Instant;

use super::secret::Secret;
use crate::registry::settings::Cloud;

/// The user that marks an identity token where files and helpers have room for a user and a password only.
pub(crate) const IDENTITY_TOKEN_USER: &str = "<token>";

/// What authenticates a request.
#[derive(Clone)]
pub(crate) enum Login {
    /// For HTTP's basic authentication (RFC 7617), and for token servers.
    Password { username: String, password: Secret },
    /// A refresh token, for token servers only (distribution project, "OAuth2 Token Authentication").
    IdentityToken { username: String, token: Secret },
    /// A bearer token for the registry itself.
    RegistryToken(Secret),
}

/// A login and where it was found.
#[derive(Clone)]
pub(crate) struct SourcedLogin {
    pub(crate) login: Login,
    /// For messages: `the credentials of alice from ~/.docker/config.json`.
    pub(crate) source: String,
    /// Of the login that a cloud's identity got.
    pub(crate) lease: Option<Lease>,
}

/// How long a cloud lends a login.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) cloud: Cloud,
    pub(crate) ends: Instant,
    /// By the cloud's clock, in seconds since the epoch.
    pub(crate) expires_at: f64,
}

impl Login {
    /// Differs between logins, and tells nothing of them.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        match self {
            Self::Password { username, password } => (username, password.expose()).hash(&mut hasher),
            Self::IdentityToken { username, token } => (username, token.expose(), 0).hash(&mut hasher),
            Self::RegistryToken(token) => token.expose().hash(&mut hasher),
        }
        hasher.finish()
    }

    /// A user and a secret, as docker's files and credential helpers pair them.
    pub(crate) fn from_pair(username: String, secret: Secret) -> Self {
        if username == IDENTITY_TOKEN_USER {
            Self::IdentityToken { username: String::new(), token: secret }
        } else {
            Self::Password { username, password: secret }
        }
    }

    /// Adds where it was found.
    pub(crate) fn found_in(self, source: &str) -> SourcedLogin {
        let source = match &self {
            Self::Password { username, .. } => format!("the credentials of {username} from {source}"),
            Self::IdentityToken { .. } => format!("the identity token from {source}"),
            Self::RegistryToken(_) => format!("the token from {source}"),
        };
        SourcedLogin { login: self, source, lease: None }
    }

    /// The `Basic` header of a user and a password; `None` for tokens, and where the text cannot stand in a header.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        match self {
            Self::Password { username, password } => basic_header(username, password),
            Self::IdentityToken { .. } | Self::RegistryToken(_) => None,
        }
    }
}

/// `Basic`, marked as sensitive; `None` where the text cannot stand in a header.
pub(crate) fn basic_header(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

/// `Bearer`, marked as sensitive; `None` where the text cannot stand in a header.
pub(crate) fn bearer_header(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose()))
}

/// The mark keeps the value out of logs.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_secrets_do_not_show_them() {
        let header = basic_header("alice", &Secret::new("sesame")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic YWxpY2U6c2VzYW1l");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(format!("{:?}", bearer_header(&Secret::new("sesame")).unwrap()), "Sensitive");
        assert!(bearer_header(&Secret::new("se\nsame")).is_none());
    }
}
