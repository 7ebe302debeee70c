//! Finds the newest release among a repository's tags, and the ones before it.

use super::Version;
use crate::oci::Tag;

/// How the newest release is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewestBy {
    /// The highest version.
    Semver,
    /// The latest creation date.
    Created,
}

/// A tag that may be the newest release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The tag.
    pub tag: Tag,
    is_version: bool,
    is_prerelease: bool,
}

/// The state of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CandidateState<T> {
    /// The registry says that the tag does not exist.
    Gone,
    /// It was not read, or not completely.
    Unread,
    /// It was read completely: the caller's value, and when the latest of its images was created, in seconds since the
    /// epoch.
    Read(T, Option<f64>),
}

impl Candidate {
    /// A listed tag.
    pub fn new(tag: &Tag) -> Self {
        let version = Version::parse(tag.as_str());
        Self {
            tag: tag.clone(),
            is_version: version.is_some(),
            is_prerelease: version.is_some_and(|version| version.is_prerelease()),
        }
    }

    /// Whether it qualifies: where `by` compares versions, it has to be a version.
    pub fn is_release(&self, by: NewestBy) -> bool {
        self.qualifies(by) && !self.is_prerelease
    }

    fn qualifies(&self, by: NewestBy) -> bool {
        self.is_version || by == NewestBy::Created
    }
}

impl NewestBy {
    /// The releases among `candidates`, which are in the order of their versions; newest first. Only tags that were read
    /// completely qualify. Pre-releases count where there is no release at all, read or not.
    pub fn releases<T>(self, candidates: &[Candidate], standing: impl Fn(&Tag) -> CandidateState<T>) -> Vec<(&Tag, T)> {
        let existing: Vec<(&Candidate, CandidateState<T>)> = candidates
            .iter()
            .filter(|candidate| candidate.qualifies(self))
            .map(|candidate| (candidate, standing(&candidate.tag)))
            .filter(|(_, standing)| !matches!(standing, CandidateState::Gone))
            .collect();
        let any_release = existing.iter().any(|(candidate, _)| !candidate.is_prerelease);
        let mut releases: Vec<(&Tag, T, Option<f64>)> = existing
            .into_iter()
            .filter(|(candidate, _)| candidate.is_prerelease != any_release)
            .filter_map(|(candidate, standing)| match standing {
                CandidateState::Read(state, created) => Some((&candidate.tag, state, created)),
                CandidateState::Gone | CandidateState::Unread => None,
            })
            .collect();
        if self == Self::Created {
            releases.retain(|(_, _, created)| created.is_some());
            releases.sort_by(|(_, _, a), (_, _, b)| b.unwrap_or_default().total_cmp(&a.unwrap_or_default()));
        }
        releases.into_iter().map(|(tag, state, _)| (tag, state)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The releases among tags such as `v1@5` (read, created at 5), `v1` (unread) and `v1!` (gone).
    fn releases(by: NewestBy, tags: &str) -> String {
        let split = |word: &str| word.find(['@', '!']).unwrap_or(word.len());
        let candidates: Vec<Candidate> =
            tags.split_whitespace().map(|word| Candidate::new(&word[..split(word)].parse().unwrap())).collect();
        let standing = |tag: &Tag| {
            let word = tags.split_whitespace().find(|word| word[..split(word)] == *tag.as_str()).unwrap();
            match &word[split(word)..] {
                "" => CandidateState::Unread,
                "!" => CandidateState::Gone,
                created => CandidateState::Read((), created[1..].parse().ok()),
            }
        };
        let releases = by.releases(&candidates, standing);
        releases.iter().map(|(tag, ())| tag.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_existing_tags_that_were_read_completely_qualify() {
        for (tags, by_version, by_date) in [
            ("v3@1 v2@2 v1@3", "v3 v2 v1", "v1 v2 v3"),
            ("v3 v2! v1@3", "v1", "v1"),
            ("v2-rc1@5 v1@3", "v1", "v1"),
            ("v2-rc1@5 v1", "", ""),
            ("v2-rc1@5 v1!", "v2-rc1", "v2-rc1"),
            ("v2@? v1@3 main@9", "v2 v1", "main v1"),
        ] {
            assert_eq!(releases(NewestBy::Semver, tags), by_version, "{tags}");
            assert_eq!(releases(NewestBy::Created, tags), by_date, "{tags}");
        }
    }
}
