//! Real versions, their order, and ranges.

use super::*;
use crate::target::InvalidRange;

/// Tags of well-known repositories, newest first, in the order that a person expects.
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
fn tags_that_are_not_versions_do_not_parse() {
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
fn ranges_contain_the_versions_that_people_expect() {
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
fn text_that_is_not_a_range_is_refused() {
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
