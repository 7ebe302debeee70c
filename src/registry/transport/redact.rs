//! Finds secrets in a registry's messages: some servers echo a refused request with all of its headers. Such messages
//! are not shown.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use url::{Url, form_urlencoded};

use crate::registry::auth::secret::Secret;

/// A query's value of at least this many characters, in an address that a registry redirects to, may be a signature.
const SIGNATURE_CHARS_MIN: usize = 8;

/// The secrets that one request carried.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<Secret>);

impl Secrets {
    /// Adds the credentials of an `Authorization` header, encoded and decoded.
    pub(crate) fn header(mut self, header: Option<&HeaderValue>) -> Self {
        let text = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
        let Some((scheme, credentials)) = text.split_once(' ') else { return self };
        self.add(credentials);
        if scheme == "Basic"
            && let Ok(decoded) = STANDARD.decode(credentials)
            && let Some((_, password)) = String::from_utf8_lossy(&decoded).split_once(':')
        {
            self.add(password);
        }
        self
    }

    /// Adds the refresh token of a form.
    pub(crate) fn form(mut self, form: &str) -> Self {
        for (_, value) in form_urlencoded::parse(form.as_bytes()).filter(|(k, _)| k == "refresh_token") {
            self.add(&value);
        }
        self
    }

    /// Adds a secret that stood in a body.
    pub(crate) fn secret(mut self, secret: &Secret) -> Self {
        self.add(secret.expose());
        self
    }

    /// Adds the user and the password in a proxy's address.
    pub(crate) fn proxy(mut self, proxy: &Url) -> Self {
        let decoded = |text: &str| percent_decoded(text);
        let (username, password) = (decoded(proxy.username()), decoded(proxy.password().unwrap_or_default()));
        if !username.is_empty() || !password.is_empty() {
            self.add(&STANDARD.encode(format!("{username}:{password}")));
        }
        // Some proxies take a token for the user, without any password.
        self.add(if password.is_empty() { &username } else { &password });
        self
    }

    /// Adds the values that may be signatures in an address that a registry redirected to.
    pub(crate) fn redirect(mut self, url: &Url) -> Self {
        for (_, value) in url.query_pairs().filter(|(_, value)| value.chars().count() >= SIGNATURE_CHARS_MIN) {
            self.add(&value);
        }
        self
    }

    /// Whether any of them appears in `text`: plain, in base64 or percent-encoded.
    pub(crate) fn appear_in(&self, text: &str) -> bool {
        let decoded = percent_decoded(text);
        self.0.iter().any(|secret| {
            let secret = secret.expose();
            let has = |form: &str| text.contains(form) || decoded.contains(form);
            has(secret) || has(&STANDARD_NO_PAD.encode(secret)) || has(&URL_SAFE_NO_PAD.encode(secret))
        })
    }

    fn add(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.0.push(Secret::new(secret));
        }
    }
}

/// Decodes `%xx` and nothing else: plus signs are part of base64.
fn percent_decoded(text: &str) -> String {
    let protected = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(protected.as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let header = HeaderValue::from_static("Basic YWxpY2U6c2U/c2E+bWU="); // alice:se?sa>me
        let proxy: Url = "http://bob:p%40ss+w@proxy.example:3128".parse().unwrap();
        let cdn: Url = "https://cdn.example/blob?X-Sig=AbC%2B%2F123%3D&n=1".parse().unwrap();
        let secrets =
            Secrets::default().header(Some(&header)).form("a=b&refresh_token=re%20fresh").proxy(&proxy).redirect(&cdn);
        for (text, expected) in [
            ("got: Authorization: Basic YWxpY2U6c2U/c2E+bWU=", true),
            ("got: Basic YWxpY2U6c2U%2Fc2E%2BbWU%3D", true),
            ("wrong password 'se?sa>me'", true),
            ("wrong password se%3fsa%3Eme", true),
            ("wrong password c2U/c2E+bWU", true),
            ("wrong password c2U_c2E-bWU", true),
            ("the token re fresh is old", true),
            ("Proxy-Authorization: Basic Ym9iOnBAc3Mrdw==", true),
            ("p@ss+w", true),
            ("p%40ss%2Bw", true),
            ("Signature AbC+/123= does not match", true),
            ("?X-Sig=AbC%2B%2F123%3D&n=1", true),
            ("alice and bob may not: 1", false),
            ("", false),
            ("100% of %zz", false),
        ] {
            assert_eq!(secrets.appear_in(text), expected, "{text}");
        }
        let bearer = Secrets::default().header(Some(&HeaderValue::from_static("Bearer x.y.z")));
        assert!(bearer.appear_in("no such token: x.y.z") && !bearer.appear_in("Bearer"));
        assert!(!Secrets::default().header(None).form("").appear_in("anything"));
    }
}
