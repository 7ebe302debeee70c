//! Limits on texts written by an image's author.

/// Whether a character must not appear unescaped in a label, a log line or a page: control characters, line and
/// paragraph separators, and those that change the direction of text or are invisible (Unicode's bidirectional
/// controls).
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The beginning of `text`, at most `bytes_max` bytes, cut between characters.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// A text for a message: its beginning, at most `bytes_max` bytes, with a space for each character that a reader would not
/// see.
pub fn shown(text: &str, bytes_max: usize) -> String {
    beginning(text, bytes_max).chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_unprintable() {
        assert!("\0\t\n\r\u{1b}\u{7f}\u{85}\u{61c}\u{200e}\u{202e}\u{2066}\u{feff}".chars().all(is_unprintable));
        assert!(!"aZ 0/+~\u{e9}\u{4e2d}\u{1f433}".chars().any(is_unprintable));
    }

    #[test]
    fn a_message_has_nothing_in_it_that_a_reader_does_not_see() {
        assert_eq!(shown("a\u{202e}b\u{1b}[31m\u{2028}c", 100), "a b [31m c");
        assert_eq!(shown("abc", 2), "ab");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(["", "a", "aé", "aéb"].map(|text| beginning(text, 2)), ["", "a", "a", "a"]);
        assert_eq!(beginning("aéb", 3), "aé");
    }
}
