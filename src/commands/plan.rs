//! `plan`: what a configuration selects now, and what its scans cost in requests, metered pulls, layers and series.
//!
//! It runs each target's first scan, and a second one in which nothing changed, into a store in memory, and shows the
//! client's own counters. Where a registry meters pulls, it lists tags and sends one `HEAD` for each: this costs no
//! pull and gives lower bounds.

mod figures;
mod json;
mod layers;
mod scans;
mod table;

use std::collections::{HashMap, HashSet};
use std::io;
use std::io::Write as _;
use std::path::Path;

use super::columns::Terminal;
use super::logging::LogFormat;
use super::output::{CommandFailure, print_warnings, unless_closed};
use super::shard::ShardFlags;
use crate::config::Config;
use crate::inventory::{Inventory, Snapshot};
use crate::metrics::Rendered;
use crate::oci::{Reason, Registry, Repository, Tag};
use crate::registry::Registries;
use crate::scan::discovery::Discovery;
use crate::scan::{NoPlatform, discovery};
use crate::sources;
use crate::sources::{Answer, Sorted};
use crate::tag::{DiscoveredRepository, LayerFound};
use crate::target::{NewestBy, Target, TargetName, Version};

use scans::Scans;

pub use figures::{Layers, Plan, Pulls, Requests, TargetPlan};
pub use json::write_json;
pub use table::write;

/// The exit code of a target that selects nothing: what it names was not found.
const NOTHING_SELECTED: u8 = 4;

/// The arguments of `plan`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Of which of several exporters.
    #[command(flatten)]
    pub shard: ShardFlags,
    /// Fail also if a target selects nothing
    #[arg(long)]
    pub strict: bool,
    /// Whole names and the kinds of all requests, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Prints the plan of a configuration file. The exit code is that of the first target that cannot be read.
pub(super) async fn run(config_file: &Path, arguments: &Arguments, format: LogFormat) -> Result<(), CommandFailure> {
    let shard = arguments.shard.shard()?;
    let mut config = Config::load(config_file).map_err(CommandFailure::configuration)?;
    config.keep_shard(shard);
    print_warnings(&config, format);
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
    let plan = plan(&config, &registries).await;
    let mut out = io::stdout().lock();
    let written = if arguments.json {
        write_json(&plan, &mut out)
    } else {
        write(&plan, &mut out, Terminal { whole: arguments.no_trunc, ..Terminal::here() })
    };
    unless_closed(written.and_then(|()| out.flush()))?;
    failure(&plan, arguments.strict).map_or(Ok(()), |(exit_code, message)| Err(CommandFailure { message, exit_code }))
}

/// The exit code of a plan that is not right, and why.
pub fn failure(plan: &Plan, strict: bool) -> Option<(u8, String)> {
    let all = plan.targets.len();
    let unread = plan.targets.iter().filter(|target| !target.errors.is_empty()).count();
    if let Some(reason) = plan.failure {
        let message = if plan.is_empty {
            format!("no tag could be read ({reason}): the figures predict nothing")
        } else {
            format!("{unread} of {all} targets cannot be read wholly ({reason})")
        };
        return Some((reason.exit_code(), message));
    }
    let nothing = plan.targets.iter().filter(|target| !target.empty.is_empty()).count();
    (strict && nothing > 0).then(|| (NOTHING_SELECTED, format!("{nothing} of {all} targets select nothing")))
}

/// Scans every target of the configuration, one after the other, and counts.
pub async fn plan(config: &Config, registries: &Registries) -> Plan {
    let mut inventory = Inventory::new(&config.all_targets(), config.scan.keep);
    inventory.set_policies(&config.policies);
    let mut listed = Vec::new();
    for target in &config.targets {
        let Some(registry) = target.repositories.registry() else { continue };
        let before = Requests::so_far(registries, registry);
        let mut found = discovery::discover(&registries.client(registry), target).await;
        let lists = Requests::so_far(registries, registry).since(before);
        let discovered = std::mem::take(&mut found.discovered);
        let repositories = discovered.repositories.len();
        let cut = discovered.repositories.iter().filter(|one| cuts_releases(target, one));
        let cut: Vec<Repository> = cut.map(|one| one.repository.clone()).collect();
        inventory.select(&target.name, discovered);
        listed.push((target, lists, found, repositories, cut));
    }
    let mut unanswered = HashMap::new();
    for source in &config.sources {
        let repositories = match sources::ask(source).await {
            Ok(Answer { sorted: Sorted { running, .. }, error }) => {
                let names: HashSet<_> = running.images.iter().map(|image| image.repository.clone()).collect();
                inventory.seen(&source.target.name, running);
                unanswered.extend(error.map(|error| (&source.target.name, error)));
                names.len()
            }
            Err(error) => {
                unanswered.insert(&source.target.name, error);
                0
            }
        };
        listed.push((&source.target, Requests::default(), Discovery::default(), repositories, Vec::new()));
    }
    let mut plan = Plan { shard: config.shard, ..Plan::default() };
    let mut scans = Scans::new(registries, &mut inventory);
    let mut first_failure = None;
    for (target, lists, found, repositories, cut) in listed {
        let scanned = scans.scan(target).await;
        let Discovery { errors, not_versions, empty, .. } = found;
        let mut failures: Vec<(Reason, String)> =
            errors.iter().map(|error| (error.reason(), error.to_string())).collect();
        failures.extend(unanswered.get(&target.name).map(|error| (error.reason, error.to_string())));
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
            errors: failures,
        });
    }
    let Scans { pulls, unread, tags_read, .. } = scans;
    plan.pulls = pulls;
    plan.failure = first_failure;
    plan.is_empty = tags_read == 0;
    let pull_through = |registry: &Registry| config.settings(registry).pull_through;
    let contents;
    (plan.layers, contents) = layers::forecast_all(inventory.layer_requests(), pull_through, &unread);
    inventory.learn_layers(contents);
    let wasted = inventory.image_requests().into_iter().map(|image| LayerFound::Wasted(image, Ok(1)));
    inventory.learn(wasted.collect::<Vec<_>>());
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
    newest.filter(|newest| newest.target == *target).any(|newest| newest.previous.is_some())
}
