//! The text of the file, and what it is where it is no TOML: another encoding or another format, named with its line.

use crate::config::values::unexpanded;

/// What is wrong at a place of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Counted from 1.
    pub(super) line: usize,
    /// In characters, counted from 1; none where the whole line is meant.
    pub(super) column: Option<usize>,
    pub(super) message: String,
}

/// The text of a file, which is UTF-8.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, Wrong> {
    // Of a text in UTF-16 every other byte is NUL, as long as it is in English.
    let has_nul = bytes.iter().take(64).any(|byte| *byte == 0);
    if matches!(bytes.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || has_nul {
        let message = "looks like UTF-16, which editors on Windows and PowerShell's `>` write: save it as UTF-8";
        return Err(Wrong { line: 1, column: None, message: message.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (before, byte) = (&error.as_bytes()[..at], error.as_bytes()[at]);
        let line = before.split(|byte| *byte == b'\n').count();
        // In Windows-1252 the bytes below are quotation marks and dashes; in Latin-1 they are nothing that is written.
        let found = match byte {
            0xa0.. => format!("byte 0x{byte:02X} is not UTF-8, and looks like the `{}` of Latin-1", char::from(byte)),
            _ => format!("byte 0x{byte:02X} is not UTF-8, and looks like Windows-1252"),
        };
        Wrong { line, column: None, message: format!("{found}: save the file as UTF-8") }
    })
}

/// What to say of a text that is no TOML, given the byte and the reason of the parser.
pub(super) fn not_toml(text: &str, byte: usize, why: &str) -> Wrong {
    let byte = text.floor_char_boundary(byte);
    let before = &text[..byte];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let written = text[start..].lines().next().unwrap_or_default().trim();
    if let Some(format) = other_format(text, written) {
        let message = format!(
            "looks like {format}, and the configuration is TOML: write `interval = \"5m\"` for a key, \
             `[scan]` for a section and `[[targets]]` for each target"
        );
        return Wrong { line, column: None, message };
    }
    let why = why.lines().map(str::trim).collect::<Vec<_>>().join(", ");
    let hint = match unquoted_registry(written) {
        Some(host) => format!(": write [registries.{host:?}]"),
        None if unexpanded(written).is_some() => {
            ": variables and templates are not expanded: write the value itself".to_owned()
        }
        // The parser reports what follows an unquoted text, which does not help the user.
        None if is_unquoted(written, before.len() - start) => ": put text in quotes".to_owned(),
        None if why == "duplicate key" => format!(" `{}`", written.split('=').next().unwrap_or_default().trim()),
        None => String::new(),
    };
    let column = before[start..].chars().count() + 1;
    Wrong { line, column: Some(column), message: format!("invalid TOML: {why}{hint}") }
}

/// What to say of a text that only figment's parser refuses, which is an older one, given what the error shows: a line
/// with the place, three lines with an excerpt of the file, which does not belong in logs, and the reason.
pub(super) fn not_read(shown: &str) -> Wrong {
    let mut lines = shown.lines();
    let words = lines.next().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut place = words.filter_map(|word| word.parse().ok());
    let (line, column) = (place.next().unwrap_or(1), place.next());
    let why = lines.skip(3).collect::<Vec<_>>().join(", ");
    Wrong { line, column, message: format!("invalid TOML 1.0: {why}") }
}

/// JSON or YAML, if the text or the line at fault is written in it.
fn other_format(text: &str, line: &str) -> Option<&'static str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_json_list = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', '"']));
    let quoted_key = |line: &str| {
        let rest = line.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        rest.is_some_and(|(_, rest)| rest.trim_start().starts_with(':'))
    };
    if text.starts_with('{') || is_json_list && !text.starts_with("[\"") || quoted_key(line) {
        return Some("JSON");
    }
    let item = line.strip_prefix("- ").unwrap_or(line);
    let is_key = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    let has_key = item
        .split_once(':')
        .is_some_and(|(key, rest)| is_key(key.trim_end()) && (rest.is_empty() || rest.starts_with([' ', '\t'])));
    (line == "---" || line.starts_with("- ") || has_key).then_some("YAML")
}

/// Whether the value of the line begins without quotes, as no value of TOML does.
fn is_unquoted(line: &str, fault: usize) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    let value = value.trim_start();
    fault >= key.len()
        && value.starts_with(|c: char| c.is_alphanumeric() || "~/.*^".contains(c))
        && !["true", "false"].contains(&value)
}

/// The registry of a table header that lacks the quotes that a port needs.
fn unquoted_registry(line: &str) -> Option<&str> {
    let host = line.strip_prefix("[registries.")?.split(']').next()?;
    let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    (host.contains(':') && host.chars().all(of_a_host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_known_by_their_lines() {
        for (text, line, expected) in [
            ("{\n  \"scan\": {}\n}", "{", Some("JSON")),
            ("[\n  {\"a\": 1}\n]", "[", Some("JSON")),
            ("[scan]\n\"interval\": \"5m\"", "\"interval\": \"5m\"", Some("JSON")),
            ("scan:\n  interval: 5m", "scan:", Some("YAML")),
            ("---\nscan:", "---", Some("YAML")),
            ("- a\n", "- a", Some("YAML")),
            ("- a: 1\n", "- a: 1", Some("YAML")),
            ("[scan]\ninterval: 5m", "interval: 5m", Some("YAML")),
            ("[scan]\ninterval = 5m", "interval = 5m", None),
            ("[registries.localhost:5000]", "[registries.localhost:5000]", None),
            ("[[targets]]\nrepository", "repository", None),
            ("[\"a\"]\nb", "b", None),
            ("a = b:c", "a = b:c", None),
        ] {
            assert_eq!(other_format(text, line), expected, "{text}");
        }
    }

    #[test]
    fn a_byte_of_another_encoding_is_named_with_its_line() {
        let wrong = |bytes: &[u8]| decode(bytes.to_vec()).unwrap_err();
        let latin = wrong(b"[scan]\n# caf\xe9\n");
        assert!(latin.line == 2 && latin.message.contains("0xE9") && latin.message.contains("`é` of Latin-1"));
        let windows = wrong(b"a = \x93b\x94\n");
        assert!(windows.line == 1 && windows.message.contains("Windows-1252"), "{windows:?}");
        for utf16 in [b"\xff\xfe[\0s\0".as_slice(), b"\xfe\xff\0[", b"[\0s\0c\0"] {
            assert!(wrong(utf16).message.contains("UTF-16"));
        }
        assert_eq!(decode("# café".into()).as_deref(), Ok("# café"));
    }
}
