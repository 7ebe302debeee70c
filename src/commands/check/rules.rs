//! Whether sizes are within limits. Pure; exact in integers.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::commands::inspect::SizeKind;
use crate::commands::units;

/// A share in millionths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(u64);

/// The decimals of a [`Percent`].
const DECIMALS: usize = 6;

/// Millionths of a percent in the whole.
const WHOLE: u128 = 100_000_000;

/// Bounds of an image's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of the compared bytes.
    pub max_bytes: Option<u64>,
    /// Against the old image.
    pub growth: Option<Growth>,
    /// Of compressed bytes, by the configuration.
    pub budget_bytes: Option<u64>,
    /// Of the bytes of files that a later layer hides.
    pub max_wasted_bytes: Option<u64>,
}

/// How much an image may grow: it grew too much where both are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Of the old image.
    pub share: Percent,
    /// Bytes.
    pub floor_bytes: u64,
}

/// What is asked of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `--max-size`
    MaxSize,
    /// `--max-growth`
    MaxGrowth,
    /// `budget` of the configuration.
    Budget,
    /// `--max-wasted`
    MaxWasted,
}

/// A rule applied to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Which rule.
    pub rule: Rule,
    /// Whether it holds; none where that cannot be known.
    pub passed: Option<bool>,
    /// In words.
    pub message: String,
}

/// Sizes of one platform's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) kind: SizeKind,
    pub(super) old: Option<u64>,
    pub(super) new: Option<u64>,
    /// Whether there is an image to compare with.
    pub(super) has_baseline: bool,
    /// Of files that a later layer hides.
    pub(super) wasted: Option<u64>,
}

impl Rule {
    /// Its flag, or its key.
    pub fn word(self) -> &'static str {
        match self {
            Self::MaxSize => "max-size",
            Self::MaxGrowth => "max-growth",
            Self::Budget => "budget",
            Self::MaxWasted => "max-wasted",
        }
    }
}

/// Applies all rules that are set. Growth is not judged without an image to compare with.
pub(super) fn apply(limits: &Limits, sizes: Sizes) -> Vec<Judgement> {
    let Limits { max_bytes, growth, budget_bytes, max_wasted_bytes } = *limits;
    let size = max_bytes.map(|max| at_most(Rule::MaxSize, word(sizes.kind), sizes.new, max));
    let wasted = max_wasted_bytes.map(|max| at_most(Rule::MaxWasted, "wasted", sizes.wasted, max));
    let growth = growth.filter(|_| sizes.has_baseline).map(|growth| growth.judge(sizes.old, sizes.new));
    let budget = budget_bytes.map(|max| match sizes.kind {
        SizeKind::Compressed => at_most(Rule::Budget, word(sizes.kind), sizes.new, max),
        SizeKind::Uncompressed | SizeKind::Unpacked => Judgement {
            rule: Rule::Budget,
            passed: None,
            message: format!(
                "the budget of {} is for the compressed size, which is known once the image is pushed",
                short(max)
            ),
        },
    });
    size.into_iter().chain(growth).chain(budget).chain(wasted).collect()
}

fn at_most(rule: Rule, what: &str, new: Option<u64>, max: u64) -> Judgement {
    let (limit, max_text) =
        if rule == Rule::Budget { ("the budget is", short(max)) } else { ("allowed are", short(max)) };
    match new {
        Some(new) if new > max => {
            let over = short(new - max);
            let message = format!("{} {what}, {limit} {max_text}: {over} too many", short(new));
            Judgement { rule, passed: Some(false), message }
        }
        Some(new) => {
            Judgement { rule, passed: Some(true), message: format!("{} {what}, {limit} {max_text}", short(new)) }
        }
        None => Judgement { rule, passed: None, message: format!("the {what} size is unknown, {limit} {max_text}") },
    }
}

impl Growth {
    fn judge(self, old: Option<u64>, new: Option<u64>) -> Judgement {
        let rule = Rule::MaxGrowth;
        let floor = if self.floor_bytes > 0 { format!(" and {}", short(self.floor_bytes)) } else { String::new() };
        let allowed = format!("allowed are {}{floor}", self.share);
        let (Some(old), Some(new)) = (old, new) else {
            return Judgement { rule, passed: None, message: format!("the growth is unknown, {allowed}") };
        };
        if new <= old {
            return Judgement { rule, passed: Some(true), message: format!("grew by nothing, {allowed}") };
        }
        let message = format!("grew by {} ({}), {allowed}", short(new - old), share(old, new));
        Judgement { rule, passed: Some(!self.is_passed(old, new)), message }
    }

    /// Whether both the share and the floor are passed.
    fn is_passed(self, old: u64, new: u64) -> bool {
        let growth = new.saturating_sub(old);
        let is_share_passed = u128::from(growth) * WHOLE > u128::from(old) * u128::from(self.share.0);
        is_share_passed && growth > self.floor_bytes
    }
}

/// A growth as a share of the old size, `+12.5 %`; of nothing it has none.
pub(super) fn share(old: u64, new: u64) -> String {
    if old == 0 {
        return "from nothing".to_owned();
    }
    units::growth_share(old, new)
}

pub(super) fn word(kind: SizeKind) -> &'static str {
    match kind {
        SizeKind::Compressed => "compressed",
        SizeKind::Uncompressed => "uncompressed",
        SizeKind::Unpacked => "unpacked",
    }
}

fn short(bytes: u64) -> String {
    units::bytes(bytes, false)
}

impl FromStr for Percent {
    type Err = String;

    /// Parses `10%`, `12.5 %` and `10`.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not a share: write a number and a percent sign, such as 10%");
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > DECIMALS || whole.len() > 9 {
            return Err(invalid());
        }
        let millionths: u64 = format!("{whole}{fraction:0<DECIMALS$}").parse().map_err(|_| invalid())?;
        Ok(Self(millionths))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000, format!("{:06}", self.0 % 1_000_000));
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole} %"),
            fraction => write!(f, "{whole}.{fraction} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn growth(share: &str, floor_bytes: u64) -> Growth {
        Growth { share: share.parse().unwrap(), floor_bytes }
    }

    #[test]
    fn growth_fails_only_where_share_and_floor_are_both_passed() {
        for (share, floor, old, new, fails) in [
            ("10%", 20, 100, 131, true),
            ("10%", 20, 100, 120, false),
            ("10%", 20, 100, 121, true),
            ("10%", 20, 1000, 1100, false),
            ("10%", 20, 1000, 1101, true),
            ("50%", 20, 100, 130, false),
            ("10%", 0, 100, 110, false),
            ("10%", 0, 100, 111, true),
            // In binary fractions 57 % of 100 is less than 57.
            ("57%", 0, 100, 157, false),
            ("0%", 0, 100, 100, false),
            ("0%", 0, 100, 101, true),
            ("10%", 20, 0, 21, true),
            ("10%", 20, 0, 20, false),
            ("10%", 0, 100, 50, false),
            ("0%", 0, 0, u64::MAX, true),
        ] {
            assert_eq!(growth(share, floor).is_passed(old, new), fails, "{share} {floor} {old} {new}");
        }
    }

    #[test]
    fn a_share_is_a_decimal_number() {
        for (text, expected) in [
            ("10%", Some("10 %")),
            ("12.5 %", Some("12.5 %")),
            ("0.000001%", Some("0.000001 %")),
            ("7", Some("7 %")),
            ("-1%", None),
            ("10%%", None),
            (".5%", None),
            ("1e3%", None),
            ("", None),
            ("ten", None),
        ] {
            assert_eq!(text.parse::<Percent>().ok().map(|share| share.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn each_rule_says_what_it_found() {
        let limits = Limits {
            max_bytes: Some(100 << 20),
            growth: Some(growth("10%", 1 << 20)),
            budget_bytes: Some(1 << 30),
            max_wasted_bytes: Some(1 << 20),
        };
        let sizes = Sizes {
            kind: SizeKind::Compressed,
            old: Some(80 << 20),
            new: Some(120 << 20),
            has_baseline: true,
            wasted: Some(3 << 20),
        };
        let said = |sizes| -> Vec<String> {
            let mark = |passed: Option<bool>| passed.map_or('?', |passed| if passed { '+' } else { '-' });
            apply(&limits, sizes).iter().map(|judged| format!("{} {}", mark(judged.passed), judged.message)).collect()
        };
        assert_eq!(
            said(sizes),
            [
                "- 120 MiB compressed, allowed are 100 MiB: 20.0 MiB too many",
                "- grew by 40.0 MiB (+50.0 %), allowed are 10 % and 1.0 MiB",
                "+ 120 MiB compressed, the budget is 1.0 GiB",
                "- 3.0 MiB wasted, allowed are 1.0 MiB: 2.0 MiB too many",
            ]
        );
        let first =
            Sizes { kind: SizeKind::Uncompressed, old: None, new: Some(1), has_baseline: false, wasted: Some(0) };
        assert_eq!(
            said(first),
            [
                "+ 1 B uncompressed, allowed are 100 MiB",
                "? the budget of 1.0 GiB is for the compressed size, which is known once the image is pushed",
                "+ 0 B wasted, allowed are 1.0 MiB",
            ]
        );
        let unknown = Sizes { new: None, wasted: None, ..sizes };
        assert_eq!(
            said(unknown),
            [
                "? the compressed size is unknown, allowed are 100 MiB",
                "? the growth is unknown, allowed are 10 % and 1.0 MiB",
                "? the compressed size is unknown, the budget is 1.0 GiB",
                "? the wasted size is unknown, allowed are 1.0 MiB",
            ]
        );
    }

    proptest! {
        #[test]
        fn what_passes_goes_on_to_pass_under_wider_limits(
            old: u64, new: u64, floor: u64, more_floor: u64, share in 0..100_000_u64, more_share in 0..100_000_u64,
        ) {
            let narrow = growth(&format!("{share}%"), floor);
            let wide = growth(&format!("{}%", share + more_share), floor.saturating_add(more_floor));
            prop_assert!(narrow.is_passed(old, new) || !wide.is_passed(old, new));
            prop_assert!(!narrow.is_passed(old, new) || new > old);
        }

        #[test]
        fn no_text_panics_the_parser_and_what_is_printed_is_read_again(text in "[0-9.% x]{0,12}") {
            if let Ok(share) = text.parse::<Percent>() {
                prop_assert_eq!(share.to_string().parse::<Percent>(), Ok(share));
            }
        }
    }
}
