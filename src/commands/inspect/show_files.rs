//! What `--files` finds, for people.

use std::io::{self, Write};

use super::files_report::{FilesReport, GrowthReport, PackageChangeReport, PathChangeReport, PathReport};
use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::units;

/// The files of one image.
pub(in crate::commands) fn files(
    out: &mut impl Write,
    files: &FilesReport,
    exact: bool,
    terminal: Terminal,
) -> io::Result<()> {
    let bytes = |bytes: u64| units::bytes(bytes, exact);
    writeln!(
        out,
        "\n{}",
        Style::Head.paint(
            &format!("{} files of {}, {} wasted", files.files, bytes(files.bytes), bytes(files.wasted_bytes)),
            terminal.colour
        )
    )?;
    for (heading, paths) in [("BIGGEST DIRECTORIES", &files.directories), ("BIGGEST FILES", &files.biggest)] {
        ranked(out, heading, paths, exact, terminal)?;
    }
    if !files.wasted.is_empty() {
        let mut table = Columns::new(&[">SIZE", "WHY", "?LAYER", "?HIDDEN BY", "WASTED FILES"]);
        for file in &files.wasted {
            let [layer, hidden_by] = [&file.layer, &file.hidden_by]
                .map(|layer| layer.as_ref().map_or_else(String::new, units::short_digest));
            let row = vec![bytes(file.bytes), file.cause.to_owned(), layer, hidden_by, units::plain(&file.path)];
            table.row(Style::Plain, row);
        }
        writeln!(out)?;
        table.write(out, terminal)?;
    }
    if !files.packages.is_empty() {
        let mut table = Columns::new(&[">SIZE", "MANAGER", "VERSION", "BIGGEST PACKAGES"]).may_cut(2);
        for package in &files.packages {
            let size = package.bytes.map_or_else(|| "unknown".to_owned(), bytes);
            let [version, name] = [&package.version, &package.name].map(|text| units::plain(text));
            table.row(Style::Plain, vec![size, package.manager.to_owned(), version, name]);
        }
        writeln!(out)?;
        table.write(out, terminal)?;
        let noun = if files.packages_count == 1 { "package" } else { "packages" };
        writeln!(out, "{} {noun}", files.packages_count)?;
    }
    for manager in &files.packages_unread {
        writeln!(out, "packages of {manager} are there, and its database is not read")?;
    }
    Ok(())
}

/// How the files of two images differ.
pub(in crate::commands) fn growth(
    out: &mut impl Write,
    growth: &GrowthReport,
    exact: bool,
    terminal: Terminal,
) -> io::Result<()> {
    let bytes = |bytes: u64| units::bytes(bytes, exact);
    let line = format!(
        "files: {} → {} ({} added, {} grown, {} shrunk, {} gone), wasted: {} → {}",
        bytes(growth.old_bytes),
        bytes(growth.new_bytes),
        bytes(growth.added_bytes),
        bytes(growth.grown_bytes),
        bytes(growth.shrunk_bytes),
        bytes(growth.gone_bytes),
        bytes(growth.old_wasted_bytes),
        bytes(growth.new_wasted_bytes)
    );
    writeln!(out, "\n{}", Style::Head.paint(&line, terminal.colour))?;
    for (heading, changes) in [("DIRECTORIES", &growth.directories), ("FILES", &growth.files)] {
        changed(out, heading, changes, exact, terminal)?;
    }
    packages(out, &growth.packages, exact, terminal)
}

fn ranked(
    out: &mut impl Write,
    heading: &str,
    paths: &[PathReport],
    exact: bool,
    terminal: Terminal,
) -> io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut table = Columns::new(&[">SIZE", "?LAYER", heading]);
    for path in paths {
        let layer = path.layer.as_ref().map_or_else(String::new, units::short_digest);
        table.row(Style::Plain, vec![units::bytes(path.bytes, exact), layer, units::plain(&path.path)]);
    }
    writeln!(out)?;
    table.write(out, terminal)
}

fn changed(
    out: &mut impl Write,
    heading: &str,
    changes: &[PathChangeReport],
    exact: bool,
    terminal: Terminal,
) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = Columns::new(&["", ">OLD", ">NEW", ">CHANGE", heading]);
    for change in changes {
        let sizes = (change.old_bytes, change.new_bytes);
        let [old, new, difference] = cells(sizes, exact);
        let (sign, style) = sign(sizes.0.is_some(), sizes.1.is_some());
        table.row(style, vec![sign.to_owned(), old, new, difference, units::plain(&change.path)]);
    }
    writeln!(out)?;
    table.write(out, terminal)
}

fn packages(out: &mut impl Write, changes: &[PackageChangeReport], exact: bool, terminal: Terminal) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = Columns::new(&["", ">OLD", ">NEW", ">CHANGE", "MANAGER", "VERSION", "PACKAGES"]).may_cut(5);
    for change in changes {
        let size = |version: &Option<String>, bytes: Option<u64>| {
            let known = bytes.map(|bytes| units::bytes(bytes, exact));
            known.unwrap_or_else(|| if version.is_some() { "unknown".to_owned() } else { String::new() })
        };
        let (old, new) = (size(&change.old_version, change.old_bytes), size(&change.new_version, change.new_bytes));
        let (old_bytes, new_bytes) = change.sizes();
        let difference = old_bytes.zip(new_bytes).map(|(old, new)| units::difference(old, new, exact));
        let difference = difference.unwrap_or_default();
        let (sign, style) = sign(change.old_version.is_some(), change.new_version.is_some());
        let versions: Vec<&str> =
            [&change.old_version, &change.new_version].into_iter().flatten().map(String::as_str).collect();
        let versions = if versions.windows(2).any(|pair| pair[0] == pair[1]) { &versions[1..] } else { &versions[..] };
        let [version, name] = [&versions.join(" → "), &change.name].map(|text| units::plain(text));
        table.row(style, vec![sign.to_owned(), old, new, difference, change.manager.to_owned(), version, name]);
    }
    writeln!(out)?;
    table.write(out, terminal)
}

/// The old size, the new one and the difference.
fn cells((old, new): (Option<u64>, Option<u64>), exact: bool) -> [String; 3] {
    let shown = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| units::bytes(bytes, exact));
    let difference = match (old, new) {
        (None, None) => String::new(),
        (old, new) => units::difference(old.unwrap_or(0), new.unwrap_or(0), exact),
    };
    [shown(old), shown(new), difference]
}

fn sign(is_old: bool, is_new: bool) -> (&'static str, Style) {
    match (is_old, is_new) {
        (false, _) => ("+", Style::Added),
        (_, false) => ("-", Style::Removed),
        (true, true) => ("~", Style::Changed),
    }
}
