//! When a target's next scan is due. Pure arithmetic on wall-clock time.

use std::time::Duration;

use crate::target::spread::{hash, scramble};
use crate::target::{Shard, TargetName};

/// The longest back-off after repeated failures, or the target's interval where that is longer.
const BACKOFF_MAX: Duration = Duration::from_hours(1);

/// A target's offset within its interval: a hash of its name, so that a thousand targets are spread out and each keeps
/// its offset across restarts. Of several shards each has another one, so that they do not ask one registry all at once.
fn offset(name: &TargetName, shard: Shard, interval: Duration) -> Duration {
    let hash = hash(name.0.bytes());
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let hash = if shard.is_only() { hash } else { hash ^ scramble(u64::from(shard.number()) + 1) };
    Duration::from_millis(scramble(hash) % millis)
}

/// The time from `now` (since the epoch) to the target's next scheduled scan: the next moment at its offset in the
/// interval. After `failures` scans in a row that read nothing it skips intervals: one scan in two, four, eight.
pub(super) fn until_next(
    now: Duration,
    (name, shard): (&TargetName, Shard),
    interval: Duration,
    failures: u32,
) -> Duration {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let now_millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let offset = u64::try_from(offset(name, shard, interval).as_millis()).unwrap_or(0);
    let since_last = (now_millis + millis - offset % millis) % millis;
    let next = Duration::from_millis(millis - since_last);
    let skips = 1_u32.checked_shl(failures.saturating_sub(1).min(3)).unwrap_or(8) - 1;
    let skipped = interval.saturating_mul(skips).min(BACKOFF_MAX.saturating_sub(interval));
    next + whole_intervals(skipped, interval)
}

/// Rounded down to whole intervals, so that a target that failed keeps its offset.
fn whole_intervals(skipped: Duration, interval: Duration) -> Duration {
    let count = skipped.as_millis() / interval.as_millis().max(1);
    interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> TargetName {
        TargetName(text.into())
    }

    #[test]
    fn a_thousand_targets_do_not_burst() {
        let interval = Duration::from_mins(5);
        let mut seconds = [0_u32; 300];
        for number in 0..1000 {
            let name = name(&format!("registry.example.com/team/app-{number}"));
            let offset = offset(&name, Shard::default(), interval);
            seconds[usize::try_from(offset.as_secs()).unwrap()] += 1;
        }
        let busiest = *seconds.iter().max().unwrap();
        assert!(busiest <= 15, "{busiest} targets in one second, where 3.3 is the mean");
    }

    #[test]
    fn shards_do_not_scan_a_target_at_the_same_time() {
        let interval = Duration::from_mins(5);
        let offset = |number, total| offset(&name("all"), Shard::new(number, total).unwrap(), interval);
        let mut offsets: Vec<Duration> = (0..8).map(|number| offset(number, 8)).collect();
        assert_eq!(offsets[1], offset(1, 9), "a further shard moves no scan of the others");
        offsets.sort();
        assert!(offsets.windows(2).all(|pair| pair[1] > pair[0] + Duration::from_millis(100)), "{offsets:?}");
        assert!(offsets[7] > offsets[0] + interval / 2, "{offsets:?}");
    }

    #[test]
    fn failures_skip_intervals_up_to_an_hour() {
        let interval = Duration::from_mins(5);
        let a = (&name("a"), Shard::default());
        let next = until_next(Duration::from_secs(1_000_000), a, interval, 0);
        for (failures, skips) in [(1, 0), (2, 1), (3, 3), (4, 7), (50, 7)] {
            let delay = until_next(Duration::from_secs(1_000_000), a, interval, failures);
            assert_eq!(delay, next + interval * skips, "{failures}");
        }
        let slow = Duration::from_hours(6);
        let delay = until_next(Duration::from_secs(1_000_000), a, slow, 9);
        assert!(delay <= slow, "a slow target is not made slower");
        let hourly = until_next(Duration::from_secs(1_000_000), a, Duration::from_mins(20), 9);
        assert!(hourly <= Duration::from_hours(1));
    }

    proptest! {
        #[test]
        fn the_next_scan_is_within_an_interval_and_at_the_targets_offset(now in 0_u64..4_000_000_000_000, interval in 1_u64..100_000_000, text in "[a-z/]{1,20}", total in 1_u32..5) {
            let (interval, shard) = (Duration::from_millis(interval), Shard::new(total - 1, total).unwrap());
            let name = name(&text);
            let delay = until_next(Duration::from_millis(now), (&name, shard), interval, 0);
            prop_assert!(delay > Duration::ZERO && delay <= interval);
            let scan = Duration::from_millis(now) + delay;
            prop_assert_eq!(scan.as_millis() % interval.as_millis(), offset(&name, shard, interval).as_millis());
        }
    }
}
