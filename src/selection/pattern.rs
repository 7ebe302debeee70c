//! Patterns: regular expressions over tags, wildcards over repositories.

use crate::oci::{Registry, Repository};

/// What a target's `repository` names.
#[derive(Clone, Debug, PartialEq)]
pub enum Repositories {
    /// One repository.
    One(Repository),
    /// Those of a registry's catalog that a pattern matches.
    Matching(RepositoryPattern),
}

impl Repositories {
    /// The registry they stand on.
    pub fn registry(&self) -> &Registry {
        match self {
            Self::One(repository) => repository.registry(),
            Self::Matching(pattern) => &pattern.registry,
        }
    }
}

/// `registry/acme/*`: `*` within a segment, `**` any depth.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryPattern {
    /// The registry whose catalog is asked.
    pub registry: Registry,
    /// The pattern after the registry, as written.
    pub text: String,
}

/// A regular expression over tags: searched, not anchored.
#[derive(Clone, Debug)]
pub struct TagPattern(regex::Regex);

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
