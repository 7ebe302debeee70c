//! Globs in `match`, `exclude` and `keep_match`, which are regular expressions: `v*` finds every tag.

use super::super::reader::Table;
use super::super::targets::as_expression;
use crate::target::{TagPattern, Target};

pub(super) fn check(target: &Target, table: &Table<'_>) {
    let Some(listing) = &target.selection.listing else { return };
    globs("match", &listing.matches, table);
    globs("exclude", &listing.exclude, table);
}

/// Notes each pattern of a key that was probably meant as a glob.
pub(super) fn globs(key: &str, patterns: &[TagPattern], table: &Table<'_>) {
    for pattern in patterns.iter().map(TagPattern::as_str).filter(|pattern| is_glob(pattern)) {
        let meant = as_expression(pattern);
        table.warn(
            key,
            format!("`{pattern}` looks like a glob and is read as a regular expression: write '{meant}' for what the glob means"),
        );
    }
}

/// Whether a valid regular expression was probably meant as a glob: nothing else in it is of a regular expression, and
/// its `*` repeats a plain character, or a dot behind a digit as in `1.2.*`.
fn is_glob(pattern: &str) -> bool {
    if pattern.contains(['^', '$', '[', '(', '|', '\\', '+', '{']) {
        return false;
    }
    let stars = pattern.match_indices('*').map(|(at, _)| &pattern[..at]);
    let mut stars = stars.peekable();
    stars.peek().is_some()
        && stars.any(|before| match before.strip_suffix('.') {
            Some(before) => before.ends_with(|c: char| c.is_ascii_digit()),
            None => before.ends_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c)),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_told_from_expressions() {
        for glob in ["v*", "1.*", "1.2.*", "release-*", "v1*-alpine", "3*"] {
            assert!(is_glob(glob), "{glob}");
        }
        for expression in ["^v*$", ".*", "v.*", ".*-alpine", r"^\d+\.\d+$", "alpine", r"1\..*", "v?1", "[0-9]*", "rc"] {
            assert!(!is_glob(expression), "{expression}");
        }
    }
}
