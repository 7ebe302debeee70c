use proptest::prelude::*;

use super::*;

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn names(tags: &[Tag]) -> Vec<&str> {
    tags.iter().map(Tag::as_str).collect()
}

fn patterns(texts: &[&str]) -> Vec<TagPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn range(text: &str) -> VersionRange {
    text.parse().unwrap()
}

fn listing(listing: Listing) -> Selection {
    Selection { tags: Vec::new(), listing: Some(listing) }
}

const LIST: [&str; 10] =
    ["latest", "main", "v1.9.0", "v1.10.0", "v2.0.0", "v2.1.0", "v2.1.0-alpine", "v3.0.0-rc1", "v4.0.0", "2.0.5"];

fn check(selection: &Selection, expected: &[&str]) {
    assert_eq!(names(&selection.select(&tags(&LIST)).tags), expected);
}

#[test]
fn latest_is_meant_when_nothing_else_is_said_and_costs_no_list() {
    assert!(!Selection::latest().lists());
    check(&Selection::latest(), &["latest"]);
}

#[test]
fn named_tags_are_meant_without_listing_them() {
    let selection = Selection { tags: tags(&["stable", "v9", "stable"]), listing: None };
    assert!(!selection.lists());
    assert_eq!(names(&selection.select(&[]).tags), ["stable", "v9"]);
}

#[test]
fn an_empty_listing_means_all_listed_tags_newest_first() {
    let all = listing(Listing::default());
    assert!(all.lists());
    check(
        &all,
        &["v4.0.0", "v3.0.0-rc1", "v2.1.0", "v2.1.0-alpine", "2.0.5", "v2.0.0", "v1.10.0", "v1.9.0", "latest", "main"],
    );
}

#[test]
fn match_searches_and_does_not_anchor() {
    check(
        &listing(Listing { matches: patterns(&["1"]), ..Listing::default() }),
        &["v3.0.0-rc1", "v2.1.0", "v2.1.0-alpine", "v1.10.0", "v1.9.0"],
    );
    check(&listing(Listing { matches: patterns(&["^ma", "^la"]), ..Listing::default() }), &["latest", "main"]);
}

#[test]
fn exclude_wins_over_match() {
    let selection =
        Listing { matches: patterns(&[r"^v\d"]), exclude: patterns(&["-rc", "alpine$", "^v1"]), ..Listing::default() };
    check(&listing(selection), &["v4.0.0", "v2.1.0", "v2.0.0"]);
}

#[test]
fn semver_leaves_out_what_is_no_version_and_says_so() {
    let selection = listing(Listing { semver: Some(range(">=2, <4")), ..Listing::default() });
    check(&selection, &["v2.1.0", "v2.1.0-alpine", "2.0.5", "v2.0.0"]);
    assert_eq!(names(&selection.select(&tags(&LIST)).not_versions), ["latest", "main"]);
    assert!(listing(Listing::default()).select(&tags(&LIST)).not_versions.is_empty());
}

#[test]
fn prereleases_are_outside_ranges_unless_the_range_names_one() {
    check(&listing(Listing { semver: Some(range(">=3")), ..Listing::default() }), &["v4.0.0"]);
    check(&listing(Listing { semver: Some(range(">=3.0.0-rc1")), ..Listing::default() }), &["v4.0.0", "v3.0.0-rc1"]);
}

#[test]
fn named_and_listed_tags_unite_with_the_named_ones_first() {
    let listing = Listing { semver: Some(range("^2")), ..Listing::default() };
    let selection = Selection { tags: tags(&["latest", "v2.0.0"]), listing: Some(listing) };
    check(&selection, &["latest", "v2.0.0", "v2.1.0", "v2.1.0-alpine", "2.0.5"]);
}

#[test]
fn limit_keeps_the_newest_of_the_listed_tags_and_all_named_ones() {
    let listing = Listing { matches: patterns(&[r"^v\d+\.\d+\.\d+$"]), limit: Some(2), ..Listing::default() };
    let selection = Selection { tags: tags(&["v1.9.0", "main"]), listing: Some(listing) };
    check(&selection, &["v1.9.0", "main", "v4.0.0", "v2.1.0"]);
}

#[test]
fn sort_by_name_is_descending_and_changes_what_limit_cuts() {
    let selection = Listing { matches: patterns(&["^v1"]), sort: Sort::Name, limit: Some(1), ..Listing::default() };
    check(&listing(selection.clone()), &["v1.9.0"]);
    check(&listing(Listing { sort: Sort::Semver, ..selection }), &["v1.10.0"]);
}

#[test]
fn candidates_for_the_newest_ignore_limit_and_put_prereleases_after_all_releases() {
    let selection = listing(Listing { exclude: patterns(&["alpine"]), limit: Some(1), ..Listing::default() });
    assert_eq!(
        names(&selection.select(&tags(&LIST)).candidates),
        ["v4.0.0", "v2.1.0", "2.0.5", "v2.0.0", "v1.10.0", "v1.9.0", "v3.0.0-rc1", "latest", "main"]
    );
}

/// Tags of well-known repositories, each list in the order that a person expects, newest first.
const REAL: [(&str, &[&str]); 12] = [
    (
        "postgres",
        &[
            "18beta2",
            "18beta1",
            "17.2",
            "17.2-bookworm",
            "17.2-alpine3.21",
            "17.2-alpine3.20",
            "17.2-alpine",
            "17",
            "17-alpine",
            "17rc1",
            "16.6",
            "9.6.24",
        ],
    ),
    (
        "python",
        &[
            "3.14.0rc2",
            "3.14.0rc1-slim",
            "3.14-rc",
            "3.14.0b3",
            "3.14.0a7",
            "3.13.1",
            "3.13.1-slim-bookworm",
            "3.13.1-slim",
            "3.13",
            "3.9.21",
            "3.9",
            "2.7.18",
            "latest",
            "slim",
        ],
    ),
    (
        "node",
        &[
            "23.5.0",
            "23.5",
            "23.5.0-slim",
            "23.5.0-alpine3.21",
            "23.5.0-alpine3.20",
            "23",
            "22.12.0",
            "8.17.0",
            "current",
            "iron",
            "lts",
        ],
    ),
    (
        "nginx",
        &[
            "1.27.3",
            "1.27.3-perl",
            "1.27.3-bookworm",
            "1.27.3-alpine-slim",
            "1.27.3-alpine3.20",
            "1.27",
            "1.26.2",
            "1.9.15",
            "mainline",
            "stable",
        ],
    ),
    ("ubuntu", &["24.10", "24.04", "22.04", "6.06", "jammy", "jammy-20240111", "noble"]),
    (
        "home-assistant",
        &["2025.1.0b3", "2025.1.0b0", "2024.12.5", "2024.12.0", "2024.9.3", "2024.1.6", "dev", "stable"],
    ),
    ("calendar dates", &["2024.12.01", "2024.02.29", "2024.1.15", "2023.12.31"]),
    ("dates with dashes", &["2024-12-01", "2024-02-29", "2024-01-15"]),
    ("dates in one number", &["20241201", "20240229", "20231231"]),
    ("four numbers", &["10.0.20348.2849", "10.0.20348.169", "10.0.17763.6532", "1.2.3.4"]),
    (
        "dotnet",
        &[
            "10.0.0-preview.10",
            "10.0.0-preview.2",
            "9.0.0",
            "9.0",
            "9.0.0-noble-chiseled",
            "9.0.0-rc.2",
            "9.0.0-rc.1",
            "9.0.0-preview.7",
            "8.0.11",
        ],
    ),
    ("traefik", &["v3.3.0-rc2", "v3.3.0-rc1", "v3.2.3", "v3.2", "v3", "v3.0.0-beta5", "v2.11.16", "saintnectaire"]),
];

#[test]
fn tags_of_well_known_repositories_come_in_the_order_that_a_person_expects() {
    for (repository, expected) in REAL {
        let mut listed = tags(expected);
        listed.sort();
        assert_eq!(names(&listing(Listing::default()).select(&listed).tags), *expected, "{repository}");
    }
}

#[test]
fn the_newest_of_well_known_repositories_is_a_release_without_variant() {
    let newest = [
        "17.2",
        "3.13.1",
        "23.5.0",
        "1.27.3",
        "24.10",
        "2024.12.5",
        "2024.12.01",
        "2024-12-01",
        "20241201",
        "10.0.20348.2849",
        "9.0.0",
        "v3.2.3",
    ];
    for ((repository, listed), expected) in REAL.iter().zip(newest) {
        let selected = listing(Listing::default()).select(&tags(listed));
        assert_eq!(selected.candidates[0].as_str(), expected, "{repository}");
    }
}

#[test]
fn what_people_do_not_mean_as_a_version_is_none() {
    for tag in [
        "latest",
        "main",
        "bookworm",
        "jammy-20240111",
        "RELEASE.2024-01-15T00-00-00Z",
        "sha-1a2b3c4",
        "12ab34f",
        "9f86d081",
        "4b1243bd22c66e76c2ba9eddc1f91394e57f9f83",
        "1234567890123456789012345",
        "go1.22",
        "v",
        "1.2.",
        "1.2-",
        "pr-12",
        "1.2x",
        "",
    ] {
        assert_eq!(Version::parse(tag), None, "{tag}");
    }
}

#[test]
fn marks_of_prereleases_are_known_wherever_they_stand_in_the_suffix() {
    for (tag, expected) in [
        ("1.0.0-alpha", true),
        ("1.0.0-beta.2", true),
        ("1.0.0-rc1", true),
        ("1.0-pre", true),
        ("1.0-preview.3", true),
        ("1.0.0-dev", true),
        ("1.0-SNAPSHOT", true),
        ("1.0-nightly20240115", true),
        ("1.0.0-alpine-rc1", true),
        ("3.14.0a7", true),
        ("3.14.0b1-slim", true),
        ("17beta1", true),
        ("v1.2.3-rc.1.2", true),
        ("1.0.0_rc1", true),
        ("1.0.0", false),
        ("1.0.0-alpine3.20", false),
        ("1.0.0-slim", false),
        ("1.0.0-predictive", false),
        ("1.0.0-b", false),
        ("5.4.2-debian-12-r4", false),
    ] {
        assert_eq!(Version::parse(tag).map(|version| version.is_prerelease()), Some(expected), "{tag}");
    }
}

#[test]
fn ranges_mean_what_people_expect() {
    for (text, inside, outside) in [
        (">=2, <4", &["2", "2.0.0", "3.9.9", "v2.1-alpine"][..], &["1.9", "4", "4.0.1", "3.0.0-rc1", "4.0.0-rc1"][..]),
        (">=2,<4", &["3"], &["4"]),
        (">= 1.2", &["1.2", "1.2.0", "1.10"], &["1.1.9", "1.2.0-rc1"]),
        (">1.2", &["1.3", "2"], &["1.2", "1.2.5", "1.1"]),
        ("<=1.2", &["1.2", "1.2.5", "1"], &["1.3", "2"]),
        ("<1.2", &["1.1.9", "1"], &["1.2", "1.2.0", "1.2.0-rc1"]),
        ("^1.2", &["1.2", "1.9.9", "1.2-slim"], &["1.1", "2", "1"]),
        ("^0.2", &["0.2.9"], &["0.3", "0.1", "1"]),
        ("^0.0.3", &["0.0.3"], &["0.0.4", "0.0.2"]),
        ("^0", &["0", "0.9"], &["1"]),
        ("^1.2.3.4", &["1.2.3.4", "1.2.3.10", "1.3"], &["1.2.3.3", "2"]),
        ("~1.2", &["1.2", "1.2.9"], &["1.3", "1.1"]),
        ("~1", &["1", "1.9"], &["2", "0.9"]),
        ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3"]),
        ("~1.2.3.4", &["1.2.3.4", "1.2.3.9"], &["1.2.3.3", "1.2.4"]),
        ("1.2", &["1.2", "1.2.7", "v1.2.0"], &["1.3", "1", "1.20"]),
        ("1.x", &["1", "1.0", "1.99.1"], &["2", "0.1"]),
        ("1.2.*", &["1.2.3"], &["1.3.0"]),
        ("=1.2.3", &["1.2.3", "v1.2.3", "1.2.3-alpine", "1.2.3.4"], &["1.2.4", "1.2.3-rc1"]),
        ("=10.0.20348.169", &["10.0.20348.169"], &["10.0.20348.2849", "10.0.20348"]),
        ("*", &["1", "0.0.1", "2024.01.15"], &["1.0-rc1"]),
        ("2024", &["2024.1", "2024.12.31"], &["2025.1"]),
        (">=1.5.0-rc2", &["1.5.0-rc2", "1.5.0-rc10", "1.5.0", "1.6.0-beta"], &["1.5.0-rc1", "1.5.0-beta9", "1.4"]),
        ("=1.5.0-rc1", &["1.5.0-rc1", "1.5.0-rc1-alpine"], &["1.5.0", "1.5.0-rc2"]),
        ("<2.0.0-rc1", &["1.9", "2.0.0-beta1"], &["2.0.0-rc1", "2.0.0"]),
        (">2-beta1, <=2-rc1", &["2-rc1", "2-beta2"], &["2-beta1", "2"]),
    ] {
        let range: VersionRange = text.parse().unwrap();
        assert_eq!(range.as_str(), text);
        for (versions, expected) in [(inside, true), (outside, false)] {
            for version in versions {
                assert_eq!(range.contains(&Version::parse(version).unwrap()), expected, "{version} in {text}");
            }
        }
    }
}

#[test]
fn what_is_no_range_is_refused() {
    for text in
        ["", ",", ">=", ">=two", "=>1", "1.2.3.", ">=1 <2", "^*", "1.x-rc1", "!=2", "1..2", ">=1,", "v", "1.2x", "12ab"]
    {
        assert!(matches!(text.parse::<VersionRange>(), Err(InvalidRange::Part(_))), "{text}");
    }
    assert!(matches!("1.2-alpine".parse::<VersionRange>(), Err(InvalidRange::Variant(_))));
    assert!(matches!("^1 || ^2".parse::<VersionRange>(), Err(InvalidRange::Alternatives(_))));
}

#[test]
fn a_range_that_holds_no_version_is_refused() {
    for text in [
        ">4, <2",
        ">1.2, <1.3",
        "<0",
        "<0.0.0-nightly",
        "1.2, 1.3",
        "^1, ^2",
        "~1.2, >=1.3",
        ">=2-rc1, <2-rc1",
        ">=2-rc1, <2",
        "=2-rc1, =2-rc2",
    ] {
        assert!(matches!(text.parse::<VersionRange>(), Err(InvalidRange::Empty(_))), "{text}");
    }
    for text in ["*", "<1", "<=0", "<0-rc1", ">1.2, <1.4", ">1.2.3, <1.3", "1.2, >=1.2.7", "^1, ~1.9", ">2-rc1, <2-rc2"]
    {
        assert!(text.parse::<VersionRange>().is_ok(), "{text}");
    }
}

#[test]
fn a_star_stays_in_its_segment_and_two_take_any_number() {
    for (pattern, inside, outside) in [
        ("r.io/acme/*", &["acme/app", "acme/x"][..], &["acme", "acme/team/app", "other/app", "acmex/app"][..]),
        ("r.io/*", &["app"], &["acme/app"]),
        ("r.io/**", &["app", "acme/app", "a/b/c/d"], &[]),
        ("r.io/acme/**", &["acme/app", "acme/team/app"], &["acme", "other/acme/app"]),
        ("r.io/**/app", &["app", "acme/app", "a/b/app"], &["apps", "app/x"]),
        ("r.io/acme/**/app", &["acme/app", "acme/a/b/app"], &["app", "acme/app/x"]),
        ("r.io/acme/app-*", &["acme/app-", "acme/app-web"], &["acme/app", "acme/my-app-web", "acme/app-web/x"]),
        ("r.io/*-*/app", &["a-b/app", "a-b-c/app"], &["ab/app"]),
        ("r.io/**/a/**", &["a/b", "a/a", "x/a/b/c"], &["a", "x/a"]),
        ("r.io/a*a*a", &["aaa", "abaca"], &["aa", "abac"]),
    ] {
        let pattern: RepositoryPattern = pattern.parse().unwrap();
        for (repositories, expected) in [(inside, true), (outside, false)] {
            for repository in repositories {
                assert_eq!(pattern.matches(repository), expected, "{repository} in {}", pattern.text);
            }
        }
    }
}

#[test]
fn one_repository_and_a_pattern_are_told_apart_and_shown_as_they_are_read() {
    for (text, shown) in [
        ("alpine", "docker.io/library/alpine"),
        ("localhost:5000/acme/*", "localhost:5000/acme/*"),
        ("quay.io/**", "quay.io/**"),
    ] {
        assert_eq!(text.parse::<Repositories>().unwrap().to_string(), shown);
    }
    let pattern: Repositories = "quay.io/acme/*".parse().unwrap();
    assert!(pattern.include(&"quay.io/acme/app".parse().unwrap()));
    assert!(!pattern.include(&"ghcr.io/acme/app".parse().unwrap()));
}

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
    fn limit_takes_the_first_of_what_is_meant_without_it(listed in parsed_tags(20), mut wanted in any_listing()) {
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
            let meant = wanted.finds(tag) && inside;
            prop_assert_eq!(selected.candidates.contains(tag), meant, "{}", tag);
        }
    }

    #[test]
    fn no_text_panics_a_parser(text: String, tag in tag()) {
        let _ = Version::parse(&text);
        let _ = text.parse::<VersionRange>();
        let _ = text.parse::<TagPattern>();
        if let Ok(Repositories::Matching(pattern)) = text.parse::<Repositories>() {
            pattern.matches(&tag);
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
