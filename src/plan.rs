//! `plan`: what a configuration means now, and what it would cost in requests, metered pulls and series.
//!
//! It asks what a first scan would ask for lists, and one HEAD for each tag. Indexes are read to know their platforms;
//! where a registry meters pulls only one of each repository is, and the others are taken to be like it.

mod predict;
mod table;

use std::collections::BTreeMap;

use crate::config::Config;
use crate::discovery::{self, Found};
use crate::exposition::Rendered;
use crate::inventory::Inventory;
use crate::oci::{Registry, Repository, Tag};
use crate::registry::Registries;
use crate::target::TargetName;

use predict::{Forecast, Seen};

pub use table::write;

/// What a configuration costs.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the configuration's order.
    pub targets: Vec<TargetPlan>,
    /// Registries that meter pulls: GETs of manifests in the first scan of all targets together, at most.
    pub pulls: BTreeMap<Registry, u64>,
    /// Samples of images, tags, repositories and registries, once everything is read.
    pub series: u64,
}

/// What one target means and costs.
#[derive(Debug)]
pub struct TargetPlan {
    /// Which.
    pub name: TargetName,
    /// Repositories that it means.
    pub repositories: usize,
    /// Tags that it reads. Those that another target reads for it are not among them.
    pub tags: usize,
    /// Its first scan, nothing being known.
    pub first: Requests,
    /// A scan while nothing changes.
    pub later: Requests,
    /// Scans in a day.
    pub scans_per_day: f64,
    /// Tags that `semver` leaves out because they are no versions.
    pub not_versions: Vec<(Repository, Tag)>,
    /// What could not be read, in words.
    pub errors: Vec<String>,
}

/// Requests of one scan, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Pages of tag lists and catalogs.
    pub lists: u64,
    /// HEADs of manifests.
    pub heads: u64,
    /// GETs of manifests and indexes: what metering registries count.
    pub manifests: u64,
    /// GETs of configs.
    pub configs: u64,
}

impl Requests {
    /// All of them.
    pub fn total(self) -> u64 {
        self.lists + self.heads + self.manifests + self.configs
    }
}

/// Most registries list so many tags a page when they are asked to.
const TAGS_PER_PAGE: usize = 1000;

/// Asks the registries and predicts.
pub async fn plan(config: &Config, registries: &Registries) -> Plan {
    let mut inventory = Inventory::new(&config.targets, config.scan.keep);
    let mut found = Vec::new();
    for target in &config.targets {
        let client = registries.client(target.repositories.registry());
        let Found { discovered, errors, lists, not_versions } = discovery::discover(&client, target).await;
        let repositories = discovered.repositories.len();
        inventory.select(&target.name, discovered);
        found.push((repositories, errors, lists, not_versions));
    }
    let mut plan = Plan::default();
    let mut seen: BTreeMap<Registry, Seen> = BTreeMap::new();
    for (target, (repositories, errors, lists, not_versions)) in config.targets.iter().zip(found) {
        let registry = target.repositories.registry();
        let client = registries.client(registry);
        let to_read = inventory.to_read(&target.name);
        let mut forecast = Forecast::new(&client, seen.entry(registry.clone()).or_default());
        for observation in forecast.read(&to_read).await {
            inventory.record(&observation);
        }
        inventory.pass_ended(&target.name);
        let pages = lists.iter().map(|tags| tags.div_ceil(TAGS_PER_PAGE).max(1) as u64).sum::<u64>();
        let catalog = u64::from(matches!(target.repositories, crate::selection::Repositories::Matching(_)));
        let lists = pages + catalog;
        let first = Requests { lists, ..forecast.first };
        if client.meters_pulls() {
            *plan.pulls.entry(registry.clone()).or_default() += first.manifests;
        }
        let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.extend(forecast.errors);
        plan.targets.push(TargetPlan {
            name: target.name.clone(),
            repositories,
            tags: to_read.len(),
            first,
            later: Requests { lists, heads: to_read.len() as u64, ..Requests::default() },
            scans_per_day: 86_400.0 / target.interval.as_secs_f64(),
            not_versions,
            errors,
        });
    }
    plan.series = Rendered::render(&inventory.snapshot(), &config.omit).series();
    plan
}
