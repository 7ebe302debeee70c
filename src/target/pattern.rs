//! Patterns: regular expressions over tags, wildcards over repositories.

use std::str::FromStr;

use super::Shard;
use crate::oci::reference::{InvalidReference, split_registry};
use crate::oci::{Registry, Repository, Tag};

/// The most memory of a compiled regular expression, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Which repositories a target is about: none that another shard has.
#[derive(Clone, Debug, PartialEq)]
pub enum Repositories {
    /// Some of one registry.
    On(RegistryRepositories),
    /// Those of the images that a source sees running, on any registry.
    Running(Shard),
}

/// Repositories of one registry: by name, and those that it lists and that match a pattern. As configured there is at least
/// one of both; a shard may have none of the names.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryRepositories {
    registry: Registry,
    shard: Shard,
    names: Vec<Repository>,
    /// Names that other shards have.
    names_elsewhere: usize,
    patterns: Vec<RepositoryPattern>,
    /// As they were written.
    text: Vec<String>,
}

/// `registry/acme/*`: `*` within a segment, `**` any number of segments.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryPattern {
    /// The registry whose repositories are listed.
    pub registry: Registry,
    /// The pattern after the registry, as written.
    pub text: String,
}

/// A regular expression over tags: searched, not anchored.
#[derive(Clone, Debug)]
pub struct TagPattern(regex::Regex);

/// A repository that is not on the registry of those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not on {registry}, as those before it: write a target for each registry")]
pub struct OtherRegistry {
    found: String,
    registry: Registry,
}

/// Why a text is neither a repository nor a pattern of repositories.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It is not a valid name of one repository.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// A wildcard in place of the registry.
    #[error("`{0}` has a wildcard in place of the registry: write one target for each registry")]
    Registry(String),
    /// Docker Hub lists the repositories of one namespace.
    #[error(
        "`{0}`: Docker Hub lists the repositories of one namespace: write it before the wildcard, as in `docker.io/acme/*`"
    )]
    NoNamespace(String),
    /// `**` beside other characters.
    #[error(
        "`{0}`: `**` stands for whole segments: write it between slashes, as in `acme/**`, or `*` within a segment"
    )]
    DoubleStar(String),
    /// Longer than any repository name.
    #[error("a pattern of {0} characters: write at most the 255 that a repository name may have")]
    TooLong(usize),
    /// Characters that no repository name has.
    #[error(
        "`{0}` matches no repository name: beside `*` expected lower-case letters, digits, `.`, `_` and `-` in segments divided by `/`"
    )]
    Characters(String),
}

/// Why a text is not a regular expression, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a regular expression: {why}")]
pub struct InvalidTagPattern {
    text: String,
    why: String,
}

impl Repositories {
    /// One repository.
    pub fn one(repository: Repository) -> Self {
        Self::On(RegistryRepositories::one(repository))
    }

    /// Those of them that a shard has.
    #[must_use]
    pub fn in_shard(self, shard: Shard) -> Self {
        match self {
            Self::On(on) => Self::On(on.in_shard(shard)),
            Self::Running(_) => Self::Running(shard),
        }
    }

    /// The shard that has them.
    pub fn shard(&self) -> Shard {
        match self {
            Self::On(on) => on.shard,
            Self::Running(shard) => *shard,
        }
    }

    /// All of these together.
    ///
    /// # Errors
    /// The first that is on another registry than those before it.
    pub fn together(all: impl IntoIterator<Item = RegistryRepositories>) -> Result<Option<Self>, OtherRegistry> {
        let mut together: Option<RegistryRepositories> = None;
        for one in all {
            match &mut together {
                Some(all) if all.registry != one.registry => {
                    return Err(OtherRegistry { found: one.text.join(", "), registry: all.registry.clone() });
                }
                Some(all) => {
                    all.names.extend(one.names);
                    all.patterns.extend(one.patterns);
                    all.text.extend(one.text);
                }
                None => together = Some(one),
            }
        }
        Ok(together.map(Self::On))
    }

    /// The registry that all of them are on; `None` where they may be on any.
    pub fn registry(&self) -> Option<&Registry> {
        match self {
            Self::On(on) => Some(&on.registry),
            Self::Running(_) => None,
        }
    }

    /// Those that are configured by name.
    pub fn names(&self) -> &[Repository] {
        match self {
            Self::On(on) => &on.names,
            Self::Running(_) => &[],
        }
    }

    /// How many are configured by name that other shards have.
    pub fn names_elsewhere(&self) -> usize {
        match self {
            Self::On(on) => on.names_elsewhere,
            Self::Running(_) => 0,
        }
    }

    /// The patterns that listed ones match.
    pub fn patterns(&self) -> &[RepositoryPattern] {
        match self {
            Self::On(on) => &on.patterns,
            Self::Running(_) => &[],
        }
    }

    /// All of them, where the configuration names each.
    pub fn only_names(&self) -> Option<&[Repository]> {
        match self {
            Self::On(on) if on.patterns.is_empty() => Some(&on.names),
            Self::On(_) | Self::Running(_) => None,
        }
    }

    /// Each as it was written, with its registry.
    pub fn written(&self) -> &[String] {
        match self {
            Self::On(on) => &on.text,
            Self::Running(_) => &[],
        }
    }

    /// Whether `repository` may be one of them.
    pub fn include(&self, repository: &Repository) -> bool {
        match self {
            Self::On(on) => on.include(repository),
            Self::Running(shard) => shard.holds(repository),
        }
    }
}

impl RegistryRepositories {
    /// Whether `repository` may be one of them.
    fn include(&self, repository: &Repository) -> bool {
        let is_listed = || self.patterns.iter().any(|pattern| pattern.matches(repository.name()));
        self.registry == *repository.registry()
            && (self.names.contains(repository) || is_listed() && self.shard.holds(repository))
    }

    fn one(repository: Repository) -> Self {
        let (registry, text) = (repository.registry().clone(), vec![repository.to_string()]);
        let (shard, names) = (Shard::default(), vec![repository]);
        Self { registry, shard, names, names_elsewhere: 0, patterns: Vec::new(), text }
    }

    fn in_shard(mut self, shard: Shard) -> Self {
        let before = self.names.len();
        self.names.retain(|name| shard.holds(name));
        self.names_elsewhere += before - self.names.len();
        Self { shard, ..self }
    }

    /// Each as it was written, with its registry.
    pub fn written(&self) -> &[String] {
        &self.text
    }
}

impl FromStr for RegistryRepositories {
    type Err = InvalidPattern;

    /// Parses `[registry/]name`, where the name may have wildcards.
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if !text.contains('*') {
            return Ok(Self::one(text.parse()?));
        }
        let pattern: RepositoryPattern = text.parse()?;
        let (registry, text) = (pattern.registry.clone(), vec![format!("{}/{}", pattern.registry, pattern.text)]);
        let (shard, names) = (Shard::default(), Vec::new());
        Ok(Self { registry, shard, names, names_elsewhere: 0, patterns: vec![pattern], text })
    }
}

impl FromStr for Repositories {
    type Err = InvalidPattern;

    /// Parses `[registry/]name`, where the name may have wildcards.
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        text.parse().map(Self::On)
    }
}

impl std::fmt::Display for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On(on) => f.write_str(&on.text.join(", ")),
            Self::Running(_) => f.write_str("what runs"),
        }
    }
}

impl RepositoryPattern {
    /// Whether a repository's name, without its registry, matches: `acme/*` matches `acme/app`, `acme/**` also
    /// `acme/team/app`, `**/app` also `app`.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<&str> = self.text.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        segments_match(&pattern, &name)
    }

    /// The segments before the first that has a wildcard: `acme` and `team` of `acme/team/*`.
    pub fn prefix(&self) -> Vec<&str> {
        self.text.split('/').take_while(|segment| !segment.contains('*')).collect()
    }
}

impl FromStr for RepositoryPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let whole = || text.to_owned();
        if let Some((host, _)) = text.split_once('/')
            && host.contains('*')
            && host.contains(['.', ':'])
        {
            return Err(InvalidPattern::Registry(whole()));
        }
        let (registry, name) = split_registry(text)?;
        if name.contains(':') || name.contains('@') {
            let mark = if name.contains('@') { '@' } else { ':' };
            return Err(InvalidReference::NotOnlyRepository(whole(), mark).into());
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidReference::UpperCase(name.to_owned()).into());
        }
        if name.len() > 255 {
            return Err(InvalidPattern::TooLong(name.len()));
        }
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*._-".contains(&b);
        if !name.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(known)) {
            return Err(InvalidPattern::Characters(name.to_owned()));
        }
        if name.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(InvalidPattern::DoubleStar(name.to_owned()));
        }
        let pattern = Self { registry, text: name.to_owned() };
        if pattern.registry.is_docker_hub() && pattern.prefix().is_empty() {
            return Err(InvalidPattern::NoNamespace(whole()));
        }
        Ok(pattern)
    }
}

impl TagPattern {
    /// Whether the expression is found anywhere in the tag.
    pub fn finds(&self, tag: &Tag) -> bool {
        self.0.is_match(tag.as_str())
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for TagPattern {
    type Err = InvalidTagPattern;

    fn from_str(text: &str) -> Result<Self, InvalidTagPattern> {
        compile(text).map(Self).map_err(|why| {
            let hint = if why.starts_with("look-around") { ": use `exclude` for the tags to leave out" } else { "" };
            InvalidTagPattern { text: text.to_owned(), why: format!("{why}{hint}") }
        })
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A regular expression, or why it is none.
pub(super) fn compile(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| match &error {
        regex::Error::CompiledTooBig(_) => format!("it takes more than {PATTERN_BYTES_MAX} bytes of memory"),
        // The parser's message is a diagram whose last line has the reason.
        other => {
            let shown = other.to_string();
            let last = shown.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            let hint = if why.starts_with("repetition operator") {
                r": `*` repeats what precedes it, so write `.*` for any text, and `\.` for a dot"
            } else {
                ""
            };
            format!("{why}{hint}")
        }
    })
}

/// `**` matches any number of segments, at least one at the end of the pattern.
fn segments_match(pattern: &[&str], name: &[&str]) -> bool {
    let mut pattern = pattern.to_vec();
    if pattern.last() == Some(&"**") {
        pattern.insert(pattern.len() - 1, "*");
    }
    let fits = |part: &&str, segment: &&str| {
        let (part, segment): (Vec<char>, Vec<char>) = (part.chars().collect(), segment.chars().collect());
        wildcard(&part, &segment, |c| *c == '*', |a, b| a == b)
    };
    wildcard(&pattern, name, |part| *part == "**", fits)
}

/// Whether `text` matches `pattern`, in which an item for which `is_star` holds matches any number of items. Linear
/// memory, at most quadratic time: it backtracks to the last star only.
fn wildcard<T>(pattern: &[T], text: &[T], is_star: impl Fn(&T) -> bool, fits: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if p < pattern.len() && is_star(&pattern[p]) {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && fits(&pattern[p], &text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_star)
}
