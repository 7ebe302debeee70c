//! What one `[[targets]]` entry of the configuration means, parsed.

mod pattern;
mod range;
mod selection;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::oci::{Platform, Tag};

pub use pattern::{InvalidPattern, InvalidTagPattern, Repositories, RepositoryPattern, TagPattern};
pub use range::{InvalidRange, VersionRange};
pub use selection::{LeftOut, Listing, Selection, Sort};
pub use version::Version;

/// A target's name: the `target` label. Unique within a configuration.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TargetName(pub Arc<str>);

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `[[targets]]` entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The `target` label; the repository as written when left out.
    pub name: TargetName,
    /// One repository, or a pattern of them.
    pub repositories: Repositories,
    /// Which of their tags.
    pub selection: Selection,
    /// Whether, and how, the newest release is published as one stable series.
    pub newest: Option<NewestBy>,
    /// Which platforms; all when empty.
    pub platforms: Vec<Platform>,
    /// Time between the starts of two scans.
    pub interval: Duration,
    /// Whether and how uncompressed sizes are found.
    pub uncompressed: Uncompressed,
    /// How much is published.
    pub detail: Detail,
    /// What an image's compressed size should stay under, in bytes.
    pub budget_bytes: Option<u64>,
    /// Published in `container_image_repository_labels`. Keys are valid label names without the `label_` prefix.
    pub labels: BTreeMap<String, String>,
    /// At most so many selected tags per repository; a list with more is cut and counted as failed with reason `limit`.
    pub tags_max: usize,
}

/// How the newest release is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewestBy {
    /// The highest version.
    Semver,
    /// The latest creation date.
    Created,
}

/// How uncompressed sizes are found. Later is more exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uncompressed {
    /// Not at all.
    #[default]
    Off,
    /// From a few kilobytes of each layer.
    Cheap,
    /// By streaming each distinct layer once.
    Exact,
}

/// How much of a target is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    #[default]
    Images,
    /// Only the families of repositories and of the newest release.
    Repository,
}

impl Target {
    /// The tags that are meant without looking at any list: those configured by name, or `latest` where the
    /// configuration says nothing at all of tags.
    pub fn named_tags(&self) -> &[Tag] {
        &self.selection.tags
    }

    /// Whether a tag that is gone is a failure: only where the configuration names it on one repository, a typing error
    /// perhaps. Under a wildcard not every repository has every tag, and a listed tag may be deleted at any time.
    pub fn expects(&self, tag: &Tag) -> bool {
        matches!(self.repositories, Repositories::One(_)) && self.named_tags().contains(tag)
    }
}
