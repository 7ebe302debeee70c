//! `[[policies]]` → retention policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::retention::RetentionPolicy;
use crate::target::{TagPattern, Target, TargetName};

use super::problems::nearest;
use super::reader::Table;
use super::values;

const RULES: &str = "`keep_newest`, `keep_match`, `keep_younger` or `keep_running`";

/// Reads all policies. `targets`: those that they may name.
pub(super) fn read(root: &Table<'_>, targets: &[Arc<Target>], has_sources: bool) -> Vec<Arc<RetentionPolicy>> {
    let mut names = BTreeMap::new();
    let mut policies = Vec::new();
    for table in root.tables("policies").unwrap_or_default() {
        if let Some(policy) = read_one(&table, targets, has_sources) {
            if let Some(other) = names.insert(Arc::clone(&policy.name), table.place()) {
                let (name, place) = (&policy.name, table.seen(&other));
                table.problem("name", format!("`{name}` is also the name of {place}: names are unique"));
            }
            policies.push(Arc::new(policy));
        }
        table.finish();
    }
    policies
}

/// Reads one policy; `None` without a valid name.
fn read_one(table: &Table<'_>, targets: &[Arc<Target>], has_sources: bool) -> Option<RetentionPolicy> {
    if !table.has("name") {
        table.problem("name", "is missing: write for example name = \"old-releases\"");
    }
    let name = table.text("name", values::name);
    let selected = table.texts("targets", |text| target(text, targets));
    if table.is_empty_list("targets") {
        table
            .problem("targets", "is empty, so the policy is about no tag: name a target, or leave the key out for all");
    }
    let keep_newest = table.count("keep_newest");
    let keep_match = table.texts("keep_match", str::parse::<TagPattern>).unwrap_or_default();
    if table.is_empty_list("keep_match") {
        table.problem("keep_match", "is empty, so it keeps no tag: write an expression, or leave the key out");
    }
    let keep_younger = table.duration("keep_younger");
    let keep_running = table.flag("keep_running");
    if keep_running && !has_sources {
        table.problem("keep_running", "needs a source that says what runs: write [[sources]], or leave the key out");
    }
    if !["keep_newest", "keep_match", "keep_younger"].iter().any(|rule| table.has(rule)) && !keep_running {
        table.problem(
            "keep_newest",
            format!("is missing, and so is every other rule, so that no tag is kept: write {RULES}"),
        );
    }
    Some(RetentionPolicy { name: name?.into(), targets: selected, keep_newest, keep_match, keep_younger, keep_running })
}

/// The name of a target.
fn target(text: &str, targets: &[Arc<Target>]) -> Result<TargetName, String> {
    let names = || targets.iter().map(|target| &*target.name.0);
    if let Some(target) = targets.iter().find(|target| *target.name.0 == *text) {
        return Ok(target.name.clone());
    }
    let remedy = nearest(text, names()).map_or_else(
        || "write the `name` of one, or its repository as written".to_owned(),
        |meant| format!("did you mean `{meant}`?"),
    );
    Err(format!("no target is named `{text}`: {remedy}"))
}
