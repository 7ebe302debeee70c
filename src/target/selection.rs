//! Which tags of a list a target selects.
//!
//! Not here: how a list is read and that signatures are left out of it (`registry`), how many of its tags are looked at
//! (`scan::discovery`), and which of the candidates is the newest release (`newest`).

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::oci::Tag;

use super::{TagPattern, Version, VersionRange};

/// Which tags of a repository a target selects: those that it names, and those of the list that it describes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// These, without listing.
    pub tags: Vec<Tag>,
    /// And these of the list, which is read only if this is set.
    pub listing: Option<Listing>,
}

/// Which of a repository's listed tags are selected. The default selects all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Tags in which one of these is found; all when empty.
    pub matches: Vec<TagPattern>,
    /// No tag in which one of these is found.
    pub exclude: Vec<TagPattern>,
    /// Tags that are versions in this range.
    pub semver: Option<VersionRange>,
    /// The order that `limit` cuts.
    pub sort: Sort,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Why a listed tag is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// `match` is given, and none of its patterns is found in the tag.
    #[error("no pattern of `match` is found in it")]
    NoMatch,
    /// A pattern of `exclude` is found in the tag.
    #[error("a pattern of `exclude` is found in it")]
    Excluded,
    /// `semver` is given, and the tag is no version.
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
    /// By version; what is no version last.
    #[default]
    Semver,
    /// By name, descending, character by character.
    Name,
}

/// What a selection selects of one repository's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The selected tags: the named ones in the configuration's order, then the listed ones, newest first.
    pub tags: Vec<Tag>,
    /// The tags among which the newest release is picked, newest first: what `match`, `exclude` and `semver` leave of the
    /// list, before `limit`. Releases by version, then pre-releases by version, then what is no version by name.
    pub candidates: Vec<Tag>,
    /// The tags that `semver` left out because they are no versions, by name.
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

    /// What is selected of a list. The list's order and repetitions do not matter.
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
    /// The distinct selected tags, in no order, with their versions; and the tags that `semver` leaves out because they are
    /// no versions.
    fn filter<'a>(&self, listed: &'a [Tag]) -> (Vec<(&'a Tag, Option<Version>)>, Vec<Tag>) {
        let mut seen = HashSet::new();
        let mut selected = Vec::new();
        let mut not_versions = Vec::new();
        for tag in listed {
            match self.judge(tag) {
                Ok(version) if seen.insert(tag) => selected.push((tag, version)),
                Err(LeftOut::NotAVersion) if seen.insert(tag) => not_versions.push(tag.clone()),
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
    pub fn judge(&self, tag: &Tag) -> Result<Option<Version>, LeftOut> {
        let any = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.finds(tag));
        if !(self.matches.is_empty() || any(&self.matches)) {
            return Err(LeftOut::NoMatch);
        }
        if any(&self.exclude) {
            return Err(LeftOut::Excluded);
        }
        let version = Version::parse(tag.as_str());
        match (&self.semver, &version) {
            (Some(_), None) => Err(LeftOut::NotAVersion),
            (Some(range), Some(version)) if !range.contains(version) => Err(LeftOut::OutOfRange),
            _ => Ok(version),
        }
    }
}

/// Newest first by version, what is no version last; equal versions, and what is no version, by name.
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
