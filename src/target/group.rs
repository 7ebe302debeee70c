//! Groups of repositories, such as those of a team or a project.

use std::str::FromStr;
use std::sync::Arc;

use super::pattern::compile;
use crate::oci::Repository;

/// The groups that a target's repositories are in.
#[derive(Clone, Debug, PartialEq)]
pub enum Grouping {
    /// All are in this one.
    Named(Arc<str>),
    /// Each is in the one that its name gives.
    By(GroupPattern),
}

/// A regular expression over repositories' names, without registry: searched, not anchored. What its first pair of
/// parentheses finds is the group.
#[derive(Clone, Debug)]
pub struct GroupPattern(regex::Regex);

/// Why a text is not such an expression, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGroupPattern {
    /// It is no regular expression.
    #[error("`{text}` is not a regular expression: {why}")]
    Expression {
        /// As written.
        text: String,
        /// The parser's reason.
        why: String,
    },
    /// Nothing in it gives a group.
    #[error("`{0}` has no parentheses around what is the group: write for example '^([^/]+)/', the first segment")]
    NoParentheses(String),
}

impl Grouping {
    /// A repository's group, if it has one.
    pub fn group(&self, repository: &Repository) -> Option<Arc<str>> {
        match self {
            Self::Named(group) => Some(Arc::clone(group)),
            Self::By(pattern) => pattern.group(repository.name()).map(Arc::from),
        }
    }
}

impl GroupPattern {
    /// The group of a repository of this name: none where the expression finds nothing, or an empty text.
    pub fn group<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.0.captures(name)?.get(1).map(|found| found.as_str()).filter(|group| !group.is_empty())
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for GroupPattern {
    type Err = InvalidGroupPattern;

    fn from_str(text: &str) -> Result<Self, InvalidGroupPattern> {
        let compiled = compile(text).map_err(|why| InvalidGroupPattern::Expression { text: text.to_owned(), why })?;
        if compiled.captures_len() < 2 {
            return Err(InvalidGroupPattern::NoParentheses(text.to_owned()));
        }
        Ok(Self(compiled))
    }
}

impl PartialEq for GroupPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_name_is_what_the_first_parentheses_find() {
        for (pattern, name, expected) in [
            ("^([^/]+)/", "acme/app", Some("acme")),
            ("^([^/]+)/", "acme/team/app", Some("acme")),
            ("^([^/]+)/", "app", None),
            ("^acme/(?:mirror/)?([^/]+)/", "acme/mirror/web/app", Some("web")),
            ("^acme/(?:mirror/)?([^/]+)/", "acme/web/app", Some("web")),
            ("^acme/(?P<team>[^/]+)/(.*)", "acme/web/app", Some("web")),
            ("-(dev|prod)$", "acme/app-prod", Some("prod")),
            ("(^x)?app", "acme/app", None),
            ("^(x*)", "acme/app", None),
        ] {
            assert_eq!(pattern.parse::<GroupPattern>().unwrap().group(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn an_expression_without_a_group_is_refused() {
        for (pattern, said) in [
            ("^acme/", "has no parentheses around what is the group"),
            ("^(?:acme)/", "has no parentheses around what is the group"),
            ("^(acme", "`^(acme` is not a regular expression: unclosed group"),
            ("(?!acme)(.*)", "is not a regular expression: look-around"),
        ] {
            let error = pattern.parse::<GroupPattern>().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
