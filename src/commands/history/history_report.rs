//! A history as data: the schema of `--format json`, which `docs/history.md` describes.
//!
//! Sizes are compressed bytes. What is unknown is `null`, never 0.

use std::fmt;

use serde::{Serialize, Serializer};

use super::moment::{Millis, moment};
use crate::commands::units;
use crate::oci::{Digest, Reason};

/// A note names so many tags on standard error; JSON has all of them.
const NAMED_MAX: usize = 5;

/// The history of everything that is selected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// By name.
    pub repositories: Vec<RepositoryHistory>,
    /// What could not be read.
    pub errors: Vec<Failure>,
}

/// One repository.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepositoryHistory {
    /// Its registry.
    pub registry: String,
    /// Its name on the registry.
    pub repository: String,
    /// Whether a tag could not be read this time. The other parts are empty then: they could be wrong.
    pub is_partial: bool,
    /// For each target that says what is newest, and each platform.
    pub newest: Vec<NewestHistory>,
    /// Bytes of the distinct layers of the selected tags, from each date on.
    pub stored: Vec<StoredPoint>,
    /// What the dates do not say.
    pub notes: Vec<Note>,
}

/// The newest release of a target, on one platform.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewestHistory {
    /// The target's name.
    pub target: String,
    /// `linux/amd64`; empty for an artifact.
    pub platform: String,
    /// Each holds until the next one.
    pub points: Vec<NewestPoint>,
}

/// The newest release from a date on, and the one before it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewestPoint {
    /// From when on.
    #[serde(serialize_with = "rfc3339")]
    pub at: Millis,
    /// The newest release.
    #[serde(flatten)]
    pub release: Release,
    /// The release before it: the next one that has the platform and is a different image.
    pub previous: Option<Release>,
}

/// A release on one platform.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    /// Its tag.
    pub tag: String,
    /// What the tag points at.
    pub digest: Digest,
    /// Unknown where the release lacks the platform.
    pub compressed_bytes: Option<u64>,
}

/// What is stored from a date on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StoredPoint {
    /// From when on.
    #[serde(serialize_with = "rfc3339")]
    pub at: Millis,
    /// How many of the selected tags have a date, up to this one.
    pub tags: usize,
    /// Of their distinct layers.
    pub bytes: u64,
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// In a word.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// Something that the dates of tags do not say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// The repository, with its registry.
    pub repository: String,
    /// The target whose order of releases this is about.
    pub target: Option<String>,
    /// What it is.
    pub reason: NoteReason,
    /// The tags, by name or in the order of releases.
    pub tags: Vec<NotedTag>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotedTag {
    /// Its name.
    pub tag: String,
    /// Its date, where it has one.
    #[serde(serialize_with = "maybe_rfc3339")]
    pub created: Option<Millis>,
}

/// What the date of a tag does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteReason {
    /// It has none, or the epoch or year 1.
    Undated,
    /// It is before the first container image.
    TooOld,
    /// It is in the future.
    Future,
    /// A newer release has the same date.
    SameDate,
    /// A higher version is older.
    AfterHigherVersion,
    /// The size of a layer is unknown.
    UnknownSize,
}

impl RepositoryHistory {
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether it has no sample.
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_empty() && self.stored.is_empty()
    }
}

impl History {
    /// What begins between two dates.
    pub(super) fn between(&self, since: Option<Millis>, until: Option<Millis>) -> Self {
        let within = |at: Millis| since.is_none_or(|since| at >= since) && until.is_none_or(|until| at <= until);
        let mut history = self.clone();
        for repository in &mut history.repositories {
            repository.stored.retain(|point| within(point.at));
            for newest in &mut repository.newest {
                newest.points.retain(|point| within(point.at));
            }
            repository.newest.retain(|newest| !newest.points.is_empty());
        }
        history
    }
}

/// A line of standard error.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", units::plain(&self.repository))?;
        if let Some(target) = &self.target {
            write!(f, ", target {}", units::plain(target))?;
        }
        let one = self.tags.len() == 1;
        let (what, effect) = match self.reason {
            NoteReason::Undated => (
                if one { "has no creation date, or the epoch" } else { "have no creation date, or the epoch" },
                "left out",
            ),
            NoteReason::TooOld => {
                (if one { "is" } else { "are" }, "dated before the first container image of 2013: left out")
            }
            NoteReason::Future => (if one { "is" } else { "are" }, "dated in the future: left out"),
            NoteReason::SameDate => (if one { "has" } else { "have" }, "the date of a newer release: never the newest"),
            NoteReason::AfterHigherVersion => (
                if one { "is" } else { "are" },
                "dated after a higher version: a maintenance release, or rebuilt, and then what the tag was before is unknown",
            ),
            NoteReason::UnknownSize => {
                (if one { "has" } else { "have" }, "a layer of unknown size: left out of what is stored")
            }
        };
        let colon = if self.reason == NoteReason::Undated { ": " } else { " " };
        let noun = if one { "tag" } else { "tags" };
        write!(f, ": {} {noun} {what}{colon}{effect}: ", self.tags.len())?;
        for (at, noted) in self.tags.iter().take(NAMED_MAX).enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, noted.tag)?;
            if let Some(day) = noted.created.and_then(moment) {
                write!(f, " ({})", day.strftime("%Y-%m-%d"))?;
            }
        }
        match self.tags.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn rfc3339<S: Serializer>(millis: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    maybe_rfc3339(&Some(*millis), serializer)
}

#[expect(clippy::ref_option, reason = "serde passes references")]
fn maybe_rfc3339<S: Serializer>(millis: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    millis.and_then(moment).map(|at| at.to_string()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_a_few_tags() {
        let note = |reason, count: i64| {
            let tags =
                (0..count).map(|at| NotedTag { tag: format!("v{at}"), created: (at > 0).then_some(at * 86_400_000) });
            Note { repository: "r/a".to_owned(), target: None, reason, tags: tags.collect() }.to_string()
        };
        assert_eq!(note(NoteReason::Undated, 1), "r/a: 1 tag has no creation date, or the epoch: left out: v0");
        assert_eq!(
            note(NoteReason::Future, 7),
            "r/a: 7 tags are dated in the future: left out: \
             v0, v1 (1970-01-02), v2 (1970-01-03), v3 (1970-01-04), v4 (1970-01-05) and 2 more"
        );
    }
}
