//! Counters of each registry: requests, failures, durations, and the limits that the registry reports.
//!
//! Counters of a registry start at 0, for every operation and reason. They disappear with the registry's last target,
//! and a request that is still under way does not bring them back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::transport::ratelimit::RateLimit;
use crate::oci::{Operation, Reason, Registry};

/// Upper bounds of the buckets of request durations, in seconds: from a registry next door to the default timeout.
const REQUEST_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The counters of all registries: written by their clients, read by each scrape.
#[derive(Debug, Default)]
pub struct Counters {
    /// Held for a few additions, or while a scrape is written; never across an await.
    state: Mutex<CountersState>,
}

#[derive(Debug, Default)]
struct CountersState {
    registries: BTreeMap<Registry, RegistryCounters>,
    /// Whether the set of registries is fixed, by [`Counters::watch`]. Before that, each registry that gets a request
    /// is added.
    fixed: bool,
}

/// What was counted of one registry.
#[derive(Debug)]
pub(crate) struct RegistryCounters {
    /// By operation, in the order of [`Operation::ALL`].
    pub(crate) requests: [Counter; Operation::ALL.len()],
    /// By operation and reason, in the order of [`Reason::ALL`].
    pub(crate) failures: [[Counter; Reason::ALL.len()]; Operation::ALL.len()],
    /// Of requests, in seconds.
    pub(crate) duration: Histogram,
    /// By the last answer that named one.
    pub(crate) ratelimit: Option<RateLimit>,
    /// The rate learnt from refusals, requests per second.
    pub(crate) learnt_rate: Option<f64>,
    /// When the login of a cloud's identity ends, in seconds since the epoch.
    pub(crate) credential_expiry: Option<f64>,
}

impl Counters {
    /// Counts these registries from now on, and no others. A registry that stays keeps its counts; one that returns
    /// starts at 0.
    pub fn watch<'a>(&self, registries: impl IntoIterator<Item = &'a Registry>) {
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.registries);
        let counted = |registry: &Registry| (registry.clone(), before.remove(registry).unwrap_or_default());
        let registries: BTreeSet<&Registry> = registries.into_iter().collect();
        state.registries = registries.into_iter().map(counted).collect();
        state.fixed = true;
    }

    /// Counts a request that was answered, or failed, after `elapsed`.
    pub fn request(&self, registry: &Registry, operation: Operation, elapsed: Duration) {
        self.update(registry, |counters| {
            counters.requests[operation as usize].inc();
            counters.duration.observe(elapsed.as_secs_f64());
        });
    }

    /// Counts the failure of a request, in addition to the request itself.
    pub fn request_failed(&self, registry: &Registry, operation: Operation, reason: Reason) {
        self.update(registry, |counters| {
            counters.failures[operation as usize][reason as usize].inc();
        });
    }

    /// Publishes what the registry last said of its metered pulls. A number that it left out this time stays.
    pub fn ratelimit(&self, registry: &Registry, ratelimit: RateLimit) {
        self.update(registry, |counters| {
            let known = counters.ratelimit.get_or_insert_default();
            known.limit = ratelimit.limit.or(known.limit);
            known.remaining = ratelimit.remaining.or(known.remaining);
            known.window_secs = ratelimit.window_secs.or(known.window_secs);
        });
    }

    /// Publishes the rate at which the registry is asked at most, requests per second, as learnt from its refusals.
    pub fn learnt_rate(&self, registry: &Registry, per_second: f64) {
        self.update(registry, |counters| counters.learnt_rate = Some(per_second));
    }

    /// Publishes when the login that a cloud's identity got for the registry ends, in seconds since the epoch.
    pub fn credential_expires(&self, registry: &Registry, at: f64) {
        self.update(registry, |counters| counters.credential_expiry = Some(at));
    }

    /// Reads all counters at one moment, by registry in alphabetical order.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&BTreeMap<Registry, RegistryCounters>) -> T) -> T {
        read(&self.state.lock().registries)
    }

    /// The registry has a new client, which has learnt nothing yet.
    pub(crate) fn forget_learnt(&self, registry: &Registry) {
        self.update(registry, |counters| {
            counters.learnt_rate = None;
            counters.credential_expiry = None;
        });
    }

    fn update(&self, registry: &Registry, update: impl FnOnce(&mut RegistryCounters)) {
        let mut state = self.state.lock();
        if let Some(counters) = state.registries.get_mut(registry) {
            update(counters);
        } else if !state.fixed {
            update(state.registries.entry(registry.clone()).or_default());
        }
    }
}

impl Default for RegistryCounters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            failures: Default::default(),
            duration: Histogram::new(REQUEST_SECONDS),
            ratelimit: None,
            learnt_rate: None,
            credential_expiry: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_index_their_counters() {
        assert!(Operation::ALL.iter().enumerate().all(|(index, operation)| *operation as usize == index));
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
