//! After any history bases are what a comparison of all images with all says.

use proptest::prelude::*;

use super::*;

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
    (repository(name), super::super::fixtures::tag(text))
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
