//! Durations: `30s`, `1h 30m`, `7d`. Months and years are no units, since `M` is a minute to one reader and a month to
//! another, and neither month nor year has a fixed length.

use std::fmt::Write as _;
use std::time::Duration;

/// What a duration may be, and one to show as an example.
pub(in crate::config) struct Bounds {
    pub(in crate::config) min: Duration,
    pub(in crate::config) max: Duration,
    pub(in crate::config) example: &'static str,
}

/// The units with their milliseconds, longest first.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What `duration` reads, as a regular expression of JSON schemas.
pub(in crate::config) const PATTERN: &str = r"^\s*([0-9]+\s*(ms|s|m|h|d|w)\s*)+$";

/// A duration within bounds.
pub(in crate::config) fn duration(text: &str, bounds: &Bounds) -> Result<Duration, String> {
    let Bounds { min, max, example } = bounds;
    let duration = parse(text).map_err(|why| format!("`{text}` {why}, such as {example:?}"))?;
    if (*min..=*max).contains(&duration) {
        return Ok(duration);
    }
    let (min, max) = (shown(*min), shown(*max));
    Err(format!("`{text}` is out of range: write a duration from {min} to {max}, such as {example:?}"))
}

/// The duration as `duration` reads it: `1h 30m`. Below a millisecond nothing is shown.
pub(in crate::config) fn shown(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are read and not shown: `7d` is what most people write.
    for (unit, millis) in UNITS.iter().filter(|(unit, millis)| *unit != "w" && rest >= *millis).collect::<Vec<_>>() {
        if rest >= *millis {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Numbers with units, added up. The error is a predicate of the text that ends before an example.
fn parse(text: &str) -> Result<Duration, String> {
    const REMEDY: &str = "write a whole number and a unit of ms, s, m, h, d, w";
    let none = || format!("is not a duration: {REMEDY}");
    let mut rest = text.trim();
    let mut total = Some(0_u64);
    if rest.is_empty() {
        return Err(none());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || unit.is_empty() {
            return Err(none());
        }
        let Some((_, millis)) = UNITS.iter().find(|(known, _)| *known == unit) else {
            let hint = if unit == "M" { " (`m` is minutes, and months have no unit)" } else { "" };
            return Err(format!("has the unknown unit `{unit}`{hint}: {REMEDY}"));
        };
        // Too many digits are out of range like any other long duration.
        let part = number.parse().ok().and_then(|number: u64| number.checked_mul(*millis));
        total = total.and_then(|total| total.checked_add(part?));
        rest = after.trim_start();
    }
    Ok(total.map_or(Duration::MAX, Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_six_units_and_nothing_else() {
        for (text, expected) in [
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            (" 2 d ", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("100ms", Some(100)),
            ("1s500ms", Some(1_500)),
            ("0s", Some(0)),
            ("5M", None),
            ("5min", None),
            ("1y", None),
            ("5", None),
            ("m", None),
            ("1.5h", None),
            ("-5m", None),
            ("5m!", None),
            ("5µs", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
        assert_eq!(parse("99999999999999999999w"), Ok(Duration::MAX));
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for (text, expected) in [
            ("90m", "1h 30m"),
            ("7d", "7d"),
            ("1w1ms", "7d 1ms"),
            ("365d", "365d"),
            ("0s", "0s"),
            ("1500ms", "1s 500ms"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(shown(duration), expected);
            assert_eq!(parse(expected), Ok(duration));
        }
    }
}
