//! A plan as data: the schema of `--json`, which `docs/plan.md` describes.

use std::io;

use serde::Serialize;

use super::figures::{Layers, Plan, Requests, TargetPlan};
use crate::oci::Reason;

#[derive(Serialize)]
struct PlanReport<'a> {
    shard: u32,
    total_shards: u32,
    targets: Vec<TargetReport<'a>>,
    series: u64,
    /// Whether `series` and `layers` may be higher.
    is_lower_bound: bool,
    pulls: Vec<PullsReport<'a>>,
    layers: &'a Layers,
}

#[derive(Serialize)]
struct TargetReport<'a> {
    name: &'a str,
    repositories: usize,
    tags: usize,
    /// Unknown where nothing could be read.
    first_scan: Option<RequestsReport>,
    later_scan: Option<RequestsReport>,
    scans_per_day: f64,
    /// Whether the figures may be higher, since something could not be read.
    is_partial: bool,
    /// Whether its registry meters pulls, so that `first_scan` is a lower bound.
    is_metered: bool,
    not_versions: Vec<String>,
    without_newest: Vec<String>,
    nothing: &'a [String],
    errors: Vec<ErrorReport<'a>>,
}

#[derive(Serialize)]
struct RequestsReport {
    #[serde(flatten)]
    kinds: Requests,
    total: u64,
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    reason: Reason,
    message: &'a str,
}

#[derive(Serialize)]
struct PullsReport<'a> {
    registry: &'a str,
    at_least: u64,
    indexes: u64,
}

/// Writes the plan as one JSON document.
pub fn write_json(plan: &Plan, out: &mut impl io::Write) -> io::Result<()> {
    let pulls = plan.pulls.iter();
    let report = PlanReport {
        shard: plan.shard.number(),
        total_shards: plan.shard.total(),
        targets: plan.targets.iter().map(TargetReport::of).collect(),
        series: plan.series,
        is_lower_bound: plan.is_lower_bound(),
        pulls: pulls
            .map(|(registry, pulls)| PullsReport {
                registry: registry.as_str(),
                at_least: pulls.at_least,
                indexes: pulls.indexes,
            })
            .collect(),
        layers: &plan.layers,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

impl<'a> TargetReport<'a> {
    fn of(target: &'a TargetPlan) -> Self {
        let known = |requests: Requests, may_be_higher: bool| {
            let total = requests.total();
            (total > 0 || !may_be_higher).then_some(RequestsReport { kinds: requests, total })
        };
        Self {
            name: &target.name.0,
            repositories: target.repositories,
            tags: target.tags,
            first_scan: known(target.first, target.is_partial || target.is_metered),
            later_scan: known(target.later, target.is_partial),
            scans_per_day: target.scans_per_day,
            is_partial: target.is_partial,
            is_metered: target.is_metered,
            not_versions: target.not_versions.iter().map(|(repository, tag)| format!("{repository}:{tag}")).collect(),
            without_newest: target.without_newest.iter().map(ToString::to_string).collect(),
            nothing: &target.empty,
            errors: target.errors.iter().map(|(reason, message)| ErrorReport { reason: *reason, message }).collect(),
        }
    }
}
