//! `check`: a gate in a pipeline. Is an image too big, or did it grow too much against the one before it?
//!
//! The schema of `--format json` is [`Check`]. Exit codes: 0 fine; 7 too big; 8 no image to compare with, where
//! `--require-baseline` asks for one; else those of `inspect`. What was found is printed whatever the verdict.

mod arguments;

mod rules;

mod check_report;
mod judge;

mod newest;
mod sides;

mod output;

mod error;

use std::io::{self, Write};
use std::path::Path;

use super::columns::Terminal;
use super::inspect;
use super::inspect::progress::Progress;
use super::output::{CommandFailure, unless_closed};
use crate::config::Config;
use crate::local::EngineAddress;
use crate::registry::Registries;

use sides::Reader;

pub use arguments::{Against, Arguments, Format, Output, Source};
pub use check_report::{Baseline, Check, CheckedImage, PlatformCheck, Verdict};
pub use error::CheckError;
pub use rules::{Growth, Judgement, Limits, Percent, Rule};

/// The exit code of an image that is too big.
const TOO_BIG: u8 = 7;

/// The exit code of a missing baseline that is required.
const NO_BASELINE: u8 = 8;

/// The exit code of an image whose size is unknown, so that it cannot be judged: an answer that cannot be used.
const UNKNOWN: u8 = 6;

/// What `check` works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where references are read.
    pub registries: &'a Registries,
    /// Budgets and targets; none without a configuration file.
    pub config: Option<&'a Config>,
    /// Where `docker-daemon:` looks.
    pub engine: &'a EngineAddress,
    /// What text is printed on.
    pub terminal: Terminal,
}

/// Runs with the configuration's registries, targets and budgets.
pub(super) async fn run(config_file: &Path, arguments: &Arguments) -> Result<(), CommandFailure> {
    let config = inspect::configuration(config_file)?;
    let registries = inspect::registries(config.as_ref())?;
    let engine = match docker_host() {
        Some(text) => text.parse().map_err(CommandFailure::configuration)?,
        None => EngineAddress::default(),
    };
    let context =
        Context { registries: &registries, config: config.as_ref(), engine: &engine, terminal: Terminal::here() };
    let check = check(context, arguments, &mut io::stderr()).await.map_err(|error| failure(&error))?;
    let written = write(&check, arguments, context.terminal, &mut io::stdout().lock());
    unless_closed(written).map_err(|error| failure(&error.into()))?;
    let code = exit_code(&check, arguments);
    if code == 0 { Ok(()) } else { Err(CommandFailure { message: check.summary(), exit_code: code }) }
}

fn failure(error: &CheckError) -> CommandFailure {
    CommandFailure { message: error.to_string(), exit_code: error.exit_code() }
}

/// Reads both images and judges. Progress goes to `err`.
///
/// # Errors
/// Where the new image cannot be read, or an old one that exists.
pub async fn check(context: Context<'_>, arguments: &Arguments, err: &mut impl Write) -> Result<Check, CheckError> {
    let mut progress = Progress::new(err, context.terminal.progress);
    let sides = Reader { context, arguments, progress: &mut progress }.read().await?;
    judge::judge(context.config, arguments, sides)
}

/// Prints each of the wanted formats to its file, or to `out`.
///
/// # Errors
/// Where something cannot be written.
pub fn write(check: &Check, arguments: &Arguments, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    for Output { format, file } in arguments.outputs() {
        let Some(path) = file else {
            let terminal = Terminal { whole: arguments.no_trunc, ..terminal };
            output::write(check, format, arguments.bytes, terminal, out)?;
            continue;
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = io::BufWriter::new(std::fs::File::create(&path).map_err(named)?);
        output::write(check, format, arguments.bytes, Terminal::default(), &mut file).map_err(named)?;
        file.flush().map_err(named)?;
    }
    out.flush()
}

/// The program's exit code.
pub fn exit_code(check: &Check, arguments: &Arguments) -> u8 {
    let unread = check.failed.iter().map(|failed| failed.reason.exit_code()).max();
    match (check.verdict, &check.baseline) {
        (Verdict::TooBig, _) => TOO_BIG,
        (_, Baseline::Missing { .. }) if arguments.require_baseline => NO_BASELINE,
        (Verdict::Unknown, _) => unread.unwrap_or(UNKNOWN),
        (Verdict::Fine, _) => 0,
    }
}

/// Where docker's own commands look for the engine.
#[expect(clippy::disallowed_methods, reason = "a convention of every program that talks to a Docker engine")]
fn docker_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|value| !value.is_empty())
}
