//! The families about targets. They are rendered with the snapshot of the same moment, so that no scrape shows a
//! target as failing whose tags are all up, or the other way round.

use super::own::TargetState;
use super::sink::Value;

/// A family about targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetFamily {
    Up,
    LastScan,
    LastScanDuration,
    Interval,
    Repositories,
    Tags,
}

impl TargetFamily {
    /// All of them, in the order in which they are published.
    pub(crate) const ALL: [Self; 6] =
        [Self::Up, Self::LastScan, Self::LastScanDuration, Self::Interval, Self::Repositories, Self::Tags];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "image_size_exporter_target_up",
            Self::LastScan => "image_size_exporter_target_last_scan_timestamp_seconds",
            Self::LastScanDuration => "image_size_exporter_target_last_scan_duration_seconds",
            Self::Interval => "image_size_exporter_target_interval_seconds",
            Self::Repositories => "image_size_exporter_target_repositories",
            Self::Tags => "image_size_exporter_target_tags",
        }
    }

    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Up => "1 when the target's last scan read everything that it selects, 0 when something failed.",
            Self::LastScan => "When the target's last scan ended, failed or not.",
            Self::LastScanDuration => "How long the target's last scan took.",
            Self::Interval => "Time between the starts of two scans of the target, as configured.",
            Self::Repositories => {
                "Repositories that the target selects, with or without a selected tag. Absent until its lists were read."
            }
            Self::Tags => "Tags that the target selects. Absent until its lists were read to their ends.",
        }
    }

    pub(crate) fn value(self, target: &TargetState) -> Option<Value> {
        match self {
            Self::Up => target.last.map(|end| Value::Integer(end.up.into())),
            Self::LastScan => target.last.map(|end| Value::Float(end.at)),
            Self::LastScanDuration => target.last.map(|end| Value::Float(end.duration.as_secs_f64())),
            Self::Interval => Some(Value::Float(target.interval.as_secs_f64())),
            Self::Repositories => target.selected.map(|selected| Value::Integer(selected.repositories)),
            Self::Tags => target.selected.map(|selected| Value::Integer(selected.tags)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::inventory::{Selected, Snapshot};
    use crate::metrics::own::{ScanEnd, ScanTrouble};
    use crate::metrics::{Encoding, Rendered};
    use crate::target::TargetName;

    fn lines(targets: &[TargetState]) -> Vec<String> {
        let rendered = Rendered::with_targets(&Snapshot::default(), targets, &BTreeSet::new());
        let text = rendered.pieces(Encoding::Identity).concat();
        String::from_utf8(text).unwrap().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn target(name: &str, last: Option<ScanEnd>) -> TargetState {
        TargetState {
            name: TargetName(name.into()),
            interval: Duration::from_secs(30),
            last,
            selected: None,
            trouble: ScanTrouble::default(),
        }
    }

    #[test]
    fn what_a_target_selects_is_published_where_it_is_known() {
        let selected = Some(Selected { repositories: 3, tags: 0 });
        let lines = lines(&[TargetState { selected, ..target("a", None) }, target("b", None)]);
        assert_eq!(
            lines[2..],
            [
                r#"image_size_exporter_target_repositories{target="a"} 3"#,
                r#"image_size_exporter_target_tags{target="a"} 0"#,
            ]
        );
    }

    #[test]
    fn a_target_that_was_not_scanned_yet_has_only_an_interval() {
        let end = ScanEnd { at: 1.5, duration: Duration::from_secs(2), up: true };
        assert_eq!(
            lines(&[target("b", Some(end)), target("c", None)]),
            [
                r#"image_size_exporter_target_up{target="b"} 1"#,
                r#"image_size_exporter_target_last_scan_timestamp_seconds{target="b"} 1.5"#,
                r#"image_size_exporter_target_last_scan_duration_seconds{target="b"} 2"#,
                r#"image_size_exporter_target_interval_seconds{target="b"} 30"#,
                r#"image_size_exporter_target_interval_seconds{target="c"} 30"#,
            ]
        );
    }

    #[test]
    fn a_target_may_have_any_name() {
        let expected = r#"image_size_exporter_target_interval_seconds{target="a\"b\\c\nd é"} 30"#;
        assert_eq!(lines(&[target("a\"b\\c\nd é", None)]), [expected]);
    }
}
