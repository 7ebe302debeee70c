//! Formats numbers, times and texts for people.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::oci::Digest;

pub(crate) use crate::image::human::{bytes, command, difference, growth_share, minute, plain};

/// A digest shortened for people; `--json` has the full one.
pub(crate) fn short_digest(digest: &Digest) -> String {
    let text = digest.to_string();
    let value = text.split_once(':').map_or(&*text, |(_, value)| value);
    cut(value, 12).replace('…', "")
}

/// At most `width` characters; a longer text ends with an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| room.checked_sub(c.width().unwrap_or(0)).inspect(|left| room = *left).is_some();
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
