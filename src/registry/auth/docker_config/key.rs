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

/// Whether a key with `*` in its host includes a repository of `registry`, as in Kubernetes' pull secrets (Kubernetes
/// documentation, "Images", "Interpretation of config.json"): `*` stands for characters within one part of the host, the
/// number of parts and the port must be equal, and the path is a prefix of the repository's name, not only of whole
/// components.
pub(super) fn glob_matches(key: &str, registry: &str, repository: &str) -> bool {
    let (pattern, path) = without_scheme(key).split_once('/').unwrap_or((without_scheme(key), ""));
    let path = ["v1/", "v2/"].iter().find_map(|api| path.strip_prefix(api)).unwrap_or(path);
    if !pattern.contains('*') || !repository.starts_with(path) {
        return false;
    }
    let (pattern, registry) = (pattern.to_ascii_lowercase(), registry.to_ascii_lowercase());
    let with_port = |host| str::rsplit_once(host, ':').unwrap_or((host, ""));
    let ((pattern, pattern_port), (host, port)) = (with_port(&pattern), with_port(&registry));
    pattern_port == port
        && pattern.split('.').count() == host.split('.').count()
        && pattern.split('.').zip(host.split('.')).all(|(pattern, part)| part_matches(pattern, part))
}

/// Whether `*` in the pattern can stand for characters such that it is `part`.
fn part_matches(pattern: &str, part: &str) -> bool {
    let mut literals = pattern.split('*');
    let Some(mut rest) = literals.next().and_then(|first| part.strip_prefix(first)) else { return false };
    let Some(last) = literals.next_back() else { return rest.is_empty() };
    for literal in literals {
        let Some((_, after)) = rest.split_once(literal) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_kubernetes() {
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
            // Without a star in the host it is not a glob.
            ("eu.example.com", "eu.example.com", "app", false),
            ("eu.example.com/*", "eu.example.com", "app", false),
        ] {
            assert_eq!(glob_matches(key, registry, repository), expected, "{key} {registry}/{repository}");
        }
    }
}
