//! Random histories: what is published follows from the final state, and every sum holds.

use proptest::prelude::*;

use super::fixtures::*;
use crate::image::LayerContent;
use crate::inventory::snapshot::{GroupView, TagsTogether};
use crate::inventory::*;
use crate::oci::{Platform, Reason, Tag};
use crate::tag::*;
use crate::target::{Detail, Grouping, NewestBy, Target};

/// Random events for the selected tags of two repositories and of another registry.
fn happenings() -> impl Strategy<Value = Vec<(String, Outcome)>> {
    let reference = prop::sample::select(vec!["r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/b:1", "r.io/b:2", "s.io/a:1"]);
    let layer =
        (0..6_u32, prop::bool::weighted(0.1), prop::option::weighted(0.95, Just(())), prop::bool::weighted(0.1));
    let image = prop::collection::vec(layer, 0..5).prop_map(|layers| {
        let word = |(number, foreign, known, odd): (u32, bool, Option<()>, bool)| {
            let bytes = known.map_or("?".to_owned(), |()| (u64::from(number) * 10 + u64::from(odd)).to_string());
            format!("{}l{number}:{bytes}", if foreign { "~" } else { "" })
        };
        layers.into_iter().map(word).collect::<Vec<_>>().join(" ")
    });
    let images = prop::collection::btree_map(prop::sample::select(vec!["linux/amd64", "linux/arm64"]), image, 0..3);
    let outcome = images.prop_map(|images| {
        let images: Vec<(&str, &str)> = images.iter().map(|(on, layers)| (*on, layers.as_str())).collect();
        Outcome::Read(Arc::new(index(&format!("{images:?}"), &images)))
    });
    let outcome = prop_oneof![8 => outcome, 1 => Just(Outcome::Gone)];
    prop::collection::vec((reference.prop_map(str::to_owned), outcome), 0..12)
}

fn watching_all() -> Inventory {
    let in_group = |name: &str, target: Target| Target { grouping: Some(Grouping::Named(name.into())), ..target };
    let targets = [
        in_group("g", target("t", "r.io/a", "1 2 3")),
        Target { grouping: Some(Grouping::By("^(.)".parse().unwrap())), ..target("u", "r.io/b", "1 2") },
        target("w", "s.io/a", "1"),
        in_group("h", target("x", "r.io/a", "2")),
    ];
    let mut inventory = inventory(&targets);
    for name in ["t", "u", "w", "x"] {
        scan_ended(&mut inventory, name);
    }
    inventory
}

/// Everything published, except when a tag changed, when a tag that is down was last up, and bases: these depend on the
/// history.
fn without_changes(inventory: &mut Inventory) -> Snapshot {
    let mut snapshot = (*inventory.snapshot()).clone();
    for registry in &mut snapshot.registries {
        for repository in &mut Arc::make_mut(registry).repositories {
            for tag in &mut Arc::make_mut(repository).tags {
                tag.changed = None;
                tag.last_success = tag.last_success.filter(|_| tag.up == Some(true));
                // Remembered when the base's tag moves on.
                tag.images.iter_mut().for_each(|image| image.base = None);
            }
        }
    }
    snapshot
}

/// The last event of each tag.
fn last(happenings: &[(String, Outcome)]) -> BTreeMap<&str, &Outcome> {
    happenings.iter().map(|(reference, outcome)| (reference.as_str(), outcome)).collect()
}

proptest! {
    #[test]
    fn published_values_follow_from_each_tags_final_state(happenings in happenings(), looks: bool) {
        let mut lived = watching_all();
        for (reference, outcome) in &happenings {
            record(&mut lived, reference, 10.0, outcome.clone());
            if looks {
                lived.snapshot();
            }
        }
        let mut fresh = watching_all();
        for (reference, outcome) in last(&happenings) {
            record(&mut fresh, reference, 10.0, outcome.clone());
        }
        prop_assert_eq!(without_changes(&mut lived), without_changes(&mut fresh));
    }

    #[test]
    fn recording_commutes_between_tags_and_so_between_targets(happenings in happenings(), seed: u64) {
        let mut apart: Vec<(&str, &Outcome)> = last(&happenings).into_iter().collect();
        let mut one = watching_all();
        for (reference, outcome) in &apart {
            record(&mut one, reference, 10.0, (*outcome).clone());
        }
        apart.sort_by_key(|(reference, _)| reference.bytes().fold(seed, |hash, byte| hash.rotate_left(7) ^ u64::from(byte)));
        let mut other = watching_all();
        for (reference, outcome) in &apart {
            record(&mut other, reference, 10.0, (*outcome).clone());
        }
        prop_assert_eq!(&*one.snapshot(), &*other.snapshot());
        prop_assert_eq!(one.warnings().len(), other.warnings().len());
    }

    #[test]
    fn every_sum_and_inequality_holds_in_what_is_published(happenings in happenings()) {
        let mut inventory = watching_all();
        for (reference, outcome) in &happenings {
            record(&mut inventory, reference, 10.0, outcome.clone());
        }
        for registry in &inventory.snapshot().registries {
            let repositories = &registry.repositories;
            prop_assert!(repositories.is_sorted_by(|a, b| a.repository < b.repository));
            for repository in repositories {
                prop_assert!(repository.tags.is_sorted_by(|a, b| a.tag < b.tag));
                for tag in &repository.tags {
                    let platforms_differ = tag.images.is_sorted_by(|a, b| a.platform < b.platform);
                    prop_assert!(platforms_differ, "two samples never have the same labels");
                }
            }
            let tags = || repositories.iter().flat_map(|repository| &repository.tags);
            let images = || tags().flat_map(|tag| &tag.images);
            let stored = registry.stored_bytes.unwrap_or(0);
            let proportional: f64 = images().filter_map(|image| image.proportional_bytes).sum();
            prop_assert!((proportional - stored as f64).abs() < 1e-6 * (1.0 + proportional));
            let summed = |shares: &mut dyn Iterator<Item = f64>| shares.sum::<f64>();
            let of_repositories = summed(&mut repositories.iter().filter_map(|one| one.proportional_bytes));
            prop_assert!((of_repositories - proportional).abs() < 1e-6 * (1.0 + proportional));
            // Each repository of `r.io` is in a group.
            let of_groups = summed(&mut registry.groups.iter().map(|one| one.usage.proportional_bytes));
            let expected = if registry.registry.as_str() == "r.io" { proportional } else { 0.0 };
            prop_assert!((of_groups - expected).abs() < 1e-6 * (1.0 + proportional));
            for GroupView { usage, .. } in &registry.groups {
                prop_assert!(usage.unique_bytes <= usage.stored_bytes && usage.stored_bytes <= stored);
            }
            for image in images() {
                prop_assert_eq!(image.unique_bytes.is_some(), image.image.compressed_bytes.is_some());
                prop_assert!(image.unique_bytes <= image.image.compressed_bytes);
            }
            prop_assert!(repositories.iter().filter_map(|one| one.unique_bytes).sum::<u64>() <= stored);
            prop_assert!(stored <= repositories.iter().filter_map(|one| one.stored_bytes).sum());
            for repository in repositories {
                prop_assert!(repository.unique_bytes <= repository.stored_bytes);
                let largest = repository.tags.iter().filter_map(|tag| tag.stored_bytes).max();
                prop_assert!(largest <= repository.stored_bytes && repository.stored_bytes <= Some(stored));
                let whole = repository.tags.iter().all(|tag| tag.stored_bytes.is_some());
                let sum = repository.tags.iter().filter_map(|tag| tag.stored_bytes).sum();
                prop_assert!(!whole || repository.stored_bytes.is_none_or(|stored| stored <= sum));
                for tag in &repository.tags {
                    let compressed = tag.images.iter().filter_map(|image| image.image.compressed_bytes).sum();
                    prop_assert!(tag.stored_bytes.is_none_or(|stored| stored <= compressed));
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_of_what_went(happenings in happenings()) {
        let mut inventory = watching_all();
        for (reference, outcome) in &happenings {
            record(&mut inventory, reference, 10.0, outcome.clone());
        }
        for reference in last(&happenings).into_keys() {
            record(&mut inventory, reference, 10.0, Outcome::Gone);
        }
        prop_assert!(inventory.digests_in_use().is_empty());
        for state in inventory.registries.values() {
            prop_assert!(state.layers.is_empty());
        }
    }
}

/// Any event for an inventory of the targets below.
#[derive(Clone, Debug)]
enum Event {
    Happens(String, Outcome),
    Found(usize, Vec<usize>, bool),
    PassEnded(usize),
    Learnt(u32, LayerContent),
    Expires,
    Configured(Vec<usize>),
    Looks,
}

fn targets() -> Vec<Target> {
    vec![
        Target { grouping: Some(Grouping::Named("g".into())), ..target("named", "r.io/a", "1 2") },
        Target { newest: Some(NewestBy::Semver), ..listing("listing", "r.io/a") },
        Target {
            platforms: vec![platform("linux/amd64")].into(),
            uncompressed: Uncompressed::Exact,
            grouping: Some(Grouping::By("^(.)".parse().unwrap())),
            ..listing("wild", "r.io/*")
        },
        Target { detail: Detail::Repository, ..listing("other", "s.io/*") },
    ]
}

const LISTED: [&str; 6] = ["r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/b:1", "r.io/b:2", "s.io/a:1"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let happens = happenings().prop_map(|happenings| {
        happenings.into_iter().map(|(reference, outcome)| Event::Happens(reference, outcome)).collect::<Vec<_>>()
    });
    let fails = prop::sample::select(LISTED.to_vec())
        .prop_map(|reference| vec![Event::Happens(reference.to_owned(), Outcome::Failed(Reason::Network))]);
    let found =
        (0..4_usize, prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 0..6), prop::bool::weighted(0.8))
            .prop_map(|(target, listed, complete)| vec![Event::Found(target, listed, complete)]);
    let learnt = (0..6_u32, 0..100_u64, any::<bool>())
        .prop_map(|(layer, bytes, exact)| vec![Event::Learnt(layer, content(bytes, !exact, exact.then_some(bytes)))]);
    let configured = prop::sample::subsequence((0..4).collect::<Vec<usize>>(), 0..4);
    let event = prop_oneof![
        4 => happens,
        1 => fails,
        4 => found,
        3 => (0..4_usize).prop_map(|target| vec![Event::PassEnded(target)]),
        2 => learnt,
        1 => Just(vec![Event::Expires]),
        1 => configured.prop_map(|targets| vec![Event::Configured(targets)]),
        3 => Just(vec![Event::Looks]),
    ];
    prop::collection::vec(event, 0..20).prop_map(|events| events.concat())
}

/// Applies the event; returns the changes for the store.
fn apply(inventory: &mut Inventory, event: Event) -> Vec<TagChange> {
    let name = |target: usize| targets()[target].name.clone();
    match event {
        Event::Happens(reference, outcome) => {
            return record(inventory, &reference, 10.0, outcome).into_iter().collect();
        }
        Event::Found(target, listed, complete) => {
            let selected = listed.iter().map(|&place| LISTED[place]);
            let selected = selected.filter(|reference| {
                targets()[target].repositories.include(&repository(reference.rsplit_once(':').unwrap().0))
            });
            let references = selected.collect::<Vec<_>>().join(" ");
            let found = if complete { found } else { found_in_part };
            return found(inventory, &name(target).0, &references);
        }
        Event::PassEnded(target) => inventory.scan_ended(&name(target)),
        Event::Learnt(layer, content) => drop(inventory.learn_layers([(digest(&format!("l{layer}")), content)])),
        Event::Expires => return inventory.expire(11.0 + WEEK.as_secs_f64()),
        Event::Configured(chosen) => {
            let chosen: Vec<Target> = chosen.into_iter().map(|target| targets()[target].clone()).collect();
            return inventory.reconfigure(&shared(&chosen), WEEK);
        }
        Event::Looks => drop(inventory.snapshot()),
    }
    Vec::new()
}

proptest! {
    #[test]
    fn a_snapshot_that_reuses_the_one_before_is_what_a_new_one_would_be(events in events(), has_sums: bool) {
        let mut inventory = inventory(&targets());
        for target in targets().iter().filter(|_| has_sums) {
            inventory.scan_ended(&target.name);
        }
        for event in events {
            apply(&mut inventory, event);
        }
        let reused = inventory.snapshot();
        for state in inventory.registries.values_mut() {
            state.stale.mark(StalePart::Sums);
            state.repositories.values_mut().for_each(|repository| repository.stale.mark(StalePart::Sums));
        }
        prop_assert_eq!(&*reused, &*inventory.snapshot());
    }
}

/// The records in a store after these changes.
fn keep(store: &mut BTreeMap<(Repository, Tag), TagRecord>, changes: impl IntoIterator<Item = TagChange>) {
    for TagChange { repository, tag, kept } in changes {
        match kept {
            Some(kept) => drop(store.insert((repository, tag), kept)),
            None => drop(store.remove(&(repository, tag))),
        }
    }
}

/// Whether a platform is selected that the record has and the inventory has let go.
fn has_let_go(inventory: &Inventory, repository: &Repository, tag: &Tag, kept: &TagRecord) -> bool {
    let Some(state) = inventory.repository(repository).and_then(|one| one.tags.get(tag)) else { return false };
    let Some(content) = &state.content else { return false };
    let is_known = |platform: &Platform| content.known.images.iter().any(|(known, _)| known == platform);
    let platforms = kept.known.images.iter().map(|(platform, _)| platform);
    platforms.filter(|platform| state.settings.platforms.includes(platform)).any(|platform| !is_known(platform))
}

/// The published values of stored tags, without uncompressed sizes and bases, which are stored under other digests.
fn of_kept(inventory: &mut Inventory) -> Snapshot {
    let mut snapshot = (*inventory.snapshot()).clone();
    for registry in &mut snapshot.registries {
        let repositories = &mut Arc::make_mut(registry).repositories;
        for repository in repositories.iter_mut().map(Arc::make_mut) {
            (repository.tags_selected, repository.tags_unknown) = (None, None);
            repository.tags.retain(|tag| tag.info.is_some());
            repository.together = TagsTogether::of(&repository.tags);
            for image in repository.tags.iter_mut().flat_map(|tag| &mut tag.images) {
                (image.uncompressed, image.unpacked_bytes, image.base) = (None, None, None);
            }
        }
        repositories.retain(|repository| repository.metadata_bytes.is_some() || !repository.tags.is_empty());
    }
    snapshot.registries.retain(|registry| !registry.repositories.is_empty());
    snapshot
}

proptest! {
    #[test]
    fn a_restart_changes_nothing_of_what_was_read(events in events()) {
        let mut configured: Vec<usize> = (0..4).collect();
        let mut before = inventory(&targets());
        let mut store = BTreeMap::new();
        let mut images = HashMap::new();
        for event in events {
            match &event {
                Event::Happens(_, Outcome::Read(reading)) => {
                    images.extend(reading.images.iter().map(|image| (image.digest.clone(), Arc::clone(image))));
                }
                Event::Configured(targets) => configured.clone_from(targets),
                _ => {}
            }
            keep(&mut store, apply(&mut before, event));
        }
        // Tags missing from the list are forgotten, and new ones were selected by no target before.
        for &target in &configured {
            let listed = if targets()[target].selection.lists() { LISTED.len() } else { 2 };
            keep(&mut store, apply(&mut before, Event::Found(target, (0..listed).rev().collect(), true)));
        }
        // A platform that was let go and is selected again is known again after a restart, else with the next reading.
        prop_assume!(!store.iter().any(|((repository, tag), kept)| has_let_go(&before, repository, tag, kept)));
        let now: Vec<Target> = configured.iter().map(|&target| targets()[target].clone()).collect();
        let mut after = inventory(&now);
        for ((repository, tag), kept) in &store {
            prop_assert_eq!(after.restore(repository, tag, kept, |digest| images.get(digest).cloned()), None);
        }
        after.restored(|_, _| true);
        for inventory in [&mut before, &mut after] {
            for target in &now {
                inventory.scan_ended(&target.name);
            }
        }
        prop_assert_eq!(of_kept(&mut before), of_kept(&mut after));
    }
}
