//! Labels as both text formats write them.

use std::fmt::{Display, Write};

use crate::oci::text::is_unprintable;

/// Adds `key="value"`, after a comma unless it is the first. Both formats escape backslash, quote and newline in a
/// label's value, and nothing else (OpenMetrics 1.0, "escaped-string"; text 0.0.4, "Text format details"). Other
/// control characters, and those that change the direction of text, are replaced.
pub(crate) fn label(out: &mut String, key: &str, value: impl Display) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(key);
    out.push_str("=\"");
    write!(EscapedLabel(out), "{value}").expect("writing into a string does not fail");
    out.push('"');
}

/// Escapes text written through it.
struct EscapedLabel<'a>(&'a mut String);

impl Write for EscapedLabel<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut rest = text;
        while let Some((position, special)) =
            rest.char_indices().find(|(_, c)| matches!(c, '\\' | '"') || is_unprintable(*c))
        {
            self.0.push_str(&rest[..position]);
            match special {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                _ => self.0.push(char::REPLACEMENT_CHARACTER),
            }
            rest = &rest[position + special.len_utf8()..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}
