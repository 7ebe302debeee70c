//! Which repositories and tags a target means. Pure: what a registry listed goes in, what is meant comes out.

pub mod pattern;
pub mod version;

use crate::oci::Tag;

pub use pattern::{Repositories, RepositoryPattern, TagPattern};
pub use version::{Version, VersionRange};

/// Which tags of a repository a target means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// These, without listing.
    pub tags: Vec<Tag>,
    /// Of the listed tags, those that one of these finds.
    pub matches: Vec<TagPattern>,
    /// Of the listed tags, none that one of these finds.
    pub exclude: Vec<TagPattern>,
    /// Of the listed tags, those that are versions in this range.
    pub semver: Option<VersionRange>,
    /// The order that `limit` cuts.
    pub sort: Sort,
    /// At most so many of the listed tags.
    pub limit: Option<usize>,
}

/// The order of listed tags: newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By version, what is no version last.
    #[default]
    Semver,
    /// By name, descending.
    Name,
}
