//! `Warning: 299`: messages of a registry for its users (distribution specification, "Warnings").

use std::collections::HashSet;

use http::header;
use parking_lot::Mutex;

use super::exchange::Response;
use crate::oci::Registry;

/// The most distinct texts that are logged for one registry.
const TEXTS_MAX: usize = 20;
/// Longer texts are cut.
const TEXT_CHARS_MAX: usize = 300;

/// The warnings of one registry; each text is logged once.
#[derive(Default)]
pub(crate) struct Warnings {
    logged: Mutex<HashSet<String>>,
}

impl Warnings {
    /// Logs the texts that were not logged before.
    pub(crate) fn log(&self, registry: &Registry, response: &Response) {
        for value in response.headers.get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(text) else { continue };
            if response.secrets.appear_in(&text) {
                continue;
            }
            let mut logged = self.logged.lock();
            if logged.len() < TEXTS_MAX && logged.insert(text.clone()) {
                tracing::warn!(%registry, text, "the registry warns");
            }
        }
    }
}

/// The text of `299 - "text"`.
fn text(value: &str) -> Option<String> {
    let quoted = value.trim().strip_prefix("299 ")?.split_once('"')?.1;
    let text = quoted.strip_suffix('"').unwrap_or(quoted).replace("\\\"", "\"");
    Some(text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_persistent_warnings_have_a_text() {
        for (value, expected) in [
            (r#"299 - "this repository moves""#, Some("this repository moves")),
            (r#"299 example "say \"hi\"""#, Some(r#"say "hi""#)),
            (r#"199 - "misc""#, None),
            ("299 -", None),
        ] {
            assert_eq!(text(value).as_deref(), expected, "{value}");
        }
    }
}
