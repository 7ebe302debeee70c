//! What is withheld while more repositories may be in a catalog than are known.

use super::fixtures::*;
use crate::inventory::*;
use crate::tag::*;
use crate::target::Target;

/// Two repositories that share a layer: one by a wildcard, one by name.
fn targets() -> [Target; 2] {
    [listing("all", "r.io/acme/*"), target("named", "r.io/b", "v1")]
}

/// The wildcard's discovery finds `acme/a:v1`, and so much of its catalog is read; then all is read.
fn scan(inventory: &mut Inventory, catalog: ListExtent) -> Vec<TagChange> {
    let tags = vec![tag("v1")];
    let one = DiscoveredRepository {
        repository: repository("r.io/acme/a"),
        candidates: tags.clone(),
        tags,
        list: ListExtent::Whole,
    };
    let repositories = if catalog == ListExtent::Unread { Vec::new() } else { vec![one] };
    inventory.select(&TargetName("all".into()), Discovered { repositories, catalog });
    let changes = [
        read(inventory, "r.io/acme/a:v1", 10.0, single("base:100 x:10")),
        read(inventory, "r.io/b:v1", 10.0, single("base:100 y:20")),
    ];
    scan_ended(inventory, "all");
    scan_ended(inventory, "named");
    changes.into_iter().flatten().collect()
}

/// The registry's stored size, and whether each repository's unique and proportional sizes, and its images', are published.
fn shared_figures(inventory: &mut Inventory) -> (Option<u64>, Vec<[bool; 4]>) {
    let snapshot = inventory.snapshot();
    let registry = &snapshot.registries[0];
    let figures = registry.repositories.iter().map(|repository| {
        let image = &repository.tags[0].images[0];
        assert!(image.image.compressed_bytes.is_some() && repository.stored_bytes.is_some());
        assert!(repository.tags[0].stored_bytes.is_some());
        let of_repository = [repository.unique_bytes.is_some(), repository.proportional_bytes.is_some()];
        let of_image = [image.unique_bytes.is_some(), image.proportional_bytes.is_some()];
        [of_repository[0], of_repository[1], of_image[0], of_image[1]]
    });
    (registry.stored_bytes, figures.collect())
}

fn whole() -> (Option<u64>, Vec<[bool; 4]>) {
    (Some(130), vec![[true; 4]; 2])
}

fn withheld() -> (Option<u64>, Vec<[bool; 4]>) {
    (None, vec![[false; 4]; 2])
}

#[test]
fn what_unread_repositories_may_change_is_withheld_until_the_catalog_was_read_to_its_end() {
    let mut inventory = inventory(&targets());
    for (catalog, expected) in [
        (ListExtent::Partial, withheld()),
        (ListExtent::Unread, withheld()),
        (ListExtent::Whole, whole()),
        // The last true figures stay.
        (ListExtent::Partial, whole()),
        (ListExtent::Unread, whole()),
        (ListExtent::Cut, withheld()),
        (ListExtent::Partial, withheld()),
        (ListExtent::Whole, whole()),
    ] {
        scan(&mut inventory, catalog);
        assert_eq!(shared_figures(&mut inventory), expected, "{catalog:?}");
        assert_eq!(
            inventory.snapshot().registries[0].repositories[0].tags_selected,
            Some(1),
            "of lists that were read"
        );
    }
}

#[test]
fn a_catalog_of_which_nothing_is_known_withholds_nothing_of_the_others() {
    let mut inventory = inventory(&targets());
    scan(&mut inventory, ListExtent::Unread);
    assert_eq!(shared_figures(&mut inventory), (Some(120), vec![[true; 4]]));
}

#[test]
fn one_target_reads_its_catalog_for_itself_alone() {
    let mut inventory = inventory(&[listing("all", "r.io/acme/*"), listing("others", "r.io/b*")]);
    found(&mut inventory, "others", "r.io/b:v1");
    scan_ended(&mut inventory, "others");
    scan(&mut inventory, ListExtent::Partial);
    assert_eq!(shared_figures(&mut inventory), withheld());
    let down = TargetName("all".into());
    assert!(!inventory.is_scanned(&down, Completeness::Catalog));
    assert!(inventory.is_scanned(&down, Completeness::Whole), "what it listed was read");
    let others = TargetName("others".into());
    assert!(inventory.is_scanned(&others, Completeness::Catalog));
}

#[test]
fn a_reload_takes_no_figures_away_before_the_new_target_has_read_its_catalog() {
    let mut inventory = inventory(&targets());
    scan(&mut inventory, ListExtent::Whole);
    let narrower = Target { tags_max: 5, ..targets()[0].clone() };
    inventory.reconfigure(&shared(&[narrower, targets()[1].clone()]), WEEK);
    scan(&mut inventory, ListExtent::Partial);
    assert_eq!(shared_figures(&mut inventory), whole(), "the same catalog was read to its end before");
    let wider = listing("all", "r.io/**");
    inventory.reconfigure(&shared(&[wider, targets()[1].clone()]), WEEK);
    assert_eq!(shared_figures(&mut inventory), whole());
    scan(&mut inventory, ListExtent::Partial);
    assert_eq!(shared_figures(&mut inventory), withheld());
}

#[test]
fn a_restart_knows_whether_the_catalog_was_read_to_its_end() {
    use Completeness::{Catalog, Listed, Settled};
    for (remembered, expected) in [(&[Listed, Settled][..], withheld()), (&[Catalog, Listed, Settled], whole())] {
        let mut before = inventory(&targets());
        let changes = scan(&mut before, ListExtent::Whole);
        let images = [single("base:100 x:10"), single("base:100 y:20")].map(|reading| reading.images[0].clone());
        let mut after = super::restart::restart(&targets(), &changes, &images);
        let waiting = after.restored(|_, completeness| remembered.contains(&completeness));
        assert_eq!(waiting, [TargetName("named".into())], "the other is scanned at once");
        assert_eq!(shared_figures(&mut after), expected);
        scan(&mut after, ListExtent::Partial);
        assert_eq!(shared_figures(&mut after), expected);
        scan(&mut after, ListExtent::Whole);
        assert_eq!(shared_figures(&mut after), whole());
    }
}

#[test]
fn a_scan_without_the_whole_catalog_does_not_let_the_next_one_wait() {
    use Completeness::{Catalog, Whole};
    for (remembered, waits) in [(&[Whole][..], false), (&[Catalog, Whole], true)] {
        let mut before = inventory(&targets());
        let changes = scan(&mut before, ListExtent::Whole);
        let images = [single("base:100 x:10"), single("base:100 y:20")].map(|reading| reading.images[0].clone());
        let mut after = super::restart::restart(&targets(), &changes, &images);
        let waiting = after.restored(|_, completeness| remembered.contains(&completeness));
        assert_eq!(waiting.contains(&TargetName("all".into())), waits);
        let count = after.snapshot().registries[0].repositories[0].tags_selected;
        assert_eq!(count, Some(1), "its tag lists were read");
    }
}
