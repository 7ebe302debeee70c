//! Single values: durations, sizes, names. Each parser's error says what to write.

mod duration;
mod identity;
mod unexpanded;

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::metrics::Family;
use crate::oci::text::is_unprintable;

use super::problems::nearest;

pub(super) use duration::{Bounds, PATTERN as DURATION_PATTERN, duration, shown as shown_duration};
pub(super) use identity::Identity;
pub(super) use unexpanded::unexpanded;

const NAME_BYTES_MAX: usize = 256;
const LABEL_BYTES_MAX: usize = 1024;

/// What `bytes` reads, as a regular expression of JSON schemas.
pub(super) const SIZE_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?\s*(([KMGTkmgt][iI]?)?[bB])?\s*$";

/// What `label` accepts as a name, as a regular expression of JSON schemas.
pub(super) const LABEL_PATTERN: &str = "^[a-zA-Z_][a-zA-Z0-9_]*$";

/// A budget: a size of at least one byte.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes == 0 { Err(format!("`{text}` is not a budget: leave the key out to set none")) } else { Ok(bytes) }
}

/// A size in bytes: `250MiB`, `1.5 GB`, `1048576`.
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    const EXAMPLE: &str =
        "write a number and a unit of KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000), such as \"250MiB\"";
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = match text[unit_at..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("`{text}` is not a size: {EXAMPLE}")),
    };
    decimal_times(&text[..unit_at], unit).ok_or_else(|| format!("`{text}` is not a size: {EXAMPLE}"))
}

/// A decimal number times a unit, in integers, rounded down.
fn decimal_times(number: &str, unit: u128) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 12 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let numerator: u64 = fraction.parse().ok()?;
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let bytes = u128::from(whole).checked_mul(unit)?.checked_add(u128::from(numerator) * unit / denominator)?;
    u64::try_from(bytes).ok()
}

/// The name or address of a host, without scheme, port or path; an IPv6 address with or without its brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if bare.parse::<Ipv6Addr>().is_ok() || is_name(text) {
        return Ok(bare.trim_end_matches('.').to_ascii_lowercase());
    }
    Err(format!(
        "`{text}` is not a host name: write it without scheme, port and path, such as \"exporter.example.com\""
    ))
}

/// The time between two samples: `5m`, from a second to a day.
///
/// # Errors
/// What to write instead.
pub fn step(text: &str) -> Result<Duration, String> {
    duration(text, &Bounds { min: Duration::from_secs(1), max: Duration::from_hours(24), example: "5m" })
}

/// What an age may be.
pub(super) const AGE: Bounds =
    Bounds { min: Duration::from_secs(1), max: Duration::from_hours(24 * 3650), example: "30d" };

/// The age of a tag: `30d`, from a second to ten years.
///
/// # Errors
/// What to write instead.
pub fn age(text: &str) -> Result<Duration, String> {
    duration(text, &AGE)
}

/// The name of a target or policy.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty: write a name, or leave the key out".to_owned());
    }
    if text.len() > NAME_BYTES_MAX || text.chars().any(is_unprintable) {
        return Err(format!("is not a name: write at most {NAME_BYTES_MAX} bytes without control characters"));
    }
    Ok(text.to_owned())
}

/// A label of Prometheus (its data model: `[a-zA-Z_][a-zA-Z0-9_]*`) and its value, each of bounded length.
///
/// # Errors
/// A predicate of the name: what to write instead.
pub fn label(key: &str, value: &str) -> Result<(String, String), String> {
    if key.len() > NAME_BYTES_MAX || value.len() > LABEL_BYTES_MAX {
        let (key_max, value_max) = (NAME_BYTES_MAX, LABEL_BYTES_MAX);
        return Err(format!("is too long: write at most {key_max} bytes for its name and {value_max} for its value"));
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !key.is_empty() && key.chars().all(word) && !key.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok((key.to_owned(), value.to_owned()));
    }
    let mut valid: String = key.chars().map(|c| if word(c) { c } else { '_' }).collect();
    if !valid.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        valid.insert(0, '_');
    }
    Err(format!("is not a label name: use letters, digits and `_`, and no digit first, as in `{valid}`"))
}

/// A metric family to omit, by its short or full name.
pub(super) fn family(text: &str) -> Result<Family, String> {
    let named = |family: &&Family| family.short_name() == text || family.name() == text;
    if let Some(family) = Family::ALL.iter().find(named) {
        return Ok(*family);
    }
    let names = || Family::ALL.iter().map(|family| family.short_name());
    let shared = |name: &&str| name.split('_').any(|word| word != "size" && text.split('_').any(|other| other == word));
    let near: Vec<&str> = match nearest(text, names()) {
        Some(nearest) => vec![nearest],
        None => names().filter(shared).collect(),
    };
    let near = if near.is_empty() { names().collect() } else { near };
    Err(format!("`{text}` is not a metric family: write {}", near.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, expected) in [
            ("1", Some(1)),
            ("250MiB", Some(250 << 20)),
            ("250 mib", Some(250 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1.5GB", Some(1_500_000_000)),
            ("0.1KB", Some(100)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999TiB", None),
            ("250M", None),
            ("1.MB", None),
            (".5MB", None),
            ("1.2.3MB", None),
            ("-1", None),
            ("MiB", None),
            ("", None),
            ("0", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses_without_port() {
        for (text, expected) in [
            ("Exporter.Example.COM", Some("exporter.example.com")),
            ("exporter.example.com.", Some("exporter.example.com")),
            ("localhost", Some("localhost")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("[2001:DB8::1]", Some("2001:db8::1")),
            ("::1", Some("::1")),
            ("localhost:10048", None),
            ("[::1]:10048", None),
            ("http://localhost", None),
            ("localhost/config", None),
            ("*.example.com", None),
            ("", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_short_and_has_no_character_that_is_not_seen() {
        assert!(name("Caf\u{e9} \u{4e2d}").is_ok());
        assert!(name(&"a".repeat(256)).is_ok());
        for text in [" ".to_owned(), "a\nb".to_owned(), "a\u{202e}".to_owned(), "a\u{2028}".to_owned(), "a".repeat(257)]
        {
            assert!(name(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_label_name_is_prometheus_own() {
        assert!(label("team", "a").is_ok());
        assert!(label("_x9", "").is_ok());
        assert!(label("team", &"a".repeat(1024)).is_ok());
        assert!(label("team", &"a".repeat(1025)).is_err());
        assert!(label(&"a".repeat(257), "").is_err());
        for (key, valid) in [("app.kubernetes.io/name", "`app_kubernetes_io_name`"), ("9a", "`_9a`"), ("", "`_`")] {
            assert!(label(key, "").unwrap_err().ends_with(valid), "{key}");
        }
    }
}
