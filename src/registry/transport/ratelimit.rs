//! Docker Hub's `ratelimit-*` headers: how many pulls are left, and how many of them are reserved for people.

use std::time::Duration;

use http::HeaderMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How long the headers' numbers count at most, and where they name no window.
const USABLE_MAX: Duration = Duration::from_hours(6);

/// A registry's limit on pulls (`ratelimit-limit` and `ratelimit-remaining` headers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Pulls per window.
    pub limit: Option<u64>,
    /// Pulls left.
    pub remaining: Option<u64>,
    /// The window's length in seconds.
    pub window_secs: Option<u64>,
}

/// The last headers of a registry about its limit, and the pulls under way, which they do not count yet.
#[derive(Default)]
pub(crate) struct Metering {
    state: Mutex<MeteringState>,
}

#[derive(Default)]
struct MeteringState {
    last: Option<RateLimit>,
    /// When `last` expires.
    until: Option<Instant>,
    under_way: u64,
}

/// One metered pull under way, until it is dropped.
pub(crate) struct Pull<'a>(&'a Metering);

impl Metering {
    /// Notes an answer's headers. Returns their values, to be published.
    pub(crate) fn note(&self, headers: &HeaderMap) -> Option<RateLimit> {
        let limit = parse(headers, "ratelimit-limit");
        let remaining = parse(headers, "ratelimit-remaining");
        let (_, window) = limit.or(remaining)?;
        let window_secs = window.or_else(|| remaining?.1);
        let read = RateLimit {
            limit: limit.map(|(limit, _)| limit),
            remaining: remaining.map(|(remaining, _)| remaining),
            window_secs,
        };
        let mut state = self.state();
        state.last = Some(read);
        let window = window_secs.map_or(USABLE_MAX, Duration::from_secs);
        state.until = Some(Instant::now() + window.min(USABLE_MAX));
        Some(read)
    }

    /// Whether any answer of this registry had the headers.
    pub(crate) fn is_metered(&self) -> bool {
        self.state().last.is_some()
    }

    /// Starts a metered pull, unless it would cut into the reserve. An unknown number of pulls left counts as enough.
    pub(crate) fn pull(&self, reserve: u64) -> Option<Pull<'_>> {
        let mut state = self.state();
        if state.remaining().is_some_and(|remaining| remaining.saturating_sub(state.under_way) <= reserve) {
            return None;
        }
        state.under_way += 1;
        Some(Pull(self))
    }

    /// Pulls left by the last answer; `None` where that is unknown or too old.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.state().remaining()
    }

    fn state(&self) -> MutexGuard<'_, MeteringState> {
        self.state.lock()
    }
}

impl MeteringState {
    fn remaining(&self) -> Option<u64> {
        self.until.filter(|until| *until > Instant::now()).and(self.last)?.remaining
    }
}

impl Drop for Pull<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

/// `100;w=21600`, `100, 100;w=21600`, `100`: the number and the window in seconds.
fn parse(headers: &HeaderMap, name: &'static str) -> Option<(u64, Option<u64>)> {
    let text = headers.get(name)?.to_str().ok()?;
    let number = text.split([',', ';']).next()?.trim().parse().ok()?;
    let window = text.split([',', ';']).find_map(|part| part.trim().strip_prefix("w=")?.trim().parse().ok());
    Some((number, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(limit: &str, remaining: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    #[test]
    fn limits_are_read_in_every_form() {
        for (limit, remaining, expected) in [
            ("100;w=21600", "20;w=21600", Some((Some(100), Some(20), Some(21600)))),
            ("100, 100;w=60", "20", Some((Some(100), Some(20), Some(60)))),
            ("100", "", Some((Some(100), None, None))),
            ("", "7;w=5", Some((None, Some(7), Some(5)))),
            ("", "", None),
            ("many", "few", None),
        ] {
            let read = Metering::default().note(&headers(limit, remaining));
            assert_eq!(read.map(|s| (s.limit, s.remaining, s.window_secs)), expected, "{limit} {remaining}");
        }
    }

    #[test]
    fn the_reserve_is_kept_and_counts_what_is_under_way() {
        let metering = Metering::default();
        assert!(!metering.is_metered() && metering.pull(20).is_some(), "nothing is known yet");
        metering.note(&headers("100;w=60", "22;w=60"));
        let first = metering.pull(20).unwrap();
        let second = metering.pull(20).unwrap();
        assert!(metering.pull(20).is_none(), "20 must stay");
        metering.note(&headers("100;w=60", "21;w=60"));
        drop((first, second));
        assert!(metering.pull(20).is_some());
        metering.note(&headers("100;w=60", "20;w=60"));
        assert!(metering.pull(20).is_none() && metering.is_metered());
        metering.note(&headers("100;w=60", "0;w=60"));
        assert!(metering.pull(0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_headers_hold_for_their_window() {
        let metering = Metering::default();
        for (remaining, secs) in [("0;w=60", 60), ("0", 6 * 3600), ("0;w=99999999999999999", 6 * 3600)] {
            metering.note(&headers("", remaining));
            tokio::time::advance(Duration::from_secs(secs - 1)).await;
            assert!(metering.pull(0).is_none(), "{remaining}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(metering.pull(0).is_some() && metering.is_metered(), "{remaining}");
        }
    }
}
