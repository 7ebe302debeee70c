//! Versions as tags have them.

/// A version read from a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version;

/// A range of versions, `>=2, <4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange;
