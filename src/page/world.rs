//! What pages are made from.

use crate::image::{Commands, Timestamp};
use crate::inventory::Snapshot;
use crate::metrics::own::{LastReload, ScanFailure, SourceState, TargetState};
use crate::oci::{Digest, Location, Repository, Tag};
use crate::target::Shard;

/// What pages are made from: everything is read, nothing is changed.
pub struct World<'a> {
    /// Which shard this exporter is.
    pub shard: Shard,
    /// What is published.
    pub snapshot: &'a Snapshot,
    /// The targets in the configuration's order.
    pub targets: &'a [TargetState],
    /// The sources, and how they answer.
    pub sources: &'a [SourceState],
    /// The last time that the configuration was read.
    pub reload: Option<&'a LastReload>,
    /// Samples of images on `/metrics`.
    pub series: u64,
    /// The present.
    pub now: Timestamp,
    /// The path of the metrics.
    pub telemetry_path: &'a str,
    /// The commands of a config, by its digest, where they are known.
    pub commands: &'a dyn Fn(&Digest) -> Option<Commands>,
}

impl<'a> World<'a> {
    /// The other shard that a repository is in, by its name with its registry; there is no such name in any, or it is here.
    pub(super) fn elsewhere(&self, repository: &str) -> Option<Shard> {
        let shard = self.shard.of(&repository.parse().ok()?);
        (shard != self.shard).then_some(shard)
    }

    /// Why a tag could not be read when it was last tried.
    pub(super) fn failure(&self, repository: &Repository, tag: &Tag) -> Option<&'a ScanFailure> {
        let location = Location::tag(repository, tag).to_string();
        let kept = self.targets.iter().filter_map(|target| target.trouble.failures.as_ref());
        kept.flat_map(|failures| &failures.first).find(|failure| failure.location == location)
    }
}
