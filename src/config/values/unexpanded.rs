//! Variables and templates that people expect to be expanded: `${TOKEN}`, `$TOKEN`, `{{ .Values.token }}`.

/// The part of a text that looks like a variable or a template.
pub(in crate::config) fn unexpanded(text: &str) -> Option<&'static str> {
    if text.contains("{{") && text.contains("}}") {
        return Some("{{ }}");
    }
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        if c == '$' {
            let braced = rest.strip_prefix(['{', '(']).and_then(|rest| rest.split_once(['}', ')']));
            if braced.is_some_and(|(name, _)| is_variable(name.split(':').next().unwrap_or_default())) {
                return Some("${}");
            }
            // `robot$ci` is a user of Harbor, and a regular expression ends with `$`: only capitals after the start of a
            // word are taken for a variable.
            let name = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default();
            let is_capital = name.len() > 1 && !name.chars().any(|c| c.is_ascii_lowercase()) && is_variable(name);
            if is_capital && !before.is_alphanumeric() {
                return Some("$");
            }
        }
        before = c;
    }
    None
}

fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_templates_are_told_from_expressions_and_users() {
        for (text, expected) in [
            ("${TOKEN}", Some("${}")),
            ("ghcr.io/${OWNER:-acme}/app", Some("${}")),
            ("$(REGISTRY)/app", Some("${}")),
            ("$TOKEN", Some("$")),
            ("$REGISTRY/app", Some("$")),
            ("{{ .Values.token }}", Some("{{ }}")),
            (r"^\d+\.\d+$", None),
            (r"^v\d{2}$", None),
            (r"(a|b$|c)", None),
            ("a${2}", None),
            ("robot$ci", None),
            ("robot$CI", None),
            ("$", None),
            ("US$ 5", None),
            ("{a,b}", None),
        ] {
            assert_eq!(unexpanded(text), expected, "{text}");
        }
    }
}
