//! Which repositories and tags a target means. Pure: what a registry listed goes in, what is meant comes out.
//!
//! Not here: how a list is read, and that signatures are left out of it (`registry`); how many of its tags are looked at
//! (`discovery`); and which of the candidates has been read and so is the newest one (`inventory`).

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::oci::Tag;

use super::{TagPattern, Version, VersionRange};

/// Which tags of a repository a target means: those it names, and those of the list that it describes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// These, without listing.
    pub tags: Vec<Tag>,
    /// And these of the list, which is read only if this is given.
    pub listing: Option<Listing>,
}

/// Which of a repository's listed tags are meant. The default means all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Those that one of these finds; all when empty.
    pub matches: Vec<TagPattern>,
    /// None that one of these finds.
    pub exclude: Vec<TagPattern>,
    /// Those that are versions in this range.
    pub semver: Option<VersionRange>,
    /// The order that `limit` cuts.
    pub sort: Sort,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Why a listed tag is not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// `semver` is given, and the tag is no version.
    NotAVersion,
    /// Any other reason.
    Other,
}

/// The order of listed tags: newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By version, what is no version last.
    #[default]
    Semver,
    /// By name, descending, character by character.
    Name,
}

/// What a selection means of one repository's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The tags that are meant: the named ones in the configuration's order, then the listed ones, newest first.
    pub tags: Vec<Tag>,
    /// What the newest release is picked among, newest first: what `match`, `exclude` and `semver` leave of the list,
    /// before `limit`. Releases by version, then pre-releases by version, then what is no version by name.
    pub candidates: Vec<Tag>,
    /// What `semver` left out because it is no version at all, by name.
    pub not_versions: Vec<Tag>,
}

impl Selection {
    /// What is meant where the configuration says nothing of tags.
    pub fn latest() -> Self {
        Self { tags: vec![Tag::latest()], listing: None }
    }

    /// Whether the repository's list has to be read.
    pub fn lists(&self) -> bool {
        self.listing.is_some()
    }

    /// What is meant of a list. The list's order and repetitions do not matter.
    pub fn select(&self, listed: &[Tag]) -> Selected {
        let mut seen = HashSet::new();
        let mut tags: Vec<Tag> = self.tags.iter().filter(|tag| seen.insert(*tag)).cloned().collect();
        let Some(listing) = &self.listing else {
            return Selected { tags, ..Selected::default() };
        };
        let (mut meant, not_versions) = listing.filter(listed);

        meant.sort_unstable_by(by_release);
        let candidates = meant.iter().map(|(tag, _)| (*tag).clone()).collect();

        match listing.sort {
            Sort::Semver => meant.sort_unstable_by(by_version),
            Sort::Name => meant.sort_unstable_by(|(a, _), (b, _)| b.cmp(a)),
        }
        meant.truncate(listing.limit.unwrap_or(usize::MAX));
        tags.extend(meant.iter().filter(|(tag, _)| seen.insert(tag)).map(|(tag, _)| (*tag).clone()));
        Selected { tags, candidates, not_versions }
    }
}

impl Listing {
    /// The distinct tags that are meant, in no order, with the versions that they are; and the names of those that
    /// `semver` cannot judge.
    fn filter<'a>(&self, listed: &'a [Tag]) -> (Vec<(&'a Tag, Option<Version>)>, Vec<Tag>) {
        let mut seen = HashSet::new();
        let mut meant = Vec::new();
        let mut not_versions = Vec::new();
        for tag in listed {
            match self.judge(tag) {
                Ok(version) if seen.insert(tag) => meant.push((tag, version)),
                Err(LeftOut::NotAVersion) if seen.insert(tag) => not_versions.push(tag.clone()),
                Ok(_) | Err(_) => {}
            }
        }
        not_versions.sort_unstable();
        (meant, not_versions)
    }

    /// Whether `match`, `exclude` and `semver` select a tag, with its version if it is one.
    ///
    /// # Errors
    /// Why it is left out.
    pub fn judge(&self, tag: &Tag) -> Result<Option<Version>, LeftOut> {
        if !self.finds(tag) {
            return Err(LeftOut::Other);
        }
        let version = Version::parse(tag.as_str());
        match (&self.semver, &version) {
            (Some(_), None) => Err(LeftOut::NotAVersion),
            (Some(range), Some(version)) if !range.contains(version) => Err(LeftOut::Other),
            _ => Ok(version),
        }
    }

    fn finds(&self, tag: &Tag) -> bool {
        let any = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.finds(tag));
        (self.matches.is_empty() || any(&self.matches)) && !any(&self.exclude)
    }
}

/// Newest first by version, what is no version last; equal versions and no versions by name.
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
