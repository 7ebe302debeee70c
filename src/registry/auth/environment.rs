//! The environment variables of credentials, read here and nowhere else.

/// A variable's value; `None` where it is not set, empty or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "variables name the places of credentials; read nowhere else")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
