//! Figures, times and names as elements.

use jiff::SignedDuration;
use maud::{Markup, html};

use crate::image::Timestamp;
use crate::image::human::{bytes, difference, growth_share, plain};

/// The most characters of a name that are shown; its title has more.
const NAME_MAX: usize = 120;

/// The most characters in a title or message.
const TEXT_MAX: usize = 1_000;

/// A text that somebody else wrote, whatever is in it: cut, and without invisible characters.
pub(super) fn text(text: &str) -> String {
    cut(text, TEXT_MAX)
}

/// A name, cut to what fits a line; the title has the rest.
pub(super) fn name(name: &str) -> Markup {
    let shown = cut(name, NAME_MAX);
    html! {
        @if shown.chars().count() > NAME_MAX { bdi title=(text(name)) { (shown) } } @else { bdi { (shown) } }
    }
}

fn cut(text: &str, max: usize) -> String {
    let mut shown: String = text.chars().take(max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    plain(&shown)
}

/// A size in a binary unit, with its exact bytes as the title.
pub(super) fn size(count: u64) -> Markup {
    html! { data value=(count) title=(exact(count)) { (bytes(count, false)) } }
}

/// The same, or a dash with a word for screen readers where it is unknown.
pub(super) fn size_or_unknown(count: Option<u64>) -> Markup {
    count.map_or_else(unknown, size)
}

/// A fair share.
pub(super) fn share_or_unknown(count: Option<f64>) -> Markup {
    count.map_or_else(unknown, |count| size(whole(count)))
}

pub(super) fn unknown() -> Markup {
    html! { span.dim title="unknown" { "–" } }
}

/// A fractional count of bytes, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are not negative, and casts saturate"
)]
pub(super) fn whole(count: f64) -> u64 {
    count.round() as u64
}

/// `123,456 bytes`
pub(super) fn exact(count: u64) -> String {
    format!("{} {}", number(count), if count == 1 { "byte" } else { "bytes" })
}

/// A number with commas between thousands.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 tag`, `2 tags`
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// From one size to another: the difference, and its share.
pub(super) fn growth(old: u64, new: u64) -> Markup {
    let class = match new.cmp(&old) {
        std::cmp::Ordering::Greater => "more",
        std::cmp::Ordering::Less => "less",
        std::cmp::Ordering::Equal => "dim",
    };
    let sign = if new < old { "−" } else { "+" };
    html! {
        data.(class) value=(signed(old, new)) title={ (sign) (exact(old.abs_diff(new))) } {
            (difference(old, new, false).replace('-', "−"))
            @if old > 0 && new != old { " " small { "(" (growth_share(old, new).replace('-', "−")) ")" } }
        }
    }
}

/// A difference as a number.
fn signed(old: u64, new: u64) -> String {
    format!("{}{}", if new < old { "-" } else { "" }, old.abs_diff(new))
}

/// A time to the minute, with the second as its title.
pub(super) fn moment(at: Timestamp) -> Markup {
    let Some(at) = jiff_time(at) else { return unknown() };
    html! {
        time datetime=(at) title=(at.strftime("%Y-%m-%d %H:%M:%S UTC")) data-value=(at.as_second()) {
            (at.strftime("%Y-%m-%d %H:%M"))
        }
    }
}

pub(super) fn moment_or_unknown(at: Option<Timestamp>) -> Markup {
    at.map_or_else(unknown, moment)
}

/// The day of a time.
pub(super) fn day(at: Timestamp) -> String {
    jiff_time(at).map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string())
}

/// How long ago a time was: `3 minutes ago`, with the time as its title. A clock that is wrong has times to come: `in 3 minutes`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let Some(time) = jiff_time(at) else { return unknown() };
    html! {
        time datetime=(time) title=(time.strftime("%Y-%m-%d %H:%M:%S UTC")) data-value=(time.as_second()) {
            @if at > now { "in " (span(at - now)) } @else { (span(now - at)) " ago" }
        }
    }
}

/// A number of seconds in one unit, such as `3 minutes`; below ten seconds with a fraction.
fn span(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second")];
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length * 2.0);
    match unit {
        Some((length, word)) => format!("{} {word}s", number(whole((seconds / length).floor()))),
        None if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        None => format!("{seconds:.1} s"),
    }
}

/// The same with the exact seconds, by which a table is sorted.
pub(super) fn exact_span(seconds: f64) -> Markup {
    html! { data value=(seconds) { (span(seconds)) } }
}

/// The beginning of a digest, with all of it as the title.
pub(super) fn digest(digest: &str) -> Markup {
    let short: String = digest.split_once(':').map_or(digest, |(_, value)| value).chars().take(12).collect();
    html! { code.digest title=(text(digest)) { (short) } }
}

fn jiff_time(at: Timestamp) -> Option<jiff::Timestamp> {
    let since = SignedDuration::try_from_secs_f64(at.floor()).ok()?;
    jiff::Timestamp::from_duration(since).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_with_their_bytes_as_titles() {
        assert_eq!(size(1_572_864).into_string(), "<data value=\"1572864\" title=\"1,572,864 bytes\">1.5 MiB</data>");
        assert_eq!([0, 1, 999, 1_000, 12_345_678].map(number), ["0", "1", "999", "1,000", "12,345,678"]);
        let grown = growth(100, 150).into_string();
        assert!(grown.contains(">+50 B <small>(+50.0 %)</small>"), "{grown}");
        assert!(growth(150, 100).into_string().contains("value=\"-50\""));
    }

    #[test]
    fn times_are_short() {
        for (seconds, expected) in [
            (0.5, "500 ms"),
            (1.5, "1.5 s"),
            (61.0, "61 seconds"),
            (150.0, "2 minutes"),
            (90_000.0, "25 hours"),
            (1e6, "11 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        assert!(moment(1_700_000_000.0).into_string().contains(">2023-11-14 22:13</time>"));
        assert!(ago(1_000.0, 1_150.0).into_string().contains(">2 minutes ago<"));
        assert!(ago(1_150.0, 1_000.0).into_string().contains(">in 2 minutes<"));
        assert_eq!(moment(f64::NAN).into_string(), unknown().into_string());
        assert_eq!(moment(1e30).into_string(), unknown().into_string());
    }

    #[test]
    fn what_others_wrote_is_text() {
        assert_eq!(name("<script>\u{202e}\"&").into_string(), "<bdi>&lt;script&gt;\u{fffd}&quot;&amp;</bdi>");
        let long = "x".repeat(5_000);
        let shown = name(&long).into_string();
        assert!(shown.len() < 1_300 && shown.contains("…</bdi>"), "{}", shown.len());
    }
}
