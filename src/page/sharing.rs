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
    /// As far as it is known: that no other image has a layer is known where the image's unique bytes are.
    pub(super) fn known_of(self, image: &ImageView) -> Option<Self> {
        (self != Self::Own || image.unique_bytes.is_some()).then_some(self)
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
    /// By layer of the registry, its place in `layers`, from 1; 0: the repository does not have it. Millions are looked up.
    places: Vec<u32>,
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
            places: vec![0; at.registry.layers.len()],
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
        let place = self.places.get(layer as usize).and_then(|place| place.checked_sub(1));
        place.map_or(Reach::Own, |place| self.layers[place as usize].reach)
    }

    fn held_mut(&mut self, layer: u32) -> Option<&mut Held<'a>> {
        let place = self.places.get(layer as usize)?.checked_sub(1)?;
        self.layers.get_mut(place as usize)
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
        let Some(place) = self.places.get_mut(layer.layer as usize) else { return };
        self.layers.push(Held { bytes: layer.bytes, first: image, reach: Reach::Own, seen: 0 });
        *place = u32::try_from(self.layers.len()).unwrap_or_default();
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
    // By layer, its place in the image, from 1.
    let mut places = vec![0_u32; registry.layers.len()];
    for (place, layer) in (1..).zip(image.layers.0.iter()) {
        if let Some(slot) = places.get_mut(layer.layer as usize) {
            *slot = place;
        }
    }
    let others = registry.repositories.iter().map(AsRef::as_ref).filter(|view| view.repository != of.repository);
    for repository in std::iter::once(of).chain(others) {
        let is_here = repository.repository == of.repository;
        let mut found = vec![false; holders.len()];
        for tag in &repository.tags {
            for other in &tag.images {
                if is_here && other.image.digest == image.image.digest {
                    continue;
                }
                for layer in other.layers.0.iter() {
                    let place = places.get(layer.layer as usize).copied().unwrap_or_default();
                    let Some(place) = (place as usize).checked_sub(1) else { continue };
                    let holder = &mut holders[place];
                    if is_here {
                        holder.here += 1;
                    } else if other.image.digest != image.image.digest {
                        holder.elsewhere += 1;
                        holder.repositories += u64::from(!std::mem::replace(&mut found[place], true));
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
