//! The command line of `history`.

use std::str::FromStr;
use std::time::Duration;

use super::moment::Millis;
use crate::config::{label, step};

/// The labels that the series have of their own.
const OWN_LABELS: [&str; 5] = ["__name__", "registry", "repository", "target", "platform"];

/// The arguments of `history`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Only this target; repeatable
    #[arg(long, value_name = "NAME")]
    pub target: Vec<String>,
    /// Nothing before this date, as in `2024-01-31` or `2024-01-31T12:00:00Z`
    #[arg(long, value_name = "DATE")]
    pub since: Option<Instant>,
    /// Nothing after this date; samples for Prometheus end three hours ago without it, where its own head begins
    #[arg(long, value_name = "DATE")]
    pub until: Option<Instant>,
    /// What to print: samples for `promtool tsdb create-blocks-from openmetrics`, JSON, or a table
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = HistoryFormat::Table)]
    pub format: HistoryFormat,
    /// JSON instead of a table: the same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How often a sample is repeated until the next release. Prometheus looks back five minutes
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = step)]
    pub step: Duration,
    /// A further label of every sample, as in `job=image-size-exporter`, so that its series are those of a scrape; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = more_label)]
    pub label: Vec<(String, String)>,
    /// Exact bytes instead of KiB and MiB
    #[arg(long)]
    pub bytes: bool,
    /// Whole tags, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
}

/// How a history is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HistoryFormat {
    /// For Prometheus.
    Openmetrics,
    /// For programs.
    Json,
    /// For people.
    Table,
}

/// A date, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Millis);

impl Arguments {
    pub(super) fn step_millis(&self) -> Millis {
        Millis::try_from(self.step.as_millis()).unwrap_or(Millis::MAX)
    }

    pub(super) fn wanted_format(&self) -> HistoryFormat {
        if self.json { HistoryFormat::Json } else { self.format }
    }
}

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
        let at: jiff::Timestamp = whole.parse().map_err(|_| {
            format!("`{text}` is not a date: write one in UTC such as 2024-01-31, or 2024-01-31T12:00:00Z")
        })?;
        Ok(Self(at.as_millisecond()))
    }
}

fn more_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a name, `=` and a value, as in job=image-size-exporter")?;
    if OWN_LABELS.contains(&name) {
        return Err(format!("`{name}` is a label that the series have already"));
    }
    label(name, value).map_err(|why| format!("`{name}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_or_a_moment() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T00:00:01.5Z", Some(1_500)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-32", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Instant>().ok(), expected.map(Instant), "{text}");
        }
    }

    #[test]
    fn a_label_is_none_of_the_series_own() {
        assert_eq!(more_label("job=a=b"), Ok(("job".to_owned(), "a=b".to_owned())));
        for wrong in ["job", "registry=x", "__name__=x", "1a=x", "=x"] {
            assert!(more_label(wrong).is_err(), "{wrong}");
        }
    }
}
