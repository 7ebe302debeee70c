//! The token that authorizes notifications.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Bytes of a file with a token.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where the token is. It is read with each notification, so that a file may be replaced while the program runs.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file; a newline at its end is not part of the token.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// The token. It has neither `Debug` nor `Display`, so that nothing can print it.
pub struct Token {
    /// The token is the key.
    key: hmac::Key,
    /// The signature of the token itself. What is presented is compared by its signature, in constant time.
    own: hmac::Tag,
}

impl TokenSource {
    /// Reads the token.
    ///
    /// # Errors
    /// What is wrong with the file or variable, with the remedy and without its content.
    pub fn read(&self) -> Result<Token, String> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => variable(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(match self {
                Self::File(path) => format!("`{}` is empty: write the token into it", path.display()),
                Self::Env(name) => format!("environment variable `{name}` is empty: put the token into it"),
            });
        }
        Ok(Token::new(text))
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("`{}` has more than 64 KiB: name a file with the token alone", path.display()));
    }
    Ok(text)
}

#[expect(clippy::disallowed_methods, reason = "the configuration names the variable with the token; read nowhere else")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Token {
    /// The token of this text.
    pub fn new(text: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let own = hmac::sign(&key, text.as_bytes());
        Self { key, own }
    }

    /// Whether this is the token.
    pub fn is(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.key, presented, self.own.as_ref()).is_ok()
    }

    /// Whether an `Authorization` header has the token: as bearer token, or as password of any user.
    pub fn authorizes(&self, authorization: &[u8]) -> bool {
        let Some(space) = authorization.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, value) = (&authorization[..space], authorization[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.is(value);
        }
        let decoded = STANDARD.decode(value).unwrap_or_default();
        let colon = decoded.iter().position(|byte| *byte == b':');
        scheme.eq_ignore_ascii_case(b"basic") && colon.is_some_and(|colon| self.is(&decoded[colon + 1..]))
    }

    /// Whether `X-Hub-Signature-256` is the body's signature with the token as key (GitHub, "Validating webhook
    /// deliveries").
    pub fn signs(&self, signature: &[u8], body: &[u8]) -> bool {
        let hex = signature.strip_prefix(b"sha256=").and_then(|hex| std::str::from_utf8(hex).ok());
        let Some(signature) = hex.and_then(from_hex) else { return false };
        hmac::verify(&self.key, body, &signature).is_ok()
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_presented_as_bearer_or_as_password() {
        let token = Token::new("sesame");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (header, expected) in [
            ("Bearer sesame".to_owned(), true),
            ("bearer   sesame ".to_owned(), true),
            (basic("harbor:sesame"), true),
            (basic(":sesame"), true),
            (basic("a:b:sesame"), false),
            (basic("sesame"), false),
            (basic("sesame:"), false),
            ("Basic sesame".to_owned(), false),
            ("Bearer sesam".to_owned(), false),
            ("Bearer sesamee".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer".to_owned(), false),
            ("sesame".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(token.authorizes(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn a_signature_holds_for_its_body_and_its_key_only() {
        // The example of GitHub's documentation.
        let token = Token::new("It's a Secret to Everybody");
        let signature = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(token.signs(signature, b"Hello, World!"));
        assert!(!token.signs(signature, b"Hello, World?"));
        assert!(!Token::new("another").signs(signature, b"Hello, World!"));
        assert!(!token.signs(&signature[7..], b"Hello, World!"));
        assert!(!token.signs(&signature[..70], b"Hello, World!"));
        assert!(!token.signs(b"sha256=", b"Hello, World!"));
    }

    #[test]
    fn a_file_is_read_without_its_newline_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(source.read().err().unwrap().contains("cannot be read"));
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().err().unwrap().ends_with("is empty: write the token into it"));
        std::fs::write(&path, "sesame\r\n").unwrap();
        assert!(source.read().is_ok_and(|token| token.is(b"sesame")));
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(source.read().err().unwrap().contains("64 KiB"));
    }

    proptest! {
        #[test]
        fn nothing_presented_panics_and_nothing_else_is_the_token(
            header in prop::collection::vec(any::<u8>(), 0..80),
            body in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let token = Token::new("a token that is not guessed");
            prop_assert!(!token.is(&header) && !token.authorizes(&header) && !token.signs(&header, &body));
        }
    }
}
