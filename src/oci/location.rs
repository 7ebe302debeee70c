//! Where a manifest or blob is, as messages name it.

use std::fmt;

use super::digest::Digest;
use super::reference::{Repository, Tag};

/// Which content of a repository: the `<reference>` of the distribution specification's paths.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// What the tag points at now.
    Tag(&'a Tag),
    /// Content that never changes.
    Digest(&'a Digest),
}

/// Content of a repository. Displayed: `registry/repository:tag` or `registry/repository@digest`.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a>(pub &'a Repository, pub At<'a>);

impl<'a> Location<'a> {
    /// What a tag points at.
    pub fn tag(repository: &'a Repository, tag: &'a Tag) -> Self {
        Self(repository, At::Tag(tag))
    }

    /// Content with a digest.
    pub fn digest(repository: &'a Repository, digest: &'a Digest) -> Self {
        Self(repository, At::Digest(digest))
    }
}

/// As in a path.
impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.1 {
            At::Tag(tag) if tag.digest().is_none() => ':',
            At::Tag(_) | At::Digest(_) => '@',
        };
        write!(f, "{}{separator}{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_reads_as_people_write_references() {
        let repository: Repository = "quay.io/a/b".parse().unwrap();
        let (tag, digest): (Tag, _) = ("v1".parse().unwrap(), Digest::sha256_of(b""));
        assert_eq!(Location::tag(&repository, &tag).to_string(), "quay.io/a/b:v1");
        assert_eq!(Location::digest(&repository, &digest).to_string(), format!("quay.io/a/b@{digest}"));
    }
}
