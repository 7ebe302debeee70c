//! Hides passwords in messages and in the configuration that is shown.

/// Replaces what may be secret.
const SECRET: &str = "<secret>";

/// A URL without the parts that may contain a password: user, password, query and fragment.
pub(in crate::config) fn redacted_url(url: &url::Url) -> String {
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let path = &url[url::Position::BeforePath..url::Position::AfterPath];
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "<secret>@" };
    let query = if url.query().is_some() { format!("?{SECRET}") } else { String::new() };
    format!("{}://{user}{authority}{path}{query}", url.scheme())
}

/// A message without the user and password of URLs that it quotes: people paste them into other keys.
pub(in crate::config) fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        let start = before.rfind(['/', '`', '"', '\'', ' ', '=']).map_or(0, |at| at + 1);
        let (kept, user) = before.split_at(start);
        if kept.is_empty() && shown.ends_with("<secret>@") {
            // The password contains an `@`.
            rest = after;
            continue;
        }
        // Within a path `@` precedes a digest.
        let in_path = kept.ends_with('/') && !kept.ends_with("//");
        let is_digest = ["sha256:", "sha512:"].iter().any(|algorithm| after.starts_with(algorithm));
        shown.push_str(kept);
        shown.push_str(if user.contains(':') && !in_path && !is_digest { SECRET } else { user });
        shown.push('@');
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_no_passwords_of_addresses() {
        for (text, expected) in [
            ("`bob:sesame@x.example/app` is none", "`<secret>@x.example/app` is none"),
            (
                "`https://bob:sesame@x.example/app`: write `bob:sesame@x.example`",
                "`https://<secret>@x.example/app`: write `<secret>@x.example`",
            ),
            (r#"registries."bob:sesame@x""#, r#"registries."<secret>@x""#),
            ("`https://bob:se@same@x.example`", "`https://<secret>@x.example`"),
            ("`app:v1@sha256:00` and `acme/app:v1@sha256:00`", "`app:v1@sha256:00` and `acme/app:v1@sha256:00`"),
            ("`someone@x.example`, 1:2", "`someone@x.example`, 1:2"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
