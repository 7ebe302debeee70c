//! Prints the result of a check.

mod github;
mod junit;
mod markdown;
mod text;

use std::io::{self, Write};

use super::arguments::Format;
use super::check_report::{Baseline, Check, PlatformCheck};
use super::rules::{Rule, word};
use crate::commands::columns::Terminal;
use crate::commands::inspect::{Difference, show};
use crate::commands::units;

/// At most so many layers are blamed for a growth.
const CULPRITS_MAX: usize = 3;

/// Prints it in one format. `exact`: bytes instead of KiB and MiB, where people read it.
pub(super) fn write(
    check: &Check,
    format: Format,
    exact: bool,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Text => text::write(check, exact, terminal, out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, check)?;
            writeln!(out)
        }
        Format::Markdown => markdown::write(check, exact, out),
        Format::Github => github::write(check, exact, out),
        Format::Junit => junit::write(check, exact, out),
    }
}

/// What is to blame where a rule fails, in words: layers, and with `--files` files; of waste the wasted files.
fn blame(check: &Check, platform: &PlatformCheck, rule: Rule, exact: bool) -> Vec<String> {
    let bytes = |bytes: u64| units::bytes(bytes, exact);
    if rule == Rule::MaxWasted {
        let wasted = platform.files.iter().flat_map(|files| &files.wasted).take(CULPRITS_MAX);
        return wasted
            .map(|file| format!("{} {} {}", bytes(file.bytes), units::plain(&file.path), file.cause))
            .collect();
    }
    let culprits = platform.culprits(check.size);
    let line = |(layer, growth): &(&Difference, u64)| {
        let growth = if platform.compared { format!("+{}", bytes(*growth)) } else { bytes(*growth) };
        let command = layer.command.as_deref().map(units::command);
        format!("{growth} {}", command.unwrap_or_else(|| show::digest_of(layer)))
    };
    let files = grown_files(platform).map(|(path, growth)| format!("+{} {}", bytes(growth), units::plain(path)));
    culprits.iter().take(CULPRITS_MAX).map(line).chain(files).collect()
}

/// With `--files` the files that grew most, and by how much.
fn grown_files(platform: &PlatformCheck) -> impl Iterator<Item = (&str, u64)> {
    let changes = platform.files_growth.iter().flat_map(|growth| &growth.files);
    let grown = changes.filter_map(|change| {
        let growth = change.new_bytes?.saturating_sub(change.old_bytes.unwrap_or(0));
        (growth > 0).then_some((&*change.path, growth))
    });
    grown.take(CULPRITS_MAX)
}

/// `compressed sizes, against …`.
fn subject(check: &Check) -> String {
    let kind = word(check.size);
    match &check.baseline {
        Baseline::None => format!("{kind} sizes"),
        Baseline::Missing { reference, .. } => format!("{kind} sizes, nothing to compare with at {reference}"),
        Baseline::Read(old) => format!("{kind} sizes, against {}", old.reference),
    }
}
