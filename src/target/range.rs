//! Ranges of versions, the syntax of `semver` in the configuration: `>=2, <4`, `^1.2`, `~1.2.3`, `1.2`, `1.x`, `*`.

use std::cmp::Ordering;
use std::str::FromStr;

use super::Version;
use super::version::leading_numbers;

/// A range of versions: all of its parts must allow a version. Variants are not compared.
///
/// A part compares as many numbers as it has, so that `<=1.2` includes `1.2.5`, as do `1.2` and `=1.2`. Pre-releases
/// are excluded, unless a part names one: then they are compared like other versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    parts: Vec<Comparator>,
}

/// Why a text is not a range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// A part is neither a version nor a wildcard.
    #[error(
        "`{0}` is not a range of versions: expected `>=2, <4`, `^1.2`, `~1.2.3`, `=1.2.3`, `1.2`, `1.x` or `*`, with commas between the parts"
    )]
    Part(String),
    /// A part has a suffix that is not a pre-release.
    #[error("`{0}` has a variant, but ranges compare numbers: select variants with `match` or `exclude`")]
    Variant(String),
    /// `^1.2 || ^2`.
    #[error("`{0}`: `||` is not supported: write one target for each range")]
    Alternatives(String),
    /// Its parts exclude each other.
    #[error(
        "`{0}` contains no version, since its parts exclude each other: write for example `>=2, <4`; `>1.2` starts at 1.3"
    )]
    Empty(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparator {
    operator: Operator,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `1.2`, `=1.2`, `1.2.x`: the same numbers, as many as are written.
    Same,
    Above,
    AtLeast,
    Below,
    AtMost,
    /// At least this, and the same up to the first number that is not 0.
    Caret,
    /// At least this, and the same in all numbers but the third, or the last if there are more.
    Tilde,
}

impl VersionRange {
    /// Whether a version is in the range.
    pub fn contains(&self, version: &Version) -> bool {
        let named = self.parts.iter().any(|part| part.version.is_prerelease());
        (named || !version.is_prerelease()) && self.parts.iter().all(|part| part.allows(version))
    }

    /// Whether it contains no version. Each part allows an interval of versions: if the intervals intersect, the
    /// highest of their lower bounds is in all of them.
    fn is_empty(&self) -> bool {
        let lowest = self.parts.iter().flat_map(Comparator::lowest).chain([Version::ZERO, Version::ZERO.earliest()]);
        !self.parts.is_empty() && !lowest.into_iter().any(|version| self.contains(&version))
    }

    /// The range as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for VersionRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        if text.contains("||") {
            return Err(InvalidRange::Alternatives(text.to_owned()));
        }
        let parts: Result<Vec<Vec<Comparator>>, _> =
            text.split(',').map(|part| parse_part(part.trim(), text)).collect();
        let range = Self { text: text.to_owned(), parts: parts?.into_iter().flatten().collect() };
        if range.is_empty() { Err(InvalidRange::Empty(text.to_owned())) } else { Ok(range) }
    }
}

impl Comparator {
    /// Candidates for the part's lower bound, if it has one.
    fn lowest(&self) -> Vec<Version> {
        let next = if self.version.is_prerelease() { self.version.just_after() } else { self.version.next_number() };
        let mut candidates = vec![self.version.clone(), self.version.earliest()];
        candidates.extend([next.earliest(), next]);
        candidates
    }

    fn allows(&self, version: &Version) -> bool {
        let written = self.version.numbers.len();
        let at_least = version.precedence(&self.version) != Ordering::Less;
        match self.operator {
            Operator::Same if self.version.is_prerelease() => version.precedence(&self.version) == Ordering::Equal,
            Operator::Same => self.first_numbers(version, written).is_eq(),
            Operator::AtLeast => at_least,
            Operator::Above => self.coarse(version).is_gt(),
            Operator::Below => self.coarse(version).is_lt(),
            Operator::AtMost => self.coarse(version).is_le(),
            Operator::Caret => {
                let nonzero = self.version.numbers.iter().position(|number| *number != 0);
                at_least && self.first_numbers(version, nonzero.map_or(written, |at| at + 1)).is_eq()
            }
            Operator::Tilde => {
                let held = if written > 3 { written - 1 } else { written.min(2) };
                at_least && self.first_numbers(version, held).is_eq()
            }
        }
    }

    /// Compares as many numbers as the part has; with a pre-release, exactly.
    fn coarse(&self, version: &Version) -> Ordering {
        if self.version.is_prerelease() {
            version.precedence(&self.version)
        } else {
            self.first_numbers(version, self.version.numbers.len())
        }
    }

    fn first_numbers(&self, version: &Version, count: usize) -> Ordering {
        (0..count).map(|at| version.number(at)).cmp((0..count).map(|at| self.version.number(at)))
    }
}

/// Parses one part between commas; `None` for `*`, which allows everything.
fn parse_part(part: &str, whole: &str) -> Result<Vec<Comparator>, InvalidRange> {
    let invalid = || InvalidRange::Part(whole.to_owned());
    let version_at = part.len() - part.trim_start_matches(['<', '>', '=', '^', '~']).len();
    let operator = match &part[..version_at] {
        "" | "=" | "==" => Operator::Same,
        ">" => Operator::Above,
        ">=" => Operator::AtLeast,
        "<" => Operator::Below,
        "<=" => Operator::AtMost,
        "^" => Operator::Caret,
        "~" | "~=" => Operator::Tilde,
        _ => return Err(invalid()),
    };
    let written = part[version_at..].trim_start();
    if matches!(written, "*" | "x" | "X") {
        return if operator == Operator::Same { Ok(Vec::new()) } else { Err(invalid()) };
    }
    let (written, wildcard) = without_wildcards(written);
    let (_, rest) = leading_numbers(written.strip_prefix(['v', 'V']).unwrap_or(written)).ok_or_else(invalid)?;
    if rest.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '-' && c != '_') || wildcard && !rest.is_empty() {
        return Err(invalid());
    }
    let version = Version::parse(written).ok_or_else(invalid)?;
    if version.has_variant() {
        return Err(InvalidRange::Variant(whole.to_owned()));
    }
    Ok(vec![Comparator { operator, version }])
}

/// `1.x.x` and `1.*` are `1`.
fn without_wildcards(mut text: &str) -> (&str, bool) {
    let mut found = false;
    while let Some(shorter) = [".x", ".X", ".*"].iter().find_map(|wildcard| text.strip_suffix(wildcard)) {
        (text, found) = (shorter, true);
    }
    (text, found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written() -> impl Strategy<Value = String> {
        let number = || prop::sample::select(vec!["0", "1", "2"]);
        let pre = prop::sample::select(vec!["", "", "", "-nightly", "-rc", "-rc1", "-rc1.0", "-rc2"]);
        (prop::collection::vec(number(), 1..4), pre).prop_map(|(numbers, pre)| numbers.join(".") + pre)
    }

    fn part() -> impl Strategy<Value = String> {
        let operator = prop::sample::select(vec!["", "<", "<=", ">", ">=", "^", "~"]);
        (operator, written()).prop_map(|(operator, version)| format!("{operator}{version}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn only_what_holds_no_version_is_refused(parts in prop::collection::vec(part(), 1..4), probes in prop::collection::vec(written(), 20)) {
            let text = parts.join(", ");
            let parsed = parts.iter().flat_map(|part| parse_part(part, part).unwrap()).collect();
            let range = VersionRange { text: text.clone(), parts: parsed };
            let held = probes.iter().find(|probe| range.contains(&Version::parse(probe).unwrap()));
            prop_assert!(held.is_none() || text.parse::<VersionRange>().is_ok(), "{} holds {:?}", text, held);
        }
    }
}
