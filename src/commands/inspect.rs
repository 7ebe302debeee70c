//! `inspect`: one reference as the daemon sees it, or two compared, for people and as JSON.
//!
//! The schema of `--json` is [`Report`] for one reference, and `{"old": Report, "new": Report, "comparisons":
//! [Comparison]}` for two. Exit codes: 0 read; 3 denied; 4 not found; 5 unreachable; 6 any other failure of the registry
//! or its answer; 64 a bad configuration; 1 everything else. Platforms that were read are printed even if another one failed.

mod compare;
mod error;
mod nearest;
pub(super) mod progress;
pub(super) mod read;
pub(super) mod report;
mod sharing;
pub(super) mod show;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::output::{CommandFailure, unless_closed};
use crate::config::{Config, DEFAULT_FILE};
use crate::oci::{Platform, Reference};
use crate::registry::Registries;
use crate::target::{Uncompressed, Words as _};

use progress::Progress;

pub use super::columns::Terminal;
pub use compare::{Change, Comparison, Difference};
pub use error::InspectError;
pub use report::{FailedReport, ImageReport, LayerReport, Report, SizeKind, Step};
pub use sharing::Sharing;

/// The arguments of `inspect`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// An image, as `docker pull` takes it; or two, the old one and the new one, to compare
    #[arg(required = true, num_args = 1..=2, value_name = "REF")]
    pub references: Vec<Reference>,
    /// Only this platform, as in `linux/arm64`
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Measure the layers' uncompressed sizes: `cheap` fetches a few bytes of each layer, `exact` streams all of them
    #[arg(long, value_name = "off|cheap|exact", default_value = "off", value_parser = Uncompressed::from_word)]
    pub uncompressed: Uncompressed,
    /// Exact bytes instead of KiB and MiB
    #[arg(long)]
    pub bytes: bool,
    /// Whole commands, and every column, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
    /// JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Runs with the configuration's registries and state file. Without a configuration file the credentials come from
/// Docker's and Podman's own files.
pub(super) async fn run(config_file: &Path, arguments: &Arguments) -> Result<(), CommandFailure> {
    let config = configuration(config_file)?;
    let registries = registries(config.as_ref())?;
    let sharing = config.and_then(|config| config.state).and_then(|path| Sharing::from_copy(&path));
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    match inspect(&registries, arguments, sharing.as_ref(), Terminal::here(), &mut out, &mut err).await {
        Err(InspectError::Output(error)) => Ok(unless_closed(Err(error)).map_err(InspectError::Output)?),
        Err(error) => Err(CommandFailure { message: error.to_string(), exit_code: error.exit_code() }),
        Ok(()) => Ok(()),
    }
}

/// The configuration, unless its file is the default one and does not exist.
pub(super) fn configuration(config_file: &Path) -> Result<Option<Config>, CommandFailure> {
    if !config_file.exists() && config_file == Path::new(DEFAULT_FILE) {
        return Ok(None);
    }
    Config::load(config_file).map(Some).map_err(CommandFailure::configuration)
}

/// The configuration's registries. Without one credentials come from Docker's and Podman's own files.
pub(super) fn registries(config: Option<&Config>) -> Result<Registries, CommandFailure> {
    let (registries, defaults) =
        config.map(|config| (config.registries.clone(), config.registry_defaults.clone())).unwrap_or_default();
    Ok(Registries::new(registries, defaults)?)
}

#[derive(Serialize)]
struct Compared<'a> {
    old: &'a Report,
    new: &'a Report,
    comparisons: &'a [Comparison],
}

/// Reads the references and prints reports to `out`; progress goes to `err`.
pub async fn inspect(
    registries: &Registries,
    arguments: &Arguments,
    sharing: Option<&Sharing>,
    terminal: Terminal,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), InspectError> {
    let Arguments { platform, uncompressed, bytes, no_trunc, json, references } = arguments;
    let terminal = Terminal { whole: *no_trunc, ..terminal };
    let known = HashMap::new();
    let options =
        read::ReadOptions { platform: platform.as_ref(), uncompressed: *uncompressed, sharing, known: &known };
    let mut progress = Progress::new(err, terminal.progress);
    let mut reports = Vec::new();
    for reference in references {
        reports.push(read::read(registries, reference, &options, &mut progress).await?);
    }
    match &reports[..] {
        [old, new] => {
            let pairs = report::pairs(&old.images, &new.images);
            let compare = |(old, new)| Comparison::new(old, new, SizeKind::Compressed);
            let comparisons: Vec<Comparison> = pairs.into_iter().map(compare).collect();
            if comparisons.is_empty() {
                let (old, new) = (old.reference.clone(), new.reference.clone());
                return Err(InspectError::Incomparable { old, new });
            }
            if *json {
                return write_json(out, &Compared { old, new, comparisons: &comparisons });
            }
            for side in [("old", old), ("new", new)] {
                writeln!(out, "{}  {} {}", side.0, side.1.reference, side.1.digest)?;
            }
            for comparison in &comparisons {
                writeln!(out)?;
                show::comparison(out, comparison, *bytes, terminal)?;
            }
        }
        reports if *json => {
            for report in reports {
                write_json(out, report)?;
            }
        }
        reports => {
            for report in reports {
                show::report(out, report, *bytes, terminal)?;
            }
        }
    }
    Ok(out.flush()?)
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), InspectError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
