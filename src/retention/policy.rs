//! One `[[policies]]` entry of the configuration, parsed.

use std::fmt::Write as _;
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

    /// As text: policies with the same text judge the same tags by the same rules.
    pub fn identity(&self) -> String {
        let mut text = String::new();
        // Each value is preceded by its length, so that no value can be mistaken for another key.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} {} {value}", value.len());
        };
        line("policy", &self.name);
        match &self.targets {
            Some(targets) => targets.iter().for_each(|target| line("target", &target.0)),
            None => line("targets", "all"),
        }
        if let Some(newest) = self.keep_newest {
            line("keep_newest", &newest.to_string());
        }
        for pattern in &self.keep_match {
            line("keep_match", pattern.as_str());
        }
        if let Some(younger) = self.keep_younger {
            line("keep_younger", &younger.as_secs_f64().to_string());
        }
        line("keep_running", if self.keep_running { "true" } else { "false" });
        text
    }

    /// Whether any of its rules depends on when a tag was created.
    pub fn needs_dates(&self) -> bool {
        self.keep_newest.is_some() || self.keep_younger.is_some()
    }
}
