//! Warnings about valid settings that are probably mistakes, logged once when the configuration is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oci::{Registry, Repository};
use crate::registry::Credential;
use crate::target::{Detail, Repositories, Target, Uncompressed};

use super::schema::Config;

/// The lines to log, each with file and key.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let lines = registries(config).into_iter().chain(unpublished(&config.targets)).chain(labels(&config.targets));
    lines.map(|line| format!("{}: {line}", config.file.display())).collect()
}

/// Registries that no target uses, and credentials over plain HTTP.
fn registries(config: &Config) -> Vec<String> {
    let used: BTreeSet<&Registry> = config.targets.iter().map(|target| target.repositories.registry()).collect();
    let mut warnings = Vec::new();
    for (registry, settings) in &config.registries {
        let key = format!("registries.{:?}", registry.as_str());
        if !used.contains(registry) {
            warnings.push(format!("{key}: no target uses this registry"));
        }
        let asked_for = !matches!(settings.credential, Credential::Usual | Credential::Anonymous);
        if settings.plain_http && asked_for && !registry.is_loopback() {
            warnings.push(format!("{key}.plain_http: credentials are sent in clear text"));
        }
    }
    warnings
}

/// Settings of a target that have no effect on what it publishes.
fn unpublished(targets: &[Arc<Target>]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, target) in targets.iter().enumerate().filter(|(_, target)| target.newest.is_some()) {
        if target.selection.listing.as_ref().and_then(|listing| listing.limit) == Some(1) {
            warnings.push(format!(
                "targets[{at}].limit: with 1 the release before the newest is not read, so `newest` has nothing to compare with: write 2 or more"
            ));
        }
    }
    for (at, target) in targets.iter().enumerate().filter(|(_, target)| target.detail == Detail::Repository) {
        let hidden =
            [("budget", target.budget_bytes.is_some()), ("uncompressed", target.uncompressed != Uncompressed::Off)];
        for (key, _) in hidden.iter().filter(|(_, there)| *there) {
            warnings.push(format!("targets[{at}].{key}: not published with `detail = \"repository\"`"));
        }
    }
    warnings
}

/// Labels with different values in several targets of a repository: the first target in the file wins.
fn labels(targets: &[Arc<Target>]) -> Vec<String> {
    let labelled = || targets.iter().enumerate().filter(|(_, target)| !target.labels.is_empty());
    let mut literal: BTreeMap<&Repository, Vec<usize>> = BTreeMap::new();
    let mut wild = Vec::new();
    for (at, target) in labelled() {
        match &target.repositories {
            Repositories::One(repository) => literal.entry(repository).or_default().push(at),
            Repositories::Matching(pattern) => wild.push((at, pattern)),
        }
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
    conflicts.into_values().collect()
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
                        "targets[{at}].labels.{key}: targets[{winner}] gives repositories of {repositories} the value `{wins}`, and the first target in the file wins"
                    )
                });
            }
        }
    }
}
