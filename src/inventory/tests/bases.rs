//! What images are built on: found by annotations and by layers, kept when a base's tag moves on.

mod definition;

use std::cmp::Reverse;

use parking_lot::Mutex;

use super::fixtures::*;
use crate::image::Image;
use crate::inventory::snapshot::BaseView;
use crate::inventory::*;
use crate::oci::Tag;
use crate::tag::*;
use crate::target::{Target, Version};

/// What a store would remember.
#[derive(Clone, Default)]
struct Remembered {
    names: Arc<Mutex<HashMap<Digest, Arc<BaseNames>>>>,
    bases: Arc<Mutex<HashMap<Digest, Arc<Base>>>>,
}

impl Remembered {
    fn source(&self) -> BaseSource {
        let (names, bases) = (Arc::clone(&self.names), Arc::clone(&self.bases));
        BaseSource {
            names: Box::new(move |document| names.lock().get(document).cloned()),
            bases: Box::new(move |image| bases.lock().get(image).cloned()),
        }
    }

    /// As if a document had this annotation, such as `r.io/base:1@digest-of-a:1`.
    fn annotate(&self, document: &str, name: &str) {
        let (name, of) = name.split_once('@').map_or((name, None), |(name, of)| (name, Some(digest(of))));
        let mut annotations = vec![("org.opencontainers.image.base.name", name.to_owned())];
        annotations.extend(of.map(|of| ("org.opencontainers.image.base.digest", of.to_string())));
        let manifest = crate::oci::Manifest {
            media_type: crate::oci::MediaType::default(),
            config: None,
            layers: Vec::new(),
            artifact_type: String::new(),
            annotations: annotations.iter().map(|(key, value)| (*key, &**value)).collect(),
        };
        self.names.lock().insert(digest(document), Arc::new(BaseNames::of_manifest(&manifest)));
    }
}

struct Watched {
    inventory: Inventory,
    remembered: Remembered,
}

impl Watched {
    fn new(targets: &[Target]) -> Self {
        let (mut inventory, remembered) = (inventory(targets), Remembered::default());
        inventory.set_bases(remembered.source());
        Self { inventory, remembered }
    }

    fn push(&mut self, reference: &str, layers: &str) {
        read(&mut self.inventory, reference, 10.0, single(layers));
    }

    /// The bases on the snapshot: `app:1 → r.io/base:1@digest 100 2 current`.
    fn bases(&mut self) -> Vec<String> {
        let snapshot = self.inventory.snapshot();
        self.remembered.bases.lock().extend(self.inventory.bases_found());
        let repositories = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
        let tags = repositories.flat_map(|repository| repository.tags.iter().map(move |tag| (repository, tag)));
        let images = tags.flat_map(|(repository, tag)| tag.images.iter().map(move |image| (repository, tag, image)));
        let lines = images.filter_map(|(repository, tag, image)| {
            let BaseView { base, is_current } = image.base.as_ref()?;
            let name = &base.name;
            let mut line = format!("{}:{} → {}", repository.repository.name(), tag.tag, name.repository);
            line.extend(name.tag.iter().map(|tag| format!(":{tag}")));
            line.extend(base.bytes.map(|bytes| format!(" {bytes}")));
            line.extend([" ".to_owned(), base.layers.to_string()]);
            line.push_str(match is_current {
                Some(true) => " current",
                Some(false) => " moved",
                None => "",
            });
            Some(line)
        });
        lines.collect()
    }
}

fn watched() -> Watched {
    Watched::new(&[
        target("base", "r.io/base", "1 latest 1.1 2"),
        target("app", "r.io/app", "1 2 3"),
        target("other", "s.io/app", "1"),
    ])
}

#[test]
fn two_builds_on_one_base_are_outdated_once_its_tag_moves_on() {
    let mut watched = watched();
    watched.push("r.io/base:1", "a:100 b:20");
    watched.push("r.io/app:1", "a:100 b:20 x:1");
    watched.push("s.io/app:1", "a:100 b:20 y:1 z:1");
    watched.push("r.io/app:2", "a:100 other:5");
    let current = ["app:1 → r.io/base:1 120 2 current", "app:1 → r.io/base:1 120 2 current"];
    assert_eq!(watched.bases(), current);
    watched.push("r.io/base:1", "a:100 c:30");
    watched.push("r.io/app:3", "a:100 c:30 x:1");
    let moved =
        ["app:1 → r.io/base:1 120 2 moved", "app:3 → r.io/base:1 130 2 current", "app:1 → r.io/base:1 120 2 moved"];
    assert_eq!(watched.bases(), moved);
    watched.push("r.io/base:1", "a:100 b:20");
    let back =
        ["app:1 → r.io/base:1 120 2 current", "app:3 → r.io/base:1 130 2 moved", "app:1 → r.io/base:1 120 2 current"];
    assert_eq!(watched.bases(), back);
}

#[test]
fn the_longest_beginning_is_the_base_and_a_whole_image_is_none() {
    let mut watched = watched();
    watched.push("r.io/base:1", "a:100");
    watched.push("r.io/base:2", "a:100 b:20");
    watched.push("r.io/app:1", "a:100 b:20 x:1");
    watched.push("r.io/app:2", "a:100 b:20");
    assert_eq!(
        watched.bases(),
        [
            "app:1 → r.io/base:2 120 2 current",
            "app:2 → r.io/base:1 100 1 current",
            "base:2 → r.io/base:1 100 1 current",
        ]
    );
    // A tag that is gone names no base: what is watched does, as long as it has one.
    record(&mut watched.inventory, "r.io/base:2", 20.0, Outcome::Gone);
    assert_eq!(watched.bases(), ["app:1 → r.io/app:2 120 2 current", "app:2 → r.io/base:1 100 1 current"]);
    record(&mut watched.inventory, "r.io/app:2", 20.0, Outcome::Gone);
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1 current"]);
    record(&mut watched.inventory, "r.io/base:1", 20.0, Outcome::Gone);
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1"], "nothing is known of its tag");
}

#[test]
fn of_several_tags_the_one_names_the_base_that_moves_when_it_is_built_again() {
    let mut watched = watched();
    watched.push("r.io/app:1", "a:100 x:1");
    for tag in ["latest", "1.1", "1"] {
        watched.push(&format!("r.io/base:{tag}"), "a:100");
    }
    watched.push("s.io/app:1", "a:100");
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1 current"]);
    watched.push("r.io/base:1", "b:100");
    watched.push("r.io/base:latest", "b:100");
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1 moved"], "1.1 still has it");
}

#[test]
fn annotations_win_over_layers() {
    let mut watched = watched();
    watched.push("r.io/base:1", "a:100");
    watched.push("r.io/base:2", "b:7");
    for (layers, name) in [
        ("a:100 x:1", "r.io/base:2@b:7"),
        ("a:100 y:1", "r.io/base:1@a:100"),
        ("a:100 z:1", "docker.io/library/debian:12@a:5"),
    ] {
        watched.remembered.annotate(layers, name);
    }
    watched.push("r.io/app:1", "a:100 x:1");
    watched.push("r.io/app:2", "a:100 y:1");
    watched.push("r.io/app:3", "a:100 z:1");
    assert_eq!(
        watched.bases(),
        [
            "app:1 → r.io/base:2 7 0 current",
            "app:2 → r.io/base:1 100 1 current",
            "app:3 → docker.io/library/debian:12 0"
        ]
    );
    watched.push("r.io/base:1", "c:9");
    watched.push("r.io/base:2", "c:9");
    assert_eq!(
        watched.bases(),
        ["app:1 → r.io/base:2 7 0 moved", "app:2 → r.io/base:1 100 1 moved", "app:3 → docker.io/library/debian:12 0"]
    );
}

#[test]
fn an_annotation_without_a_digest_is_known_by_its_layers() {
    let mut watched = watched();
    watched.remembered.annotate("a:100 x:1", "r.io/base:1");
    watched.remembered.annotate("c:100 x:1", "r.io/base:1");
    watched.push("r.io/app:1", "a:100 x:1");
    watched.push("r.io/app:2", "c:100 x:1");
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 0", "app:2 → r.io/base:1 0"]);
    watched.push("r.io/base:1", "a:100");
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1 current", "app:2 → r.io/base:1 0"]);
    watched.push("r.io/base:1", "b:100");
    assert_eq!(watched.bases(), ["app:1 → r.io/base:1 100 1 moved", "app:2 → r.io/base:1 0"]);
}

#[test]
fn an_annotation_of_the_index_holds_for_its_images_and_names_an_index_or_a_manifest() {
    let mut watched = watched();
    watched.remembered.annotate("app", "r.io/base:1@base");
    watched.remembered.annotate("a:2 x:1", "r.io/base:1@a:2");
    let base = [("linux/amd64", "a:1"), ("linux/arm64", "a:2")];
    let app = [("linux/amd64", "a:1 x:1"), ("linux/arm64", "a:2 x:1"), ("linux/s390x", "c:3 x:1")];
    read(&mut watched.inventory, "r.io/base:1", 10.0, index("base", &base));
    read(&mut watched.inventory, "r.io/app:1", 10.0, index("app", &app));
    assert_eq!(
        watched.bases(),
        ["app:1 → r.io/base:1 1 1 current", "app:1 → r.io/base:1 2 1 current", "app:1 → r.io/base:1 0 current"]
    );
    read(&mut watched.inventory, "r.io/base:1", 20.0, index("base again", &[("linux/amd64", "b:1")]));
    assert_eq!(
        watched.bases(),
        ["app:1 → r.io/base:1 1 1 moved", "app:1 → r.io/base:1 2 1", "app:1 → r.io/base:1 0"],
        "a platform that the tag no longer has says nothing"
    );
}

#[test]
fn artifacts_have_no_base_and_are_none() {
    let mut watched = watched();
    let mut chart = image("linux/amd64", "a:1");
    Arc::make_mut(&mut chart).artifact_type = "application/x".into();
    read(&mut watched.inventory, "r.io/base:1", 10.0, reading_of(chart));
    watched.push("r.io/app:1", "a:1 x:1");
    assert_eq!(watched.bases(), [""; 0]);
}

#[test]
fn only_repositories_of_what_stands_on_a_change_are_looked_at() {
    let names: Vec<String> = (0..100).map(|number| format!("r.io/app{number}")).collect();
    let mut targets: Vec<Target> = names.iter().map(|name| target(name, name, "1")).collect();
    targets.push(target("base", "r.io/base", "1 2"));
    let mut watched = Watched::new(&targets);
    watched.push("r.io/base:1", "a:1");
    watched.push("r.io/base:2", "b:1");
    for (number, name) in names.iter().enumerate() {
        watched.push(&format!("{name}:1"), &format!("{}:1 x{number}:1", if number < 3 { "b" } else { "a" }));
    }
    assert_eq!(watched.inventory.refresh_bases(), 101);
    assert_eq!(watched.inventory.refresh_bases(), 0);
    watched.push("r.io/app50:1", "a:1 again:1");
    assert_eq!(watched.inventory.refresh_bases(), 1, "an image without others on top");
    watched.push("r.io/base:2", "b:2 c:2");
    assert_eq!(watched.inventory.refresh_bases(), 4, "a base and the three on top");
    assert_eq!(watched.bases().iter().filter(|line| line.ends_with("moved")).count(), 3);
    assert_eq!(watched.inventory.refresh_bases(), 0);
}
