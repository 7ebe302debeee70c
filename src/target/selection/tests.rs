mod properties;
mod versions;

use super::*;
use crate::target::{Repositories, RepositoryPattern};

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
fn latest_is_selected_when_nothing_else_is_said_and_costs_no_list() {
    assert!(!Selection::latest().lists());
    check(&Selection::latest(), &["latest"]);
}

#[test]
fn named_tags_are_selected_without_listing_them() {
    let selection = Selection { tags: tags(&["stable", "v9", "stable"]), listing: None };
    assert!(!selection.lists());
    assert_eq!(names(&selection.select(&[]).tags), ["stable", "v9"]);
}

#[test]
fn an_empty_listing_selects_all_listed_tags_newest_first() {
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
fn semver_leaves_out_tags_that_are_not_versions_and_reports_them() {
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
fn repositories_and_patterns_are_distinguished_and_displayed_as_parsed() {
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
