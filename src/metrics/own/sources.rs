//! What is known of the sources themselves, for the tail: it changes with each answer, and most answers change nothing else.

use std::collections::BTreeSet;

use super::Telemetry;
use crate::image::Timestamp;
use crate::oci::Registry;
use crate::target::TargetName;

/// A source, and how it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// Its name.
    pub name: TargetName,
    /// Whether it answers; `None` before it was asked to the end.
    pub up: Option<bool>,
    /// When it last answered.
    pub last_success: Option<Timestamp>,
    /// The distinct images of its containers; `None` before its first answer.
    pub images: Option<u64>,
    /// Containers that are not counted; `None` before its first answer, and in shards other than the first.
    pub skipped: Option<u64>,
}

impl Telemetry {
    /// Sets the configured sources. Those that stay keep what is known of them.
    pub fn set_sources(&self, names: impl IntoIterator<Item = TargetName>) {
        let mut state = self.inner.state();
        let before = std::mem::take(&mut state.sources);
        let known = |name: TargetName| {
            before.iter().find(|source| source.name == name).cloned().unwrap_or(SourceState {
                name,
                up: None,
                last_success: None,
                images: None,
                skipped: None,
            })
        };
        state.sources = names.into_iter().map(known).collect();
        state.sources.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    /// Notes whether a source answers, and when it last did.
    pub fn source_answered(&self, name: &TargetName, up: bool, last_success: Option<Timestamp>) {
        let mut state = self.inner.state();
        if let Some(source) = state.sources.iter_mut().find(|source| source.name == *name) {
            (source.up, source.last_success) = (Some(up), last_success);
        }
    }

    /// Notes what a source sees.
    pub fn source_seen(&self, name: &TargetName, images: u64, skipped: Option<u64>) {
        let mut state = self.inner.state();
        if let Some(source) = state.sources.iter_mut().find(|source| source.name == *name) {
            (source.images, source.skipped) = (Some(images), skipped);
        }
    }

    /// The sources, by name.
    pub fn source_states(&self) -> Vec<SourceState> {
        self.inner.state().sources.clone()
    }

    /// Counts requests to these registries too, beside those of the targets.
    pub fn watch_also<'a>(&self, registries: impl Iterator<Item = &'a Registry>) {
        let state = self.inner.state();
        let all: BTreeSet<Registry> = state.registries.iter().cloned().chain(registries.cloned()).collect();
        self.inner.counters.watch(&all);
    }
}
