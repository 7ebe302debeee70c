//! Which tags of a list a target selects.
//!
//! Not here: reading lists, without signatures (`registry`), the limit on tags (`scan::discovery`), and which of the
//! candidates is the newest release (`newest`).

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::oci::Tag;

use super::{TagPattern, Version, VersionRange};

/// Which tags of a repository a target selects: by name, and from the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Tags by name, without a list.
    pub tags: Vec<Tag>,
    /// Tags from the list, which is read only if this is set.
    pub listing: Option<Listing>,
}

/// Which of a repository's listed tags are selected. The default selects all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Tags in which one of these is found; all when empty.
    pub matches: Vec<TagPattern>,
    /// No tags in which one of these is found.
    pub exclude: Vec<TagPattern>,
    /// Only tags that are versions in this range.
    pub semver: Option<VersionRange>,
    /// The order that `limit` cuts.
    pub sort: Sort,
    /// The most tags.
    pub limit: Option<usize>,
}

/// Why a listed tag is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSelected {
    /// `match` is given, and none of its patterns is found in the tag.
    #[error("no pattern of `match` is found in it")]
    NoMatch,
    /// A pattern of `exclude` is found in the tag.
    #[error("a pattern of `exclude` is found in it")]
    Excluded,
    /// `semver` is set, and the tag is not a version.
    #[error("it is no version, which `semver` wants")]
    NotAVersion,
    /// It is a version outside the range of `semver`.
    #[error("its version is outside the range of `semver`")]
    OutOfRange,
    /// It is selected, and `limit` newer ones are too.
    #[error("`limit` newer tags are selected")]
    BeyondLimit,
}

/// The order of listed tags: newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By version; other tags last.
    #[default]
    Semver,
    /// By name, descending, character by character.
    Name,
}

/// The result of a selection on one repository's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The selected tags: the named ones in the configuration's order, then the listed ones, newest first.
    pub tags: Vec<Tag>,
    /// The candidates for the newest release, newest first: the list after `match`, `exclude` and `semver`, before
    /// `limit`. Releases by version, then pre-releases by version, then other tags by name.
    pub candidates: Vec<Tag>,
    /// The tags that `semver` left out because they are not versions, by name.
    pub not_versions: Vec<Tag>,
}

impl Selection {
    /// The selection where the configuration says nothing about tags.
    pub fn latest() -> Self {
        Self { tags: vec![Tag::latest()], listing: None }
    }

    /// Whether the repository's list has to be read.
    pub fn lists(&self) -> bool {
        self.listing.is_some()
    }

    /// Applies the selection to a list. The list's order and repetitions do not matter.
    pub fn select(&self, listed: &[Tag]) -> Selected {
        let mut seen = HashSet::new();
        let mut tags: Vec<Tag> = self.tags.iter().filter(|tag| seen.insert(*tag)).cloned().collect();
        let Some(listing) = &self.listing else {
            return Selected { tags, ..Selected::default() };
        };
        let (mut selected, not_versions) = listing.filter(listed);

        selected.sort_unstable_by(by_release);
        let candidates = selected.iter().map(|(tag, _)| (*tag).clone()).collect();

        match listing.sort {
            Sort::Semver => selected.sort_unstable_by(by_version),
            Sort::Name => selected.sort_unstable_by(|(a, _), (b, _)| b.cmp(a)),
        }
        selected.truncate(listing.limit.unwrap_or(usize::MAX));
        tags.extend(selected.iter().filter(|(tag, _)| seen.insert(tag)).map(|(tag, _)| (*tag).clone()));
        Selected { tags, candidates, not_versions }
    }
}

impl Listing {
    /// The distinct selected tags, in no order, with their versions; and the tags that `semver` leaves out because they
    /// are not versions.
    fn filter<'a>(&self, listed: &'a [Tag]) -> (Vec<(&'a Tag, Option<Version>)>, Vec<Tag>) {
        let mut seen = HashSet::new();
        let mut selected = Vec::new();
        let mut not_versions = Vec::new();
        for tag in listed {
            match self.judge(tag) {
                Ok(version) if seen.insert(tag) => selected.push((tag, version)),
                Err(NotSelected::NotAVersion) if seen.insert(tag) => not_versions.push(tag.clone()),
                Ok(_) | Err(_) => {}
            }
        }
        not_versions.sort_unstable();
        (selected, not_versions)
    }

    /// Whether `match`, `exclude` and `semver` select a tag, with its version if it is one.
    ///
    /// # Errors
    /// Why it is left out.
    pub fn judge(&self, tag: &Tag) -> Result<Option<Version>, NotSelected> {
        let any = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.finds(tag));
        if !(self.matches.is_empty() || any(&self.matches)) {
            return Err(NotSelected::NoMatch);
        }
        if any(&self.exclude) {
            return Err(NotSelected::Excluded);
        }
        let version = Version::parse(tag.as_str());
        match (&self.semver, &version) {
            (Some(_), None) => Err(NotSelected::NotAVersion),
            (Some(range), Some(version)) if !range.contains(version) => Err(NotSelected::OutOfRange),
            _ => Ok(version),
        }
    }
}

/// Newest first by version, then tags that are not versions; ties by name.
fn by_version(a: &(&Tag, Option<Version>), b: &(&Tag, Option<Version>)) -> Ordering {
    b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0))
}

/// The same, but every release before every pre-release.
fn by_release(a: &(&Tag, Option<Version>), b: &(&Tag, Option<Version>)) -> Ordering {
    let is_release = |version: &Option<Version>| version.as_ref().map(|version| !version.is_prerelease());
    is_release(&b.1).cmp(&is_release(&a.1)).then_with(|| by_version(a, b))
}

#[cfg(test)]
mod tests;
