//! `plan`: what a configuration means now, and what it would cost in requests, metered pulls and series.
//!
//! It asks what a first scan would ask for lists, and one HEAD for each tag, or a GET where HEAD says nothing. Indexes
//! are read to know their platforms; where a registry meters pulls only one of each repository is, and the others are
//! taken to be like it. Where uncompressed sizes are wanted, and pulls are not metered, manifests and configs are read
//! too: they know the layers.

mod layers;
mod predict;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::output::{Failure, print_warnings};
use crate::config::Config;
use crate::inventory::{Inventory, Snapshot};
use crate::metrics::{Rendered, Telemetry};
use crate::oci::{Reason, Registry, Repository, Tag};
use crate::registry::{Client, Registries};
use crate::scan::discovery::Found;
use crate::scan::{NoPlatform, discovery};
use crate::tag::DiscoveredRepository;
use crate::target::{NewestBy, Repositories, Target, TargetName, Version};

use layers::foresee_all;
use predict::{Forecast, Seen};

pub use layers::Layers;
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
    /// What is asked of layers for `uncompressed`, beside the scans.
    pub layers: Layers,
    /// What could not be read of images for `layers`, in words.
    pub errors: Vec<String>,
    /// Why not a single tag could be read, where that is so: what the first one failed by.
    pub failure: Option<Reason>,
}

impl Plan {
    /// Whether something could not be read, so that the figures may be higher.
    pub fn is_partial(&self) -> bool {
        !self.errors.is_empty() || self.targets.iter().any(|target| target.is_partial)
    }
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
    /// Repositories of which `newest` has no two releases to compare, since `limit` leaves some unread.
    pub without_newest: Vec<Repository>,
    /// What it means nothing by, in words, though all of it was read.
    pub nothing: Vec<String>,
    /// What could not be read, in words.
    pub errors: Vec<String>,
    /// Whether its figures may be higher for that: what is not there costs nothing more.
    pub is_partial: bool,
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

/// Prints the plan of a configuration file. Where nothing at all could be read the exit code says why.
pub(super) async fn run(config_file: &Path) -> Result<(), Failure> {
    let config = Config::load(config_file).map_err(Failure::configuration)?;
    print_warnings(&config);
    let telemetry = Arc::new(Telemetry::new());
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone(), telemetry)?;
    let plan = plan(&config, &registries).await;
    write(&plan, &mut io::stdout().lock())?;
    let Some(reason) = plan.failure else { return Ok(()) };
    let message = format!("nothing could be read ({reason}): the figures above are no prediction");
    Err(Failure { message, exit_code: reason.exit_code() })
}

/// Asks the registries and predicts.
pub async fn plan(config: &Config, registries: &Registries) -> Plan {
    let mut inventory = Inventory::new(&config.targets, config.scan.keep);
    let mut found = Vec::new();
    for target in &config.targets {
        let client = registries.client(target.repositories.registry());
        let Found { discovered, errors, lists, not_versions, nothing } = discovery::discover(&client, target).await;
        let repositories = discovered.repositories.len();
        let cut = discovered.repositories.iter().filter(|one| cuts_releases(target, one));
        let cut: Vec<Repository> = cut.map(|one| one.repository.clone()).collect();
        inventory.select(&target.name, discovered);
        found.push((repositories, errors, lists, not_versions, cut, nothing));
    }
    let mut plan = Plan::default();
    let (mut tags_read, mut first_failure) = (0, None);
    let mut seen: BTreeMap<Registry, Seen> = BTreeMap::new();
    for (target, (repositories, errors, lists, not_versions, cut, nothing)) in config.targets.iter().zip(found) {
        let registry = target.repositories.registry();
        let client = registries.client(registry);
        let to_read = inventory.to_read(&target.name);
        let mut forecast = Forecast::new(&client, seen.entry(registry.clone()).or_default());
        for observation in forecast.read(target, &to_read).await {
            inventory.record(&observation);
        }
        inventory.pass_ended(&target.name);
        let pages = lists.iter().map(|tags| tags.div_ceil(TAGS_PER_PAGE).max(1) as u64).sum::<u64>();
        let catalog = u64::from(matches!(target.repositories, Repositories::Matching(_)));
        let lists = pages + catalog;
        let first = Requests { lists, ..forecast.first };
        if client.meters_pulls() {
            *plan.pulls.entry(registry.clone()).or_default() += first.manifests;
        }
        let mut failures: Vec<(Reason, String)> =
            errors.iter().map(|error| (error.reason(), error.to_string())).collect();
        failures.extend(forecast.errors);
        tags_read += forecast.tags_read;
        first_failure = first_failure.or(failures.first().map(|(reason, _)| *reason));
        plan.targets.push(TargetPlan {
            name: target.name.clone(),
            repositories,
            tags: to_read.len(),
            first,
            later: later(&client, lists, to_read.len() as u64),
            scans_per_day: 86_400.0 / target.interval.as_secs_f64(),
            not_versions,
            without_newest: cut,
            nothing: nothing
                .iter()
                .map(ToString::to_string)
                .chain(NoPlatform::summary(&forecast.no_platform))
                .collect(),
            is_partial: failures.iter().any(|(reason, _)| *reason != Reason::NotFound),
            errors: failures.into_iter().map(|(_, message)| message).collect(),
        });
    }
    plan.failure = first_failure.filter(|_| tags_read == 0);
    let foreseen = foresee_all(config, registries, inventory.uncompressed_work()).await;
    inventory.learn_layers(foreseen.contents);
    plan.layers = foreseen.layers;
    plan.errors = foreseen.errors.iter().map(ToString::to_string).collect();
    let snapshot = inventory.snapshot();
    for target in &mut plan.targets {
        target.without_newest.retain(|repository| !compares_releases(&snapshot, repository, &target.name));
    }
    plan.series = Rendered::render(&snapshot, &config.omit).series();
    plan
}

/// A scan while nothing changes.
fn later(client: &Client, lists: u64, tags: u64) -> Requests {
    let (heads, manifests) = if client.heads() { (tags, 0) } else { (0, tags) };
    Requests { lists, heads, manifests, ..Requests::default() }
}

/// Whether `limit` leaves releases unread that `newest` is picked among.
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
