//! Wall-clock time, as Prometheus counts it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the epoch. 0 where the clock is set before it.
pub(crate) fn unix_now() -> f64 {
    since_epoch().as_secs_f64()
}

/// Time since the epoch. None where the clock is set before it.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
