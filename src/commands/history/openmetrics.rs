//! Samples with timestamps (OpenMetrics 1.0): each family once, each series in one piece, times rising.

use std::io::{self, Write};

use super::history_report::{History, NewestPoint, RepositoryHistory};
use super::moment::Millis;
use super::timeline::Window;
use crate::metrics::{Family, label};

/// More is refused: the text would have some 20 GB, and Prometheus would read it for hours.
const SAMPLES_MAX: u64 = 100_000_000;

/// A series: its labels, from `{` to before `}`, and its value from each time on.
struct Series {
    labels: String,
    points: Vec<(Millis, Option<u64>)>,
}

/// Writes the families of a history, and `# EOF`.
pub(super) fn write(
    history: &History,
    more: &[(String, String)],
    window: Window,
    out: &mut impl Write,
) -> io::Result<()> {
    let families = [
        (Family::NewestCompressedSize, newest(history, more, |point| point.release.compressed_bytes)),
        (
            Family::NewestPreviousCompressedSize,
            newest(history, more, |point| {
                point.release.compressed_bytes.and(point.previous.as_ref())?.compressed_bytes
            }),
        ),
        (Family::RepositoryStoredSize, stored(history, more)),
    ];
    let count = families.iter().flat_map(|(_, series)| series).map(|one| window.count(&one.points));
    let count = count.fold(0, u64::saturating_add);
    if count > SAMPLES_MAX {
        let why = format!(
            "{count} samples are more than {SAMPLES_MAX}: narrow them by --target or --since, or write a longer --step"
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    for (family, series) in families {
        let name = family.name();
        let mut is_announced = false;
        for Series { labels, points } in series {
            for (at, value) in window.samples(&points) {
                if !is_announced {
                    writeln!(out, "# HELP {name} {}\n# TYPE {name} gauge", family.help())?;
                    is_announced = true;
                }
                let (seconds, rest) = (at.div_euclid(1000), at.rem_euclid(1000));
                if rest == 0 {
                    writeln!(out, "{name}{labels}}} {value} {seconds}")?;
                } else {
                    writeln!(out, "{name}{labels}}} {value} {seconds}.{rest:03}")?;
                }
            }
        }
    }
    writeln!(out, "# EOF")
}

fn newest(history: &History, more: &[(String, String)], value: impl Fn(&NewestPoint) -> Option<u64>) -> Vec<Series> {
    let each = |repository: &RepositoryHistory| {
        let series = repository.newest.iter().map(|newest| Series {
            labels: labels(repository, &[("target", &newest.target), ("platform", &newest.platform)], more),
            points: newest.points.iter().map(|point| (point.at, value(point))).collect(),
        });
        series.collect::<Vec<_>>()
    };
    history.repositories.iter().flat_map(each).collect()
}

fn stored(history: &History, more: &[(String, String)]) -> Vec<Series> {
    let each = |repository: &RepositoryHistory| Series {
        labels: labels(repository, &[], more),
        points: repository.stored.iter().map(|point| (point.at, Some(point.bytes))).collect(),
    };
    history.repositories.iter().map(each).collect()
}

fn labels(repository: &RepositoryHistory, own: &[(&str, &String)], more: &[(String, String)]) -> String {
    let mut text = "{".to_owned();
    label(&mut text, "registry", &repository.registry);
    label(&mut text, "repository", &repository.repository);
    for (key, value) in own {
        label(&mut text, key, value);
    }
    for (key, value) in more {
        label(&mut text, key, value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::history_report::StoredPoint;
    use super::*;

    fn written(step: Millis, until: Millis) -> Result<String, String> {
        let repository = RepositoryHistory {
            registry: "r".to_owned(),
            repository: "a".to_owned(),
            is_partial: false,
            newest: Vec::new(),
            stored: vec![StoredPoint { at: 1500, tags: 1, bytes: 7 }, StoredPoint { at: 4000, tags: 2, bytes: 9 }],
            notes: Vec::new(),
        };
        let history = History { repositories: vec![repository], errors: Vec::new() };
        let mut out = Vec::new();
        let window = Window { since: 0, until, step };
        write(&history, &[("job".to_owned(), "x\"y".to_owned())], window, &mut out).map_err(|why| why.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_family_is_announced_once_and_its_samples_have_their_times() {
        let series = "container_image_repository_stored_size_bytes{registry=\"r\",repository=\"a\",job=\"x\\\"y\"}";
        let text = written(2000, 5000).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# HELP container_image_repository_stored_size_bytes "), "{text}");
        assert_eq!(lines[1], "# TYPE container_image_repository_stored_size_bytes gauge");
        assert_eq!(
            lines[2..],
            [format!("{series} 7 1.500"), format!("{series} 7 2"), format!("{series} 9 4"), "# EOF".to_owned()]
        );
        assert_eq!(written(2000, 0).unwrap(), "# EOF\n");
    }

    #[test]
    fn more_samples_than_prometheus_reads_in_hours_are_refused() {
        let error = written(1, 200_000_000).unwrap_err();
        assert!(error.contains("are more than 100000000: narrow them by --target or --since"), "{error}");
    }
}
