//! Which targets' scans were completed, as the store remembers it across restarts.

use std::sync::Arc;

use super::StateLoop;
use crate::clock::unix_now;
use crate::config::Config;
use crate::oci::Digest;
use crate::store::Store;
use crate::tag::Completeness;
use crate::target::Target;

impl StateLoop {
    /// Stores how complete the target's last scan was. A tag that was never read is not in the store, so after a
    /// restart only this shows whether the stored tags are all of the target's.
    pub(super) fn remember_scan(&self, target: &Target) {
        for completeness in Completeness::ALL {
            let key = scan_key(target, completeness);
            if self.inventory.is_scanned(&target.name, completeness) {
                self.handles.store.remember_scan(&key, unix_now());
            } else if self.handles.store.has_scanned(&key) {
                let others = scan_keys(&self.config).filter(|other| *other != key);
                self.handles.store.retain_scans(&others.collect());
            }
        }
    }

    /// Forgets of a target's completed scans what its lists of now refute.
    pub(super) fn forget_untrue_scans(&self, target: &Target) {
        let is_scanned = |completeness| self.inventory.is_scanned(&target.name, completeness);
        let mut forgotten = Vec::new();
        if !is_scanned(Completeness::Listed) {
            forgotten.extend(Completeness::LISTED);
        }
        if !is_scanned(Completeness::Catalog) {
            forgotten.push(Completeness::Catalog);
        }
        let forgotten: Vec<Digest> = forgotten.into_iter().map(|one| scan_key(target, one)).collect();
        if forgotten.iter().any(|key| self.handles.store.has_scanned(key)) {
            let others = scan_keys(&self.config).filter(|other| !forgotten.contains(other));
            self.handles.store.retain_scans(&others.collect());
        }
    }
}

/// At the start: takes over what a shard with more repositories has completed, since it has read all that this one has. A fleet
/// that grows loses no figure of a repository that stays where it is.
///
/// Before the tags of other shards are dropped, all that was completed by others is forgotten: if their repositories came
/// back, a part of them would be taken for all.
pub(super) fn take_over(store: &Store, config: &Config) {
    for target in config.all_targets() {
        let had = |completeness| {
            let wider = config.shard.wider().map(|shard| key(completeness, &target.scan_identity_in(shard)));
            wider.into_iter().any(|key| store.has_scanned(&key))
        };
        for completeness in Completeness::ALL.into_iter().filter(|completeness| had(*completeness)) {
            store.remember_scan(&scan_key(&target, completeness), unix_now());
        }
    }
    forget_others(store, config);
}

/// Drops the completed scans of targets that are no longer configured. Called before their tags are dropped: if the
/// target came back and only half of its tags were read, the old scan would mark them as complete.
pub(super) fn forget_others(store: &Store, config: &Config) {
    store.retain_scans(&scan_keys(config).collect());
}

fn scan_keys(config: &Config) -> impl Iterator<Item = Digest> {
    let keys = |target: Arc<Target>| Completeness::ALL.map(|completeness| scan_key(&target, completeness));
    config.all_targets().into_iter().flat_map(keys)
}

/// The key under which the store remembers that a scan of this target was this complete.
pub(super) fn scan_key(target: &Target, completeness: Completeness) -> Digest {
    key(completeness, &target.scan_identity())
}

fn key(completeness: Completeness, identity: &str) -> Digest {
    Digest::sha256_of(format!("{}\n{identity}", completeness.as_str()).as_bytes())
}
