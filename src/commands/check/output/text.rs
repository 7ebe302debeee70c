//! For people.

use std::io::{self, Write};

use crate::commands::check::check_report::{Baseline, Check, PlatformCheck, Verdict};
use crate::commands::check::rules::{Rule, word};
use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::inspect::{Comparison, show, show_files};
use crate::commands::units;

/// Both images, each platform's layers, and the verdict.
pub(super) fn write(check: &Check, exact: bool, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    match &check.baseline {
        Baseline::None => {}
        Baseline::Missing { reference, message } => {
            writeln!(
                out,
                "old  {}: does not exist, nothing to compare with: {}",
                units::plain(reference),
                units::plain(message)
            )?;
        }
        Baseline::Read(old) => writeln!(out, "old  {} {}", units::plain(&old.reference), old.digest)?,
    }
    writeln!(out, "new  {} {}", units::plain(&check.new.reference), check.new.digest)?;
    for platform in &check.platforms {
        writeln!(out)?;
        layers(check, platform, exact, terminal, out)?;
        if let Some(growth) = &platform.files_growth {
            show_files::growth(out, growth, exact, terminal)?;
        }
        if let Some(files) = &platform.files {
            show_files::files(out, files, exact, terminal)?;
        }
    }
    for failed in &check.failed {
        let line = format!("{} {}: not read: {}", failed.platform, failed.digest, failed.reason);
        writeln!(out, "\n{}", Style::Changed.paint(&units::plain(&line), terminal.colour))?;
    }
    writeln!(out)?;
    for note in &check.notes {
        writeln!(out, "{}", units::plain(note))?;
    }
    for platform in &check.platforms {
        for judged in &platform.rules {
            let (mark, style) = match judged.passed {
                Some(true) => ("ok", Style::Plain),
                Some(false) => ("FAIL", Style::Removed),
                None => ("?", Style::Changed),
            };
            let line = format!("{mark:4}  {}  {}", judged.rule.word(), platform.named(&judged.message));
            writeln!(out, "{}", style.paint(&units::plain(&line), terminal.colour))?;
        }
        // Layers are blamed once, whichever rules about sizes fail.
        let failed = [Rule::MaxSize, Rule::MaxGrowth, Rule::Budget].into_iter().find(|rule| platform.fails(*rule));
        let wasted = Some(Rule::MaxWasted).filter(|rule| platform.fails(*rule));
        for rule in failed.into_iter().chain(wasted) {
            for line in super::blame(check, platform, rule, exact) {
                let limit = terminal.width.filter(|_| !terminal.whole).unwrap_or(usize::MAX);
                writeln!(out, "{}", units::cut(&format!("      {line}"), limit))?;
            }
        }
    }
    let style = if check.verdict == Verdict::Fine { Style::Head } else { Style::Removed };
    let verdict = match check.verdict {
        Verdict::Fine => "fine",
        Verdict::TooBig => "too big",
        Verdict::Unknown => "cannot be judged",
    };
    writeln!(out, "{}", style.paint(&format!("{}: {verdict}", units::plain(&check.new.reference)), terminal.colour))
}

fn layers(
    check: &Check,
    platform: &PlatformCheck,
    exact: bool,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| units::bytes(bytes, exact));
    if platform.compared {
        let comparison = Comparison {
            platform: platform.platform.clone(),
            kind: check.size,
            old_bytes: platform.old_bytes,
            new_bytes: platform.new_bytes,
            shared_bytes: platform.shared_bytes.unwrap_or_default(),
            layers: platform.layers.clone(),
            files: None,
        };
        show::comparison(out, &comparison, exact, terminal)?;
        let estimated = if platform.estimated { "; partly estimated" } else { "" };
        return writeln!(out, "to update: {} {}{estimated}", shown(platform.update_bytes), word(check.size));
    }
    let mut table = Columns::new(&[">SIZE", "?DIGEST", "COMMAND"]);
    for layer in &platform.layers {
        let bytes = layer.new.as_ref().and_then(|new| check.size.of(new));
        let command = layer.command.as_deref().map_or_else(String::new, units::command);
        table.row(Style::Plain, vec![shown(bytes), show::digest_of(layer), command]);
    }
    table.row(Style::Head, vec![shown(platform.new_bytes), String::new(), format!("total, {}", word(check.size))]);
    if !platform.platform.is_empty() {
        writeln!(out, "{}", Style::Head.paint(&units::plain(&platform.platform), terminal.colour))?;
    }
    table.write(out, terminal)
}
