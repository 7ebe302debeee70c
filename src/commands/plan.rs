//! `plan`: what a configuration selects now, and what its scans cost in requests, metered pulls, layers and series.
//!
//! It runs each target's first scan, and a second one in which nothing changed, into a store in memory, and shows the
//! client's own counters. Where a registry meters pulls, it lists tags and sends one `HEAD` for each: this costs no
//! pull and gives lower bounds.

mod figures;
mod layers;
mod scans;
mod table;

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::output::{CommandFailure, print_warnings};
use crate::config::Config;
use crate::inventory::{Inventory, Snapshot};
use crate::metrics::Rendered;
use crate::oci::{Reason, Registry, Repository, Tag};
use crate::registry::Registries;
use crate::scan::discovery::Discovery;
use crate::scan::{NoPlatform, discovery};
use crate::tag::DiscoveredRepository;
use crate::target::{NewestBy, Target, TargetName, Version};

use scans::Scans;

pub use figures::{Layers, Plan, Pulls, Requests, TargetPlan};
pub use table::write;

/// Prints the plan of a configuration file. Where no tag at all could be read the exit code says why.
pub(super) async fn run(config_file: &Path) -> Result<(), CommandFailure> {
    let config = Config::load(config_file).map_err(CommandFailure::configuration)?;
    print_warnings(&config);
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
    let plan = plan(&config, &registries).await;
    write(&plan, &mut io::stdout().lock())?;
    let Some(reason) = plan.failure else { return Ok(()) };
    let message = format!("no tag could be read ({reason}): the figures above predict nothing");
    Err(CommandFailure { message, exit_code: reason.exit_code() })
}

/// Scans every target of the configuration, one after the other, and counts.
pub async fn plan(config: &Config, registries: &Registries) -> Plan {
    let mut inventory = Inventory::new(&config.targets, config.scan.keep);
    let mut listed = Vec::new();
    for target in &config.targets {
        let registry = target.repositories.registry();
        let before = Requests::of(registries, registry);
        let mut found = discovery::discover(&registries.client(registry), target).await;
        let lists = Requests::of(registries, registry).since(before);
        let discovered = std::mem::take(&mut found.discovered);
        let repositories = discovered.repositories.len();
        let cut = discovered.repositories.iter().filter(|one| cuts_releases(target, one));
        let cut: Vec<Repository> = cut.map(|one| one.repository.clone()).collect();
        inventory.select(&target.name, discovered);
        listed.push((lists, found, repositories, cut));
    }
    let mut plan = Plan::default();
    let mut scans = Scans::new(registries, &mut inventory);
    let mut first_failure = None;
    for (target, (lists, found, repositories, cut)) in config.targets.iter().zip(listed) {
        let scanned = scans.scan(target).await;
        let Discovery { errors, not_versions, empty, .. } = found;
        let mut failures: Vec<(Reason, String)> =
            errors.iter().map(|error| (error.reason(), error.to_string())).collect();
        failures.extend(scanned.failures);
        first_failure = first_failure.or(failures.first().map(|(reason, _)| *reason));
        let empty = empty.iter().map(ToString::to_string);
        plan.targets.push(TargetPlan {
            name: target.name.clone(),
            repositories,
            tags: scanned.tags,
            first: lists + scanned.first,
            later: lists + scanned.later,
            scans_per_day: 86_400.0 / target.interval.as_secs_f64(),
            not_versions,
            without_newest: cut,
            empty: empty.chain(NoPlatform::summary(&scanned.no_platform)).collect(),
            is_partial: failures.iter().any(|(reason, _)| *reason != Reason::NotFound),
            is_metered: scanned.is_metered,
            errors: failures.into_iter().map(|(_, message)| message).collect(),
        });
    }
    let Scans { pulls, unread, tags_read, .. } = scans;
    plan.pulls = pulls;
    plan.failure = first_failure.filter(|_| tags_read == 0);
    let pull_through = |registry: &Registry| config.settings(registry).pull_through;
    let contents;
    (plan.layers, contents) = layers::forecast_all(inventory.layer_requests(), pull_through, &unread);
    inventory.learn_layers(contents);
    let snapshot = inventory.snapshot();
    for target in &mut plan.targets {
        target.without_newest.retain(|repository| !compares_releases(&snapshot, repository, &target.name));
    }
    plan.series = Rendered::render(&snapshot, &config.omit).series();
    plan
}

/// Whether `limit` leaves candidates for `newest` unread.
fn cuts_releases(target: &Target, found: &DiscoveredRepository) -> bool {
    let Some(by) = target.newest else { return false };
    let is_release = |tag: &Tag| Version::parse(tag.as_str()).is_some_and(|version| !version.is_prerelease());
    let read: HashSet<&Tag> = found.tags.iter().collect();
    found.candidates.iter().any(|tag| !read.contains(tag) && (by == NewestBy::Created || is_release(tag)))
}

/// Whether the newest release and the one before it are published.
fn compares_releases(snapshot: &Snapshot, repository: &Repository, target: &TargetName) -> bool {
    let views = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
    let newest = views.filter(|view| view.repository == *repository).flat_map(|view| &view.newest);
    newest.filter(|newest| newest.target == *target).any(|newest| newest.previous_compressed_bytes.is_some())
}
