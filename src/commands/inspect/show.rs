//! The result of `inspect` for people.

use std::io::{self, Write};

use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::units;

use super::compare::{Change, Comparison, Difference};
use super::report::{ImageReport, LayerReport, Report};
use super::show_files;

/// One reference: its digest, then each platform with its layers, newest first as in `docker history`.
pub(super) fn report(out: &mut impl Write, report: &Report, exact: bool, terminal: Terminal) -> io::Result<()> {
    let bytes = |count: Option<u64>| size(count, exact);
    writeln!(out, "{}", Style::Head.paint(&units::plain(&report.reference), terminal.colour))?;
    let mut facts =
        vec![("digest", report.digest.to_string()), ("media type", units::plain(report.media_type.as_str()))];
    if report.index_bytes > 0 {
        facts.push(("index", units::bytes(report.index_bytes, exact)));
    }
    if report.attestations > 0 {
        facts.push(("attestations", report.attestations.to_string()));
    }
    if report.images.len() > 1 {
        facts.push(("stored", format!("{} in distinct layers", bytes(report.stored_bytes))));
    }
    write_facts(out, &facts)?;
    if report.images.len() > 1 {
        writeln!(out)?;
        let mut table = Columns::new(&["PLATFORM", ">LAYERS", ">COMPRESSED", ">UNCOMPRESSED", ">UNPACKED", "DIGEST"]);
        for image in &report.images {
            let unpacked = image.unpacked_bytes.map_or_else(String::new, |bytes| units::bytes(bytes, exact));
            let layers = image.layers().count().to_string();
            let sizes = [bytes(image.compressed_bytes), uncompressed(image, exact), unpacked];
            let [compressed, uncompressed, unpacked] = sizes;
            let digest = image.digest.to_string();
            let row = vec![units::plain(&image.platform), layers, compressed, uncompressed, unpacked, digest];
            table.row(Style::Plain, row);
        }
        table.write(out, terminal)?;
    }
    for image in &report.images {
        writeln!(out)?;
        write_image(out, image, exact, terminal)?;
    }
    for failed in &report.failed {
        let line = format!("{} {}: not read: {}", failed.platform, failed.digest, failed.reason);
        writeln!(out, "\n{}", Style::Changed.paint(&units::plain(&line), terminal.colour))?;
    }
    Ok(())
}

/// Two references, platform by platform.
pub(in crate::commands) fn comparison(
    out: &mut impl Write,
    comparison: &Comparison,
    exact: bool,
    terminal: Terminal,
) -> io::Result<()> {
    let unknown = String::new;
    let mut table = Columns::new(&["", ">OLD", ">NEW", ">CHANGE", "?DIGEST", "COMMAND"]);
    for layer in &comparison.layers {
        let (sign, style) = match layer.change {
            Change::Shared => ("=", Style::Faint),
            Change::Changed => ("~", Style::Changed),
            Change::Added => ("+", Style::Added),
            Change::Removed => ("-", Style::Removed),
        };
        let side = |side: &Option<LayerReport>| side.as_ref().and_then(|layer| comparison.kind.of(layer));
        let (old, new) = (side(&layer.old), side(&layer.new));
        let change = match layer.change {
            Change::Shared if old == new => unknown(),
            _ => units::difference(old.unwrap_or(0), new.unwrap_or(0), exact),
        };
        let shown = |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| units::bytes(bytes, exact));
        let command = layer.command.as_deref().map_or_else(unknown, units::command);
        table.row(style, vec![sign.to_owned(), shown(old), shown(new), change, digest_of(layer), command]);
    }
    let (old, new) = (comparison.old_bytes, comparison.new_bytes);
    let change = old.zip(new).map_or_else(unknown, |(old, new)| units::difference(old, new, exact));
    table.row(Style::Head, vec![unknown(), size(old, exact), size(new, exact), change, unknown(), "total".to_owned()]);
    if !comparison.platform.is_empty() {
        writeln!(out, "{}", Style::Head.paint(&units::plain(&comparison.platform), terminal.colour))?;
    }
    table.write(out, terminal)?;
    writeln!(out, "= shared ({}), ~ changed, + added, - removed", units::bytes(comparison.shared_bytes, exact))
}

fn write_image(out: &mut impl Write, image: &ImageReport, exact: bool, terminal: Terminal) -> io::Result<()> {
    let kind = units::plain(if image.artifact_type.is_empty() { &image.platform } else { &image.artifact_type });
    if !kind.is_empty() {
        writeln!(out, "{}", Style::Head.paint(&kind, terminal.colour))?;
    }
    let mut facts = vec![("manifest", format!("{} ({})", image.digest, units::bytes(image.manifest_bytes, exact)))];
    if let Some(image_id) = &image.image_id {
        facts.push(("image ID", format!("{image_id} ({})", units::bytes(image.config_bytes, exact))));
    }
    if let Some(created) = &image.created {
        facts.push(("created", units::minute(created)));
    }
    if let Some(base) = &image.base {
        let digest = base.digest.as_ref().map_or_else(String::new, |digest| format!(" {digest}"));
        facts.push(("built on", format!("{}{digest}", units::plain(&base.name))));
    }
    facts.push(("compressed", size(image.compressed_bytes, exact)));
    if image.uncompressed_bytes.is_some() {
        facts.push(("uncompressed", uncompressed(image, exact)));
    }
    if let Some(bytes) = image.unpacked_bytes {
        facts.push(("unpacked", units::bytes(bytes, exact)));
    }
    write_facts(out, &facts)?;
    let headings =
        [">COMPRESSED", ">UNCOMPRESSED", ">UNPACKED", ">SHARED BY", "?CREATED", "?DIGEST", "?DIFF ID", "COMMAND"];
    let mut table = Columns::new(&headings);
    for step in image.steps.iter().rev() {
        let created = step.created.as_deref().map_or_else(String::new, units::minute);
        let command = step.command.as_deref().map_or_else(String::new, units::command);
        let Some(layer) = &step.layer else {
            let empty = ["-", "", "", "", &created, "(no layer)", "", &command].map(str::to_owned);
            table.row(Style::Faint, empty.to_vec());
            continue;
        };
        let estimate = if layer.uncompressed_estimated == Some(true) { "~" } else { "" };
        let optional = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| units::bytes(bytes, exact));
        let style = if layer.empty { Style::Faint } else { Style::Plain };
        let marks = format!("{}{}", content_mark(layer), if layer.foreign { " (foreign)" } else { "" });
        table.row(
            style,
            vec![
                size(layer.compressed_bytes, exact),
                layer
                    .uncompressed_bytes
                    .map_or_else(String::new, |bytes| estimate.to_owned() + &units::bytes(bytes, exact)),
                optional(layer.unpacked_bytes),
                layer.shared_by.map_or_else(String::new, |count| count.to_string()),
                created,
                format!("{}{marks}", units::short_digest(&layer.digest)),
                layer.diff_id.as_ref().map_or_else(String::new, units::short_digest),
                command,
            ],
        );
    }
    table.write(out, terminal)?;
    image.files.as_ref().map_or(Ok(()), |files| show_files::files(out, files, exact, terminal))
}

/// What stands beside a layer without bytes of files.
fn content_mark(layer: &LayerReport) -> String {
    match (layer.unpacked_bytes, layer.files) {
        _ if layer.empty => " (empty)".to_owned(),
        (Some(0), Some(1)) => " (1 file, 0 bytes)".to_owned(),
        (Some(0), Some(files)) => format!(" ({files} files, 0 bytes)"),
        _ => String::new(),
    }
}

fn write_facts(out: &mut impl Write, facts: &[(&str, String)]) -> io::Result<()> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().try_for_each(|(name, value)| writeln!(out, "{name:width$}  {value}"))
}

fn size(count: Option<u64>, exact: bool) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| units::bytes(count, exact))
}

fn uncompressed(image: &ImageReport, exact: bool) -> String {
    let estimate = if image.uncompressed_estimated == Some(true) { "~" } else { "" };
    image.uncompressed_bytes.map_or_else(String::new, |bytes| estimate.to_owned() + &units::bytes(bytes, exact))
}

/// The short digest of a layer, the new one if it is in both.
pub(in crate::commands) fn digest_of(layer: &Difference) -> String {
    layer.new.as_ref().or(layer.old.as_ref()).map_or_else(String::new, |layer| units::short_digest(&layer.digest))
}
