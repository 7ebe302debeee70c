//! How the keys of docker configs name registries and parts of them. Pure.

use crate::oci::reference::DOCKER_HUB;

/// The key under which Docker keeps Docker Hub's credentials.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The names of one registry: Docker Hub has several.
pub(super) fn names(registry: &str) -> impl Iterator<Item = &str> {
    let hub = registry == DOCKER_HUB;
    let aliases: &[&str] =
        if hub { &[DOCKER_HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io"] } else { &[] };
    aliases.iter().copied().chain(Some(registry).filter(|_| !hub))
}

/// The host and port of a key, which may have a scheme and a path.
pub(super) fn host_of(key: &str) -> &str {
    without_scheme(key).split('/').next().unwrap_or_default()
}

pub(super) fn without_scheme(key: &str) -> &str {
    key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key)
}

/// Whether a key is for a part of a registry: it has a path, other than the API's own, and no scheme.
pub(super) fn is_namespaced(key: &str) -> bool {
    let path = key.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    without_scheme(key) == key && !matches!(path, "" | "v1" | "v2")
}

/// A key as Kubernetes orders and matches it: without a scheme and without the API's own path.
pub(super) fn kubernetes_key(key: &str) -> (&str, &str) {
    let (host, path) = without_scheme(key).split_once('/').unwrap_or((without_scheme(key), ""));
    (host, ["v1/", "v2/"].iter().find_map(|api| path.strip_prefix(api)).unwrap_or(path))
}

/// Whether a key includes a repository of `registry`, as in Kubernetes' pull secrets (Kubernetes documentation, "Images",
/// "Interpretation of config.json"): each part of the host is a pattern for one part, the number of parts and the port must
/// be equal, and the path is a prefix of the repository's name, not only of whole components.
pub(super) fn kubernetes_matches(key: &str, registry: &str, repository: &str) -> bool {
    let (pattern, path) = kubernetes_key(key);
    if !repository.starts_with(path) {
        return false;
    }
    let (pattern, registry) = (pattern.to_ascii_lowercase(), registry.to_ascii_lowercase());
    let with_port = |host| str::rsplit_once(host, ':').unwrap_or((host, ""));
    let ((pattern, pattern_port), (host, port)) = (with_port(&pattern), with_port(&registry));
    pattern_port == port
        && pattern.split('.').count() == host.split('.').count()
        && pattern.split('.').zip(host.split('.')).all(|(pattern, part)| part_matches(pattern, part))
}

/// One term of a pattern, as in Go's `path.Match`.
enum Term {
    /// `*`: any characters, also none.
    Any,
    /// `?`
    One,
    /// A character that stands for itself.
    Literal(char),
    /// `[a-z]` or, negated, `[^a-z]`.
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Term {
    fn includes(&self, character: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { is_negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *is_negated
            }
        }
    }
}

/// The terms of a pattern; `None` where it is malformed, which matches nothing.
fn terms(pattern: &str) -> Option<Vec<Term>> {
    let mut characters = pattern.chars().peekable();
    let mut terms = Vec::new();
    while let Some(character) = characters.next() {
        terms.push(match character {
            '*' => Term::Any,
            '?' => Term::One,
            '\\' => Term::Literal(characters.next()?),
            '[' => {
                let is_negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || characters.next_if_eq(&']').is_none() {
                    let low = class_character(&mut characters)?;
                    let is_range = characters.next_if_eq(&'-').is_some();
                    ranges.push((low, if is_range { class_character(&mut characters)? } else { low }));
                }
                Term::Class { is_negated, ranges }
            }
            literal => Term::Literal(literal),
        });
    }
    Some(terms)
}

/// A character of a class; `-` and `]` only after a backslash.
fn class_character(characters: &mut impl Iterator<Item = char>) -> Option<char> {
    match characters.next()? {
        '-' | ']' => None,
        '\\' => characters.next(),
        character => Some(character),
    }
}

/// Whether the pattern matches the whole part.
fn part_matches(pattern: &str, part: &str) -> bool {
    let Some(terms) = terms(pattern) else { return false };
    let part: Vec<char> = part.chars().collect();
    // After the last `*`, and how much of the part that star stands for.
    let mut last_star: Option<(usize, usize)> = None;
    let (mut term, mut at) = (0, 0);
    loop {
        match terms.get(term) {
            None if at == part.len() => return true,
            Some(Term::Any) => {
                last_star = Some((term + 1, at));
                term += 1;
                continue;
            }
            Some(other) if part.get(at).is_some_and(|character| other.includes(*character)) => {
                (term, at) = (term + 1, at + 1);
                continue;
            }
            _ => {}
        }
        // The last star takes one more character.
        match &mut last_star {
            Some((after, from)) if *from < part.len() => {
                *from += 1;
                (term, at) = (*after, *from);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_as_in_kubernetes() {
        for (key, registry, repository, expected) in [
            ("*.example.com", "eu.example.com", "acme/app", true),
            ("https://*.example.com", "eu.example.com", "acme/app", true),
            ("http://*.example.com/v2/", "eu.example.com", "acme/app", true),
            ("*.EXAMPLE.com/", "eu.example.com", "acme/app", true),
            ("eu.*.com", "eu.example.com", "acme/app", true),
            ("*.*.*", "eu.example.com", "acme/app", true),
            ("prefix.*.io", "prefix.acme.io", "app", true),
            ("*-good.example.com", "eu-good.example.com", "app", true),
            ("e*u.example.com", "eu.example.com", "app", true),
            ("r*-*-1.example.com", "reg-eu-west-1.example.com", "app", true),
            // One part is one part.
            ("*.example.com", "a.eu.example.com", "acme/app", false),
            ("*.example.com", "example.com", "acme/app", false),
            ("*", "example.com", "acme/app", false),
            ("*.example.com", "eu.example.org", "acme/app", false),
            ("*-good.example.com", "good.example.com", "app", false),
            ("e*u.example.com", "e.example.com", "app", false),
            ("*ab*ab.example.com", "xab.example.com", "app", false),
            // The port is exact.
            ("*.example.com:5000", "eu.example.com:5000", "app", true),
            ("*.example.com:5000", "eu.example.com", "app", false),
            ("*.example.com", "eu.example.com:5000", "app", false),
            ("*.example.com:*", "eu.example.com:5000", "app", false),
            // The path is a prefix.
            ("*.example.com/acme", "eu.example.com", "acme/app", true),
            ("*.example.com/v2/acme/app", "eu.example.com", "acme/app", true),
            ("*.example.com/acme", "eu.example.com", "acme2/app", true),
            ("*.example.com/acme", "eu.example.com", "other/app", false),
            ("*.example.com/acme", "eu.example.com", "", false),
            // Other patterns.
            ("e?.example.com", "eu.example.com", "app", true),
            ("e?.example.com", "e.example.com", "app", false),
            ("?.example.com", "eu.example.com", "app", false),
            ("[a-f]u.example.com", "eu.example.com", "app", true),
            ("[^a-f]u.example.com", "eu.example.com", "app", false),
            ("[^x]?.example.com", "eu.example.com", "app", true),
            ("[xe]*.example.com", "eu-west.example.com", "app", true),
            ("r[0-9][0-9].example.com", "r07.example.com", "app", true),
            ("r[0-9].example.com", "rx.example.com", "app", false),
            ("r[\\-a].example.com", "r-.example.com", "app", true),
            (r"e\u.example.com", "eu.example.com", "app", true),
            // Malformed ones match nothing.
            ("[.example.com", "[.example.com", "app", false),
            ("[]a].example.com", "a.example.com", "app", false),
            ("[a-].example.com", "a.example.com", "app", false),
            ("[^].example.com", "a.example.com", "app", false),
            // Without a pattern in the host.
            ("eu.example.com", "eu.example.com", "app", true),
            ("eu.example.com/acm", "eu.example.com", "acme/app", true),
            ("https://eu.example.com/v1/acm", "eu.example.com", "acme/app", true),
            ("eu.example.com/*", "eu.example.com", "app", false),
        ] {
            assert_eq!(kubernetes_matches(key, registry, repository), expected, "{key} {registry}/{repository}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_decided_at_once() {
        let (pattern, part) = ("*a".repeat(200), "a".repeat(5_000));
        assert!(part_matches(&pattern, &part));
        assert!(!part_matches(&format!("{pattern}b"), &part));
    }
}
