//! One `[[targets]]` entry of the configuration, parsed; also what a `[[sources]]` entry finds.

mod group;
mod image_pattern;
mod newest;
mod pattern;
mod range;
mod selection;
mod shard;
pub(crate) mod spread;
mod version;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::oci::{PlatformFilter, Repository, Tag};

pub use group::{GroupPattern, Grouping, InvalidGroupPattern};
pub use image_pattern::{ImagePattern, InvalidImagePattern};
pub use newest::{Candidate, CandidateState, NewestBy};
pub use pattern::{
    InvalidPattern, InvalidTagPattern, OtherRegistry, RegistryRepositories, Repositories, RepositoryPattern, TagPattern,
};
pub use range::{InvalidRange, VersionRange};
pub use selection::{Listing, NotSelected, Selection, Sort};
pub use shard::{InvalidShard, Shard};
pub use version::Version;
pub use words::Words;

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
    /// The `target` label; the repository as written when left out and there is one.
    pub name: TargetName,
    /// By name, by pattern, or those of what runs.
    pub repositories: Repositories,
    /// Which of their tags.
    pub selection: Selection,
    /// How the newest release is found, if it is published as one stable series.
    pub newest: Option<NewestBy>,
    /// Which platforms.
    pub platforms: PlatformFilter,
    /// Time between the starts of two scans.
    pub interval: Duration,
    /// Whether and how uncompressed sizes are found.
    pub uncompressed: Uncompressed,
    /// How much is published.
    pub detail: Detail,
    /// The configured upper limit of an image's compressed size, bytes.
    pub budget_bytes: Option<u64>,
    /// Published in `container_image_repository_labels`. Keys are valid label names without the `label_` prefix.
    pub labels: BTreeMap<String, String>,
    /// The groups of its repositories' tags that it selects, if it has any.
    pub grouping: Option<Grouping>,
    /// At most so many selected tags per repository; a list with more is cut and counted as failed with reason `limit`.
    pub tags_max: usize,
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
    /// As exactly, and the paths of each layer are remembered, so that it is known what an image wastes.
    Files,
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

impl Words for NewestBy {
    const WORDS: &'static [(&'static str, Self)] = &[("semver", Self::Semver), ("created", Self::Created)];
}

impl Words for Uncompressed {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("cheap", Self::Cheap), ("exact", Self::Exact), ("files", Self::Files)];
}

impl Words for Detail {
    const WORDS: &'static [(&'static str, Self)] = &[("images", Self::Images), ("repository", Self::Repository)];
}

impl Words for Sort {
    const WORDS: &'static [(&'static str, Self)] = &[("semver", Self::Semver), ("name", Self::Name)];
}

impl Uncompressed {
    /// Whether layers are streamed.
    pub fn streams(self) -> bool {
        self >= Self::Exact
    }
}

impl Target {
    /// The tags that are selected without reading any list: those configured by name, or `latest` where the
    /// configuration says nothing about tags.
    pub fn named_tags(&self) -> &[Tag] {
        &self.selection.tags
    }

    /// The same target of a shard: without the repositories that others have.
    #[must_use]
    pub fn in_shard(&self, shard: Shard) -> Self {
        Self { repositories: self.repositories.clone().in_shard(shard), ..self.clone() }
    }

    /// The identity of this target's scans across restarts: its name and the configuration that decides which tags it
    /// selects, as text. Targets with the same text select the same tags of the same lists.
    pub fn scan_identity(&self) -> String {
        self.scan_identity_in(self.repositories.shard())
    }

    /// That of the same target of another shard.
    pub fn scan_identity_in(&self, shard: Shard) -> String {
        let mut text = String::new();
        // Each value is preceded by its length, so that no value can be mistaken for another key.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} {} {value}", value.len());
        };
        line("name", &self.name.0);
        line("repository", &self.repositories.to_string());
        for tag in &self.selection.tags {
            line("tag", tag.as_str());
        }
        if let Some(listing) = &self.selection.listing {
            let Listing { matches, exclude, semver, sort, limit } = listing;
            for pattern in matches {
                line("match", pattern.as_str());
            }
            for pattern in exclude {
                line("exclude", pattern.as_str());
            }
            if let Some(range) = semver {
                line("semver", range.as_str());
            }
            line("sort", sort.word());
            line("limit", &limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string()));
            line("tags_max", &self.tags_max.to_string());
        }
        if !shard.is_only() {
            line("shard", &shard.to_string());
        }
        text
    }

    /// Whether a tag that does not exist is a failure: where the configuration names it and its repository, since that may
    /// be a typing error, and where it runs. Under a wildcard not every repository has every tag, and a listed tag may
    /// be deleted at any time.
    pub fn expects(&self, repository: &Repository, tag: &Tag) -> bool {
        self.is_of_source() || self.named_tags().contains(tag) && self.repositories.names().contains(repository)
    }

    /// Whether the configuration names all of its repositories and tags.
    pub fn names_all(&self) -> bool {
        self.repositories.only_names().is_some() && !self.selection.lists()
    }

    /// Whether it selects what a source sees running.
    pub fn is_of_source(&self) -> bool {
        matches!(self.repositories, Repositories::Running(_))
    }
}

#[cfg(test)]
mod tests;
