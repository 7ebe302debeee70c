//! From the creation dates of a repository's tags to what was newest and what was stored at each time. Pure.
//!
//! At any time the tags up to then are what the daemon would have seen, if none was deleted or pushed again: it picks
//! the newest release and the one before it from them by the same rule.

use std::collections::{BTreeMap, HashMap};

use super::history_report::{NewestHistory, NewestPoint, Release, StoredPoint};
use super::moment::{Millis, millis};
use crate::image::Image;
use crate::oci::{Digest, Platform, Tag};
use crate::tag::Reading;
use crate::target::{Candidate, CandidateState, NewestBy, Target};

/// A tag that has a date.
#[derive(Clone, Copy)]
pub(super) struct Dated<'a> {
    /// When the latest of its images was created.
    pub(super) at: Millis,
    pub(super) reading: &'a Reading,
}

/// When the latest of a tag's images was created.
pub(super) fn created(reading: &Reading) -> Option<Millis> {
    reading.images.iter().filter_map(|image| image.created).max_by(f64::total_cmp).map(millis)
}

/// The newest release of a target at each time, for each platform.
pub(super) fn newest(
    target: &Target,
    by: NewestBy,
    candidates: &[Candidate],
    dated: &BTreeMap<&Tag, Dated<'_>>,
) -> Vec<NewestHistory> {
    let mut dates: Vec<Millis> =
        candidates.iter().filter_map(|candidate| dated.get(&candidate.tag)).map(|dated| dated.at).collect();
    dates.sort_unstable();
    dates.dedup();
    let mut platforms: BTreeMap<&Platform, Vec<NewestPoint>> = BTreeMap::new();
    for at in dates {
        let releases = by.releases(candidates, |tag| state(dated.get(tag), at));
        let Some(((tag, release), before)) = releases.split_first() else { continue };
        for image in release.images.iter().filter(|image| target.platforms.includes(&image.platform)) {
            platforms.entry(&image.platform).or_default();
        }
        for (platform, points) in &mut platforms {
            let image = on(release, platform);
            let previous = before.iter().find_map(|(tag, other)| {
                let other_image = on(other, platform)?;
                let is_other = image.is_some_and(|image| image.digest != other_image.digest);
                (is_other && other_image.compressed_bytes().is_some())
                    .then(|| released_as(tag, other, Some(other_image)))
            });
            let release = released_as(tag, release, image);
            let point = NewestPoint { at, release, previous };
            if points.last().is_none_or(|last| (&last.release, &last.previous) != (&point.release, &point.previous)) {
                points.push(point);
            }
        }
    }
    let histories = platforms.into_iter().map(|(platform, points)| NewestHistory {
        target: target.name.to_string(),
        platform: platform.to_string(),
        points,
    });
    histories.collect()
}

/// A candidate as of a date.
fn state<'a>(dated: Option<&Dated<'a>>, at: Millis) -> CandidateState<&'a Reading> {
    match dated {
        #[expect(clippy::cast_precision_loss, reason = "it is only compared, and dates are far below 2^53 ms")]
        Some(dated) if dated.at <= at => CandidateState::Read(dated.reading, Some(dated.at as f64)),
        Some(_) => CandidateState::Gone,
        None => CandidateState::Unread,
    }
}

/// A release's image for a platform.
fn on<'a>(reading: &'a Reading, platform: &Platform) -> Option<&'a Image> {
    reading.images.iter().find(|image| image.platform == *platform).map(|image| &**image)
}

fn released_as(tag: &Tag, reading: &Reading, image: Option<&Image>) -> Release {
    Release {
        tag: tag.to_string(),
        digest: reading.digest.clone(),
        compressed_bytes: image.and_then(Image::compressed_bytes),
    }
}

/// Bytes of the distinct layers that the registry holds, at each date. Where manifests disagree about a layer's size
/// the smallest counts.
pub(super) fn stored(dated: &BTreeMap<&Tag, Dated<'_>>) -> Vec<StoredPoint> {
    let mut by_date: Vec<&Dated<'_>> = dated.values().collect();
    by_date.sort_by_key(|dated| dated.at);
    let mut layers: HashMap<&Digest, u64> = HashMap::new();
    let mut points: Vec<StoredPoint> = Vec::new();
    let mut bytes = 0_u64;
    let mut is_known = false;
    for (count, dated) in (1..).zip(by_date) {
        for image in dated.reading.images.iter().filter(|image| image.compressed_bytes().is_some()) {
            is_known = true;
            for layer in image.layers.iter().filter(|layer| !layer.foreign) {
                let Some(size) = layer.bytes else { continue };
                let known = layers.entry(&layer.digest).or_insert_with(|| {
                    bytes = bytes.saturating_add(size);
                    size
                });
                if size < *known {
                    bytes -= *known - size;
                    *known = size;
                }
            }
        }
        let point = StoredPoint { at: dated.at, tags: count, bytes };
        match points.last_mut() {
            _ if !is_known => {}
            Some(last) if last.at == point.at => *last = point,
            _ => points.push(point),
        }
    }
    points
}

/// When samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) since: Millis,
    pub(super) until: Millis,
    /// Between the repetitions of a sample, which stand at multiples of it.
    pub(super) step: Millis,
}

impl Window {
    /// A value that holds from each point to the next, as samples: at its own time, or where the window begins, and
    /// again at each multiple of the step. Times rise.
    pub(super) fn samples(self, points: &[(Millis, Option<u64>)]) -> impl Iterator<Item = (Millis, u64)> {
        let spans = self.spans(points).collect::<Vec<_>>();
        spans.into_iter().flat_map(move |(from, to, value)| {
            let first = (from.div_euclid(self.step) + 1).saturating_mul(self.step);
            let step = usize::try_from(self.step).unwrap_or(usize::MAX);
            std::iter::once(from).chain((first..to).step_by(step)).map(move |at| (at, value))
        })
    }

    /// How many samples these are.
    pub(super) fn count(self, points: &[(Millis, Option<u64>)]) -> u64 {
        let of = |(from, to, _): (Millis, Millis, u64)| {
            let multiples = (to - 1).div_euclid(self.step) - from.div_euclid(self.step);
            u64::try_from(multiples).unwrap_or(0).saturating_add(1)
        };
        self.spans(points).map(of).fold(0, u64::saturating_add)
    }

    /// From when to before when a value holds.
    fn spans(self, points: &[(Millis, Option<u64>)]) -> impl Iterator<Item = (Millis, Millis, u64)> {
        let end = self.until.saturating_add(1);
        let ends = points.iter().skip(1).map(|(at, _)| *at).chain([end]);
        points.iter().zip(ends).filter_map(move |((at, value), next)| {
            let (from, to) = ((*at).max(self.since), next.min(end));
            value.filter(|_| from < to).map(|value| (from, to, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_repeated_at_multiples_of_the_step_until_the_next_one() {
        let window = |since, until| Window { since, until, step: 10 };
        let points = [(3, Some(1)), (20, Some(2)), (41, None), (50, Some(3))];
        for (window, expected) in [
            (window(0, 60), &[(3, 1), (10, 1), (20, 2), (30, 2), (40, 2), (50, 3), (60, 3)][..]),
            (window(12, 35), &[(12, 1), (20, 2), (30, 2)]),
            (window(45, 49), &[]),
            (window(70, 60), &[]),
            (window(0, 2), &[]),
        ] {
            assert_eq!(window.samples(&points).collect::<Vec<_>>(), expected, "{window:?}");
        }
    }

    proptest! {
        #[test]
        fn samples_rise_leave_no_gap_and_have_the_value_of_their_time(
            mut points in proptest::collection::vec((0..1000_i64, proptest::option::of(0..5_u64)), 0..12),
            since in 0..1000_i64, until in 0..1200_i64, step in 1..200_i64,
        ) {
            points.sort_by_key(|(at, _)| *at);
            points.dedup_by_key(|(at, _)| *at);
            let window = Window { since, until, step };
            let samples: Vec<_> = window.samples(&points).collect();
            prop_assert_eq!(samples.len() as u64, window.count(&points));
            prop_assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let value = |at: i64| points.iter().rev().find(|(from, _)| *from <= at).and_then(|(_, value)| *value);
            for (at, sample) in &samples {
                prop_assert!((since..=until).contains(at));
                prop_assert_eq!(value(*at), Some(*sample));
            }
            // A query that looks back by one step finds the value of any moment.
            for at in since..=until {
                let seen = samples.iter().rev().find(|(sample, _)| *sample <= at && *sample > at - step);
                if let Some(expected) = value(at) {
                    prop_assert_eq!(seen.map(|(_, value)| *value), Some(expected), "{}", at);
                }
            }
        }
    }
}
