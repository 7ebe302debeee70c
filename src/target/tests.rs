//! The identity of a target's scans.

use super::*;

fn target() -> Target {
    Target {
        name: TargetName("backend".into()),
        repositories: "r.io/acme/*".parse().unwrap(),
        selection: Selection {
            tags: vec!["latest".parse().unwrap()],
            listing: Some(Listing {
                matches: vec![r"^v\d+$".parse().unwrap()],
                exclude: vec!["-rc".parse().unwrap()],
                semver: Some(">=2, <4".parse().unwrap()),
                sort: Sort::Name,
                limit: Some(20),
            }),
        },
        newest: None,
        platforms: PlatformFilter::all(),
        interval: Duration::from_mins(5),
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: None,
        labels: BTreeMap::new(),
        grouping: None,
        tags_max: 10_000,
    }
}

/// State files are keyed by this text: a change of it makes the first scan after an upgrade run at once.
#[test]
fn the_identity_of_a_targets_scans_is_this_text() {
    let expected = "name 7 backend\nrepository 11 r.io/acme/*\ntag 6 latest\nmatch 6 ^v\\d+$\nexclude 3 -rc\n\
                    semver 7 >=2, <4\nsort 4 name\nlimit 2 20\ntags_max 5 10000\n";
    assert_eq!(target().scan_identity(), expected);
    let named = Target { selection: Selection::latest(), ..target() };
    assert_eq!(named.scan_identity(), "name 7 backend\nrepository 11 r.io/acme/*\ntag 6 latest\n");
}

#[test]
fn a_shards_scans_are_not_those_of_another_one() {
    let shard = |number, total| Shard::new(number, total).unwrap();
    let whole = target().scan_identity();
    assert_eq!(target().in_shard(shard(0, 1)).scan_identity(), whole);
    let one = target().in_shard(shard(1, 3));
    assert_eq!(one.scan_identity(), format!("{whole}shard 6 1 of 3\n"));
    assert_eq!(one.scan_identity_in(shard(0, 1)), whole);
}

#[test]
fn a_target_of_a_shard_keeps_its_own_repositories_and_its_text() {
    let names: Vec<Repository> = (0..40).map(|number| format!("r.io/acme/{number}").parse().unwrap()).collect();
    let text: Vec<String> = names.iter().map(ToString::to_string).chain(["r.io/b/*".to_owned()]).collect();
    let all = text.iter().map(|text| text.parse().unwrap());
    let whole = Target { repositories: Repositories::together(all).unwrap().unwrap(), ..target() };
    for number in 0..3 {
        let shard = Shard::new(number, 3).unwrap();
        let Target { repositories, .. } = whole.in_shard(shard);
        let own: Vec<&Repository> = names.iter().filter(|name| shard.holds(name)).collect();
        assert_eq!(repositories.names().iter().collect::<Vec<_>>(), own);
        assert_eq!(repositories.names_elsewhere(), 40 - own.len());
        assert_eq!((repositories.written(), repositories.shard()), (&*text, shard));
        for name in names.iter().chain(&["r.io/b/x".parse().unwrap(), "r.io/b/y".parse().unwrap()]) {
            assert_eq!(repositories.include(name), shard.holds(name), "{name}");
        }
        let running = Repositories::Running(Shard::default()).in_shard(shard);
        assert!(names.iter().all(|name| running.include(name) == shard.holds(name)));
    }
}

#[test]
fn only_what_selects_tags_identifies_a_targets_scans() {
    let published_otherwise = Target {
        newest: Some(NewestBy::Created),
        platforms: vec!["linux/amd64".parse().unwrap()].into(),
        interval: Duration::from_secs(1),
        uncompressed: Uncompressed::Exact,
        detail: Detail::Repository,
        budget_bytes: Some(1),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..target()
    };
    assert_eq!(published_otherwise.scan_identity(), target().scan_identity());
    let listing = |change: fn(&mut Listing)| {
        let mut target = target();
        change(target.selection.listing.as_mut().unwrap());
        target
    };
    for other in [
        Target { name: TargetName("b".into()), ..target() },
        Target { repositories: "r.io/acme/**".parse().unwrap(), ..target() },
        Target { tags_max: 9, ..target() },
        Target { selection: Selection { tags: Vec::new(), ..target().selection }, ..target() },
        listing(|listing| listing.matches.clear()),
        listing(|listing| std::mem::swap(&mut listing.matches, &mut listing.exclude)),
        listing(|listing| listing.semver = None),
        listing(|listing| listing.sort = Sort::Semver),
        listing(|listing| listing.limit = None),
    ] {
        assert_ne!(other.scan_identity(), target().scan_identity(), "{other:?}");
    }
}
