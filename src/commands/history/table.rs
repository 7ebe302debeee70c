//! For people: each release with its growth, and since when it crept.

use std::io::{self, Write};

use super::history_report::{History, NewestHistory, NewestPoint, RepositoryHistory};
use super::moment::{Millis, moment};
use super::sparkline::sparkline;
use crate::commands::columns::{Columns, Style, Terminal};
use crate::commands::units;

/// The most blocks of a sparkline.
const BLOCKS_MAX: usize = 48;

/// Writes the newest releases of each repository, target and platform, oldest first, and what is stored.
pub(super) fn write(history: &History, exact: bool, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut is_first = true;
    for repository in history.repositories.iter().filter(|repository| !repository.is_empty()) {
        for newest in &repository.newest {
            separate(&mut is_first, out)?;
            releases(repository, newest, exact, terminal, out)?;
        }
        separate(&mut is_first, out)?;
        stored(repository, exact, terminal, out)?;
    }
    Ok(())
}

fn separate(is_first: &mut bool, out: &mut impl Write) -> io::Result<()> {
    if std::mem::replace(is_first, false) { Ok(()) } else { writeln!(out) }
}

fn releases(
    repository: &RepositoryHistory,
    newest: &NewestHistory,
    exact: bool,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    // A release that only changed what is before it is none.
    let mut points: Vec<&NewestPoint> = newest.points.iter().collect();
    points.dedup_by(|new, old| new.release == old.release);
    let sizes: Vec<(&NewestPoint, u64)> =
        points.iter().filter_map(|point| Some((*point, point.release.compressed_bytes?))).collect();
    let values: Vec<u64> = sizes.iter().map(|(_, bytes)| *bytes).collect();
    let platform = if newest.platform.is_empty() { "artifact" } else { &newest.platform };
    let head = format!("{}  {}  {platform}  compressed", repository.name(), newest.target);
    writeln!(out, "{}  {}", Style::Head.paint(&units::plain(&head), terminal.colour), sparkline(&values, BLOCKS_MAX))?;
    let mut table = Columns::new(&["CREATED", ">SIZE", ">GROWTH", ">SHARE", "TAG"]);
    let mut before: Option<u64> = None;
    for point in points {
        let Some(bytes) = point.release.compressed_bytes else {
            let row = vec![minute(point.at), "unknown".to_owned(), String::new(), String::new(), tag(point)];
            table.row(Style::Changed, row);
            continue;
        };
        let (growth, share) = match before {
            None => (String::new(), String::new()),
            Some(old) => (units::difference(old, bytes, exact), share(old, bytes)),
        };
        table.row(Style::Plain, vec![minute(point.at), units::bytes(bytes, exact), growth, share, tag(point)]);
        before = Some(bytes);
    }
    table.write(out, terminal)?;
    match crept(&sizes, exact) {
        Some(line) => writeln!(out, "{}", units::plain(&line)),
        None => Ok(()),
    }
}

/// Since when it is bigger than it ever was after: the last release of the smallest size, and by how much.
fn crept(sizes: &[(&NewestPoint, u64)], exact: bool) -> Option<String> {
    let (_, newest) = sizes.last()?;
    let (at, (smallest, least)) = sizes.iter().enumerate().rev().min_by_key(|(_, (_, bytes))| *bytes)?;
    if sizes.len() < 2 {
        return None;
    }
    let since = &sizes[at..];
    if newest == least {
        return Some("the newest release is the smallest".to_owned());
    }
    let steps = since.windows(2).filter_map(|pair| {
        let growth = pair[1].1.checked_sub(pair[0].1).filter(|growth| *growth > 0)?;
        Some((pair[1].0, growth))
    });
    let (biggest, growth) = steps.max_by_key(|(_, growth)| *growth)?;
    let releases = since.len() - 1;
    Some(format!(
        "since {} of {}, the smallest: {} ({}) in {releases} {}, most of it by {}: +{}",
        smallest.release.tag,
        day(smallest.at),
        units::difference(*least, *newest, exact),
        share(*least, *newest),
        if releases == 1 { "release" } else { "releases" },
        biggest.release.tag,
        units::bytes(growth, exact),
    ))
}

fn stored(repository: &RepositoryHistory, exact: bool, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let (Some(first), Some(last)) = (repository.stored.first(), repository.stored.last()) else { return Ok(()) };
    let values: Vec<u64> = repository.stored.iter().map(|point| point.bytes).collect();
    let head = Style::Head.paint(&units::plain(&format!("{}  stored", repository.name())), terminal.colour);
    writeln!(out, "{head}  {}", sparkline(&values, BLOCKS_MAX))?;
    writeln!(
        out,
        "{} in {} {} since {}, {} of it since then",
        units::bytes(last.bytes, exact),
        last.tags,
        if last.tags == 1 { "tag" } else { "tags" },
        day(first.at),
        units::difference(first.bytes, last.bytes, exact),
    )
}

fn tag(point: &NewestPoint) -> String {
    units::plain(&point.release.tag)
}

fn share(old: u64, new: u64) -> String {
    if old == 0 || old == new {
        return String::new();
    }
    units::growth_share(old, new)
}

fn minute(at: Millis) -> String {
    moment(at).map_or_else(String::new, |at| units::minute(&at.to_string()))
}

fn day(at: Millis) -> String {
    moment(at).map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string())
}
