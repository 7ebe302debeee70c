//! One `[[policies]]` entry of the configuration, parsed.

use std::sync::Arc;
use std::time::Duration;

use crate::target::{TagPattern, TargetName};

/// One `[[policies]]` entry: a tag is kept if any of its rules keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionPolicy {
    /// The `policy` label. Unique within a configuration.
    pub name: Arc<str>,
    /// The targets whose tags it judges; `None`: all of them.
    pub targets: Option<Vec<TargetName>>,
    /// In each repository the tags of the so many newest digests, by creation date.
    pub keep_newest: Option<usize>,
    /// Tags in which one of these is found.
    pub keep_match: Vec<TagPattern>,
    /// Tags that were created less than this long ago.
    pub keep_younger: Option<Duration>,
    /// Tags that run according to a source.
    pub keep_running: bool,
}

impl RetentionPolicy {
    /// Whether it judges the tags that a target selects.
    pub fn judges(&self, target: &TargetName) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(target))
    }

    /// Whether any of its rules depends on when a tag was created.
    pub fn needs_dates(&self) -> bool {
        self.keep_newest.is_some() || self.keep_younger.is_some()
    }
}
