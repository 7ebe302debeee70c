//! When a failed request is sent again, and after how long.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// The most times that one request is sent.
pub(crate) const TRIES_MAX: u32 = 3;

/// The longest `Retry-After` that a request waits for; beyond it the request fails and the next scan tries again.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// What each request adds to its registry's retry budget: a registry that fails all requests receives a tenth more.
pub(crate) const RETRIES_PER_REQUEST: f64 = 0.1;
/// What time adds to it, so that rare requests may be retried too.
pub(crate) const RETRIES_PER_SECOND: f64 = 0.1;
/// The most retries that the budget holds.
pub(crate) const RETRIES_SAVED_MAX: f64 = 10.0;

const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// Statuses after which the same request may succeed.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// How long to wait after the `tried`-th try: doubled with each, minus a random part of at most half, so that requests
/// that failed together are not retried together.
pub(crate) fn backoff(tried: u32) -> Duration {
    let full = BACKOFF_FIRST * 2u32.saturating_pow(tried.saturating_sub(1)).min(64);
    full / 2 + (full / 2).mul_f64(random())
}

/// `Retry-After`, in seconds or as a date; `None` where it is absent or unreadable, and zero where it is past. Some servers
/// send a fraction, which RFC 9110 does not have: it is rounded up.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let seconds: f64 = text.parse().ok()?;
        return Some(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// A number between 0 and 1. The standard library seeds each `RandomState` at random, which is enough for jitter.
pub(crate) fn random() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).expect("the upper half of 64 bits has 32")) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(value: &str) -> Option<Duration> {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]), now)
    }

    #[test]
    fn retry_after_comes_in_two_forms() {
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("1.5", Some(2)),
            ("2.0", Some(2)),
            (".25", Some(1)),
            ("0.0", Some(0)),
            ("99999999999999999999999999.9", Some(u64::MAX)),
            ("1.5.2", None),
            (".", None),
            ("1e3", None),
            ("inf", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(after(value).map(|wait| wait.as_secs()), seconds, "{value}");
        }
    }

    proptest! {
        #[test]
        fn waits_grow_and_stay_within_bounds(tried in 1u32..100) {
            let wait = backoff(tried);
            prop_assert!(wait >= BACKOFF_FIRST / 2);
            prop_assert!(wait <= BACKOFF_FIRST * 2u32.saturating_pow(tried - 1).min(64));
        }
    }
}
