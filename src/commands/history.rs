//! `history`: how the sizes of releases came to be what they are, from the creation dates of the images that are there
//! now: for Prometheus, for programs and for people.
//!
//! The schema of `--format json` is [`History`]. A date that cannot be one is left out and said on standard error, and
//! so is what such images do not show: what was deleted, and what a tag held before it was pushed again. Exit codes:
//! those of `inspect`; 4 also where nothing has a date. What could be read is printed whatever the exit code.

mod moment;

mod arguments;

mod history_report;

mod notes;
mod timeline;

mod read;

mod openmetrics;
mod sparkline;
mod table;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::columns::Terminal;
use super::inspect::progress::Progress;
use super::output::{CommandFailure, print_error, print_warnings, unless_closed};
use super::{logging::LogFormat, units};
use crate::clock;
use crate::config::Config;
use crate::registry::Registries;
use crate::target::Target;

use moment::millis;
use notes::Notes;
use read::ReadRepository;

pub use arguments::{Arguments, HistoryFormat, Instant};
pub use moment::Millis;

pub use history_report::{
    Failure, History, NewestHistory, NewestPoint, Note, NoteReason, NotedTag, Release, RepositoryHistory, StoredPoint,
};

/// The exit code where nothing has a date: what is looked for was not found.
const NOTHING: u8 = 4;

/// A Prometheus that runs still writes to the last hours, and blocks must not overlap with them (its documentation of
/// backfilling says three).
const HEAD_MILLIS: Millis = 3 * 3600 * 1000;

/// Prints the history of a configuration's targets.
pub(super) async fn run(
    config_file: &Path,
    arguments: &Arguments,
    log_format: LogFormat,
) -> Result<(), CommandFailure> {
    let config = Config::load(config_file).map_err(CommandFailure::configuration)?;
    print_warnings(&config, log_format);
    let targets = wanted(&config, &arguments.target)?;
    let registries = Registries::new(config.registries.clone(), config.registry_defaults.clone())?;
    let terminal = Terminal { whole: arguments.no_trunc, ..Terminal::here() };
    let now = millis(clock::unix_now());
    let history = history(&registries, &targets, now, terminal, &mut io::stderr()).await;
    for note in history.repositories.iter().flat_map(|repository| &repository.notes) {
        print_error(&note.to_string());
    }
    for failure in &history.errors {
        print_error(&units::plain(&failure.message));
    }
    let written = write(&history, arguments, now, terminal, &mut io::stdout().lock());
    unless_closed(written)?;
    failure(&history).map_or(Ok(()), |(exit_code, message)| Err(CommandFailure { message, exit_code }))
}

/// The targets with these names; all where none is named.
fn wanted(config: &Config, names: &[String]) -> Result<Vec<Arc<Target>>, CommandFailure> {
    let known: Vec<&str> = config.targets.iter().map(|target| &*target.name.0).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let message = format!("no target is named `{unknown}`: there are {}", known.join(", "));
        return Err(CommandFailure::configuration(message));
    }
    let is_wanted = |target: &&Arc<Target>| names.is_empty() || names.iter().any(|name| **name == *target.name.0);
    Ok(config.targets.iter().filter(is_wanted).cloned().collect())
}

/// Reads every tag that the targets select, as a first scan does. `now`: later dates are wrong. Progress goes to `err`.
pub async fn history(
    registries: &Registries,
    targets: &[Arc<Target>],
    now: Millis,
    terminal: Terminal,
    err: &mut impl Write,
) -> History {
    let mut progress = Progress::new(err, terminal.progress);
    let (repositories, errors) = read::read(registries, targets, &mut progress).await;
    let repositories = repositories.iter().map(|repository| of_repository(repository, now)).collect();
    History { repositories, errors }
}

/// Prints it in the wanted format. OpenMetrics end at `--until`, three hours before `now` where that is not given.
///
/// # Errors
/// Where it cannot be written, or is more than Prometheus would import in a day.
pub fn write(
    history: &History,
    arguments: &Arguments,
    now: Millis,
    terminal: Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let since = arguments.since.map(|since| since.0);
    match arguments.wanted_format() {
        HistoryFormat::Openmetrics => {
            let until = arguments.until.map_or(now - HEAD_MILLIS, |until| until.0);
            let window = timeline::Window { since: since.unwrap_or(0), until, step: arguments.step_millis() };
            openmetrics::write(history, &arguments.label, window, &mut out)?;
        }
        HistoryFormat::Json => {
            let shown = history.between(since, arguments.until.map(|until| until.0));
            serde_json::to_writer_pretty(&mut out, &shown)?;
            writeln!(out)?;
        }
        HistoryFormat::Table => {
            let shown = history.between(since, arguments.until.map(|until| until.0));
            table::write(&shown, arguments.bytes, terminal, &mut out)?;
        }
    }
    out.flush()
}

/// The exit code of a history that is not whole, and why.
pub fn failure(history: &History) -> Option<(u8, String)> {
    let withheld = history.repositories.iter().filter(|repository| repository.is_partial).count();
    if let Some(Failure { reason, .. }) = history.errors.first() {
        let exit_code = reason.exit_code();
        let message = match withheld {
            0 => format!("not everything could be read ({reason})"),
            1 => format!("not everything could be read ({reason}): 1 repository is left out"),
            many => format!("not everything could be read ({reason}): {many} repositories are left out"),
        };
        return Some((exit_code, message));
    }
    let is_empty = history.repositories.iter().all(RepositoryHistory::is_empty);
    is_empty.then(|| (NOTHING, "no selected tag has a usable creation date: there is no history".to_owned()))
}

/// A repository's history. `now`: later dates are wrong.
fn of_repository(read: &ReadRepository, now: Millis) -> RepositoryHistory {
    let mut history = RepositoryHistory {
        registry: read.repository.registry().to_string(),
        repository: read.repository.name().to_owned(),
        is_partial: read.is_partial,
        newest: Vec::new(),
        stored: Vec::new(),
        notes: Vec::new(),
    };
    // What is missing would make a sum too small, and an old release the newest.
    if read.is_partial {
        return history;
    }
    let mut notes = Notes::new(&read.repository);
    let dated = notes.dated(read, now);
    for (target, candidates) in &read.targets {
        let Some(by) = target.newest else { continue };
        history.newest.extend(timeline::newest(target, by, candidates, &dated));
        notes.order(target, by, candidates, &dated);
    }
    history.stored = timeline::stored(&dated);
    history.notes = notes.finish();
    history
}
