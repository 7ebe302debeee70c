//! What sources see, as tags of their targets.

use super::StateLoop;
use crate::config::Config;
use crate::metrics::Telemetry;
use crate::tag::{Running, TagChange, TagRequest};
use crate::target::Target;

impl StateLoop {
    /// Takes a source's answer; returns the tags to read at once.
    pub(super) fn seen(&mut self, target: &Target, running: Running, changes: &mut Vec<TagChange>) -> Vec<TagRequest> {
        let images = running.images.len() as u64;
        // What is in no repository is in no shard: the first one counts it, and the others say nothing of it.
        let skipped = (target.repositories.shard().number() == 0).then_some(running.skipped);
        self.handles.telemetry.source_seen(&target.name, images, skipped);
        let seen = self.inventory.seen(&target.name, running);
        changes.extend(seen.changes);
        // Before the first request to a registry that is new.
        self.handles.telemetry.watch_also(self.inventory.registries());
        self.forget_untrue_scans(target);
        seen.requests
    }
}

/// Tells which targets and sources there are.
pub(super) fn announce(telemetry: &Telemetry, config: &Config) {
    telemetry.set_targets(&config.all_targets());
    telemetry.set_sources(config.sources.iter().map(|source| source.target.name.clone()));
}
