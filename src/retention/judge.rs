//! Which tags of a repository a policy keeps.

use std::collections::HashSet;

use super::RetentionPolicy;
use crate::image::{FIRST_IMAGE_SECONDS, Timestamp};
use crate::oci::{Digest, Tag};

/// What is known of a tag that a policy judges.
#[derive(Clone, Copy, Debug)]
pub struct JudgedTag<'a> {
    /// The tag.
    pub tag: &'a Tag,
    /// What it points at; `None` where it was never read, or not completely.
    pub digest: Option<&'a Digest>,
    /// When the latest of its images was created; `None` where one does not say.
    pub created: Option<Timestamp>,
    /// Whether a source sees it, or its digest, running.
    pub runs: bool,
}

/// Whether a policy keeps a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Kept(KeptBy),
    /// No rule keeps it.
    Gone,
}

/// Why a policy keeps a tag: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// What it points at is unknown.
    Unread,
    /// `keep_match`.
    Match,
    /// `keep_newest`.
    Newest,
    /// `keep_younger`.
    Younger,
    /// `keep_running`.
    Running,
    /// A rule asks for its creation date, and that is unknown or cannot be right.
    Undated,
}

/// What a policy says of a repository.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// By tag, in the given order.
    pub verdicts: Vec<Verdict>,
    /// Until when this holds if no tag changes, in seconds since the epoch; infinite where time changes nothing.
    pub until: Timestamp,
}

/// Judges the tags of one repository, all of them that the policy is about.
///
/// `keep_newest` counts digests, since tags of one digest are deleted together. Those as old as the last that counts are
/// kept too. A date before the first container image or in the future cannot be right, as reproducible builds write
/// constants: it counts as unknown, and what is unknown is kept.
pub fn judge(policy: &RetentionPolicy, tags: &[JudgedTag], now: Timestamp) -> Judgement {
    let mut until = Timestamp::INFINITY;
    let usable = |created: Option<Timestamp>| {
        created.filter(|created| *created >= f64::from(FIRST_IMAGE_SECONDS) && *created <= now)
    };
    let oldest_of_newest = policy.keep_newest.map(|count| {
        let mut digests = HashSet::new();
        let dated = tags.iter().filter_map(|tag| Some((tag.digest?, usable(tag.created)?)));
        let mut dates: Vec<Timestamp> =
            dated.filter(|(digest, _)| digests.insert(*digest)).map(|(_, created)| created).collect();
        dates.sort_unstable_by(|a, b| b.total_cmp(a));
        dates.get(count.saturating_sub(1)).copied().unwrap_or(Timestamp::NEG_INFINITY)
    });
    let mut verdict = |tag: &JudgedTag| {
        if tag.digest.is_none() {
            return Verdict::Kept(KeptBy::Unread);
        }
        if policy.keep_match.iter().any(|pattern| pattern.finds(tag.tag)) {
            return Verdict::Kept(KeptBy::Match);
        }
        if policy.keep_running && tag.runs {
            return Verdict::Kept(KeptBy::Running);
        }
        if policy.needs_dates() && tag.created.is_some_and(|created| created > now) {
            until = until.min(tag.created.unwrap_or(until));
        }
        match usable(tag.created) {
            None if policy.needs_dates() => Verdict::Kept(KeptBy::Undated),
            Some(created) if oldest_of_newest.is_some_and(|oldest| created >= oldest) => Verdict::Kept(KeptBy::Newest),
            Some(created) => match policy.keep_younger.map(|age| created + age.as_secs_f64()) {
                Some(end) if now < end => {
                    until = until.min(end);
                    Verdict::Kept(KeptBy::Younger)
                }
                _ => Verdict::Gone,
            },
            None => Verdict::Gone,
        }
    };
    let verdicts = tags.iter().map(&mut verdict).collect();
    Judgement { verdicts, until }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const DAY: f64 = 86_400.0;
    /// Day 0 of these tests.
    const START: f64 = 1_700_000_000.0;

    fn policy(keep_newest: Option<usize>, keep_match: &[&str], keep_younger_days: Option<u64>) -> RetentionPolicy {
        RetentionPolicy {
            name: "p".into(),
            targets: None,
            keep_newest,
            keep_match: keep_match.iter().map(|text| text.parse().unwrap()).collect(),
            keep_younger: keep_younger_days.map(|days| Duration::from_hours(24 * days)),
            keep_running: false,
        }
    }

    /// Judges tags such as `v1=a@5` (digest a, created on day 5), `v1=a` (no date) and `v1` (unread) on day 100.
    fn judged(policy: &RetentionPolicy, text: &str) -> (String, f64) {
        let words: Vec<(Tag, Option<Digest>, Option<f64>)> = text
            .split_whitespace()
            .map(|word| {
                let (tag, rest) = word.split_once('=').map_or((word, None), |(tag, rest)| (tag, Some(rest)));
                let (digest, day) = rest.map_or((None, None), |rest| match rest.split_once('@') {
                    Some((digest, day)) => (Some(digest), Some(day)),
                    None => (Some(rest), None),
                });
                let created = day
                    .map(|day| if day == "1980" { 315_532_800.0 } else { START + DAY * day.parse::<f64>().unwrap() });
                (tag.parse().unwrap(), digest.map(|digest| Digest::sha256_of(digest.as_bytes())), created)
            })
            .collect();
        let tags: Vec<JudgedTag> = words
            .iter()
            .map(|(tag, digest, created)| JudgedTag {
                tag,
                digest: digest.as_ref(),
                created: *created,
                runs: tag.as_str().starts_with("run"),
            })
            .collect();
        let judgement = judge(policy, &tags, START + 100.0 * DAY);
        let shown = judgement.verdicts.iter().map(|verdict| match verdict {
            Verdict::Kept(by) => format!("{by:?}").to_lowercase(),
            Verdict::Gone => "gone".to_owned(),
        });
        (shown.collect::<Vec<_>>().join(" "), (judgement.until - START) / DAY)
    }

    #[test]
    fn a_tag_is_kept_if_any_rule_keeps_it_and_what_is_unknown_is_kept() {
        for (policy, tags, expected, until) in [
            (policy(Some(2), &[], None), "a=a@3 b=b@2 c=c@1", "newest newest gone", f64::INFINITY),
            // Tags of one digest count once.
            (policy(Some(2), &[], None), "a=a@3 latest=a@3 b=b@2 c=c@1", "newest newest newest gone", f64::INFINITY),
            // As old as the last that counts.
            (policy(Some(1), &[], None), "a=a@3 b=b@3 c=c@1", "newest newest gone", f64::INFINITY),
            // Fewer than there may be.
            (policy(Some(9), &[], None), "a=a@3 b=b@2", "newest newest", f64::INFINITY),
            // Unknown dates are kept, and take no place.
            (
                policy(Some(1), &[], None),
                "a=a b=b@1980 c=c@3 d=d@2 e",
                "undated undated newest gone unread",
                f64::INFINITY,
            ),
            // The future as well, until it comes.
            (policy(Some(1), &[], None), "a=a@200 c=c@3 d=d@2", "undated newest gone", 200.0),
            (policy(None, &["^v"], None), "v1=a main=b v2", "match gone unread", f64::INFINITY),
            (policy(Some(1), &[], None), "run1=a@1 b=b@3 c=c@2", "gone newest gone", f64::INFINITY),
            (
                RetentionPolicy { keep_running: true, ..policy(Some(1), &[], None) },
                "run1=a@1 b=b@3 c=c@2 run2",
                "running newest gone unread",
                f64::INFINITY,
            ),
            (
                policy(None, &[], Some(30)),
                "a=a@71 b=b@70 c=c@69 d=d@200 e=e",
                "younger gone gone undated undated",
                101.0,
            ),
            (policy(Some(1), &["^c$"], Some(30)), "a=a@90 b=b@80 c=c@1 d=d@2", "newest younger match gone", 110.0),
        ] {
            let (said, held) = judged(&policy, tags);
            assert_eq!(said, expected, "{tags}");
            assert!(held.is_infinite() && until.is_infinite() || (held - until).abs() < 1e-6, "{tags}: {held}");
        }
    }

    proptest! {
        #[test]
        fn a_judgement_holds_until_its_end(
            days in prop::collection::vec((0_u8..5, prop::option::of(0_u32..40)), 0..12),
            newest in prop::option::of(1_usize..4),
            younger in prop::option::of(1_u64..20),
            today in 0_u32..60,
            later in 0_u32..60,
        ) {
            let policy = policy(newest, &["^x$"], younger);
            let names: Vec<Tag> = (0..days.len()).map(|at| format!("t{at}").parse().unwrap()).collect();
            // Tags of one digest have one date.
            let date = |digest: u8| days.iter().find(|(other, _)| *other == digest).and_then(|(_, day)| *day);
            let digests: Vec<Digest> = days.iter().map(|(digest, _)| Digest::sha256_of(&[*digest])).collect();
            let tags: Vec<JudgedTag> = days.iter().enumerate().map(|(at, (digest, _))| JudgedTag {
                tag: &names[at],
                digest: Some(&digests[at]),
                created: date(*digest).map(|day| START + DAY * f64::from(day)),
                runs: false,
            }).collect();
            let now = START + DAY * (f64::from(today) + 0.5);
            let first = judge(&policy, &tags, now);
            prop_assert!(first.until > now);
            let then = START + DAY * (f64::from(today + later) + 0.5);
            if then < first.until {
                prop_assert_eq!(first.verdicts, judge(&policy, &tags, then).verdicts);
            }
        }
    }
}
