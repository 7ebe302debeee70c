//! A plan as a table for people.

use std::io;

use super::figures::{Layers, Plan, Pulls, Requests, TargetPlan};
use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::units;
use crate::layer::Limits;

/// The most items of a list that are named; the rest is counted.
const NAMED_MAX: usize = 10;

/// Writes the table, then the totals and notes. Where the terminal has no room for the kinds of requests, their number
/// stands for them.
pub fn write(plan: &Plan, out: &mut impl io::Write, terminal: Terminal) -> io::Result<()> {
    let table = |shown: fn(Requests) -> String| {
        let headings = ["target", ">repositories", ">tags", ">first scan", ">later scans", ">a day"];
        let mut columns = Columns::new(&headings).may_cut(0);
        for target in &plan.targets {
            columns.row(Style::Plain, row(target, shown));
        }
        columns
    };
    let by_kind = table(requests);
    let fits = terminal.whole || terminal.width.is_none_or(|width| by_kind.width() <= width);
    let columns = if fits { by_kind } else { table(number) };
    columns.write(out, terminal)?;
    writeln!(out)?;
    let at_least = if plan.is_lower_bound() { "at least " } else { "" };
    if !plan.shard.is_only() {
        writeln!(out, "shard {}: without the repositories of the others", plan.shard)?;
    }
    writeln!(out, "series: {at_least}{} once everything is read", plan.series)?;
    let of_what = if plan.is_partial() { " for what could be read" } else { "" };
    for (registry, pulls) in &plan.pulls {
        writeln!(
            out,
            "{registry} meters pulls: the first scan makes {}{of_what}; later scans make none for unchanged tags",
            pulls_shown(*pulls)
        )?;
    }
    layers(plan.layers, at_least, out)?;
    for target in &plan.targets {
        notes(target, out)?;
    }
    Ok(())
}

fn pulls_shown(pulls: Pulls) -> String {
    match pulls.indexes {
        0 => pulls.at_least.to_string(),
        indexes => format!("at least {}, and one more for each selected platform of {indexes} indexes", pulls.at_least),
    }
}

fn layers(layers: Layers, at_least: &str, out: &mut impl io::Write) -> io::Result<()> {
    let Layers { asked, streamed, streamed_bytes, unread_manifests } = layers;
    if asked > 0 {
        writeln!(out, "uncompressed = \"cheap\" fetches a few bytes of {at_least}{asked} layers, each once")?;
    }
    if streamed > 0 {
        let bytes = units::bytes(streamed_bytes, false);
        let an_hour =
            Limits::default().bytes_per_hour.map(|bytes| format!(", at most {} an hour", units::bytes(bytes, false)));
        let an_hour = an_hour.unwrap_or_default();
        writeln!(out, "uncompressed = \"exact\" streams {at_least}{streamed} layers of {bytes}, each once{an_hour}")?;
    }
    if unread_manifests > 0 {
        writeln!(
            out,
            "uncompressed: {unread_manifests} manifests are on registries that meter pulls and were not fetched, so \
             their layers are not counted here: each layer is asked or streamed once"
        )?;
    }
    Ok(())
}

fn row(target: &TargetPlan, shown: fn(Requests) -> String) -> Vec<String> {
    let bound = |figure: String, is_bound: bool, is_nothing: bool| match (is_bound, is_nothing) {
        (true, true) => "unknown".to_owned(),
        (true, false) => format!("at least {figure}"),
        (false, _) => figure,
    };
    let TargetPlan { first, later, is_partial, .. } = target;
    let a_day = later.total() as f64 * target.scans_per_day;
    vec![
        target.name.to_string(),
        target.repositories.to_string(),
        target.tags.to_string(),
        bound(shown(*first), *is_partial || target.is_metered, first.total() == 0),
        bound(shown(*later), *is_partial, later.total() == 0),
        bound(format!("{a_day:.0}"), *is_partial, later.total() == 0),
    ]
}

fn requests(requests: Requests) -> String {
    let parts = [
        (requests.lists, "list"),
        (requests.heads, "HEAD"),
        (requests.manifests, "GET manifest"),
        (requests.configs, "GET config"),
        (requests.layer_heads, "HEAD layer"),
    ];
    let named: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
    if named.is_empty() { "nothing".to_owned() } else { named.join(" + ") }
}

fn number(requests: Requests) -> String {
    match requests.total() {
        0 => "nothing".to_owned(),
        1 => "1 request".to_owned(),
        total => format!("{total} requests"),
    }
}

fn notes(target: &TargetPlan, out: &mut impl io::Write) -> io::Result<()> {
    if !target.not_versions.is_empty() {
        let named = target.not_versions.iter().map(|(repository, tag)| format!("{repository}:{tag}"));
        writeln!(out, "{}: not versions, so left out by `semver`: {}", target.name, first_of(named))?;
    }
    if !target.without_newest.is_empty() {
        let named = target.without_newest.iter().map(ToString::to_string);
        writeln!(
            out,
            "{}: within `limit` there are no two releases for `newest` to compare; raise it or `exclude` other tags: {}",
            target.name,
            first_of(named)
        )?;
    }
    for line in target.empty.iter().chain(target.errors.iter().map(|(_, message)| message)) {
        writeln!(out, "{}: {line}", target.name)?;
    }
    Ok(())
}

fn first_of(mut all: impl ExactSizeIterator<Item = String>) -> String {
    let named: Vec<String> = all.by_ref().take(NAMED_MAX).collect();
    let more = if all.len() > 0 { format!(" and {} more", all.len()) } else { String::new() };
    format!("{}{more}", named.join(", "))
}
