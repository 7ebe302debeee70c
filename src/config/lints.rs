//! Warnings about valid settings that are probably mistakes, logged once when the configuration is read.

mod pattern;
mod platform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oci::{Registry, Repository};
use crate::registry::Credential;
use crate::target::{Detail, Repositories, Target, Uncompressed};

use super::reader::Table;
use super::schema::Config;

/// Notes all of them under their keys. `root` is the table that `config` was read from.
pub(super) fn check(config: &Config, root: &Table<'_>) {
    registries(config, root);
    let tables: Vec<Table<'_>> = root.tables("targets").unwrap_or_default();
    for (target, table) in config.targets.iter().zip(&tables) {
        unpublished(target, table);
        ungrouped(target, table);
        pattern::check(target, table);
        platform::check(target, table);
    }
    labels(&config.targets, &tables);
    let tables = root.tables("policies").into_iter().flatten();
    for (policy, table) in config.policies.iter().zip(tables) {
        pattern::globs("keep_match", &policy.keep_match, &table);
    }
}

/// Registries that no target uses, and credentials over plain HTTP.
fn registries(config: &Config, root: &Table<'_>) {
    let Some(all) = root.table("registries") else { return };
    let used: BTreeSet<&Registry> = config.targets.iter().filter_map(|target| target.repositories.registry()).collect();
    for host in all.keys() {
        let (Ok(registry), Some(table)) = (host.parse::<Registry>(), all.table_named(host)) else { continue };
        // What runs may be on any.
        if config.sources.is_empty() && !used.contains(&registry) {
            all.warn(host, "no target uses this registry");
        }
        let settings = config.settings(&registry);
        let asked_for =
            !matches!(settings.credential, Credential::Usual | Credential::UsualFiles | Credential::Anonymous);
        if settings.plain_http && asked_for && !registry.is_loopback() {
            table.warn("plain_http", "credentials are sent in clear text");
        }
    }
}

/// Settings of a target that have no effect on what it publishes.
fn unpublished(target: &Target, table: &Table<'_>) {
    let limit = target.selection.listing.as_ref().and_then(|listing| listing.limit);
    if target.newest.is_some() && limit == Some(1) {
        table.warn(
            "limit",
            "with 1 the release before the newest is not read, so `newest` has nothing to compare with: write 2 or more",
        );
    }
    let hidden =
        [("budget", target.budget_bytes.is_some()), ("uncompressed", target.uncompressed != Uncompressed::Off)];
    for (key, _) in hidden.iter().filter(|(_, there)| *there && target.detail == Detail::Repository) {
        table.warn(key, "not published with `detail = \"repository\"`");
    }
}

/// An expression that finds no group for a repository that is named.
fn ungrouped(target: &Target, table: &Table<'_>) {
    let Some(grouping) = &target.grouping else { return };
    for repository in target.repositories.names().iter().filter(|repository| grouping.group(repository).is_none()) {
        table.warn("group_by", format!("finds no group in `{}`, so that it is in none", repository.name()));
    }
}

/// Labels with different values in several targets of a repository: the first target in the file wins.
fn labels(targets: &[Arc<Target>], tables: &[Table<'_>]) {
    let labelled = || targets.iter().enumerate().filter(|(_, target)| !target.labels.is_empty());
    let mut literal: BTreeMap<&Repository, Vec<usize>> = BTreeMap::new();
    let mut wild = Vec::new();
    for (at, target) in labelled() {
        for repository in target.repositories.names() {
            literal.entry(repository).or_default().push(at);
        }
        wild.extend(target.repositories.patterns().iter().map(|pattern| (at, pattern)));
    }
    let mut conflicts = BTreeMap::new();
    for (repository, group) in &literal {
        let mut group = group.clone();
        let matching = wild.iter().filter(|(at, _)| targets[*at].repositories.include(repository));
        group.extend(matching.map(|(at, _)| *at));
        note_conflicts(targets, group, &mut conflicts);
    }
    for (at, pattern) in &wild {
        let same = wild.iter().filter(|(_, other)| other == pattern).map(|(at, _)| *at).filter(|other| other <= at);
        note_conflicts(targets, same.collect(), &mut conflicts);
    }
    for ((at, label), message) in conflicts {
        if let Some(labels) = tables[at].table("labels") {
            labels.warn(label, message);
        }
    }
}

/// Notes each label to which an earlier target of the group gives another value, once for each target.
fn note_conflicts<'a>(
    targets: &'a [Arc<Target>],
    mut group: Vec<usize>,
    conflicts: &mut BTreeMap<(usize, &'a str), String>,
) {
    group.sort_unstable();
    let mut first: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for at in group {
        for (key, value) in &targets[at].labels {
            let (winner, wins) = *first.entry(key).or_insert((at, value));
            if wins != value {
                conflicts.entry((at, key)).or_insert_with(|| {
                    let repositories = &targets[at].repositories;
                    format!(
                        "targets[{winner}] gives repositories of {repositories} the value `{wins}`, and the first target in the file wins"
                    )
                });
            }
        }
    }
}
