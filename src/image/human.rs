//! Sizes, differences and texts for people. One home for what pages and commands print.

use crate::oci::text::is_unprintable;

/// Bytes in the binary unit that leaves at most four digits, as in `1.5 MiB`; or `exact`.
pub(crate) fn bytes(bytes: u64, exact: bool) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if exact {
        return bytes.to_string();
    }
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1023.95 {
        let Some(larger) = units.next() else { break };
        (value, unit) = (value / 1024.0, larger);
    }
    if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A difference of bytes, with its sign.
pub(crate) fn difference(old: u64, new: u64, exact: bool) -> String {
    match new.cmp(&old) {
        std::cmp::Ordering::Less => format!("-{}", bytes(old - new, exact)),
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", bytes(new - old, exact)),
    }
}

/// A growth as a share of the old size, which is not 0: `+12.5 %`.
pub(crate) fn growth_share(old: u64, new: u64) -> String {
    format!("{:+.1} %", (new as f64 - old as f64) / old as f64 * 100.0)
}

/// The day and minute of an RFC 3339 time.
pub(crate) fn minute(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => String::new(),
    }
}

/// A command as its author wrote it, on one line: without the shell that classic builders prepend, BuildKit's suffix,
/// and control characters.
pub(crate) fn command(text: &str) -> String {
    let text = text.strip_suffix("# buildkit").unwrap_or(text);
    let command = match text.strip_prefix("/bin/sh -c ") {
        Some(rest) => rest.strip_prefix("#(nop)").map_or_else(|| format!("RUN {rest}"), str::to_owned),
        None => text.to_owned(),
    };
    let words: Vec<&str> = command.split_whitespace().collect();
    plain(&words.join(" "))
}

/// A registry's text without characters that a terminal would not show.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_348, "99.9 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count, false), expected);
        }
        assert_eq!(bytes(1_048_575, true), "1048575");
        assert_eq!(difference(10, 5, true), "-5");
        assert_eq!(difference(0, 2048, false), "+2.0 KiB");
    }

    #[test]
    fn commands_are_what_their_author_wrote() {
        for (text, expected) in [
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c apt-get   update &&\t\\\n true", "RUN apt-get update && \\ true"),
            ("COPY . / # buildkit", "COPY . /"),
            ("a\u{1b}[31mb", "a\u{fffd}[31mb"),
        ] {
            assert_eq!(command(text), expected);
        }
        assert_eq!(plain("application/\u{1b}]0;x\u{7}\n\u{9b}A"), "application/\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}A");
    }
}
