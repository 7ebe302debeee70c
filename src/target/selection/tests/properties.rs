//! Properties that hold for any tags and any selection.

use proptest::prelude::*;

use super::*;

/// Texts like tags, rich in ties, pre-releases and variants.
fn tag() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just("0"), Just("1"), Just("01"), Just("2"), Just("10")];
    let suffix = prop::sample::select(vec![
        "",
        "-rc",
        "-rc1",
        "rc1",
        "-rc.2",
        "a1",
        "b2",
        "-beta",
        "-dev",
        "-alpine",
        "-alpine3.9",
        "-alpine3.20",
        "-slim",
        "_slim",
        "-1",
        "-rc1-slim",
        ".Final",
        "-SNAPSHOT",
    ]);
    let version = (prop::bool::ANY, prop::collection::vec(number, 1..5), suffix)
        .prop_map(|(v, numbers, suffix)| format!("{}{}{suffix}", if v { "v" } else { "" }, numbers.join(".")));
    prop_oneof![8 => version, 1 => "[a-z]{1,6}", 1 => "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}"]
}

fn parsed_tags(max: usize) -> impl Strategy<Value = Vec<Tag>> {
    prop::collection::vec(tag().prop_map(|tag| tag.parse().unwrap()), 0..max)
}

fn any_listing() -> impl Strategy<Value = Listing> {
    let semver = prop::option::of(prop::sample::select(vec!["*", ">=1", "^1.2", "<2", "1.x", ">=1-rc1"]));
    let sort = prop::sample::select(vec![Sort::Semver, Sort::Name]);
    (prop::bool::ANY, prop::bool::ANY, semver, sort, prop::option::of(1usize..6)).prop_map(
        |(matches, exclude, semver, sort, limit)| Listing {
            matches: patterns(if matches { &[r"\d"] } else { &[] }),
            exclude: patterns(if exclude { &["slim"] } else { &[] }),
            semver: semver.map(range),
            sort,
            limit,
        },
    )
}

proptest! {
    #[test]
    fn versions_are_totally_ordered(a in tag(), b in tag(), c in tag()) {
        let (Some(a), Some(b), Some(c)) = (Version::parse(&a), Version::parse(&b), Version::parse(&c)) else {
            return Ok(());
        };
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn the_lists_order_and_repetitions_do_not_matter(listed in parsed_tags(20), listing in any_listing(), seed: u64) {
        let selection = Selection { tags: tags(&["named"]), listing: Some(listing) };
        let mut shuffled = listed.clone();
        shuffled.extend_from_slice(&listed[..listed.len() / 2]);
        if !shuffled.is_empty() {
            let middle = usize::try_from(seed % shuffled.len() as u64).unwrap();
            shuffled.rotate_left(middle);
            shuffled.reverse();
        }
        prop_assert_eq!(selection.select(&listed), selection.select(&shuffled));
    }

    #[test]
    fn limit_takes_the_first_of_what_is_selected_without_it(listed in parsed_tags(20), mut wanted in any_listing()) {
        let limit = wanted.limit.take();
        let all = listing(wanted.clone()).select(&listed);
        wanted.limit = limit;
        let cut = listing(wanted).select(&listed);
        let kept = all.tags.len().min(limit.unwrap_or(usize::MAX));
        prop_assert_eq!(&all.tags[..kept], &cut.tags[..]);
        prop_assert_eq!(all.candidates, cut.candidates);
    }

    #[test]
    fn every_listed_tag_is_a_candidate_or_left_out_for_a_reason(listed in parsed_tags(20), wanted in any_listing()) {
        let selected = listing(wanted.clone()).select(&listed);
        for tag in &listed {
            let version = Version::parse(tag.as_str());
            let inside = match (&wanted.semver, &version) {
                (None, _) => true,
                (Some(range), Some(version)) => range.contains(version),
                (Some(_), None) => false,
            };
            let any = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.finds(tag));
            let is_found = (wanted.matches.is_empty() || any(&wanted.matches)) && !any(&wanted.exclude);
            let is_selected = is_found && inside;
            prop_assert_eq!(selected.candidates.contains(tag), is_selected, "{}", tag);
        }
    }

    #[test]
    fn no_text_panics_a_parser(text: String, tag in tag()) {
        let _ = Version::parse(&text);
        let _ = text.parse::<VersionRange>();
        let _ = text.parse::<TagPattern>();
        if let Ok(repositories) = text.parse::<Repositories>() {
            repositories.patterns().iter().for_each(|pattern| drop(pattern.matches(&tag)));
        }
        if let (Ok(range), Some(version)) = (tag.parse::<VersionRange>(), Version::parse(&tag)) {
            range.contains(&version);
        }
    }

    #[test]
    fn a_version_is_in_the_range_that_it_writes(tag in tag()) {
        if let (Ok(range), Some(version)) = (tag.parse::<VersionRange>(), Version::parse(&tag)) {
            prop_assert!(range.contains(&version));
        }
    }
}
