//! Versions as tags have them: `v1.2.3`, `1.2`, `2024.01.15`, `1.2.3.4`, `1.27-alpine3.20`, `3.14.0rc1`.

use std::cmp::Ordering;

/// The most numbers in a version: more than any scheme in use.
const NUMBERS_MAX: usize = 8;

/// A version read from a tag.
///
/// Ordered by numbers (a missing one is 0), then pre-releases before releases, then versions with a variant before
/// those without, then by variant; of `17` and `17.0` the longer is later. Equal versions may be different tags: `v1.2`
/// and `1.2`.
#[derive(Clone, Debug)]
pub struct Version {
    pub(super) numbers: Vec<u64>,
    pub(super) pre: Option<PreRelease>,
    /// Any other suffix, in words: `alpine`, `3`, `20`.
    variant: Vec<Word>,
}

/// A pre-release mark and the numbers after it: `rc.2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PreRelease {
    stage: Stage,
    numbers: Vec<u64>,
}

/// How far a pre-release is from its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Nightly,
    Snapshot,
    Dev,
    Alpha,
    Beta,
    Pre,
    Candidate,
}

/// A run of digits or of letters. Numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Number(u64),
    Letters(String),
}

impl Version {
    /// Parses a tag. `None` where it is not a version: `latest`, `bookworm`, the hexadecimal digits of a commit, a date
    /// with letters in front.
    pub fn parse(tag: &str) -> Option<Self> {
        let (numbers, suffix) = leading_numbers(tag.strip_prefix(['v', 'V']).unwrap_or(tag))?;
        let words = words(suffix)?;
        // Letters directly after a number are accepted only if they mark a pre-release, as in `3.14.0rc1`: otherwise
        // the tag is probably a commit's hash, `12ab34f`.
        let attached = suffix.starts_with(|c: char| c.is_ascii_alphabetic());
        let short = attached && numbers.len() > 1;
        let mark = words.iter().enumerate().find_map(|(at, word)| Some((at, word.stage(short && at == 0)?)));
        if attached && mark.is_none_or(|(at, _)| at != 0) {
            return None;
        }
        let Some((at, stage)) = mark else {
            return Some(Self { numbers, pre: None, variant: words });
        };
        let after = words[at + 1..].iter().map_while(|word| match word {
            Word::Number(number) => Some(*number),
            Word::Letters(_) => None,
        });
        let pre = PreRelease { stage, numbers: after.collect() };
        let variant = words[..at].iter().chain(&words[at + 1 + pre.numbers.len()..]).cloned().collect();
        Some(Self { numbers, pre: Some(pre), variant })
    }

    /// Whether it is a pre-release: `alpha beta rc pre preview dev snapshot nightly`, and directly after the numbers
    /// also `a` and `b`, as in Python.
    pub fn is_prerelease(&self) -> bool {
        self.pre.is_some()
    }

    /// How many numbers it has: `12` names a series of `12.5`.
    pub fn exactness(&self) -> usize {
        self.numbers.len()
    }

    /// The lowest release.
    pub(super) const ZERO: Self = Self { numbers: Vec::new(), pre: None, variant: Vec::new() };

    /// The lowest pre-release of the same numbers.
    pub(super) fn earliest(&self) -> Self {
        let pre = PreRelease { stage: Stage::Nightly, numbers: Vec::new() };
        Self { numbers: self.numbers.clone(), pre: Some(pre), variant: Vec::new() }
    }

    /// The release with the last of the numbers one higher.
    pub(super) fn next_number(&self) -> Self {
        let mut numbers = self.numbers.clone();
        if let Some(last) = numbers.last_mut() {
            *last = last.saturating_add(1);
        }
        Self { numbers, pre: None, variant: Vec::new() }
    }

    /// The lowest version that is higher, of a pre-release.
    pub(super) fn just_after(&self) -> Self {
        let mut after = self.clone();
        if let Some(pre) = &mut after.pre {
            pre.numbers.push(0);
        }
        after
    }

    /// The `at`th number from the left, counted from 0; a missing one is 0.
    pub(super) fn number(&self, at: usize) -> u64 {
        self.numbers.get(at).copied().unwrap_or(0)
    }

    /// Compares numbers and pre-release, without the variant and the number of numbers.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        let numbers = (0..longest).map(|at| self.number(at)).cmp((0..longest).map(|at| other.number(at)));
        numbers.then_with(|| none_last(self.pre.as_ref(), other.pre.as_ref()))
    }

    /// Whether it has a suffix other than a pre-release mark.
    pub(super) fn has_variant(&self) -> bool {
        !self.variant.is_empty()
    }

    fn sole_variant(&self) -> Option<&[Word]> {
        (!self.variant.is_empty()).then_some(&self.variant)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.precedence(other)
            .then_with(|| none_last(self.sole_variant(), other.sole_variant()))
            .then_with(|| self.numbers.len().cmp(&other.numbers.len()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Word {
    /// The stage that this word marks, if it marks a pre-release. With `short`, `a` and `b` do.
    fn stage(&self, short: bool) -> Option<Stage> {
        let Self::Letters(letters) = self else { return None };
        match letters.as_str() {
            "nightly" => Some(Stage::Nightly),
            "snapshot" => Some(Stage::Snapshot),
            "dev" => Some(Stage::Dev),
            "alpha" => Some(Stage::Alpha),
            "beta" => Some(Stage::Beta),
            "pre" | "preview" => Some(Stage::Pre),
            "rc" => Some(Stage::Candidate),
            "a" if short => Some(Stage::Alpha),
            "b" if short => Some(Stage::Beta),
            _ => None,
        }
    }
}

/// Splits `1.2.3-rest` into its numbers and the rest. None where a number is too great for 64 bits.
pub(super) fn leading_numbers(text: &str) -> Option<(Vec<u64>, &str)> {
    let mut numbers = Vec::new();
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        numbers.push(rest[..digits].parse().ok()?);
        rest = &rest[digits..];
        match rest.strip_prefix('.') {
            Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) && numbers.len() < NUMBERS_MAX => rest = next,
            _ => return Some((numbers, rest)),
        }
    }
}

/// The words of a suffix, in lower case, without separators.
fn words(suffix: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    for part in suffix.trim_start_matches(['-', '_', '.']).split(['-', '_', '.']) {
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            words.push(match rest[..end].parse() {
                Ok(number) if digits => Word::Number(number),
                _ => Word::Letters(rest[..end].to_ascii_lowercase()),
            });
            rest = &rest[end..];
        }
    }
    (suffix.is_empty() || !words.is_empty()).then_some(words)
}

/// `None` is greater than `Some`: a release is later than its pre-releases, the plain image later than its variants.
fn none_last<T: Ord>(a: Option<T>, b: Option<T>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}
