//! `inspect`: one reference as the daemon would see it, or two compared, for people and as JSON.
//!
//! The schema of `--json` is [`Report`] for one reference, and `{"old": Report, "new": Report, "comparisons":
//! [Comparison]}` for two. Exit codes: 0 read; 3 denied; 4 not found; 5 unreachable; 6 any other failure of the registry
//! or its answer; 1 everything else. What was read is printed even if a platform of it failed.

mod compare;
mod read;
mod report;
mod show;
mod table;

use std::io::{self, Write};

use serde::Serialize;

use super::units;
use crate::oci::{Digest, Platform, Reference};
use crate::registry::Registries;
use crate::scan::ReadError;
use crate::target::Uncompressed;

pub use compare::{Change, Comparison, Difference};
pub use report::{FailedReport, ImageReport, LayerReport, Report, Sharing, Step};
pub use table::Terminal;

/// What `inspect` is told on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// An image, as `docker pull` takes it; or two, the old one and the new one, to compare
    #[arg(required = true, num_args = 1..=2, value_name = "REF")]
    pub references: Vec<Reference>,
    /// Only this platform, as in `linux/arm64`
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Find out the layers' uncompressed sizes: `cheap` fetches a few bytes of each, `exact` streams all of them
    #[arg(long, value_name = "off|cheap|exact", default_value = "off", value_parser = parse_uncompressed)]
    pub uncompressed: Uncompressed,
    /// Exact bytes instead of KiB and MiB
    #[arg(long)]
    pub bytes: bool,
    /// JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It could not be read.
    #[error("{source}{}", hint(source))]
    Read {
        /// Why.
        #[from]
        source: ReadError,
    },
    /// It was read, and has not that platform.
    #[error("{reference} has no image for {platform}: leave out --platform to see which it has")]
    Platform {
        /// The reference.
        reference: String,
        /// What was asked for.
        platform: Platform,
    },
    /// Two images without a platform in common.
    #[error("{old} and {new} have no platform in common: name one image of each by its digest to compare them")]
    Incomparable {
        /// The first reference.
        old: String,
        /// The second.
        new: String,
    },
    /// Neither tag nor digest, which no parsed reference is.
    #[error("the reference has neither a tag nor a digest")]
    Nameless,
    /// It could not be printed.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

impl InspectError {
    /// The program's exit code: see the module.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source } => source.reason().exit_code(),
            Self::Platform { .. } => 4,
            Self::Incomparable { .. } | Self::Nameless | Self::Output(_) => 1,
        }
    }
}

#[derive(Serialize)]
struct Compared<'a> {
    old: &'a Report,
    new: &'a Report,
    comparisons: &'a [Comparison],
}

/// Reads what `arguments` name and prints it to `out`; progress of long work goes to `err`.
pub async fn inspect(
    registries: &Registries,
    arguments: &Arguments,
    sharing: Option<&Sharing>,
    terminal: Terminal,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), InspectError> {
    let Arguments { platform, uncompressed, bytes, json, references } = arguments;
    let wants = read::Wanted { platform: platform.as_ref(), uncompressed: *uncompressed, sharing };
    let mut progress = Progress { err, shown: terminal.progress, layer: String::new(), received: 0, expected: 0 };
    let mut reports = Vec::new();
    for reference in references {
        reports.push(read::read(registries, reference, &wants, &mut progress).await?);
    }
    match &reports[..] {
        [old, new] => {
            let pairs = report::pairs(&old.images, &new.images);
            let comparisons: Vec<Comparison> = pairs.into_iter().map(|(old, new)| Comparison::of(old, new)).collect();
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

/// Progress of one layer after the other, on one line that is written over.
pub(crate) struct Progress<'a, W> {
    err: &'a mut W,
    shown: bool,
    layer: String,
    received: u64,
    expected: u64,
}

impl<W: Write> Progress<'_, W> {
    fn begin(&mut self, layer: &Digest, expected: u64) {
        self.layer = layer.to_string().chars().take(19).collect();
        (self.received, self.expected) = (0, expected);
        self.show();
    }

    fn advance(&mut self, bytes: u64) {
        const STEP: u64 = 1 << 20;
        let before = self.received / STEP;
        self.received += bytes;
        if self.received / STEP != before {
            self.show();
        }
    }

    fn note(&mut self, layer: &Digest, what: &str) {
        self.end();
        let _ = writeln!(self.err, "{layer}: {}", units::plain(what));
    }

    fn end(&mut self) {
        if self.shown {
            let _ = write!(self.err, "\r\u{1b}[K");
        }
    }

    /// Nobody is worse off where progress cannot be shown.
    fn show(&mut self) {
        if self.shown {
            let (received, expected) = (units::bytes(self.received, false), units::bytes(self.expected, false));
            let _ = write!(self.err, "\r\u{1b}[K{}: {received} of {expected}", self.layer);
            let _ = self.err.flush();
        }
    }
}

/// What a person can do about it, where the error does not say so itself.
fn hint(error: &ReadError) -> &'static str {
    match error.reason().exit_code() {
        3 => {
            "\nthe registry wants other credentials: log in with `docker login` or `podman login`, or name some under \
             [registries.\"HOST\"] in the configuration; a misspelt or private repository looks the same"
        }
        4 => "\ncheck the repository's and the tag's spelling",
        5 => {
            "\ncheck the registry's name, the network and the proxy; for plain HTTP set plain_http = true in the configuration"
        }
        _ => "",
    }
}

fn parse_uncompressed(text: &str) -> Result<Uncompressed, String> {
    match text {
        "off" => Ok(Uncompressed::Off),
        "cheap" => Ok(Uncompressed::Cheap),
        "exact" => Ok(Uncompressed::Exact),
        _ => Err("expected off, cheap or exact".to_owned()),
    }
}
