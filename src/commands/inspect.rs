//! `inspect`: one reference as the daemon sees it, or two compared, for people and as JSON.
//!
//! The schema of `--json` is [`Report`] for one reference, and `{"old": Report, "new": Report, "comparisons":
//! [Comparison]}` for two. Exit codes: 0 read; 3 denied; 4 not found; 5 unreachable; 6 any other failure of the registry
//! or its answer; 64 a bad configuration; 1 everything else. Platforms that were read are printed even if another one failed.

mod compare;
mod error;
pub(super) mod files;
mod files_report;
pub(super) mod known;
mod nearest;
pub(super) mod progress;
pub(super) mod read;
pub(super) mod report;
mod sharing;
pub(super) mod show;
pub(super) mod show_files;

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::output::{CommandFailure, unless_closed};
use crate::config::{Config, DEFAULT_FILE};
use crate::oci::{Platform, Reference};
use crate::registry::Registries;
use crate::target::{Uncompressed, Words as _};

use known::KnownLayers;
use progress::Progress;

pub use super::columns::Terminal;
pub use compare::{Change, Comparison, Difference};
pub use error::InspectError;
pub use files_report::{
    FilesReport, GrowthReport, PackageChangeReport, PackageReport, PathChangeReport, PathReport, WastedReport,
};
pub use report::{BaseReport, FailedReport, ImageReport, LayerReport, Report, SizeKind, Step};
pub use sharing::Sharing;

/// How many paths are listed unless `--top` says otherwise.
pub(super) const TOP: usize = 10;

/// The arguments of `inspect`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// An image, as `docker pull` takes it; or two, the old one and the new one, to compare
    #[arg(required = true, num_args = 1..=2, value_name = "REF")]
    pub references: Vec<Reference>,
    /// Only this platform, as in `linux/arm64`
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Measure the layers' uncompressed sizes: `cheap` fetches a few bytes of each layer, `exact` streams all of them
    #[arg(long, value_name = "off|cheap|exact", default_value = "off", value_parser = uncompressed)]
    pub uncompressed: Uncompressed,
    /// List the files: the biggest ones, what is wasted, packages; of two images what grew. Streams all layers
    #[arg(long)]
    pub files: bool,
    /// How many files, directories and packages are listed
    #[arg(long, value_name = "N", default_value_t = TOP, requires = "files")]
    pub top: usize,
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

/// `files` has a flag of its own, which lists them.
fn uncompressed(text: &str) -> Result<Uncompressed, String> {
    match Uncompressed::from_word(text) {
        Ok(Uncompressed::Files) | Err(_) => Err(format!("`{text}` is none of `off`, `cheap` and `exact`")),
        Ok(mode) => Ok(mode),
    }
}

/// Runs with the configuration's registries and state file. Without a configuration file the credentials come from
/// Docker's and Podman's own files.
pub(super) async fn run(config_file: &Path, arguments: &Arguments) -> Result<(), CommandFailure> {
    let config = configuration(config_file)?;
    let registries = registries(config.as_ref())?;
    let sharing = config.and_then(|config| config.state).and_then(|state| Sharing::from_copy(state.file()?));
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
    let Arguments { platform, uncompressed, files, top, bytes, no_trunc, json, references } = arguments;
    let terminal = Terminal { whole: *no_trunc, ..terminal };
    let uncompressed = if *files { Uncompressed::Exact } else { *uncompressed };
    let options = read::ReadOptions { platform: platform.as_ref(), uncompressed, sharing, files: *files };
    let mut known = KnownLayers::of_references(references.len());
    let mut progress = Progress::new(err, terminal.progress);
    let mut reports = Vec::new();
    for reference in references {
        let mut report = read::read(registries, reference, &options, &mut known, &mut progress).await?;
        if *files {
            files::describe(&mut report, &known, *top, &mut progress);
        }
        reports.push(report);
    }
    match &reports[..] {
        [old, new] => {
            let pairs = report::pairs(&old.images, &new.images);
            let compare = |(old, new)| {
                let mut comparison = Comparison::new(old, new, SizeKind::Compressed);
                if *files {
                    comparison.files = files::growth((old, new), &known, *top);
                }
                comparison
            };
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
                if let Some(growth) = &comparison.files {
                    show_files::growth(out, growth, *bytes, terminal)?;
                }
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
