//! Names on a registry: registry, repository, tag, reference (the distribution project's reference grammar).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::digest::Digest;

/// Docker Hub, as people write it and as labels have it.
pub const DOCKER_HUB: &str = "docker.io";

/// A registry's host as people write it, with its port if it has one: `docker.io`, `registry.internal:5000`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(Arc<str>);

/// A repository: a name on a registry.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: Registry,
    name: Arc<str>,
}

/// A tag, `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`; of an image that runs by its digest alone, that digest in its place.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// What people type to name an image: `repository[:tag][@digest]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag: `latest` when neither a tag nor a digest was written.
    pub tag: Option<Tag>,
    /// The digest, which takes precedence over the tag.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The text is empty.
    #[error("empty reference")]
    Empty,
    /// The host is invalid.
    #[error(
        "`{0}` is not a registry: expected a host name or address with an optional port, as in `registry.example.com:5000`"
    )]
    Registry(String),
    /// Repository names are lower case.
    #[error("repository `{0}` has upper-case letters: repository names are lower case")]
    UpperCase(String),
    /// The name violates the grammar in another way.
    #[error(
        "`{0}` is not a repository name: expected lower-case letters, digits and single separators (`.`, `_`, `__`, `-`) between them, in segments divided by `/`"
    )]
    Repository(String),
    /// The tag violates the grammar.
    #[error("`{0}` is not a tag: expected at most 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`")]
    Tag(String),
    /// The digest violates the grammar.
    #[error(
        "`{0}` is not a digest: expected an algorithm, a colon and its hexadecimal value, as in `sha256:` with 64 digits"
    )]
    Digest(String),
    /// An address, such as a browser's or skopeo's, where a name belongs.
    #[error("`{0}` is an address: write `{1}`")]
    Address(String, String),
    /// A host, and no repository of it. Docker reads it as an image of Docker Hub.
    #[error("`{0}` is a registry without a repository: write for example `{0}/acme/app`")]
    OnlyRegistry(String),
    /// A whole reference where only a repository is expected.
    #[error("`{0}` names a tag or digest where a repository belongs: write only the part before `{1}`")]
    NotOnlyRepository(String, char),
}

impl Registry {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// The host as written, which is the `registry` label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host that answers API requests: Docker Hub's differs from its name.
    pub fn api_host(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.0 }
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == DOCKER_HUB
    }

    /// Whether the host is this machine: the only one that gets plain HTTP by default.
    pub fn is_loopback(&self) -> bool {
        let host = host_without_port(&self.0);
        let name = host.to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Repository {
    /// A repository from its two parts.
    pub fn new(registry: Registry, name: &str) -> Result<Self, InvalidReference> {
        check_name(name)?;
        Ok(Self { registry, name: name.into() })
    }

    /// Its registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its name on the registry, without the registry: `library/alpine`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Tag {
    /// The tag of a reference without one.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// A digest in place of a tag.
    pub fn of_digest(digest: &Digest) -> Self {
        Self(digest.to_string().into())
    }

    /// A tag, or a digest in place of one; `None` for any other text.
    pub fn or_digest(text: &str) -> Option<Self> {
        if text.contains(':') { text.parse().ok().as_ref().map(Self::of_digest) } else { text.parse().ok() }
    }

    /// The digest that stands in place of a tag. No tag has a colon.
    pub fn digest(&self) -> Option<Digest> {
        if self.0.contains(':') { self.0.parse().ok() } else { None }
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a person chose it. `sha256-HASH` and `sha512-HASH` are fallback tags for referrers (distribution
    /// specification, "Referrers Tag Schema": 64 characters of the hash), which cosign uses with the suffixes `.sig`,
    /// `.att` and `.sbom`.
    pub fn is_for_people(&self) -> bool {
        self.subject_hash().is_none()
    }

    /// What the referrers under a fallback tag belong to; `None` for any other tag, and for a SHA-512, of which the tag has
    /// only a part.
    pub fn subject(&self) -> Option<Digest> {
        let (algorithm, hash) = self.subject_hash()?;
        (algorithm == "sha256").then(|| format!("sha256:{hash}").parse().ok()).flatten()
    }

    /// The algorithm of a fallback tag, and 64 characters of the hash.
    fn subject_hash(&self) -> Option<(&str, &str)> {
        let (algorithm, rest) = self.0.split_once('-').filter(|(name, _)| ["sha256", "sha512"].contains(name))?;
        let (hash, ending) = rest.split_at_checked(64)?;
        let is_hash = hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        (is_hash && (ending.is_empty() || ending.strip_prefix('.').is_some_and(is_word))).then_some((algorithm, hash))
    }
}

impl FromStr for Registry {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        match text {
            "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => Ok(Self::docker_hub()),
            _ if is_host(text) => Ok(Self(text.to_ascii_lowercase().into())),
            _ => Err(InvalidReference::Registry(text.to_owned())),
        }
    }
}

impl FromStr for Repository {
    type Err = InvalidReference;

    /// Parses `[registry/]name` with Docker Hub's defaults: without a host it is on `docker.io`, and there a
    /// single segment is under `library/`.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.contains('@') {
            return Err(InvalidReference::NotOnlyRepository(text.to_owned(), '@'));
        }
        let (registry, name) = split_registry(text)?;
        if name.contains(':') {
            return Err(InvalidReference::NotOnlyRepository(text.to_owned(), ':'));
        }
        let name =
            if registry.is_docker_hub() && !name.contains('/') { format!("library/{name}") } else { name.to_owned() };
        Self::new(registry, &name)
    }
}

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let fits = (1..=128).contains(&text.len())
            && word(text.as_bytes()[0])
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(InvalidReference::Tag(text.to_owned())) }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.is_empty() {
            return Err(InvalidReference::Empty);
        }
        if let Some((_, name)) = text.split_once("://") {
            // Docker Hub's pages have paths of their own.
            let page = ["hub.docker.com/r/", "hub.docker.com/_/"].iter().find_map(|page| name.strip_prefix(page));
            let name = page.unwrap_or(name).trim_end_matches('/');
            let name = if page.is_some() { name.trim_end_matches("/tags") } else { name };
            let name = name.replacen("quay.io/repository/", "quay.io/", 1);
            return Err(InvalidReference::Address(text.to_owned(), name));
        }
        if is_registry(text) {
            return Err(InvalidReference::OnlyRegistry(text.trim_end_matches('/').to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| InvalidReference::Digest(digest.to_owned()))?))
            }
            None => (text, None),
        };
        let last_segment = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[last_segment..].find(':') {
            Some(colon) => (&rest[..last_segment + colon], Some(rest[last_segment + colon + 1..].parse()?)),
            None => (rest, None),
        };
        let repository = repository.parse()?;
        let tag = if tag.is_none() && digest.is_none() { Some(Tag::latest()) } else { tag };
        Ok(Self { repository, tag, digest })
    }
}

/// Whether the text is only a registry: a host with a dot or a port, or `localhost`.
pub fn is_registry(text: &str) -> bool {
    let host = text.trim_end_matches('/');
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_host = name == "localhost" || name.contains('.');
    is_host && !host.contains('/') && port.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Registry>().is_ok()
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits the registry from the name as Docker does: the first segment is a host if it is `localhost`, has a dot, a
/// colon or an upper-case letter; otherwise all of it is a name on Docker Hub.
pub fn split_registry(text: &str) -> Result<(Registry, &str), InvalidReference> {
    if text.is_empty() {
        return Err(InvalidReference::Empty);
    }
    match text.split_once('/') {
        Some((host, name)) if looks_like_host(host) => {
            // Docker reads `Acme/app` as a host; most likely it is a misspelt repository.
            let upper = host.bytes().any(|b| b.is_ascii_uppercase()) && !host.contains(['.', ':']);
            if upper { Err(InvalidReference::UpperCase(text.to_owned())) } else { Ok((host.parse()?, name)) }
        }
        _ => Ok((Registry::docker_hub(), text)),
    }
}

fn looks_like_host(segment: &str) -> bool {
    segment == "localhost" || segment.contains(['.', ':']) || segment.bytes().any(|b| b.is_ascii_uppercase())
}

fn host_without_port(host: &str) -> &str {
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split(']').next().unwrap_or(v6);
    }
    host.split(':').next().unwrap_or(host)
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", port.strip_prefix(':').or(port.is_empty().then_some("0")))
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let label = |part: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(inner)
    };
    let port_fits = port.is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    host.len() <= 253 && host.split('.').all(label) && port_fits
}

fn check_name(name: &str) -> Result<(), InvalidReference> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(InvalidReference::UpperCase(name.to_owned()));
    }
    if name.len() > 255 || !name.split('/').all(is_path_component) {
        return Err(InvalidReference::Repository(name.to_owned()));
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let separator_fits = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    alphanumeric(*first) && alphanumeric(*last) && separators.into_iter().all(separator_fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = text.parse::<Reference>().map_or_else(|error| format!("error: {error}"), |r| r.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn references_get_dockers_defaults() {
        check("alpine", "docker.io/library/alpine:latest");
        check("alpine:3.20", "docker.io/library/alpine:3.20");
        check("ubuntu:5000", "docker.io/library/ubuntu:5000");
        check("docker.io/alpine", "docker.io/library/alpine:latest");
        check("index.docker.io/acme/app:v1", "docker.io/acme/app:v1");
        check("acme/app", "docker.io/acme/app:latest");
        for registry in ["ghcr.io", "localhost:5000", "127.0.0.1:5000", "registry.example:443/"] {
            let host = registry.trim_end_matches('/');
            let error =
                format!("error: `{host}` is a registry without a repository: write for example `{host}/acme/app`");
            check(registry, &error);
        }
        check("localhost/app", "localhost/app:latest");
        check("localhost:5000/app:v1", "localhost:5000/app:v1");
        check("[::1]:5000/a/b", "[::1]:5000/a/b:latest");
        check("ghcr.io/a/b/c:x_1.2-3", "ghcr.io/a/b/c:x_1.2-3");
        check("Ghcr.io/a/b", "ghcr.io/a/b:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("alpine:3@{digest}"), &format!("docker.io/library/alpine:3@{digest}"));
        check(&format!("alpine@{digest}"), &format!("docker.io/library/alpine@{digest}"));
    }

    #[test]
    fn tags_chosen_by_people_are_distinguished_from_referrers() {
        let hash = "0a".repeat(32);
        for (text, expected) in [
            ("latest".to_owned(), true),
            ("sha256-abc".to_owned(), true),
            (format!("sha256-{hash}-dirty"), true),
            (format!("sha256-{hash}0"), true),
            (format!("sha256-{}", hash.to_uppercase()), true),
            (format!("sha256-{hash}."), true),
            (format!("md5-{hash}"), true),
            (format!("sha256-{hash}"), false),
            (format!("sha256-{hash}.sig"), false),
            (format!("sha256-{hash}.att"), false),
            (format!("sha256-{hash}.sbom"), false),
            (format!("sha512-{hash}"), false),
        ] {
            let tag = text.parse::<Tag>().unwrap();
            assert_eq!(tag.is_for_people(), expected, "{text}");
            let subject = (!expected && text.starts_with("sha256")).then(|| format!("sha256:{hash}"));
            assert_eq!(tag.subject().map(|digest| digest.to_string()), subject, "{text}");
        }
    }

    #[test]
    fn a_bad_reference_says_what_is_wrong() {
        check("", "error: empty reference");
        check("Acme/app", "error: repository `Acme/app` has upper-case letters: repository names are lower case");
        check(
            "a..b",
            "error: `library/a..b` is not a repository name: expected lower-case letters, digits and single separators (`.`, `_`, `__`, `-`) between them, in segments divided by `/`",
        );
        check(
            "alpine:-x",
            "error: `-x` is not a tag: expected at most 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`",
        );
        check(
            "alpine@sha256:1",
            "error: `sha256:1` is not a digest: expected an algorithm, a colon and its hexadecimal value, as in `sha256:` with 64 digits",
        );
        check(
            "host:port/x",
            "error: `host:port` is not a registry: expected a host name or address with an optional port, as in `registry.example.com:5000`",
        );
    }

    #[test]
    fn where_a_repository_belongs_a_tag_or_digest_is_refused() {
        let shown = |text: &str| text.parse::<Repository>().unwrap_err().to_string();
        assert_eq!(
            shown("alpine:3"),
            "`alpine:3` names a tag or digest where a repository belongs: write only the part before `:`"
        );
        assert_eq!(
            shown("alpine@sha256:0"),
            "`alpine@sha256:0` names a tag or digest where a repository belongs: write only the part before `@`"
        );
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (host, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("reg.localhost", true),
            ("127.example.com", false),
            ("10.0.0.1", false),
            ("docker.io", false),
        ] {
            assert_eq!(host.parse::<Registry>().unwrap().is_loopback(), loopback, "{host}");
        }
    }

    proptest! {
        #[test]
        fn parsing_reverses_display(name in "[a-z0-9]{1,8}/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}){0,2}", tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", host in prop::sample::select(vec!["", "docker.io/", "ghcr.io/", "localhost:5000/", "[::1]/"])) {
            let reference: Reference = format!("{host}{name}:{tag}").parse().unwrap();
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn no_text_panics_the_parser(text: String) {
            let _ = text.parse::<Reference>();
            let _ = text.parse::<Repository>();
            let _ = text.parse::<Registry>();
        }
    }
}
