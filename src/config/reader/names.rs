//! The names of tables and keys, as messages show them.

use super::super::source::tree::{Dict, Kind};

/// The longest name that is shown beside a table's position, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A target's name, or else its repository, to be shown behind its position.
pub(super) fn called(entries: &Dict) -> String {
    let name = ["name", "repository"].into_iter().find_map(|key| match &entries.get(key)?.kind {
        Kind::Text(text) => Some(text),
        _ => None,
    });
    let shown = name.filter(|name| !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX);
    shown.map(|name| format!(" ({name:?})")).unwrap_or_default()
}

/// Whether TOML accepts the key without quotes.
pub(super) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
