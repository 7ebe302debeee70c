//! Prints the result of a check.

mod github;
mod junit;
mod markdown;
mod text;

use std::io::{self, Write};

use super::arguments::Format;
use super::check_report::Check;
use super::rules::word;
use crate::commands::columns::Terminal;

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

/// The layers to blame for a platform's size, in words.
fn blame(check: &Check, platform: &super::PlatformCheck, exact: bool) -> Vec<String> {
    let culprits = platform.culprits(check.size);
    let line = |(layer, growth): &(&crate::commands::inspect::Difference, u64)| {
        let bytes = crate::commands::units::bytes(*growth, exact);
        let bytes = if platform.compared { format!("+{bytes}") } else { bytes };
        let command = layer.command.as_deref().map(crate::commands::units::command);
        format!("{bytes} {}", command.unwrap_or_else(|| crate::commands::inspect::show::digest_of(layer)))
    };
    culprits.iter().take(CULPRITS_MAX).map(line).collect()
}

/// `compressed sizes, against …`.
fn subject(check: &Check) -> String {
    use super::check_report::Baseline;
    let kind = word(check.size);
    match &check.baseline {
        Baseline::None => format!("{kind} sizes"),
        Baseline::Missing { reference, .. } => format!("{kind} sizes, nothing to compare with at {reference}"),
        Baseline::Read(old) => format!("{kind} sizes, against {}", old.reference),
    }
}
