//! Paths for people.

/// `/usr/bin/env` from its names, the last one first. What is not UTF-8 is shown as U+FFFD.
pub(super) fn joined(names: &[&[u8]]) -> String {
    if names.is_empty() {
        return "/".to_owned();
    }
    let mut path = String::new();
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    path
}
