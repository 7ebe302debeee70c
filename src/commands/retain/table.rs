//! For people: each tag with its reason, and what is freed.

use std::io::{self, Write};

use super::retain_report::{Fate, RegistryRetention, RepositoryRetention, Retention, TagFate, moment};
use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::units;

/// Writes the tags of each policy and repository, those that go first, and what is freed without them.
pub(super) fn write(retention: &Retention, exact: bool, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut is_first = true;
    for policy in &retention.policies {
        for registry in &policy.registries {
            for repository in &registry.repositories {
                if !std::mem::replace(&mut is_first, false) {
                    writeln!(out)?;
                }
                let name = format!("{}/{}  {}", registry.registry, repository.repository, policy.policy);
                writeln!(out, "{}", Style::Head.paint(&units::plain(&name), terminal.colour))?;
                tags(repository, terminal, out)?;
                writeln!(out, "{}", of_repository(repository, exact))?;
            }
            writeln!(out)?;
            writeln!(out, "{}", units::plain(&of_registry(&policy.policy, registry, exact)))?;
        }
    }
    Ok(())
}

fn tags(repository: &RepositoryRetention, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut table = Columns::new(&["FATE", "?CREATED", "?DIGEST", "TAG", "REASON"]);
    let mut tags: Vec<&TagFate> = repository.tags.iter().collect();
    tags.sort_by_key(|tag| match tag.fate {
        Fate::Gone => 0,
        Fate::Held => 1,
        Fate::Kept => 2,
    });
    for tag in tags {
        let (style, fate) = match tag.fate {
            Fate::Gone => (Style::Removed, "gone"),
            Fate::Held => (Style::Changed, "held"),
            Fate::Kept => (Style::Plain, "kept"),
        };
        let created = tag.created.and_then(moment).map(|at| units::minute(&at.to_string())).unwrap_or_default();
        let digest =
            tag.digest.as_ref().map(|digest| digest.to_string().chars().take(19).collect()).unwrap_or_default();
        let reason = match &tag.held_by {
            Some(by) => format!("{}, but its manifest is one of {by}", tag.reason.words()),
            None => tag.reason.words().to_owned(),
        };
        table.row(style, vec![fate.to_owned(), created, digest, units::plain(&tag.tag), units::plain(&reason)]);
    }
    table.write(out, terminal)
}

fn of_repository(repository: &RepositoryRetention, exact: bool) -> String {
    if repository.is_partial {
        return "nothing to delete: it could not be read wholly, and what is unread may hold anything".to_owned();
    }
    let digests = repository.digests.len();
    let noun = if digests == 1 { "digest" } else { "digests" };
    format!("{digests} {noun} to delete, {} freed by them alone", freed(repository.freed_bytes, exact))
}

fn of_registry(policy: &str, registry: &RegistryRetention, exact: bool) -> String {
    let held = if registry.tags_held == 0 { String::new() } else { format!(", {} held", registry.tags_held) };
    let noun = if registry.tags_kept == 1 { "tag" } else { "tags" };
    format!(
        "{}, {policy}: {} {noun} kept, {} gone{held}: {} freed",
        registry.registry,
        registry.tags_kept,
        registry.tags_gone,
        freed(registry.freed_bytes, exact),
    )
}

fn freed(bytes: Option<u64>, exact: bool) -> String {
    bytes.map_or_else(|| "unknown bytes".to_owned(), |bytes| units::bytes(bytes, exact))
}
