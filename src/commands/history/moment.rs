//! Dates as numbers.

/// Milliseconds since the epoch: as exactly as Prometheus stores time.
pub type Millis = i64;

/// Milliseconds since the epoch, of seconds.
pub(super) fn millis(seconds: f64) -> Millis {
    #[expect(clippy::cast_possible_truncation, reason = "years beyond what fits are beyond what jiff parses")]
    let millis = (seconds * 1000.0).round() as Millis;
    millis
}

/// A date as RFC 3339 has it.
pub(super) fn moment(millis: Millis) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(millis).ok()
}
