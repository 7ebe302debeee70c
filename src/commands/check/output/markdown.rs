//! For a comment on a pull request: short, with the layer and the command to blame.

use std::io::{self, Write};

use crate::commands::check::check_report::{Baseline, Check, PlatformCheck, Verdict};
use crate::commands::check::rules::share;
use crate::commands::inspect::show;
use crate::commands::units;

/// The most characters of a command.
const COMMAND_MAX: usize = 100;

/// The verdict, a line for each platform, and what grew.
pub(super) fn write(check: &Check, exact: bool, out: &mut impl Write) -> io::Result<()> {
    let verdict = match check.verdict {
        Verdict::Fine => ("✅", "is within its limits"),
        Verdict::TooBig => ("❌", "is too big"),
        Verdict::Unknown => ("⚠️", "cannot be judged"),
    };
    writeln!(out, "**{} {} {}**\n", verdict.0, code(&check.new.reference), verdict.1)?;
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| units::bytes(bytes, exact));
    if matches!(check.baseline, Baseline::Read(_)) {
        writeln!(out, "| platform | old | new | growth | to update |\n|---|--:|--:|--:|--:|")?;
    } else {
        writeln!(out, "| platform | size |\n|---|--:|")?;
    }
    for platform in &check.platforms {
        let PlatformCheck { old_bytes, new_bytes, .. } = platform;
        let name = if platform.platform.is_empty() { "artifact" } else { &platform.platform };
        let new = format!("{}{}", if platform.estimated { "~" } else { "" }, shown(*new_bytes));
        if !matches!(check.baseline, Baseline::Read(_)) {
            writeln!(out, "| {} | {new} |", code(name))?;
            continue;
        }
        let growth = old_bytes.zip(*new_bytes).map_or_else(String::new, |(old, new)| {
            let share = if old == new { String::new() } else { format!(" ({})", share(old, new)) };
            format!("{}{share}", units::difference(old, new, exact))
        });
        let (old, update) =
            if platform.compared { (shown(*old_bytes), shown(platform.update_bytes)) } else { Default::default() };
        writeln!(out, "| {} | {old} | {new} | {growth} | {update} |", code(name))?;
    }
    for platform in &check.platforms {
        write_rules(platform, out)?;
        let culprits = platform.culprits(check.size);
        if culprits.is_empty() || !(platform.compared || platform.is_too_big()) {
            continue;
        }
        writeln!(out, "\n| {} | layer | command |\n|--:|---|---|", code(&platform.platform))?;
        for (layer, growth) in culprits.iter().take(super::CULPRITS_MAX) {
            let sign = if platform.compared { "+" } else { "" };
            let command = units::cut(&layer.command.as_deref().map_or_else(String::new, units::command), COMMAND_MAX);
            writeln!(
                out,
                "| {sign}{} | {} | {} |",
                units::bytes(*growth, exact),
                code(&show::digest_of(layer)),
                code(&command)
            )?;
        }
    }
    for platform in &check.platforms {
        write_files(platform, exact, out)?;
    }
    for failed in &check.failed {
        writeln!(out, "\n{} cannot be read ({}).", code(&failed.platform), failed.reason)?;
    }
    for note in &check.notes {
        writeln!(out, "\n{}", code(note))?;
    }
    let subject = super::subject(check);
    let mut letters = subject.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    match subject.rsplit_once(' ') {
        Some((before, reference)) if !matches!(check.baseline, Baseline::None) => {
            writeln!(out, "\n{first}{} {}.", &before[1..], code(reference))
        }
        _ => writeln!(out, "\n{first}{}.", letters.as_str()),
    }
}

/// The files that grew most and those that are wasted most, where they are asked for.
fn write_files(platform: &PlatformCheck, exact: bool, out: &mut impl Write) -> io::Result<()> {
    let mut grown = super::grown_files(platform).peekable();
    if grown.peek().is_some() {
        writeln!(out, "\n| {} | file |\n|--:|---|", code(&platform.platform))?;
        for (path, growth) in grown {
            writeln!(out, "| +{} | {} |", units::bytes(growth, exact), code(path))?;
        }
    }
    let Some(files) = platform.files.as_ref().filter(|files| files.wasted_bytes > 0) else { return Ok(()) };
    let wasted = units::bytes(files.wasted_bytes, exact);
    writeln!(out, "\n| {wasted} wasted | file | |\n|--:|---|---|")?;
    for file in files.wasted.iter().take(super::CULPRITS_MAX) {
        writeln!(out, "| {} | {} | {} |", units::bytes(file.bytes, exact), code(&file.path), file.cause)?;
    }
    Ok(())
}

fn write_rules(platform: &PlatformCheck, out: &mut impl Write) -> io::Result<()> {
    for judged in platform.rules.iter().filter(|judged| judged.passed != Some(true)) {
        let mark = if judged.passed.is_none() { "⚠️" } else { "❌" };
        let name = if platform.platform.is_empty() { String::new() } else { format!(" {}", code(&platform.platform)) };
        writeln!(out, "\n{mark}{name} {}: {}.", judged.rule.word(), judged.message)?;
    }
    Ok(())
}

/// A code span that holds any text, in a table too (CommonMark 6.1; GitHub's tables: a `|` is escaped even in code).
fn code(text: &str) -> String {
    let text = units::plain(text).trim().replace('|', "\\|");
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn code_is_shown_as_it_is() {
        for (text, expected) in [
            ("COPY . /", "`COPY . /`"),
            ("RUN a | b", "`RUN a \\| b`"),
            ("RUN `date`", "`` RUN `date` ``"),
            ("a ``` b", "````a ``` b````"),
            ("", ""),
            ("  ", ""),
            ("a\nb", "`a\u{fffd}b`"),
        ] {
            assert_eq!(code(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_ends_its_code_span_or_its_cell(text in "[`a|\\\\ \n<*]{0,20}") {
            let shown = code(&text);
            prop_assert!(!shown.contains('\n'));
            let fence = shown.chars().take_while(|c| *c == '`').count();
            let inner = &shown[fence..shown.len() - fence];
            let runs: Vec<usize> = inner.split(|c| c != '`').map(str::len).filter(|length| *length > 0).collect();
            prop_assert!(runs.iter().all(|length| *length < fence.max(1)), "{}", shown);
            for (at, _) in inner.match_indices('|') {
                prop_assert!(inner[..at].ends_with('\\'), "{}", shown);
            }
        }
    }
}
