//! `WWW-Authenticate`: the authentication scheme that a registry asks for (RFC 9110, section 11.6.1).
//!
//! Pure. The parser is as lenient as registries need: several headers, several challenges in one, commas and escapes
//! within quotes, any case, stray spaces. It skips what it cannot read; nothing here is an error.

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user and a password (RFC 7617).
    Basic,
    /// A token from a token server (distribution project, "Token Authentication Specification").
    Bearer(Bearer),
}

/// Where a token comes from, and what it must allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's address; may be relative to the request's.
    pub(crate) realm: String,
    /// The registry's name at the token server; empty if the challenge has none.
    pub(crate) service: String,
    /// What the token must allow, each as `type:name:actions`.
    pub(crate) scopes: Vec<String>,
    /// `invalid_token` or `insufficient_scope` after a token was refused; otherwise empty.
    pub(crate) error: String,
}

impl Challenge {
    /// The challenge to answer among those of all headers: the first bearer challenge with a realm, since registries
    /// that offer both offer Basic to browsers; otherwise Basic.
    pub(crate) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            for (scheme, parameters) in Scanner(header).challenges() {
                if scheme.eq_ignore_ascii_case("bearer") {
                    let bearer = Bearer::from_parameters(parameters);
                    if !bearer.realm.is_empty() {
                        return Some(Self::Bearer(bearer));
                    }
                } else if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

impl Bearer {
    fn from_parameters(parameters: Vec<(&str, String)>) -> Self {
        let mut bearer = Self::default();
        for (key, value) in parameters {
            match key.to_ascii_lowercase().as_str() {
                "realm" => bearer.realm = value,
                "service" => bearer.service = value,
                "scope" => bearer.scopes.extend(value.split_ascii_whitespace().map(str::to_owned)),
                "error" => bearer.error = value,
                _ => {}
            }
        }
        bearer
    }
}

/// The unread rest of a header.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// All challenges, each a scheme and its parameters. A word that no `=` follows starts the next challenge.
    fn challenges(mut self) -> Vec<(&'a str, Vec<(&'a str, String)>)> {
        let mut challenges: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
        while !self.0.is_empty() {
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            let word = self.take(|c| !matches!(c, ',' | '=' | '"') && !c.is_ascii_whitespace());
            self.skip(|c| c.is_ascii_whitespace());
            if word.is_empty() {
                // A stray quote or equals sign, which belongs to no challenge.
                self.step();
            } else if let Some(rest) = self.0.strip_prefix('=') {
                self.0 = rest;
                self.skip(|c| c.is_ascii_whitespace());
                let value = self.value();
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.push((word, value));
                }
            } else {
                challenges.push((word, Vec::new()));
            }
        }
        challenges
    }

    fn value(&mut self) -> String {
        let Some(quoted) = self.0.strip_prefix('"') else {
            return self.take(|c| c != ',' && !c.is_ascii_whitespace()).to_owned();
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => value.push(character),
            }
        }
        self.0 = "";
        value
    }

    fn skip(&mut self, matches: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(matches);
    }

    fn take(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !matches(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn step(&mut self) {
        let mut characters = self.0.chars();
        characters.next();
        self.0 = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(headers: &[&str]) -> String {
        match Challenge::choose(headers.iter().copied()) {
            None => "none".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer(b)) => {
                format!("bearer {}|{}|{}|{}", b.realm, b.service, b.scopes.join(" + "), b.error)
            }
        }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (headers, expected) in [
            (&[][..], "none"),
            (&[""], "none"),
            (&[r#"Basic realm="Registry""#], "basic"),
            (&["BASIC"], "basic"),
            (&["Negotiate"], "none"),
            (
                &[
                    r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
                ],
                "bearer https://auth.example/token|registry.example|repository:a/b:pull,push|",
            ),
            (
                &[
                    r#"bEaReR REALM = "https://a/t" , Service=reg , sCope="repository:a:pull registry:catalog:*", error="invalid_token""#,
                ],
                "bearer https://a/t|reg|repository:a:pull + registry:catalog:*|invalid_token",
            ),
            (&[r#"Bearer realm="/v2/token""#], "bearer /v2/token|||"),
            (&[r#"Bearer realm="https://a/\"q\"\\x",service="a, b""#], r#"bearer https://a/"q"\x|a, b||"#),
            (&[r#"Bearer realm="https://a/t?x=1&y=2""#], "bearer https://a/t?x=1&y=2|||"),
            (&["Bearer realm=https://a/t?x=1,service=s"], "bearer https://a/t?x=1|s||"),
            // Bearer wins over Basic, in one header or in two, whichever comes first.
            (&[r#"Basic realm="x", Bearer realm="https://a/t",service="s""#], "bearer https://a/t|s||"),
            (&[r#"Bearer realm="https://a/t", Basic realm="x""#], "bearer https://a/t|||"),
            (&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#], "bearer https://a/t|||"),
            (&[r#"Negotiate, NTLM, Basic realm="x, Bearer realm=\"no\"""#], "basic"),
            // A bearer challenge without a realm cannot be answered.
            (&[r#"Bearer service="s""#], "none"),
            (&[r#"Bearer error="invalid_token", Basic realm="x""#], "basic"),
            // Two scopes in two parameters, and a host with a port in a name.
            (
                &[r#"Bearer realm="r",scope="repository:h:5000/a:pull",scope="repository:b:pull""#],
                "bearer r||repository:h:5000/a:pull + repository:b:pull|",
            ),
            // Malformed: an unterminated quote, stray signs.
            (&[r#"Bearer realm="https://a/t"#], "bearer https://a/t|||"),
            (&[r#"=,"Bearer realm="https://a/t""#], "bearer https://a/t|||"),
            (&[r#"Bearer realm="a" ,, ,service="s","#], "bearer a|s||"),
        ] {
            assert_eq!(shown(headers), expected, "{headers:?}");
        }
    }

    fn quoted(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
    }

    proptest! {
        #[test]
        fn no_header_panics_the_parser(header: String) {
            let _ = Challenge::choose([header.as_str()]);
        }

        #[test]
        fn quoted_values_are_read_back(realm in "[ -~]{1,30}", service in "[ -~]{0,30}", scope in "[!-~]{1,20}") {
            let header = format!("Bearer realm={}, service={}, scope={}", quoted(&realm), quoted(&service), quoted(&scope));
            let expected = Bearer { realm, service, scopes: vec![scope], error: String::new() };
            prop_assert_eq!(Challenge::choose([header.as_str()]), Some(Challenge::Bearer(expected)));
        }
    }
}
