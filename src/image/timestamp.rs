//! Creation times.

/// Seconds since the Unix epoch, as Prometheus counts time.
pub type Timestamp = f64;

/// 1 March 2013: Docker was shown in that month. Reproducible builds write constants before it, such as 1980.
pub const FIRST_IMAGE_SECONDS: i32 = 1_362_096_000;

/// An RFC 3339 date and time. None for year 1 and the epoch, which reproducible builds write.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    let seconds = timestamp.as_millisecond() as f64 / 1000.0;
    (seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn year_one_and_the_epoch_mean_unknown() {
        for (text, expected) in [
            ("2024-01-02T03:04:05Z", Some(1_704_164_645.0)),
            ("2024-01-02T03:04:05.500+01:00", Some(1_704_161_045.5)),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
    }
}
