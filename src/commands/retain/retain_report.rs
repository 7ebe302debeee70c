//! What is kept and what goes as data: the schema of `--format json`, which `docs/retain.md` describes.
//!
//! What is unknown is `null`, never 0.

use serde::{Serialize, Serializer};

use crate::commands::history::Failure;
use crate::image::Timestamp;
use crate::oci::Digest;
use crate::retention::KeptBy;

/// What every policy that was asked for says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retention {
    /// In the configuration's order.
    pub policies: Vec<PolicyRetention>,
    /// What could not be read.
    pub errors: Vec<Failure>,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyRetention {
    /// Its name.
    pub policy: String,
    /// By name.
    pub registries: Vec<RegistryRetention>,
}

/// One registry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegistryRetention {
    /// Its name.
    pub registry: String,
    /// Bytes of its storage that are free once the digests of all repositories are deleted and the garbage is collected:
    /// layers, configs, manifests and indexes. Unknown where anything on it could not be read.
    pub freed_bytes: Option<u64>,
    /// Tags that are kept.
    pub tags_kept: usize,
    /// Tags that go with the digests.
    pub tags_gone: usize,
    /// Tags that no rule keeps and that stay, since a kept tag has their manifest.
    pub tags_held: usize,
    /// By name.
    pub repositories: Vec<RepositoryRetention>,
}

/// One repository.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepositoryRetention {
    /// Its name on the registry.
    pub repository: String,
    /// Whether its list or one of its tags could not be read. Nothing goes then.
    pub is_partial: bool,
    /// The same bytes if only the digests of this repository are deleted.
    pub freed_bytes: Option<u64>,
    /// The tags that the policy is about, and those of their referrers. By name.
    pub tags: Vec<TagFate>,
    /// What to delete, in this order.
    pub digests: Vec<DeletedDigest>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TagFate {
    /// Its name.
    pub tag: String,
    /// What it points at.
    pub digest: Option<Digest>,
    /// When the latest of its images was created.
    #[serde(serialize_with = "rfc3339")]
    pub created: Option<Timestamp>,
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub reason: FateReason,
    /// The kept tag that has its manifest, where it is held.
    pub held_by: Option<String>,
}

/// What becomes of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is kept.
    Kept,
    /// It goes.
    Gone,
    /// No rule keeps it, and a kept tag has its manifest: deleting that would break the kept tag.
    Held,
}

/// Why a tag is kept or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FateReason {
    /// `keep_match` keeps it.
    Match,
    /// `keep_newest` keeps it.
    Newest,
    /// `keep_younger` keeps it.
    Younger,
    /// `keep_running` keeps it.
    Running,
    /// It is kept: its date is unknown, or cannot be right.
    Undated,
    /// It is kept: it could not be read.
    Unread,
    /// It is kept: another part of its repository could not be read.
    Partial,
    /// It is of a referrer, and what it belongs to does not go.
    SubjectStays,
    /// It goes: no rule keeps it.
    NoRule,
    /// It goes: it belongs to a manifest that goes.
    SubjectGone,
}

/// A manifest or index to delete by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeletedDigest {
    /// Its digest.
    pub digest: Digest,
    /// Why.
    pub reason: DeletedFor,
    /// The tags that go and have it.
    pub tags: Vec<String>,
}

/// Why a digest is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletedFor {
    /// A tag that goes points at it.
    Tag,
    /// An index that goes names it, and no tag that stays has it.
    Index,
}

impl FateReason {
    /// Whether the tag goes, unless it is held.
    pub(super) fn goes(self) -> bool {
        matches!(self, Self::NoRule | Self::SubjectGone)
    }

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Match => "matches",
            Self::Newest => "among the newest",
            Self::Younger => "younger",
            Self::Running => "runs",
            Self::Undated => "its date is unknown or cannot be right",
            Self::Unread => "could not be read",
            Self::Partial => "its repository could not be read wholly",
            Self::SubjectStays => "belongs to nothing that goes",
            Self::NoRule => "no rule keeps it",
            Self::SubjectGone => "belongs to what goes",
        }
    }
}

impl From<KeptBy> for FateReason {
    fn from(by: KeptBy) -> Self {
        match by {
            KeptBy::Unread => Self::Unread,
            KeptBy::Match => Self::Match,
            KeptBy::Newest => Self::Newest,
            KeptBy::Younger => Self::Younger,
            KeptBy::Running => Self::Running,
            KeptBy::Undated => Self::Undated,
        }
    }
}

impl Retention {
    /// `registry/repository@digest` of everything that goes, in the order in which to delete it.
    pub(super) fn deleted(&self) -> Vec<String> {
        let registries = self.policies.iter().flat_map(|policy| &policy.registries);
        let mut lines: Vec<String> = Vec::new();
        for (registry, repository) in registries.flat_map(|one| one.repositories.iter().map(move |of| (one, of))) {
            let name = format!("{}/{}", registry.registry, repository.repository);
            lines.extend(repository.digests.iter().map(|digest| format!("{name}@{}", digest.digest)));
        }
        lines
    }
}

#[expect(clippy::ref_option, reason = "serde passes references")]
fn rfc3339<S: Serializer>(created: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    created.and_then(moment).map(|at| at.to_string()).serialize(serializer)
}

/// A date as RFC 3339 has it.
pub(super) fn moment(seconds: Timestamp) -> Option<jiff::Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "years beyond what fits are beyond what jiff parses")]
    let millis = (seconds * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(millis).ok()
}
