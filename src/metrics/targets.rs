//! The families about targets. They are rendered with the snapshot of the same moment, so that no scrape shows a
//! target as failing whose tags are all up, or the other way round.

use super::labels::label;
use super::own::{ScanEnd, TargetState};
use super::sink::{Sink, Value};

pub(crate) fn write(targets: &[TargetState], sink: &mut Sink) {
    family(
        targets,
        sink,
        "image_size_exporter_target_up",
        "1 when the target's last scan read everything that it selects, 0 when something failed.",
        |target| target.last.map(|end: ScanEnd| Value::Integer(end.up.into())),
    );
    family(
        targets,
        sink,
        "image_size_exporter_target_last_scan_timestamp_seconds",
        "When the target's last scan ended, failed or not.",
        |target| target.last.map(|end| Value::Float(end.at)),
    );
    family(
        targets,
        sink,
        "image_size_exporter_target_last_scan_duration_seconds",
        "How long the target's last scan took.",
        |target| target.last.map(|end| Value::Float(end.duration.as_secs_f64())),
    );
    family(
        targets,
        sink,
        "image_size_exporter_target_interval_seconds",
        "Time between the starts of two scans of the target, as configured.",
        |target| Some(Value::Float(target.interval.as_secs_f64())),
    );
    family(
        targets,
        sink,
        "image_size_exporter_target_repositories",
        "Repositories that the target selects, with or without a selected tag. Absent until its lists were read.",
        |target| target.selected.map(|selected| Value::Integer(selected.repositories)),
    );
    family(
        targets,
        sink,
        "image_size_exporter_target_tags",
        "Tags that the target selects. Absent until its lists were read to their ends.",
        |target| target.selected.map(|selected| Value::Integer(selected.tags)),
    );
}

fn family(
    targets: &[TargetState],
    sink: &mut Sink,
    name: &'static str,
    help: &'static str,
    value: impl Fn(&TargetState) -> Option<Value>,
) {
    sink.begin(name, help);
    for target in targets {
        let Some(value) = value(target) else { continue };
        let mut labels = String::from("{");
        label(&mut labels, "target", &target.name.0);
        sink.sample(name, &labels, "", value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::Selected;
    use crate::metrics::own::ScanTrouble;
    use crate::target::TargetName;

    fn lines(targets: &[TargetState]) -> Vec<String> {
        let mut sink = Sink::new();
        write(targets, &mut sink);
        let text = sink.finish().identity.concat();
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
