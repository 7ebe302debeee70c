//! What images are built on: found by annotations and by layers, kept when a base's tag moves on.

use std::cmp::Reverse;

use parking_lot::Mutex;
use proptest::prelude::*;

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

/// What happens to tags of three repositories.
#[derive(Clone, Debug)]
enum Happening {
    Pushed(usize, Vec<u8>, Option<usize>),
    Gone(usize),
    Looks,
    Restarts,
}

const TAGS: [&str; 7] = ["r.io/a:1", "r.io/a:1.1", "r.io/a:latest", "r.io/b:1", "r.io/b:x", "s.io/a:1", "s.io/a:2"];

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let layers = prop::collection::vec(0..2_u8, 1..4);
    let happening = prop_oneof![
        8 => (0..TAGS.len(), layers, prop::option::weighted(0.2, 0..TAGS.len()))
            .prop_map(|(tag, layers, on)| Happening::Pushed(tag, layers, on)),
        1 => (0..TAGS.len()).prop_map(Happening::Gone),
        4 => Just(Happening::Looks),
        1 => Just(Happening::Restarts),
    ];
    prop::collection::vec(happening, 0..24)
}

/// An image of a tag as the definition sees it.
#[derive(Clone, Debug)]
struct Modelled {
    image: Arc<Image>,
    layers: Vec<u8>,
    /// What annotations say: a tag and its digest.
    named: Option<(usize, Digest)>,
    base: Option<Base>,
}

fn name_of(tag: usize) -> (Repository, Tag) {
    let (name, text) = TAGS[tag].rsplit_once(':').unwrap();
    (repository(name), super::fixtures::tag(text))
}

fn base_of(tag: usize, of: &Modelled, digest: Digest, on: &[u8]) -> Base {
    let (repository, tag) = name_of(tag);
    let is_beginning = on.starts_with(&of.layers) && on != of.layers;
    Base {
        name: BaseName { repository, tag: Some(tag), digest: Some(digest) },
        bytes: of.image.compressed_bytes(),
        layers: if is_beginning { u32::try_from(of.layers.len()).unwrap() } else { 0 },
    }
}

/// The base of a tag's image by the definition, comparing all with all, and whether it is current.
fn by_definition(tags: &BTreeMap<usize, Modelled>, of: usize) -> (Option<Base>, Option<bool>) {
    let one = &tags[&of];
    let (repository, _) = name_of(of);
    let beginnings =
        tags.iter().filter(|(_, other)| one.layers.starts_with(&other.layers) && one.layers != other.layers);
    let longest = beginnings.clone().map(|(_, other)| other.layers.len()).max();
    let rank = |tag: usize| {
        let (name, text) = name_of(tag);
        let version = Version::parse(text.as_str());
        let exactness = version.as_ref().map_or(9, Version::exactness);
        (name.registry() != repository.registry(), name == repository, exactness, Reverse(version), name, text)
    };
    let mut candidates: Vec<(&usize, &Modelled)> =
        beginnings.filter(|(_, other)| Some(other.layers.len()) == longest).collect();
    candidates.sort_by_key(|(tag, _)| rank(**tag));
    let base = if let Some((tag, digest)) = &one.named {
        let (repository, text) = name_of(*tag);
        let name = BaseName { repository, tag: Some(text), digest: Some(digest.clone()) };
        let now = tags
            .get(tag)
            .filter(|other| other.image.digest == *digest)
            .map(|other| base_of(*tag, other, digest.clone(), &one.layers));
        let before = one.base.clone().filter(|before| before.name == name);
        let mirrored = candidates.iter().find(|(_, other)| other.image.digest == *digest);
        let mirrored = mirrored.map(|(_, other)| base_of(*tag, other, digest.clone(), &one.layers));
        now.or(before).or(mirrored).or(Some(Base { name, bytes: None, layers: 0 }))
    } else {
        let best =
            candidates.first().map(|(tag, other)| base_of(**tag, other, other.image.digest.clone(), &one.layers));
        match (&one.base, best) {
            (before, None) => before.clone(),
            (None, best) => best,
            (Some(before), Some(best)) => {
                let tag_of = |base: &Base| {
                    (0..TAGS.len()).find(|tag| {
                        let (repository, text) = name_of(*tag);
                        repository == base.name.repository && Some(&text) == base.name.tag.as_ref()
                    })
                };
                let tag = tag_of(before).unwrap();
                let is_there = candidates.iter().any(|(candidate, _)| **candidate == tag);
                let has_moved = tags.contains_key(&tag) && !is_there;
                Some(if has_moved && before.layers >= best.layers { before.clone() } else { best })
            }
        }
    };
    let is_current = base.as_ref().and_then(|base| {
        let tag = (0..TAGS.len()).find(|tag| {
            let (repository, text) = name_of(*tag);
            repository == base.name.repository && Some(text) == base.name.tag
        })?;
        Some(Some(&tags.get(&tag)?.image.digest) == base.name.digest.as_ref())
    });
    (base, is_current)
}

fn watching_all(remembered: &Remembered) -> Inventory {
    let targets = [target("a", "r.io/a", "1 1.1 latest"), target("b", "r.io/b", "1 x"), target("c", "s.io/a", "1 2")];
    let mut inventory = inventory(&targets);
    inventory.set_bases(remembered.source());
    inventory
}

proptest! {
    #[test]
    fn bases_are_what_the_definition_says_whatever_happens(happenings in happenings()) {
        let remembered = Remembered::default();
        let mut inventory = watching_all(&remembered);
        let mut tags: BTreeMap<usize, Modelled> = BTreeMap::new();
        let mut store: HashMap<(Repository, Tag), TagRecord> = HashMap::new();
        let mut images: HashMap<Digest, Arc<Image>> = HashMap::new();
        for (turn, happening) in happenings.into_iter().chain([Happening::Looks]).enumerate() {
            match happening {
                Happening::Pushed(tag, layers, on) => {
                    let words: Vec<String> = layers.iter().map(|layer| format!("l{layer}:{}", 10 + layer)).collect();
                    let mut image = image("linux/amd64", &words.join(" "));
                    // Each push is another image, of the same layers or not.
                    Arc::make_mut(&mut image).digest = digest(&format!("push {turn}"));
                    let named = on.filter(|on| *on != tag).and_then(|on| Some((on, tags.get(&on)?.image.digest.clone())));
                    if let Some((on, at)) = &named {
                        let (repository, text) = name_of(*on);
                        let name = BaseName { repository, tag: Some(text), digest: Some(at.clone()) };
                        remembered.names.lock().insert(image.digest.clone(), Arc::new(BaseNames::own_alone(name)));
                    }
                    images.insert(image.digest.clone(), Arc::clone(&image));
                    let change = read(&mut inventory, TAGS[tag], 10.0, reading_of(Arc::clone(&image)));
                    let TagChange { repository, tag: text, kept } = change.unwrap();
                    store.insert((repository, text), kept.unwrap());
                    tags.insert(tag, Modelled { image, layers, named, base: None });
                }
                Happening::Gone(tag) => {
                    record(&mut inventory, TAGS[tag], 10.0, Outcome::Gone);
                    store.remove(&name_of(tag));
                    tags.remove(&tag);
                }
                Happening::Looks | Happening::Restarts => {
                    let snapshot = inventory.snapshot();
                    remembered.bases.lock().extend(inventory.bases_found());
                    let found: Vec<(usize, Option<Base>, Option<bool>)> = tags.keys().map(|tag| {
                        let (base, is_current) = by_definition(&tags, *tag);
                        (*tag, base, is_current)
                    }).collect();
                    for (tag, base, is_current) in found {
                        let (repository, text) = name_of(tag);
                        let views = snapshot.registries.iter().flat_map(|registry| &registry.repositories);
                        let view = views.filter(|view| view.repository == repository).flat_map(|view| &view.tags)
                            .find(|view| view.tag == text).unwrap();
                        let published = view.images[0].base.as_ref();
                        prop_assert_eq!(published.map(|view| &*view.base), base.as_ref(), "{}", TAGS[tag]);
                        prop_assert_eq!(published.and_then(|view| view.is_current), is_current, "{}", TAGS[tag]);
                        tags.get_mut(&tag).unwrap().base = base;
                    }
                    if matches!(happening, Happening::Restarts) {
                        inventory = watching_all(&remembered);
                        for ((repository, tag), kept) in &store {
                            inventory.restore(repository, tag, kept, |digest| images.get(digest).cloned());
                        }
                    }
                }
            }
        }
        for tag in TAGS {
            record(&mut inventory, tag, 10.0, Outcome::Gone);
        }
        prop_assert!(inventory.bases.is_empty());
    }
}
