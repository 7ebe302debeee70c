//! Which images have which layers in common, counted when a page asks.
//!
//! An image's own layers are those that no image with another digest has, as in `container_image_unique_size_bytes`:
//! two tags of one image do not share with each other.

use serde::Serialize;

use super::address::{Address, ImageName, Place};
use super::find::FoundRepository;
use super::top::Top;
use crate::image::accounting::StoredLayer;
use crate::inventory::snapshot::{ImageView, RegistryView, RepositoryView};
use crate::oci::Digest;

/// The most repositories that are listed beside one.
const REPOSITORIES_MAX: usize = 12;

/// The most holders of a layer that are listed.
const HOLDERS_MAX: usize = 8;

/// The most layers with a row of their own, and with holders by name. Docker allows 127 layers.
pub(super) const ROWS_MAX: usize = 256;

/// How far a layer is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reach {
    /// One image has it.
    Own,
    /// Other images of its repository have it.
    Repository,
    /// Images of other repositories have it.
    Registry,
}

impl Reach {
    /// As far as it is known: that no other image or no other repository has a layer is known where the image's unique bytes
    /// are, and all images of the registry are here.
    pub(super) fn known_of(self, image: &ImageView, registry: &RegistryView) -> Option<Self> {
        let is_known = image.unique_bytes.is_some() && !registry.elsewhere.has_images;
        (self == Self::Registry || is_known).then_some(self)
    }
}

/// A repository that has layers in common with another one.
#[derive(Debug, Serialize)]
pub(super) struct Neighbour<'a> {
    pub(super) repository: String,
    /// Bytes of the distinct layers in common.
    pub(super) bytes: u64,
    pub(super) layers: u64,
    #[serde(skip)]
    pub(super) link: String,
    #[serde(skip)]
    pub(super) view: &'a RepositoryView,
}

/// The layers of one repository, and who else has them.
pub(super) struct Sharing<'a> {
    registry: &'a RegistryView,
    /// Places in `layers`.
    places: Places,
    layers: Vec<Held<'a>>,
    pub(super) neighbours: Vec<Neighbour<'a>>,
    pub(super) neighbours_count: u64,
}

struct Held<'a> {
    bytes: u64,
    /// The image that was seen first.
    first: &'a Digest,
    reach: Reach,
    /// The last other repository in which it was seen, by number, so that it counts once there.
    seen: u32,
}

impl<'a> Sharing<'a> {
    pub(super) fn of(at: FoundRepository<'a>) -> Self {
        let mut sharing = Self {
            registry: at.registry,
            places: Places::new(at.registry),
            layers: Vec::new(),
            neighbours: Vec::new(),
            neighbours_count: 0,
        };
        for image in images(at.repository) {
            for layer in image.layers.0.iter() {
                sharing.add(layer, &image.image.digest);
            }
        }
        let mut neighbours = Top::new(REPOSITORIES_MAX);
        for (number, other) in (1..).zip(&at.registry.repositories) {
            if other.repository == at.repository.repository {
                continue;
            }
            let (mut bytes, mut count) = (0_u64, 0_u64);
            for layer in images(other).flat_map(|image| image.layers.0.iter()) {
                let Some(held) = sharing.held_mut(layer.layer) else { continue };
                if std::mem::replace(&mut held.seen, number) != number {
                    held.reach = Reach::Registry;
                    (bytes, count) = (bytes.saturating_add(held.bytes), count + 1);
                }
            }
            if count > 0 {
                sharing.neighbours_count += 1;
                neighbours.add(bytes, (other, bytes, count));
            }
        }
        let neighbours = neighbours.into_vec().into_iter().map(|(view, bytes, layers)| {
            let repository = view.repository.to_string();
            let link = Address::of(Place::Repository(repository.clone())).link();
            Neighbour { repository, bytes, layers, link, view }
        });
        sharing.neighbours = neighbours.collect();
        sharing
    }

    /// How far a layer of the repository is shared.
    pub(super) fn reach(&self, layer: u32) -> Reach {
        self.places.get(layer).map_or(Reach::Own, |place| self.layers[place].reach)
    }

    /// The same of a layer of an image, as far as it is known.
    pub(super) fn known_reach(&self, layer: u32, image: &ImageView) -> Option<Reach> {
        self.reach(layer).known_of(image, self.registry)
    }

    fn held_mut(&mut self, layer: u32) -> Option<&mut Held<'a>> {
        self.places.get(layer).and_then(|place| self.layers.get_mut(place))
    }

    /// Adds a layer of an image of the repository.
    fn add(&mut self, layer: &StoredLayer, image: &'a Digest) {
        if let Some(held) = self.held_mut(layer.layer) {
            held.bytes = held.bytes.min(layer.bytes);
            if held.first != image {
                held.reach = Reach::Repository;
            }
            return;
        }
        self.places.set(layer.layer, self.layers.len());
        self.layers.push(Held { bytes: layer.bytes, first: image, reach: Reach::Own, seen: 0 });
    }
}

/// The places of a few of a registry's layers in a list. Millions of others are looked up, for which the bits answer: they
/// stay in the processor's cache, as the places would not.
struct Places {
    is_there: Vec<u64>,
    places: Vec<u32>,
}

impl Places {
    fn new(registry: &RegistryView) -> Self {
        let layers = registry.layers.len();
        Self { is_there: vec![0; layers.div_ceil(64)], places: vec![0; layers] }
    }

    fn set(&mut self, layer: u32, place: usize) {
        let slots = (self.is_there.get_mut(layer as usize / 64), self.places.get_mut(layer as usize));
        if let (Some(bits), Some(slot), Ok(place)) = (slots.0, slots.1, u32::try_from(place)) {
            *bits |= 1 << (layer % 64);
            *slot = place;
        }
    }

    fn get(&self, layer: u32) -> Option<usize> {
        let bits = self.is_there.get(layer as usize / 64)?;
        (bits >> (layer % 64) & 1 == 1).then(|| self.places[layer as usize] as usize)
    }
}

/// Who has a layer of one image besides that image.
#[derive(Debug, Default, Serialize)]
pub(super) struct Holders {
    /// Images with another digest, in the same repository.
    pub(super) here: u64,
    /// Images in other repositories.
    pub(super) elsewhere: u64,
    /// In how many other repositories.
    pub(super) repositories: u64,
    /// The first of them, those of the same repository first.
    pub(super) images: Vec<Holder>,
}

/// An image that has a layer.
#[derive(Debug, Serialize)]
pub(super) struct Holder {
    pub(super) image: String,
    pub(super) platform: String,
    #[serde(skip)]
    pub(super) link: String,
}

impl Holders {
    pub(super) fn reach(&self) -> Reach {
        match (self.here, self.elsewhere) {
            (0, 0) => Reach::Own,
            (_, 0) => Reach::Repository,
            _ => Reach::Registry,
        }
    }

    fn add(&mut self, repository: &RepositoryView, tag: &crate::oci::Tag, image: &ImageView) {
        if self.images.len() < HOLDERS_MAX {
            let name = ImageName::new(&repository.repository, tag);
            let platform = image.platform.as_str();
            let (image, shown) = (name.to_string(), Address::of(Place::Image(name)).on(Some(platform)));
            self.images.push(Holder { image, platform: platform.to_owned(), link: shown.link() });
        }
    }
}

/// Who else has each distinct layer of an image, in the order of its layers; those after [`ROWS_MAX`] are only counted.
pub(super) fn holders(registry: &RegistryView, of: &RepositoryView, image: &ImageView) -> Vec<Holders> {
    let mut holders: Vec<Holders> = image.layers.0.iter().map(|_| Holders::default()).collect();
    let mut places = Places::new(registry);
    for (place, layer) in image.layers.0.iter().enumerate() {
        places.set(layer.layer, place);
    }
    // The last other repository in which each was seen, by number, so that it counts once there.
    let mut seen = vec![0_usize; holders.len()];
    let others = registry.repositories.iter().map(AsRef::as_ref).filter(|view| view.repository != of.repository);
    for (number, repository) in std::iter::once(of).chain(others).enumerate() {
        let is_here = number == 0;
        for tag in &repository.tags {
            for other in &tag.images {
                if is_here && other.image.digest == image.image.digest {
                    continue;
                }
                for layer in other.layers.0.iter() {
                    let Some(place) = places.get(layer.layer) else { continue };
                    let holder = &mut holders[place];
                    if is_here {
                        holder.here += 1;
                    } else if other.image.digest != image.image.digest {
                        holder.elsewhere += 1;
                        holder.repositories += u64::from(std::mem::replace(&mut seen[place], number) != number);
                    } else {
                        continue;
                    }
                    if place < ROWS_MAX {
                        holder.add(repository, &tag.tag, other);
                    }
                }
            }
        }
    }
    holders
}

fn images(repository: &RepositoryView) -> impl Iterator<Item = &ImageView> {
    repository.tags.iter().flat_map(|tag| &tag.images)
}
