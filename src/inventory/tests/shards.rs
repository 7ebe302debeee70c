//! What a shard of several publishes: all of its repositories' own figures, and none that need other shards.

use proptest::prelude::*;

use super::fixtures::*;
use crate::inventory::snapshot::RepositoryView;
use crate::inventory::*;
use crate::tag::*;
use crate::target::{Shard, Target};

fn shard(number: u32, total: u32) -> Shard {
    Shard::new(number, total).unwrap()
}

/// Targets of both kinds, of a shard.
fn targets(shard: Shard) -> [Target; 2] {
    [listing("all", "r.io/acme/*").in_shard(shard), target("named", "r.io/b", "v1").in_shard(shard)]
}

/// The tags `v1`, `v2` and so on of a repository `r.io/acme/NUMBER`, each of a base and so many layers of its own.
fn scanned(shard: Shard, tags: &[Vec<usize>]) -> (Inventory, Vec<TagChange>) {
    let mut inventory = inventory(&targets(shard));
    let reference = |number: usize, tag: usize| format!("r.io/acme/{number}:v{tag}");
    let all: Vec<String> = (0..tags.len())
        .filter(|number| shard.holds(&repository(&format!("r.io/acme/{number}"))))
        .flat_map(|number| (0..tags[number].len()).map(move |tag| reference(number, tag)))
        .collect();
    found(&mut inventory, "all", &all.join(" "));
    let mut changes = Vec::new();
    for (number, layers) in tags.iter().enumerate() {
        for (tag, &layers) in layers.iter().enumerate() {
            let own = (0..layers).map(|layer| format!("{number}-{layer}:{}", 10 + layer));
            let all: Vec<String> = std::iter::once("base:100".to_owned()).chain(own).collect();
            changes.extend(read(&mut inventory, &reference(number, tag), 10.0, single(&all.join(" "))));
        }
    }
    changes.extend(read(&mut inventory, "r.io/b:v1", 10.0, single("base:100")));
    scan_ended(&mut inventory, "all");
    scan_ended(&mut inventory, "named");
    (inventory, changes)
}

/// The repositories, without what other shards may change.
fn own_figures(inventory: &mut Inventory) -> Vec<RepositoryView> {
    let snapshot = inventory.snapshot();
    let views = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
    let stripped = views.map(|view| {
        let mut view = (**view).clone();
        (view.unique_bytes, view.proportional_bytes) = (None, None);
        for image in view.tags.iter_mut().flat_map(|tag| &mut tag.images) {
            (image.unique_bytes, image.proportional_bytes, image.base) = (None, None, None);
        }
        view
    });
    stripped.collect()
}

proptest! {
    #[test]
    fn together_shards_publish_what_one_inventory_does(
        tags in prop::collection::vec(prop::collection::vec(0_usize..4, 1..4), 0..12),
        total in 1_u32..5,
    ) {
        let mut whole = own_figures(&mut scanned(Shard::default(), &tags).0);
        let mut together = Vec::new();
        for number in 0..total {
            let (mut inventory, changes) = scanned(shard(number, total), &tags);
            prop_assert!(changes.iter().all(|change| shard(number, total).holds(&change.repository)));
            if total > 1 {
                let snapshot = inventory.snapshot();
                for registry in &snapshot.registries {
                    prop_assert!(registry.stored_bytes.is_none() && registry.groups.is_empty());
                    for view in &registry.repositories {
                        prop_assert!(view.unique_bytes.is_none() && view.proportional_bytes.is_none());
                        let mut images = view.tags.iter().flat_map(|tag| &tag.images);
                        prop_assert!(images.all(|image| image.unique_bytes.is_none() && image.base.is_none()));
                    }
                }
            }
            together.extend(own_figures(&mut inventory));
        }
        together.sort_by(|a, b| a.repository.cmp(&b.repository));
        whole.sort_by(|a, b| a.repository.cmp(&b.repository));
        prop_assert_eq!(together, whole);
    }
}

#[test]
fn a_restart_with_another_number_drops_what_is_no_longer_its_own() {
    let tags: Vec<Vec<usize>> = vec![vec![1]; 30];
    let (_, changes) = scanned(Shard::default(), &tags);
    let shard = shard(1, 3);
    let mut inventory = inventory(&targets(shard));
    for change in changes {
        let kept = change.kept.as_ref().unwrap();
        let dropped = inventory.restore(&change.repository, &change.tag, kept, |_| None);
        assert_eq!(dropped.is_none(), shard.holds(&change.repository), "{}", change.repository);
        assert!(dropped.is_none_or(|change| change.kept.is_none()));
    }
    let snapshot = inventory.snapshot();
    let mut views = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
    assert!(views.all(|view| shard.holds(&view.repository)));
}

#[test]
fn a_shard_that_comes_back_with_an_old_state_scans_at_once() {
    let holder = (0..2).map(|number| shard(number, 2)).find(|shard| shard.holds(&repository("r.io/b"))).unwrap();
    let interval = targets(holder)[1].interval.as_secs_f64();
    for (shard, now, waits) in [
        (holder, 10.0 + interval, true),
        (holder, 10.0 + 2.5 * interval, false),
        (Shard::default(), 10.0 + 2.5 * interval, true),
    ] {
        let (_, changes) = scanned(shard, &[]);
        let mut inventory = super::restart::restart(&targets(shard), &changes, &single("base:100").images);
        inventory.set_time(now);
        let restored = inventory.restored(|_, _| true);
        assert_eq!(restored.contains(&TargetName("named".into())), waits, "{shard} at {now}");
        assert!(inventory.is_scanned(&TargetName("named".into()), Completeness::Whole), "its figures are published");
    }
}

#[test]
fn a_target_with_all_repositories_elsewhere_is_scanned_once_its_catalog_is_read() {
    let elsewhere = (0..2).map(|number| shard(number, 2)).find(|shard| !shard.holds(&repository("r.io/b"))).unwrap();
    let mut inventory = inventory(&targets(elsewhere));
    let (all, named) = (TargetName("all".into()), TargetName("named".into()));
    assert!(inventory.is_scanned(&named, Completeness::Whole), "there is nothing to read");
    assert!(!inventory.is_scanned(&all, Completeness::Listed), "nobody knows its repositories");
    inventory.select(&all, Discovered { repositories: Vec::new(), catalog: ListExtent::Whole });
    assert!(inventory.is_scanned(&all, Completeness::Whole));
    let selected = inventory.targets_selected();
    assert_eq!((selected[&all], selected[&named]), (Selected::default(), Selected::default()));
    // Without shards a wildcard that finds nothing is no completed scan.
    let mut alone = super::fixtures::inventory(&targets(Shard::default()));
    alone.select(&all, Discovered { repositories: Vec::new(), catalog: ListExtent::Whole });
    assert!(!alone.is_scanned(&all, Completeness::Listed));
}
