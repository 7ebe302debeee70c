//! What a node that has the release before fetches for the newest one.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::fixtures::*;
use crate::inventory::*;
use crate::oci::{Platform, Reason};
use crate::tag::*;
use crate::target::{NewestBy, Target};

fn releases() -> Inventory {
    let mut inventory = inventory(&[Target { newest: Some(NewestBy::Semver), ..listing("t", "r.io/a") }]);
    found(&mut inventory, "t", "r.io/a:v3 r.io/a:v2 r.io/a:v1");
    inventory
}

/// By platform, in its order.
fn updates(inventory: &mut Inventory) -> Vec<(Platform, Option<u64>)> {
    let snapshot = inventory.snapshot();
    let views = &snapshot.registries[0].repositories[0].newest;
    views.iter().map(|view| (view.platform.clone(), view.update_bytes)).collect()
}

#[test]
fn an_update_is_the_distinct_layers_that_the_release_before_lacks() {
    for (old, new, expected) in [
        ("base:100 x:10", "base:100 y:20", 20),
        ("base:100 x:10", "base:100 x:10 y:20", 20),
        ("base:100 x:10 y:20", "base:100 x:10", 0),
        // Another order is another image of the same layers.
        ("base:100 x:10", "x:10 base:100", 0),
        ("base:100", "x:10 y:20", 30),
        ("base:100", "y:20 y:20 base:100 y:20", 20),
        ("base:100", "base:100 y:30 y:20", 20),
        // A foreign layer is fetched too, from elsewhere, and a node that has it has it.
        ("~base:100 x:10", "~base:100 ~other:7 y:20 ~other:7", 27),
        ("~base:100 x:10", "base:100 y:20", 20),
        ("base:100 x:10", "~base:100 y:20", 20),
        ("x:10", "~base:100 base:100 y:20", 120),
        ("", "base:100", 100),
    ] {
        let mut inventory = releases();
        read(&mut inventory, "r.io/a:v1", 10.0, single(old));
        read(&mut inventory, "r.io/a:v2", 10.0, single(new));
        assert_eq!(updates(&mut inventory), [(platform("linux/amd64"), Some(expected))], "{old:?} → {new:?}");
    }
}

#[test]
fn each_platform_is_compared_with_the_same_platform_of_the_last_release_that_has_it() {
    let mut inventory = releases();
    let (amd64, arm64) = (platform("linux/amd64"), platform("linux/arm64"));
    read(&mut inventory, "r.io/a:v1", 10.0, index("1", &[("linux/amd64", "b:5 x:1"), ("linux/arm64", "b:5 y:10")]));
    assert_eq!(updates(&mut inventory), [(amd64.clone(), None), (arm64.clone(), None)], "no release is before it");
    read(&mut inventory, "r.io/a:v2", 10.0, single("b:5 x:2"));
    read(
        &mut inventory,
        "r.io/a:v3",
        10.0,
        index("3", &[("linux/amd64", "b:5 x3:3"), ("linux/arm64", "b:5 x:2 z:30")]),
    );
    assert_eq!(updates(&mut inventory), [(amd64, Some(3)), (arm64, Some(32))]);
}

#[test]
fn an_update_is_absent_where_a_size_is_unknown_and_follows_each_push() {
    let mut inventory = releases();
    let amd64 = |bytes| vec![(platform("linux/amd64"), bytes)];
    read(&mut inventory, "r.io/a:v1", 10.0, single("b:5 x:1"));
    read(&mut inventory, "r.io/a:v2", 10.0, single("b:5 y:2"));
    assert_eq!(updates(&mut inventory), amd64(Some(2)));
    record(&mut inventory, "r.io/a:v2", 20.0, Outcome::Failed(Reason::Timeout));
    assert_eq!(updates(&mut inventory), amd64(Some(2)), "the last true value");
    read(&mut inventory, "r.io/a:v1", 30.0, single("y:2"));
    assert_eq!(updates(&mut inventory), amd64(Some(5)), "the release before was pushed again");
    read(&mut inventory, "r.io/a:v3", 40.0, single("b:5 z:?"));
    assert_eq!(updates(&mut inventory), amd64(Some(5)), "a release of unknown size is not the newest yet");
    read(&mut inventory, "r.io/a:v1", 50.0, single("y:?"));
    assert_eq!(updates(&mut inventory), amd64(None), "nor is it the one before");
}

type Listed = Vec<(u8, bool)>;

fn words(layers: &Listed) -> String {
    let word =
        |&(layer, foreign): &(u8, bool)| format!("{}l{layer}:{}", if foreign { "~" } else { "" }, 1_u64 << layer);
    layers.iter().map(word).collect::<Vec<_>>().join(" ")
}

proptest! {
    /// Other images beside them, of which some come and go, and so renumber layers, do not matter.
    #[test]
    fn an_update_equals_its_definition(
        old in prop::collection::vec((0..10_u8, prop::bool::weighted(0.2)), 0..8),
        new in prop::collection::vec((0..10_u8, prop::bool::weighted(0.2)), 0..8),
        others in prop::collection::vec(prop::collection::vec((0..10_u8, Just(false)), 0..8), 0..4),
    ) {
        prop_assume!(words(&old) != words(&new));
        let targets = [Target { newest: Some(NewestBy::Semver), ..listing("t", "r.io/a") }, target("u", "r.io/b", "x")];
        let mut inventory = inventory(&targets);
        found(&mut inventory, "t", "r.io/a:v2 r.io/a:v1");
        for other in &others {
            read(&mut inventory, "r.io/b:x", 10.0, single(&words(other)));
            read(&mut inventory, "r.io/a:v1", 10.0, single(&words(other)));
        }
        read(&mut inventory, "r.io/a:v2", 10.0, single(&words(&new)));
        read(&mut inventory, "r.io/a:v1", 10.0, single(&words(&old)));
        let had: HashSet<u8> = old.iter().map(|(layer, _)| *layer).collect();
        let lacked: HashMap<u8, u64> =
            new.iter().filter(|(layer, _)| !had.contains(layer)).map(|(layer, _)| (*layer, 1 << layer)).collect();
        let [(_, bytes)] = updates(&mut inventory)[..] else { panic!("one platform") };
        prop_assert_eq!(bytes, Some(lacked.values().sum()));
        let view = &inventory.snapshot().registries[0].repositories[0].newest[0];
        prop_assert!(bytes <= Some(view.release.compressed_bytes));
    }
}

/// Each layer of these images is made by the command that its name begins with, if that is one.
fn commands(images: &[&str]) -> CommandSource {
    let command = |layer: &str| {
        let name = layer.split(':').next().unwrap_or_default().trim_end_matches(['1', '2']);
        if ["base", "copy", "run"].contains(&name) { name.into() } else { "".into() }
    };
    let of = |text: &str| {
        let config = single(text).images[0].image_id.clone().unwrap();
        (config, text.split(' ').map(command).collect::<crate::image::Commands>())
    };
    let by_config: HashMap<_, _> = images.iter().map(|text| of(text)).collect();
    Box::new(move |config| by_config.get(config).cloned())
}

#[test]
fn what_grew_most_is_unknown_while_the_commands_of_a_release_are() {
    let (old, new) = ("base:100 copy1:10", "base:100 copy2:50");
    for (known, is_known) in [(&[old, new][..], true), (&[new], false), (&[old], false), (&[], false)] {
        let mut inventory = releases();
        inventory.set_commands(commands(known));
        read(&mut inventory, "r.io/a:v1", 10.0, single(old));
        read(&mut inventory, "r.io/a:v2", 10.0, single(new));
        let snapshot = inventory.snapshot();
        assert_eq!(snapshot.registries[0].repositories[0].newest[0].largest_change.is_some(), is_known, "{known:?}");
    }
}

#[test]
fn the_layer_that_grew_most_is_named_with_its_command() {
    for (old, new, expected) in [
        ("base:100 copy1:10", "base:100 copy2:50", Some(("copy2", 40, Some("copy")))),
        ("base:100 copy1:50 run1:5", "base:100 copy2:60 run2:30", Some(("run2", 25, Some("run")))),
        ("base:100", "base:100 copy1:50 run1:5", Some(("copy1", 50, Some("copy")))),
        // Of a layer without a command all bytes count.
        ("base:100 x:90", "base:100 y:95 copy1:94", Some(("y", 95, None))),
        ("base:100 copy1:10", "base:100 copy2:7", None),
        ("base:100 copy1:10", "base:100", None),
        // Images often list an empty layer twice.
        ("base:100 empty:1 copy1:10 empty:1", "base:100 empty:1 copy2:50 empty:1", Some(("copy2", 40, Some("copy")))),
        ("~base:100 copy1:10", "~base:100 copy2:50", Some(("copy2", 40, Some("copy")))),
    ] {
        let mut inventory = releases();
        inventory.set_commands(commands(&[old, new]));
        read(&mut inventory, "r.io/a:v1", 10.0, single(old));
        read(&mut inventory, "r.io/a:v2", 10.0, single(new));
        let snapshot = inventory.snapshot();
        let change = snapshot.registries[0].repositories[0].newest[0].largest_change.clone();
        let change = change.map(|change| (change.digest, change.bytes, change.command));
        let expected = expected.map(|(name, bytes, command)| (digest(name), bytes, command.map(std::sync::Arc::from)));
        assert_eq!(change, expected, "{old:?} → {new:?}");
    }
}
