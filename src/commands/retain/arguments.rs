//! The command line of `retain`.

use std::time::Duration;

use crate::config::age;
use crate::target::{Repositories, TagPattern};

/// The arguments of `retain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// With a rule of the command line: all tags of these repositories, such as `registry.internal:5000/acme/*`; without
    /// one the configuration's targets
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<Repositories>,
    /// Only this policy of the configuration; repeatable
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keep_newest", "keep_match", "keep_younger", "repositories"])]
    pub policy: Vec<String>,
    /// Keep in each repository the tags of so many digests, newest first by creation date
    #[arg(long, value_name = "N", value_parser = count)]
    pub keep_newest: Option<usize>,
    /// Keep the tags in which this regular expression is found; repeatable
    #[arg(long, value_name = "REGEX")]
    pub keep_match: Vec<TagPattern>,
    /// Keep the tags that were created less than this long ago, as in `30d`
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub keep_younger: Option<Duration>,
    /// What to print: each tag with its reason, JSON, or the digests to delete, one a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = RetainFormat::Table)]
    pub format: RetainFormat,
    /// JSON instead of a table: the same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Exact bytes instead of KiB and MiB
    #[arg(long)]
    pub bytes: bool,
    /// Every column, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RetainFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For what deletes: `registry/repository@digest`.
    Digests,
}

impl Arguments {
    /// Whether the command line has a rule.
    pub(super) fn has_rule(&self) -> bool {
        self.keep_newest.is_some() || !self.keep_match.is_empty() || self.keep_younger.is_some()
    }

    pub(super) fn wanted_format(&self) -> RetainFormat {
        if self.json { RetainFormat::Json } else { self.format }
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number above 0".to_owned())
}
